// Package controlplanetest runs a whole control plane inside a test: the real handlers on loopback ports over a
// real database in a temporary directory, with a clock that stands still until the test moves it. Its helpers
// go through the REST API, as any client would, and end the test on an answer they did not expect.
//
// It fakes nothing but the clock, and it is for tests alone.
package controlplanetest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/server"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// ControlPlane is a running control plane. It stops by itself when the test ends. Its methods are safe for
// concurrent use, but those that take a testing.TB may end the test and so belong in its own goroutine.
type ControlPlane struct {
	// AdminURL, GateURL and OpsURL are the roots of the three listeners, without a final slash.
	AdminURL, GateURL, OpsURL string
	// AdminToken has the role owner, GateToken the role gate.
	AdminToken, GateToken string
	// DBPath is the database file; its -wal file lies beside it.
	DBPath string
	// Clock is the control plane's only clock.
	Clock *Clock

	server   *server.Server
	store    *store.Store
	logs     *buffer
	projects atomic.Int64
}

// New starts a control plane with an empty database and the published schemes.
func New(t testing.TB) *ControlPlane {
	t.Helper()
	return NewWithSchemes(t, apikey.Presets())
}

// NewWithSchemes is New with other schemes.
func NewWithSchemes(t testing.TB, schemes []*apikey.Scheme) *ControlPlane {
	t.Helper()
	c := &ControlPlane{
		DBPath: filepath.Join(t.TempDir(), "tollgate.db"),
		Clock:  &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		logs:   &buffer{},
	}
	log := slog.New(slog.NewTextHandler(c.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	st, err := store.Open(context.Background(), store.Options{Path: c.DBPath, Now: c.Clock.Now})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	c.store = st
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	c.server, err = server.New(server.Config{Store: st, Schemes: schemes, Logger: log, Now: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	c.AdminURL = listen(t, c.server.Admin(), log)
	c.GateURL = listen(t, c.server.Gate(), log)
	c.OpsURL = listen(t, c.server.Ops(), log)
	c.AdminToken = c.MustToken(t, "owner")
	c.GateToken = c.MustToken(t, "gate")
	return c
}

func listen(t testing.TB, h http.Handler, log *slog.Logger) string {
	s := httptest.NewUnstartedServer(h)
	s.Config = server.NewHTTPServer(h, log)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// AdminHandler is what answers at AdminURL.
func (c *ControlPlane) AdminHandler() http.Handler { return c.server.Admin() }

// GateHandler is what answers at GateURL, for tests that play the network themselves.
func (c *ControlPlane) GateHandler() http.Handler { return c.server.Gate() }

// Logs returns all that was logged so far, down to level debug.
func (c *ControlPlane) Logs() string { return c.logs.String() }

// Clock is a clock that moves when it is told to.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time that was set last.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set moves the clock to t.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// Advance moves the clock forward by d.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// buffer is a bytes.Buffer for many writers.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
