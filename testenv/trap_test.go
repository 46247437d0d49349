package testenv

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// fragile is the guest crasher under a policy.
func fragile(t testing.TB, policy FailurePolicy) Plugin {
	t.Helper()
	p := named(t, "crasher", "p")
	p.FailurePolicy = policy
	return p
}

// crash is a request with all parts, which kills the VM at one of them.
func crash(place string) Request {
	r := with("x-crash", place)
	r.Body, r.Trailers = []byte("abc"), []Header{{"x-end", "1"}}
	return r
}

var failed503 = Want{Decision: Answered, Status: 503, Details: "wasm_fail_stream", Headers: map[string]string{"content-length": ""}}

func TestWhatATrapDoesToItsStream(t *testing.T) {
	t.Parallel()
	answered := Want{Status: 503, Details: "wasm_fail_stream"}
	hangs, reset := Want{Err: ErrAbandoned}, Want{Err: ErrStreamReset}
	tests := []struct {
		place, callback string
		in133, in140    Want
	}{
		{"request", "proxy_on_request_headers", hangs, failed503},
		{"exit", "proxy_on_request_headers", hangs, failed503},
		{"body", "proxy_on_request_body", hangs, failed503},
		{"trailers", "proxy_on_request_trailers", hangs, failed503},
		{"response", "proxy_on_response_headers", answered, answered},
		{"response-body", "proxy_on_response_body", reset, reset},
		{"log", "proxy_on_log", Want{Status: 200}, Want{Status: 200}},
		{"callout", "proxy_on_http_call_response", hangs, hangs},
	}
	for _, tt := range tests {
		for _, profile := range []Profile{Envoy133, Envoy140} {
			t.Run(tt.place+" "+profile.Name, func(t *testing.T) {
				t.Parallel()
				h := New(t, Options{Profile: profile, Clusters: scripted(nil)}, fragile(t, FailClosed))
				h.Expect(ErrTrap)
				if !profile.TrapAnswers || tt.place == "callout" {
					h.Expect(ErrAbandoned)
				}
				dying, later := tt.in133, hangs
				if profile.TrapAnswers {
					dying, later = tt.in140, failed503
				}
				h.Check(t, crash(tt.place), dying)
				if err := h.workers[1].Dead(); !errors.Is(err, ErrTrap) || !strings.Contains(err.Error(), tt.callback) {
					t.Errorf("Dead() = %v, want it in %s", err, tt.callback)
				}
				h.Check(t, Request{}, later)
				h.Advance(24 * time.Hour)
				h.Check(t, Request{}, later)
				if done := logged(h.Logs(), "done"); len(done) > 0 && tt.place != "log" {
					t.Errorf("a dead VM was told %q", done)
				}
			})
		}
	}
}

// A VM that dies between the events of a stream is found dead by the next one.
func TestDeathOfAPausedStreamsVM(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Profile: Envoy140, Workers: 2, Clusters: scripted(Every(Play{Return: time.Second}))}, fragile(t, FailClosed))
	paused := func(chunked bool) *Exchange {
		r := Request{Worker: 1, Headers: with("x-crash", "wait").Headers}
		if chunked {
			r.Headers, r.Body, r.ChunkSize, r.ChunkGap = nil, []byte("ab"), 1, time.Second
		}
		return h.Start(r)
	}
	hanging, leaving, uploading := paused(false), paused(false), paused(true)
	h.Settle()
	h.Kill(1)
	h.Kill(1) // of the dead, nothing comes
	leaving.Reset()
	if err := leaving.Wait(t).Err; !errors.Is(err, ErrStreamClosed) {
		t.Errorf("the client that left got %v", err)
	}
	Want{Status: 503, Details: "wasm_fail_stream"}.Check(t, uploading.Wait(t))
	h.Expect(ErrAbandoned)
	r := hanging.Wait(t)
	Want{Err: ErrAbandoned, Callouts: []string{"control GET / 0"}}.Check(t, r)
	if r.Callouts[0].Answered {
		t.Error("a callout of the dead VM was answered")
	}
	failed503.Check(t, h.Do(t, Request{Worker: 1}))
	h.Check(t, Request{Worker: 2}, Want{Status: 200, Upstream: map[string]string{"x-seen": "1"}})
	if err := h.workers[1].Dead(); !errors.Is(err, ErrKilled) || !errors.Is(err, ErrTrap) || h.workers[2].Dead() != nil {
		t.Errorf("dead: %v and %v", err, h.workers[2].Dead())
	}
	if done := logged(h.Logs(), "done"); !slices.Equal(done, []string{"2 p done"}) {
		t.Errorf("the end of streams was heard by %q", done)
	}
}

