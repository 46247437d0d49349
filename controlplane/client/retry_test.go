package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
)

// script is a server that answers each attempt as it was told to, and what it has seen.
type script struct {
	// pauses are those of the client between its attempts.
	pauses []time.Duration

	mu   sync.Mutex
	seen []*http.Request
}

func (s *script) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// scripted returns a client of a server that does one of the steps for each attempt.
func scripted(t *testing.T, steps ...http.HandlerFunc) (*client.Client, *script) {
	t.Helper()
	s := &script{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r)
		n := len(s.seen)
		s.mu.Unlock()
		if n > len(steps) {
			t.Errorf("attempt %d", n)
			return
		}
		steps[n-1](w, r)
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, "tg_owner_x", client.Options{Tries: 4, Pause: func(_ context.Context, d time.Duration) error {
		s.pauses = append(s.pauses, d)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func refuse(status int, code string, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"status":%d,"code":%q,"detail":"d"}`, status, code)
	}
}

func good(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{"id":"it"}`) }

// lost answers a request that was done with nothing.
func lost(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func TestRepeating(t *testing.T) {
	unavailable := refuse(503, "unavailable", "")
	read := func(c *client.Client) error { _, err := c.Account(t.Context(), "a"); return err }
	update := func(c *client.Client) error {
		_, err := c.UpdateAccount(t.Context(), "a", client.AccountUpdate{})
		return err
	}
	topUp := func(c *client.Client) error {
		_, err := c.AddCredits(t.Context(), "a", client.TopUp{Amount: 1})
		return err
	}
	for _, tt := range []struct {
		name  string
		do    func(*client.Client) error
		steps []http.HandlerFunc
		good  bool
		// least is the shortest that the first pause may be.
		least time.Duration
	}{
		{"read, unavailable", read, []http.HandlerFunc{unavailable, good}, true, 100 * time.Millisecond},
		{"read, cut off", read, []http.HandlerFunc{lost, lost, good}, true, 100 * time.Millisecond},
		{"read, told to wait", read, []http.HandlerFunc{refuse(429, "rate_limited", "7"), good}, true, 7 * time.Second},
		{"read, told to wait too long", read, []http.HandlerFunc{refuse(429, "rate_limited", "31")}, false, 0},
		{"read, never good", read, []http.HandlerFunc{unavailable, unavailable, unavailable, unavailable}, false, 0},
		{"read, a fault", read, []http.HandlerFunc{refuse(500, "internal", "")}, false, 0},
		{"read, a gateway's fault", read, []http.HandlerFunc{refuse(502, "", ""), good}, true, 0},
		{"read, not found", read, []http.HandlerFunc{refuse(404, "not_found", "")}, false, 0},
		{"update, unavailable", update, []http.HandlerFunc{unavailable}, false, 0},
		{"update, cut off", update, []http.HandlerFunc{lost}, false, 0},
		{"top-up, unavailable", topUp, []http.HandlerFunc{unavailable, good}, true, 0},
		{"top-up, cut off", topUp, []http.HandlerFunc{lost, good}, true, 0},
		{"top-up, in flight", topUp, []http.HandlerFunc{lost, refuse(409, "idempotency_key_in_flight", "1"), good}, true, 0},
		{"top-up, refused", topUp, []http.HandlerFunc{refuse(409, "balance_limit", "")}, false, 0},
		{"a page of somebody else", read, []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>") }}, false, 0},
		{"sent elsewhere", read, []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}}, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := scripted(t, tt.steps...)
			if err := tt.do(c); (err == nil) != tt.good {
				t.Errorf("got %v", err)
			}
			seen := s.requests()
			if len(seen) != len(tt.steps) || len(s.pauses) != len(tt.steps)-1 {
				t.Errorf("%d attempts and %d pauses, want %d attempts", len(seen), len(s.pauses), len(tt.steps))
			}
			if len(s.pauses) > 0 && s.pauses[0] < tt.least {
				t.Errorf("waited %v, want %v at least", s.pauses[0], tt.least)
			}
			for _, r := range seen {
				if r.Header.Get("Idempotency-Key") != seen[0].Header.Get("Idempotency-Key") {
					t.Error("another Idempotency-Key on another attempt")
				}
			}
		})
	}
}

