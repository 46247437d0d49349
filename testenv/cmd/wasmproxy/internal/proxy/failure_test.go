package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

// both sends one request to each of the fixture's two VMs.
func (f *fixture) both(guest string) [2]int {
	f.t.Helper()
	return [2]int{
		f.do("GET", "/", "", "X-Guest", guest).StatusCode,
		f.do("GET", "/", "", "X-Guest", guest).StatusCode,
	}
}

func TestTrapPolicies(t *testing.T) {
	tests := []struct {
		name         string
		policy       testenv.FailurePolicy
		soon, later  int
		wantRestarts int
	}{
		{"FAIL_CLOSED", testenv.FailClosed, 503, 503, 0},
		{"FAIL_OPEN", testenv.FailOpen, 200, 200, 0},
		{"FAIL_RELOAD", testenv.FailReload, 503, 200, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, echo, func(c *bootstrap.Config) {
				c.Filters[0].FailurePolicy, c.Filters[0].ReloadBackoff = tt.policy, time.Hour
			})
			if got := f.both(""); got != [2]int{200, 200} {
				t.Fatalf("before: %v", got)
			}
			if got := f.both("trap"); got != [2]int{503, 503} {
				t.Errorf("trapped requests: %v, want 503", got)
			}
			f.clock.advance(59 * time.Minute)
			if got := f.both(""); got != [2]int{tt.soon, tt.soon} {
				t.Errorf("within the backoff: %v, want %d", got, tt.soon)
			}
			f.clock.advance(31 * time.Minute)
			if got := f.both(""); got != [2]int{tt.later, tt.later} {
				t.Errorf("after the backoff: %v, want %d", got, tt.later)
			}
			log := f.log.String()
			if n := strings.Count(log, "filter VM died"); n != 2 {
				t.Errorf("%d deaths logged, want 2", n)
			}
			if n := strings.Count(log, "filter VM restarted"); n != tt.wantRestarts {
				t.Errorf("%d restarts logged, want %d", n, tt.wantRestarts)
			}
		})
	}
}

// Each filter dies by itself and comes back as its own policy says; the others see the 503.
func TestTwoFiltersFailEachByItsPolicy(t *testing.T) {
	f := start(t, echo, func(c *bootstrap.Config) {
		second := c.Filters[0]
		second.Name, second.VMID, second.Configuration = "second", "of its own", []byte("name=second")
		second.FailurePolicy, second.ReloadBackoff = testenv.FailReload, time.Hour
		c.Filters = append(c.Filters, second)
	})
	for range 2 {
		got := f.do("GET", "/", "", "X-Guest", "trap:second")
		if got.StatusCode != 503 || got.Header.Get("X-Response-By") != "guest" {
			t.Errorf("second trapped: %d by %q, want 503 by guest", got.StatusCode, got.Header.Get("X-Response-By"))
		}
	}
	if n := strings.Count(f.log.String(), "proxy_on_request_headers of second"); n != 2 {
		t.Errorf("%d deaths of second logged, want 2", n)
	}
	if got := f.both(""); got != [2]int{503, 503} {
		t.Errorf("within the backoff: %v, want 503", got)
	}
	f.clock.advance(90 * time.Minute)
	if got := f.both(""); got != [2]int{200, 200} {
		t.Errorf("after the backoff: %v, want 200", got)
	}
	if got, want := f.stats(), "# TYPE envoy_wasm_second_vm_reload_success counter\nenvoy_wasm_second_vm_reload_success 2\n"; !strings.Contains(got, want) {
		t.Errorf("stats = %q, want %q in it", got, want)
	}
	if got := f.both("trap:guest"); got != [2]int{503, 503} {
		t.Errorf("guest trapped: %v, want 503", got)
	}
	f.clock.advance(24 * time.Hour)
	if got := f.both(""); got != [2]int{503, 503} {
		t.Errorf("a day later: %v, want 503: guest fails closed", got)
	}
}

