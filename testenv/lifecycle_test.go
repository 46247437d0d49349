package testenv

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// byThread are the messages of one thread.
func byThread(h *Host, thread int) []string {
	var list []string
	for _, l := range h.Logs() {
		if l.Worker == thread {
			list = append(list, l.Message)
		}
	}
	return list
}

// A plugin's start with both configurations and its environment: in the canary first, which has no end, then on the worker.
func TestStartAndEndOfAPlugin(t *testing.T) {
	t.Setenv("TESTENV_HOST_ONLY", "leak")
	var h *Host
	t.Run("host", func(t *testing.T) {
		h = New(t, Options{}, Plugin{
			Filter: guest(t, "lifecycle"), VMConfiguration: []byte("vm"), Configuration: []byte("tick=60000"),
			Env: map[string]string{"B": "2", "A": "1=x"},
		})
	})
	start := []string{
		`create plugin 1 "tick=60000"`, `vm start 2 "vm"`, `plugin start 10 "tick=60000" "vm"`, `env ["A=1=x" "B=2"]`,
	}
	if diff := cmp.Diff(start, byThread(h, CanaryThread)); diff != "" {
		t.Errorf("canary (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(append(start, "plugin done"), byThread(h, 1)); diff != "" {
		t.Errorf("worker (-want +got):\n%s", diff)
	}

	h = newGuest(t, "lifecycle", "", Options{})
	if diff := cmp.Diff([]string{`create plugin 1 ""`, `vm start 0 ""`, `plugin start 0 "" ""`, "env []"}, byThread(h, 1)); diff != "" {
		t.Errorf("without anything (-want +got):\n%s", diff)
	}
}

func TestConfigurationRefused(t *testing.T) {
	t.Parallel()
	quiet := Envoy133
	quiet.PollOneoff = PollZero // otherwise Go's panic throws before it has said why
	tests := []struct {
		name     string
		plugin   Plugin
		sentinel error
		text     string
	}{
		{"plugin", Plugin{Configuration: []byte("refuse=routes")}, ErrConfigurationRefused, `error: field "routes": not understood`},
		{"vm", Plugin{VMConfiguration: []byte("refuse")}, ErrConfigurationRefused, "proxy_on_vm_start returned false"},
		{"panic", Plugin{Configuration: []byte("panic")}, ErrTrap, "told to panic at start"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.plugin.Filter, tt.plugin.Name = guest(t, "lifecycle"), "life"
			w, err := NewWorker(t.Context(), WorkerOptions{Profile: quiet}, tt.plugin)
			if !errors.Is(err, tt.sentinel) || w != nil {
				t.Fatalf("worker %v, %v", w, err)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), `plugin "life"`) {
				t.Errorf("error %q lacks %q", err, tt.text)
			}
		})
	}
}

