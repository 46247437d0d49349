package testenv

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestTrapAnswers503EverywhereAndForEver(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"panic", "exit"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cluster := newGated()
			h := newProbe(t, Options{Clusters: map[string]Cluster{"control": cluster}})
			h.ExpectTrap()
			live := make(chan Response, 1)
			go func() { live <- h.Do(t, do("callout", Header{"x-cluster", "control"})) }()
			<-cluster.begun
			waitFor(t, func() bool { return h.VM().waitingStreams() == 1 })
			for name, r := range map[string]Response{"trapped": h.Do(t, do(how)), "live": <-live, "later": h.Do(t, Request{})} {
				if r.Status != 503 || !r.Local || r.Details != "wasm_fail_stream" || len(r.Body) != 0 {
					t.Errorf("%s stream: %d local %t %q %q", name, r.Status, r.Local, r.Details, r.Body)
				}
			}
			if err := h.VM().Dead(); !errors.Is(err, ErrTrap) || !strings.Contains(err.Error(), "proxy_on_request_headers") {
				t.Errorf("Dead() = %v", err)
			}
			if err := h.VM().Tick(t.Context()); !errors.Is(err, ErrTrap) {
				t.Errorf("Tick on a dead VM: %v", err)
			}
		})
	}
}

func TestTrapFailsTheTest(t *testing.T) {
	t.Parallel()
	var faults faultLog
	vm, err := guestFilter(t, probeWASM).NewVM(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{t: &faults, vm: vm, record: &recorder{}, opts: Options{}}
	h.Do(t, do("panic"))
	if _, err := vm.NewStream(t.Context(), StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	h.close()
	told := strings.Join(faults.all(), "\n")
	if !strings.Contains(told, ErrTrap.Error()) || !strings.Contains(told, "1 streams were never Done") {
		t.Errorf("the test was told %q", told)
	}
}

func TestUnimplementedHostcallIsAFault(t *testing.T) {
	t.Parallel()
	for what, call := range map[string]string{
		"foreign": "proxy_call_foreign_function compress", "queue": "proxy_register_shared_queue",
	} {
		h := newProbe(t, Options{})
		var faults faultLog
		h.t = &faults
		r := h.Do(t, do(what))
		if got := r.Upstream.Header("x-" + what); got != "error status returned by host: unimplemented" {
			t.Errorf("%s: the filter was told %q", what, got)
		}
		if got := strings.Join(faults.all(), "\n"); !strings.Contains(got, call) {
			t.Errorf("%s: the test was told %q", what, got)
		}
	}
}

func TestConfigurationRefused(t *testing.T) {
	t.Parallel()
	f := guestFilter(t, probeWASM)
	tests := []struct {
		name     string
		o        Options
		sentinel error
		text     string
	}{
		{"plugin", Options{PluginConfiguration: []byte("refuse=routes")}, ErrConfigurationRefused, `error: field "routes": not understood`},
		{"vm", Options{VMConfiguration: []byte("refuse")}, ErrConfigurationRefused, "proxy_on_vm_start returned false"},
		{"panic", Options{PluginConfiguration: []byte("panic"), PollOneoff: PollZero}, ErrTrap, "told to panic at start"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			vm, err := f.NewVM(t.Context(), tt.o)
			if !errors.Is(err, tt.sentinel) || vm != nil {
				t.Fatalf("vm %v err %v", vm, err)
			}
			if !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %q lacks %q", err, tt.text)
			}
		})
	}
}

func TestMemoryLimitEndsTheVM(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{MemoryLimitPages: 160, PluginConfiguration: []byte("churn=8000000")})
	h.ExpectTrap()
	for range 4 {
		h.Do(t, Request{})
	}
	if err := h.VM().Dead(); !errors.Is(err, ErrTrap) {
		t.Errorf("10 MiB of memory held several pieces of 8 MB: %v", err)
	}
	if got := h.VM().MemoryBytes(); got > 160<<16 {
		t.Errorf("memory grew to %d", got)
	}
}

func TestAllocatorMayMakeFewHostcalls(t *testing.T) {
	t.Parallel()
	h := newRaw(t, "alloc-log", Options{})
	h.Do(t, Request{})
	if err := h.VM().Dead(); err != nil {
		t.Errorf("logging while allocating ended the VM: %v", err)
	}
	h = newRaw(t, "alloc-time", Options{})
	h.ExpectTrap()
	if r := h.Do(t, Request{}); r.Status != 503 {
		t.Errorf("status %d", r.Status)
	}
	if err := h.VM().Dead(); !errors.Is(err, ErrRestricted) || !strings.Contains(err.Error(), "proxy_get_current_time_nanoseconds") {
		t.Errorf("Dead() = %v", err)
	}
	h = newRaw(t, "alloc-null", Options{})
	h.Do(t, Request{})
	found := false
	for _, m := range messages(h.Logs()) {
		found = found || strings.HasPrefix(m, "pairs 6 ")
	}
	if !found {
		t.Errorf("an allocator that returns null must fail the hostcall with InvalidMemoryAccess: %q", messages(h.Logs()))
	}
}

// The reason for the runtime overlay of the real filter: Go's own poll_oneoff call ends the VM on
// Envoy 1.33, and nowhere else.
func TestPollOneoffModes(t *testing.T) {
	t.Parallel()
	for mode, survives := range map[PollMode]bool{PollENOSYS: false, PollZero: true, PollFull: true} {
		h := newProbe(t, Options{PollOneoff: mode, PluginConfiguration: []byte("timer churn=8192")})
		h.ExpectTrap()
		for i := 0; i < 2000 && h.VM().Dead() == nil; i++ {
			q := Request{}
			if i%20 == 0 {
				q = do("gc")
			}
			h.Do(t, q)
		}
		if err := h.VM().Dead(); (err == nil) != survives {
			t.Errorf("mode %d: survives %t, want %t (%v)", mode, err == nil, survives, err)
		}
	}
}

// Stream contexts, callouts and everything else kept per stream go when the stream does.
func TestNothingGrowsWithStreams(t *testing.T) {
	t.Parallel()
	vm, err := guestFilter(t, probeWASM).NewVM(t.Context(), Options{Clusters: map[string]Cluster{"control": answering(200, "")}})
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{t: t, vm: vm, record: &recorder{}, opts: Options{}}
	t.Cleanup(h.close)
	kinds := []Request{do(""), do("local"), do("callout", Header{"x-cluster", "control"}), do("property")}
	var settled uint64
	for i := range 10_000 {
		s, err := vm.NewStream(t.Context(), StreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.RequestHeaders(context.Background(), kinds[i%len(kinds)].withDefaults().headers(), true); err != nil {
			t.Fatal(err)
		}
		if err := s.Done(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == 5_000 {
			settled = vm.MemoryBytes()
		}
	}
	vm.sending.Wait()
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if a, b, c, d, e := len(vm.streams), len(vm.waiting), len(vm.callouts), len(vm.deferred), len(vm.metrics); a+b+c+d != 0 || e != 3 {
		t.Errorf("streams %d, waiting %d, callouts %d, deferred %d, metrics %d", a, b, c, d, e)
	}
	if got := uint64(vm.module.Memory().Size()); got > settled+4<<20 {
		t.Errorf("guest memory grew from %d to %d over 5,000 streams", settled, got)
	}
}