func TestFailOpenLeavesTheFilterOut(t *testing.T) {
	t.Parallel()
	for _, profile := range []Profile{Envoy133, Envoy140} {
		h := New(t, Options{Profile: profile}, named(t, "tag", "a"), fragile(t, FailOpen), named(t, "tag", "b"))
		dying, expected := Want{Err: ErrAbandoned}, []error{ErrTrap, ErrAbandoned}
		if profile.TrapAnswers {
			dying, expected = failed503, expected[:1]
		}
		h.Expect(expected...)
		h.Check(t, crash("request"), dying)
		h.Check(t, Request{}, Want{
			Decision: Forwarded, Status: 200, Headers: map[string]string{"x-back": "b, a"},
			Upstream: map[string]string{"x-seen": "", "x-way": "a/2, b/1"}, LogsNot: []string{"done p"},
		})
	}
}

func TestReloadAfterTheBackoff(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Profile: Envoy140, ReloadBackoff: 10 * time.Second}, fragile(t, FailReload))
	h.Expect(ErrTrap)
	seen := func(n, counted int64) Want {
		return Want{Status: 200, Upstream: map[string]string{"x-seen": fmt.Sprint(n)}, Metrics: map[string]int64{"crasher.requests": counted}}
	}
	backoff := func(w Want, stat string) Want {
		w.Metrics = map[string]int64{"wasm.p.vm_reload_backoff": 0, "wasm.p.vm_reload_success": 0, "wasm.p.vm_reload_failure": 0}
		w.Metrics["wasm.p.vm_reload_"+stat] = 1
		return w
	}
	h.Check(t, Request{}, seen(1, 1))
	h.Check(t, with("x-crash", "ticks"), seen(2, 1))
	h.Advance(15 * time.Millisecond)
	h.Check(t, crash("request"), failed503)
	h.Advance(9900 * time.Millisecond)
	h.Check(t, Request{}, backoff(failed503, "backoff"))
	h.Advance(5100 * time.Millisecond)
	h.Check(t, Request{}, backoff(seen(1, 1), "success"))
	h.Check(t, Request{}, seen(2, 1))
	h.Advance(time.Hour)
	if got := logged(h.Logs(), "tick"); !slices.Equal(got, []string{"1 p tick 1"}) {
		t.Errorf("ticks %q: timers end with their VM", got)
	}
	// The backoff counts from the last start, not from the death: an old VM is replaced at once.
	h.Check(t, crash("request"), failed503)
	h.Check(t, Request{}, backoff(seen(1, 1), "success"))
	if got := h.Metric("crasher.requests"); got != 7 {
		t.Errorf("%d requests counted over three VMs, want 7", got)
	}
}

// One draw decides each check inside the part of the backoff that chance extends.
func TestBackoffIsDrawnAnew(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Profile: Envoy140, ReloadBackoff: 10 * time.Second}, fragile(t, FailReload))
	waits := map[int64]bool{}
	for range 20 {
		h.Kill(1)
		h.Advance(11 * time.Second) // a tenth of the draws let the VM start
		before := h.Metric("wasm.p.vm_reload_backoff")
		for h.Do(t, Request{}).Status != 200 {
		}
		waits[h.Metric("wasm.p.vm_reload_backoff")-before] = true
	}
	if len(waits) < 3 {
		t.Errorf("reloads waited for %v checks", waits)
	}
}