func TestCallsOfAStreamInEnvoysOrder(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "raw", "", Options{})
	h.Do(t, Request{})
	h.Do(t, Request{})
	// A stream that ends before it began is created for its log.
	x := h.Start(Request{})
	x.Reset()
	want := []string{
		"create 1 0",
		"create 2 1", "log 2", "done 2", "delete 2",
		"create 3 1", "log 3", "done 3", "delete 3",
	}
	if got := byThread(h, 1); !slices.Equal(got[:min(len(got), len(want))], want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

// Every filter logs before any of them is done.
func TestFiltersLogBeforeTheyAreDone(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, Plugin{Filter: guest(t, "raw"), Name: "a", VMID: "a"}, Plugin{Filter: guest(t, "raw"), Name: "b", VMID: "b"})
	r := h.Do(t, Request{})
	var got []string
	for _, l := range r.Logs {
		got = append(got, l.Plugin+" "+l.Message)
	}
	want := []string{
		"a create 2 1", "b create 2 1", "a log 2", "b log 2", "a done 2", "a delete 2", "b done 2", "b delete 2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// A plugin that asks for more time when it ends does not get it: it is not deleted.
func TestPluginThatIsNotDone(t *testing.T) {
	t.Parallel()
	var h *Host
	t.Run("host", func(t *testing.T) { h = newGuest(t, "raw", "done-later", Options{}) })
	if got := byThread(h, 1); !slices.Equal(got, []string{"create 1 0", "done 1"}) {
		t.Errorf("calls %q", got)
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "lifecycle", "tick=50 stop=3", Options{Workers: 2})
	ticks := func(worker int) int {
		return len(slices.DeleteFunc(byThread(h, worker), func(m string) bool { return !strings.HasPrefix(m, "tick") }))
	}
	for _, step := range []struct {
		by   time.Duration
		want int
	}{{49 * time.Millisecond, 0}, {time.Millisecond, 1}, {49 * time.Millisecond, 1}, {time.Millisecond, 2}, {time.Minute, 3}} {
		h.Advance(step.by)
		if a, b := ticks(1), ticks(2); a != step.want || b != step.want {
			t.Errorf("after %v: %d and %d ticks, want %d", step.by, a, b, step.want)
		}
	}
	if n := ticks(CanaryThread); n != 0 {
		t.Errorf("the canary was ticked %d times", n)
	}

	// A stream may start the timer again: on its own worker, from now on.
	h.Do(t, Request{Path: "/tick=20", Worker: 2})
	h.Advance(15 * time.Millisecond)
	h.Do(t, Request{Path: "/tick=20", Worker: 2})
	h.Advance(15 * time.Millisecond)
	if a, b := ticks(1), ticks(2); a != 3 || b != 3 {
		t.Errorf("%d and %d ticks, want none new: setting the period starts it anew", a, b)
	}
	h.Advance(5 * time.Millisecond)
	if a, b := ticks(1), ticks(2); a != 3 || b != 4 {
		t.Errorf("%d and %d ticks, want one new on worker 2", a, b)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	var seen []string
	h := New(t, Options{Log: func(l LogRecord) {
		if l.Worker == 1 {
			seen = append(seen, fmt.Sprint(l.Plugin, " ", l))
		}
	}}, Plugin{Filter: guest(t, "lifecycle"), Name: "life"})
	r := h.Do(t, Request{Path: "/levels"})
	var got []string
	for _, l := range r.Logs {
		got = append(got, l.String())
	}
	want := []string{"trace: 0", "debug: 1", "info: 2", "warn: 3", "error: 4", "critical: 5", "info: out", "error: err"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
	if len(seen) != 4+len(want) || seen[4] != "life trace: 0" {
		t.Errorf("Options.Log was told %q", seen)
	}
}

// A panic's text comes through standard error.
func TestPanicIsLogged(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "lifecycle", "", Options{Profile: Envoy140})
	h.Expect(ErrTrap)
	h.Check(t, Request{Path: "/panic"}, Want{Decision: Answered, Status: 503, Details: "wasm_fail_stream", Logs: []string{"told to panic"}})

	h = newGuest(t, "lifecycle", "", Options{Profile: Envoy140})
	h.Expect(ErrTrap)
	h.Check(t, Request{Path: "/exit"}, Want{Decision: Answered, Status: 503})
}

func TestClocksAreVirtual(t *testing.T) {
	t.Parallel()
	clock := NewClock(time.Unix(1_700_000_000, 5))
	h := newGuest(t, "lifecycle", "", Options{Clock: clock})
	q := Request{Path: "/clock"}
	h.Check(t, q, Want{Logs: []string{"wall 1700000000000000005 mono 0s"}})
	h.Advance(2 * time.Second)
	clock.StepWall(-time.Hour)
	h.Check(t, q, Want{Logs: []string{"wall 1699996402000000005 mono 2s"}})
}

func TestForeignFunctionIsAFault(t *testing.T) {
	t.Parallel()
	s := stand(t, func(s *standIn) {
		h := New(s, Options{}, Plugin{Filter: guest(t, "lifecycle")})
		r := h.Do(s, Request{Path: "/foreign"})
		if want := "foreign error status returned by host: unimplemented"; !slices.Contains(messages(r.Logs), want) {
			t.Errorf("the filter was told %q", messages(r.Logs))
		}
	})
	if len(s.errors) != 1 || !strings.Contains(s.told(), "proxy_call_foreign_function compress") {
		t.Errorf("the test was told %q", s.told())
	}
}

// What is asked for while a stream ends moves nothing any more.
func TestTheEndOfAStreamIsFinal(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "local", "", Options{})
	x := h.Start(with("x-at", "park log"))
	h.Settle()
	x.Reset()
	if r := x.Wait(t); !errors.Is(r.Err, ErrStreamClosed) || r.Status != 0 {
		t.Errorf("status %d, %v", r.Status, r.Err)
	}
}
