package testenv

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newWorker starts a worker and closes it with the test.
func newWorker(t testing.TB, o WorkerOptions, plugins ...Plugin) *Worker {
	t.Helper()
	w, err := NewWorker(t.Context(), o, plugins...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func newStream(t testing.TB, w *Worker, o StreamOptions) *Stream {
	t.Helper()
	s, err := w.NewStream(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func done(t testing.TB, s *Stream) {
	t.Helper()
	for range 2 { // it is idempotent
		if err := s.Done(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// requestMap is a request's header map with more headers, given as name and value by turns.
func requestMap(path string, pairs ...string) []Header {
	r := with(pairs...)
	r.Path = path
	return r.withDefaults().headers()
}

// stepped is what a step returned.
type stepped struct {
	result StepResult
	err    error
}

// aside starts a step that may block.
func aside(step func() (StepResult, error)) <-chan stepped {
	c := make(chan stepped, 1)
	go func() {
		r, err := step()
		c <- stepped{r, err}
	}()
	return c
}

// gated is a cluster that answers when told to.
type gated chan struct{}

func (g gated) Call(ctx context.Context, _ *CalloutRequest) (*CalloutResponse, error) {
	select {
	case <-g:
		return &CalloutResponse{Headers: []Header{{":status", "200"}}}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble runs a test in time that passes only when everybody waits.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	for _, name := range []string{"local", "callouts", "bodies", "headers", "raw", "lifecycle"} {
		guest(t, name) // built and compiled outside
	}
	synctest.Test(t, f)
}

func TestWorkerOptionsAreChecked(t *testing.T) {
	t.Parallel()
	p := Plugin{Filter: guest(t, "headers")}
	for name, o := range map[string]WorkerOptions{
		"memory": {MemoryLimitPages: 65537}, "callout": {MaxCalloutBytes: -1}, "backoff": {ReloadBackoff: -1},
	} {
		if _, err := NewWorker(t.Context(), o, p); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := newWorker(t, WorkerOptions{}, p)
	if _, err := w.NewStream(t.Context(), StreamOptions{MaxBufferBytes: -1}); !errors.Is(err, ErrOptions) {
		t.Errorf("stream: %v", err)
	}
	for name, p := range map[string]Plugin{"no filter": {}, "policy": {Filter: p.Filter, FailurePolicy: 9}, "option": {Filter: p.Filter, AllowOnHeadersStopIteration: true}} {
		if _, err := NewWorker(t.Context(), WorkerOptions{}, p); !errors.Is(err, ErrPlugin) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCloseCancelsCalloutsWithoutCallback(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var logs []string
		w := newWorker(t, WorkerOptions{
			Clusters: map[string]Cluster{"control": make(gated)}, Log: func(_ string, _ Level, m string) { logs = append(logs, m) },
		}, Plugin{Filter: guest(t, "raw"), Configuration: []byte("call")})
		s := newStream(t, w, StreamOptions{})
		ended := aside(func() (StepResult, error) {
			return s.RequestHeaders(context.Background(), requestMap("/"), true)
		})
		synctest.Wait()
		if w.MemoryBytes() == 0 {
			t.Error("no memory before Close")
		}
		for range 2 {
			if err := w.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if o := <-ended; !errors.Is(o.err, ErrStreamClosed) {
			t.Errorf("the paused step returned %v", o.err)
		}
		if _, err := w.NewStream(t.Context(), StreamOptions{}); !errors.Is(err, ErrClosed) {
			t.Errorf("NewStream after Close: %v", err)
		}
		if err := w.Tick(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Tick after Close: %v", err)
		}
		if diff := cmp.Diff([]string{"create 1 0", "create 2 1", "call 0", "log 2", "done 2", "delete 2", "done 1", "delete 1"}, logs); diff != "" {
			t.Errorf("the guest was called (-want +got):\n%s", diff)
		}
		if n := w.MemoryBytes(); n != 0 {
			t.Errorf("%d bytes of memory after Close", n)
		}
	})
}

// Programs turn the ticks themselves.
func TestWorkerTicks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ticks int
		w := newWorker(t, WorkerOptions{Log: func(string, Level, string) { ticks++ }},
			Plugin{Filter: guest(t, "lifecycle"), Configuration: []byte("tick=250 stop=2")})
		ticks = 0
		step := func(by time.Duration, want int, until time.Duration, more bool) {
			t.Helper()
			time.Sleep(by) // of the bubble: no time passes
			if err := w.Tick(t.Context()); err != nil {
				t.Error(err)
			}
			if got, ok := w.UntilTick(); ticks != want || got != until || ok != more {
				t.Errorf("%d ticks, the next in %v %t, want %d, %v %t", ticks, got, ok, want, until, more)
			}
		}
		step(0, 0, 250*time.Millisecond, true)
		step(100*time.Millisecond, 0, 150*time.Millisecond, true)
		step(150*time.Millisecond, 1, 250*time.Millisecond, true)
		step(time.Hour, 2, 0, false)
	})
}

func TestDeadWorker(t *testing.T) {
	t.Parallel()
	var deaths []error
	w := newWorker(t, WorkerOptions{Profile: Envoy140, OnDeath: func(err error) { deaths = append(deaths, err) }}, Plugin{Filter: guest(t, "lifecycle")})
	for _, path := range []string{"/panic", "/"} {
		s := newStream(t, w, StreamOptions{})
		r, err := s.RequestHeaders(t.Context(), requestMap(path), true)
		if err != nil || r.Local == nil || r.Local.Status != 503 || r.Local.Details != "wasm_fail_stream" {
			t.Errorf("%s: %+v, %v", path, r, err)
		}
		done(t, s)
	}
	if err := w.Dead(); !errors.Is(err, ErrTrap) || len(deaths) != 1 {
		t.Errorf("Dead() = %v, told of %d deaths", err, len(deaths))
	}
	if err := w.Tick(t.Context()); err != nil {
		t.Errorf("a dead VM is not ticked: %v", err)
	}
	if _, more := w.UntilTick(); more {
		t.Error("a dead VM has no ticks")
	}
}

// Stream contexts and everything else that is kept per stream go when the stream does.
func TestWorkerKeepsNothingOfStreams(t *testing.T) {
	t.Parallel()
	w := newWorker(t, WorkerOptions{}, Plugin{Filter: guest(t, "local")})
	for i := range 500 {
		s := newStream(t, w, StreamOptions{})
		if _, err := s.RequestHeaders(t.Context(), requestMap("/"+strconv.Itoa(i), "x-at", []string{"", "request-headers"}[i%2]), true); err != nil {
			t.Fatal(err)
		}
		done(t, s)
	}
	vm := w.slots[0].vm
	if a, b, c, d := len(w.streams), len(vm.contexts), len(vm.callouts), len(vm.deferred); a+b+c+d != 0 {
		t.Errorf("streams %d, contexts %d, callouts %d, deferred %d", a, b, c, d)
	}
}