// A start that fails leaves the dead VM, and counts for the backoff as one that does not.
func TestReloadThatFails(t *testing.T) {
	t.Parallel()
	var own []string
	h := New(t, Options{Profile: Envoy140, Log: func(l LogRecord) { own = append(own, l.String()) }}, fragile(t, FailReload))
	h.Expect(ErrTrap)
	h.Check(t, with("x-crash", "poison"), Want{Status: 200, SharedData: map[string]string{"p/poison": "1"}})
	h.Kill(1)
	h.Advance(2 * time.Second)
	stat := func(name string) Want {
		w := failed503
		w.Metrics = map[string]int64{"wasm.p.vm_reload_failure": 0, "wasm.p.vm_reload_backoff": 0}
		w.Metrics["wasm.p.vm_reload_"+name] = 1
		return w
	}
	h.Check(t, Request{}, stat("failure"))
	h.Check(t, Request{}, stat("backoff"))
	h.Advance(2 * time.Second)
	h.Check(t, Request{}, stat("failure"))
	if !slices.ContainsFunc(own, func(l string) bool { return strings.Contains(l, "VM not restarted") }) {
		t.Errorf("the log says %q", own)
	}
	h.shared.deleteVMID("p")
	h.Advance(2 * time.Second)
	h.Check(t, Request{}, Want{Status: 200, Upstream: map[string]string{"x-seen": "1"}, Metrics: map[string]int64{"wasm.p.vm_reload_success": 1}})
}

// Answers to the old VM's callouts are nobody's.
func TestReloadedVMHearsNothingOfTheOldOnes(t *testing.T) {
	t.Parallel()
	var transcript strings.Builder
	h := New(t, Options{
		Profile: Envoy140, Transcript: &transcript, Clusters: scripted(Every(Play{Return: time.Minute})),
	}, fragile(t, FailReload))
	waiting := h.Start(with("x-crash", "wait"))
	h.Advance(2 * time.Second)
	h.Kill(1)
	h.Check(t, Request{}, Want{Status: 200, Upstream: map[string]string{"x-seen": "1"}})
	h.Advance(2 * time.Minute)
	waiting.Reset()
	if r := waiting.Wait(t); r.Callouts[0].Answered || strings.Contains(transcript.String(), "on_http_call_response") {
		t.Errorf("the answer reached somebody: %+v", r.Callouts)
	}
}

func TestStartsThatFail(t *testing.T) {
	t.Parallel()
	panicking, refusing := named(t, "crasher", "panic"), named(t, "tag", "refuse")
	refusedVM := named(t, "tag", "a")
	refusedVM.VMConfiguration = []byte("refuse")
	for name, tt := range map[string]struct {
		plugin   Plugin
		sentinel error
		text     string
	}{
		"plugin": {refusing, ErrConfigurationRefused, "info: plugin start refuse"},
		"vm":     {refusedVM, ErrConfigurationRefused, "proxy_on_vm_start returned false"},
		"panic":  {panicking, ErrTrap, "told to die at the start"},
	} {
		w, err := NewWorker(t.Context(), WorkerOptions{Profile: Envoy140}, tt.plugin)
		if !errors.Is(err, tt.sentinel) || w != nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: worker %v, %v; want %v with %q", name, w, err, tt.sentinel, tt.text)
		}
	}
}

func TestMemoryLimitEndsTheVM(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Profile: Envoy140, MemoryLimitPages: 256}, fragile(t, FailClosed))
	h.Expect(ErrTrap)
	for range 5 {
		h.Do(t, with("x-crash", "memory"))
	}
	if err := h.workers[1].Dead(); !errors.Is(err, ErrTrap) {
		t.Errorf("16 MiB of memory held five pieces of 4 MiB: %v", err)
	}
	if got := h.MemoryBytes(); got > 256<<16 {
		t.Errorf("memory grew to %d", got)
	}
}
