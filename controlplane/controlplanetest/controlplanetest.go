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
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/domain"
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

	options Options
	logs    *buffer
	// mu guards server, which Restart exchanges with store while handlers ask for it.
	mu       sync.Mutex
	server   *server.Server
	store    *store.Store
	projects atomic.Int64
}

// Options say what is not as usual about a control plane; the zero value is a usual one.
type Options struct {
	// Schemes are the published ones if nil.
	Schemes []*apikey.Scheme
	// Clock is one that the test has already, or shares with other parts; nil makes a new one.
	Clock *Clock
	// LeaseTTL, LeaseGrace and LeaseMaxCredits are the flags of tollgate serve; 0 is their default.
	LeaseTTL, LeaseGrace time.Duration
	LeaseMaxCredits      int64
	// BackupDir is that of tollgate serve.
	BackupDir string
	// Unreported is "refund", the default, or "charge".
	Unreported string
	// Domains says how domains are verified. It is for the control plane's own tests; the zero value asks a resolver that
	// is not there, so that no test looks outside.
	Domains domain.Options
	// RecheckInterval is --domain-recheck of tollgate serve; 0 is its default.
	RecheckInterval time.Duration
}

// noResolver is a port of the discard protocol, at which nothing answers.
var noResolver = netip.MustParseAddrPort("127.0.0.1:9")

// New starts a control plane with an empty database and the published schemes.
func New(t testing.TB) *ControlPlane {
	t.Helper()
	return NewWith(t, Options{})
}

// NewWithSchemes is New with other schemes.
func NewWithSchemes(t testing.TB, schemes []*apikey.Scheme) *ControlPlane {
	t.Helper()
	return NewWith(t, Options{Schemes: schemes})
}

// NewWith starts a control plane with an empty database. Nothing closes its leases but CloseExpired.
func NewWith(t testing.TB, o Options) *ControlPlane {
	t.Helper()
	if o.Schemes == nil {
		o.Schemes = apikey.Presets()
	}
	if o.Clock == nil {
		o.Clock = NewClock()
	}
	c := &ControlPlane{
		DBPath: filepath.Join(t.TempDir(), "tollgate.db"), Clock: o.Clock, logs: &buffer{}, options: o,
	}
	c.open(t)
	t.Cleanup(func() {
		if err := c.store.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	c.AdminURL = listen(t, c.AdminHandler(), c.log())
	c.GateURL = listen(t, c.GateHandler(), c.log())
	c.OpsURL = listen(t, c.opsHandler(), c.log())
	c.AdminToken = c.MustToken(t, "owner")
	c.GateToken = c.MustToken(t, "gate")
	return c
}

func (c *ControlPlane) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(c.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// open opens the store and builds the handlers over it.
func (c *ControlPlane) open(t testing.TB) {
	t.Helper()
	o := &c.options
	st, err := store.Open(context.Background(), store.Options{
		Path: c.DBPath, Now: c.Clock.Now, Log: c.log(),
		Leases: store.LeaseOptions{
			TTL: o.LeaseTTL, Grace: o.LeaseGrace, MaxCredits: o.LeaseMaxCredits, Unreported: store.Policy(o.Unreported),
		},
	})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	domains := o.Domains
	if len(domains.Resolvers) == 0 {
		domains.Resolvers = []netip.AddrPort{noResolver}
	}
	verifier, err := domain.New(domains)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{
		Store: st, Schemes: o.Schemes, Logger: c.log(), Now: c.Clock.Now,
		BackupDir: o.BackupDir, Domains: verifier, Rechecks: domain.Schedule{Interval: o.RecheckInterval},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store, c.server = st, srv
}

// Restart closes the database and opens it again, as another process would. Requests that are being answered may fail;
// URLs and tokens stay as they are.
func (c *ControlPlane) Restart(t testing.TB) {
	t.Helper()
	if err := c.store.Close(); err != nil {
		t.Fatalf("close store: %v", err)
	}
	c.open(t)
}

// Backup makes a backup of the database beside the running control plane and returns its file.
func (c *ControlPlane) Backup(t testing.TB) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "backup.db")
	if _, err := store.BackUp(context.Background(), c.DBPath, to, nil); err != nil {
		t.Fatal(err)
	}
	return to
}

// Restore puts a backup in the place of the database, as tollgate restore does, and opens that as Restart does.
func (c *ControlPlane) Restore(t testing.TB, from string) {
	t.Helper()
	if err := c.store.Close(); err != nil {
		t.Fatalf("close store: %v", err)
	}
	if _, err := (store.Restore{From: from, To: c.DBPath, Replace: true, Now: c.Clock.Now}).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.open(t)
}

// CloseExpired closes the leases whose time is over, as tollgate serve does every second, and returns how many that
// were.
func (c *ControlPlane) CloseExpired(t testing.TB) int {
	t.Helper()
	closed := 0
	for {
		n, err := c.store.CloseExpired(context.Background(), 1000)
		if err != nil {
			t.Fatalf("close expired leases: %v", err)
		}
		if closed += n; n == 0 {
			return closed
		}
	}
}

// RecordTokenUses writes down which tokens were used, as tollgate serve does every minute.
func (c *ControlPlane) RecordTokenUses(t testing.TB) {
	t.Helper()
	if err := c.running().RecordTokenUses(context.Background()); err != nil {
		t.Fatalf("record uses of tokens: %v", err)
	}
}

// RecheckDomains looks at the proofs of domains that are due, as tollgate serve does every minute, and returns how many
// that were.
func (c *ControlPlane) RecheckDomains(t testing.TB) int {
	t.Helper()
	n, err := c.running().RecheckDomains(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func listen(t testing.TB, h http.Handler, log *slog.Logger) string {
	s := httptest.NewUnstartedServer(h)
	s.Config = server.NewHTTPServer(h, log)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// AdminHandler is what answers at AdminURL.
func (c *ControlPlane) AdminHandler() http.Handler {
	return c.forward(func(s *server.Server) http.Handler { return s.Admin() })
}

// GateHandler is what answers at GateURL, for tests that play the network themselves.
func (c *ControlPlane) GateHandler() http.Handler {
	return c.forward(func(s *server.Server) http.Handler { return s.Gate() })
}

func (c *ControlPlane) opsHandler() http.Handler {
	return c.forward(func(s *server.Server) http.Handler { return s.Ops() })
}

// forward answers with the server that runs at the time.
func (c *ControlPlane) forward(of func(*server.Server) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { of(c.running()).ServeHTTP(w, r) })
}

func (c *ControlPlane) running() *server.Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// Logs returns all that was logged so far, down to level debug.
func (c *ControlPlane) Logs() string { return c.logs.String() }

// Clock is a clock that moves when it is told to.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at a time in January 2026.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

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