func TestPausesGrowUpToFiveSeconds(t *testing.T) {
	var pauses []time.Duration
	c := must[*client.Client](t)(client.New("http://control.plane", "t", client.Options{
		Tries: 100, Pause: func(_ context.Context, d time.Duration) error {
			pauses = append(pauses, d)
			return nil
		},
		Transport: transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("cut off") }),
	}))
	if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrUnreachable) || len(pauses) != 99 {
		t.Fatalf("got %v after %d pauses", err, len(pauses))
	}
	for i, d := range pauses {
		if d < 100*time.Millisecond || d > 5*time.Second || i > 10 && d < 2500*time.Millisecond {
			t.Errorf("pause %d is %v", i, d)
		}
	}
}

// A top-up whose answer is lost is one top-up, by the real server too.
func TestALostAnswerMovesCreditsOnce(t *testing.T) {
	cp := controlplanetest.New(t)
	account := cp.MustAccount(t, "active", 0)
	attempts := 0
	c, err := client.New(cp.AdminURL, cp.AdminToken, client.Options{
		Pause: func(context.Context, time.Duration) error { return nil },
		Transport: transport(func(r *http.Request) (*http.Response, error) {
			resp, err := http.DefaultTransport.RoundTrip(r)
			if attempts++; attempts == 1 && err == nil {
				_ = resp.Body.Close()
				return nil, errors.New("cut off")
			}
			return resp, err
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	var meta client.Meta
	must[client.Credit](t)(c.AddCredits(t.Context(), account, client.TopUp{Amount: 5}, client.Into(&meta)))
	if w := cp.MustWallet(t, account); w.Available != 5 || attempts != 2 || !meta.Replayed || meta.RequestID == "" {
		t.Errorf("wallet %+v after %d attempts, %+v", w, attempts, meta)
	}
	must[client.Credit](t)(c.AddCredits(t.Context(), account, client.TopUp{Amount: 5}, client.IdempotencyKey("mine")))
	must[client.Credit](t)(c.AddCredits(t.Context(), account, client.TopUp{Amount: 5}, client.IdempotencyKey("mine")))
	if _, err := c.AddCredits(t.Context(), account, client.TopUp{Amount: 6}, client.IdempotencyKey("mine")); client.Code(err) != "idempotency_key_reused" {
		t.Errorf("got %v", err)
	}
	if w := cp.MustWallet(t, account); w.Available != 10 {
		t.Errorf("wallet %+v", w)
	}
}

func TestUnreachable(t *testing.T) {
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	addr := l.Addr().String()
	_ = l.Close()
	tries := 0
	ctx, cancel := context.WithCancel(t.Context())
	pause := func(context.Context, time.Duration) error {
		if tries++; tries == 7 {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	c := must[*client.Client](t)(client.New("http://"+addr, "tg_owner_confidential", client.Options{Pause: pause}))
	const secret = "grx_sk_000000000000000000000000000000000000000000000000"
	// A connection that was refused has done nothing: whatever was asked for may be asked for again.
	_, err := c.CreateAccount(t.Context(), client.NewAccount{Name: "n"})
	if !errors.Is(err, client.ErrUnreachable) || tries != 4 || !strings.Contains(err.Error(), addr) {
		t.Errorf("got %v after %d tries more", err, tries)
	}
	for _, err := range c.Keys(ctx, client.KeyFilter{Prefix: secret}) {
		if err == nil || !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "confidential") {
			t.Errorf("got %v", err)
		}
	}
}

// A CSV that breaks off is an error, and is not begun again: whoever reads it has the first part already.
func TestABrokenStatementIsNoStatement(t *testing.T) {
	c, s := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, "created_at,…\n")
		_ = http.NewResponseController(w).Flush()
		lost(w, r)
	})
	var got strings.Builder
	if err := c.StatementCSV(t.Context(), "a", client.StatementQuery{}, &got); !errors.Is(err, client.ErrUnreachable) || len(s.requests()) != 1 || got.Len() == 0 {
		t.Errorf("got %q, %v after %d attempts", got.String(), err, len(s.requests()))
	}
}