// An operator must not have to wait for the next request to learn of a death.
func TestDeathIsLoggedOnceAndAtOnce(t *testing.T) {
	f := start(t, echo, func(c *bootstrap.Config) { c.Filters[0].Configuration = []byte("tick=3600000") })
	deaths := func() int { return strings.Count(f.log.String(), "filter VM died") }
	if got := f.do("GET", "/", "", "X-Guest", "trap"); got.StatusCode != 503 || got.body != "" {
		t.Errorf("the request that killed it: %d %q", got.StatusCode, got.body)
	}
	eventually(t, "the death is logged", func() bool { return deaths() == 1 })
	for range 4 {
		if got := f.do("GET", "/", ""); got.StatusCode == 503 && got.body != "" {
			t.Errorf("afterwards: %q", got.body)
		}
	}
	if n := deaths(); n != 1 {
		t.Errorf("one death was logged %d times", n)
	}
}

func TestDeathInATickIsLogged(t *testing.T) {
	f := start(t, echo, func(c *bootstrap.Config) { c.Filters[0].Configuration = []byte("tick=5 trap-in-tick") })
	eventually(t, "both deaths are logged", func() bool { return strings.Count(f.log.String(), "filter VM died") == 2 })
}

func TestTrapOnTheResponsePath(t *testing.T) {
	f := start(t, echo, func(c *bootstrap.Config) { c.Filters[0].FailurePolicy = testenv.FailReload })
	if got := f.do("POST", "/", "x", "X-Guest", "trap-response"); got.StatusCode != 503 {
		t.Errorf("got %d, want 503", got.StatusCode)
	}
	if got := f.do("GET", "/", ""); got.StatusCode != 200 {
		t.Errorf("the other VM answered %d, want 200", got.StatusCode)
	}
}

// One VM's death must not touch a stream that another holds.
func TestTrapLeavesOtherVMsAlone(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	f := start(t, echo, withSide(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	})))
	held := make(chan answer, 1)
	go func() {
		got, err := f.try("GET", "/", "", "X-Guest", "call:/held")
		if err != nil {
			t.Error(err)
		}
		held <- got
	}()
	receive(t, "the callout", asked)
	if got := f.do("GET", "/", "", "X-Guest", "trap"); got.StatusCode != 503 {
		t.Errorf("trap: %d", got.StatusCode)
	}
	close(release)
	if got := receive(t, "the held request's answer", held); got.StatusCode != 200 {
		t.Errorf("held request: %d, want 200", got.StatusCode)
	}
}

func TestDrainLetsRequestsFinish(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-release
		_, _ = io.WriteString(w, "finished")
	}), nil)
	got := make(chan answer, 1)
	go func() {
		a, err := f.try("GET", "/", "")
		if err != nil {
			t.Error(err)
		}
		got <- a
	}()
	receive(t, "the request reaches the upstream", started)
	drained := make(chan error, 1)
	go func() { drained <- f.proxy.Drain(context.Background()) }()
	eventually(t, "new connections are refused", func() bool {
		conn, err := net.Dial("tcp", f.addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(release)
	if a := receive(t, "the answer", got); a.body != "finished" {
		t.Errorf("got %q", a.body)
	}
	if err := receive(t, "the end of the drain", drained); err != nil {
		t.Error(err)
	}
	eventually(t, "the stream ends", func() bool { return f.metric("guest.ended") == 1 })
}

func TestDrainCutsWhatTakesTooLong(t *testing.T) {
	started := make(chan struct{})
	f := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	}), nil)
	failed := make(chan error, 1)
	go func() {
		_, err := f.try("GET", "/", "")
		failed <- err
	}()
	receive(t, "the request reaches the upstream", started)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := f.proxy.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drain: %v, want a deadline exceeded", err)
	}
	if err := receive(t, "the client's error", failed); err == nil {
		t.Error("the client got an answer, want its connection cut")
	}
	eventually(t, "the stream ends", func() bool { return f.metric("guest.ended") == 1 })
}
