package testenv

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// logged are the records as "worker plugin message", without those that have none of the parts.
func logged(records []LogRecord, parts ...string) []string {
	var list []string
	for _, r := range records {
		if slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(r.Message, part) }) {
			list = append(list, fmt.Sprintf("%d %s %s", r.Worker, r.Plugin, r.Message))
		}
	}
	return list
}

func TestChainOrder(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, named(t, "tag", "a"), named(t, "tag", "b"), named(t, "tag", "c"))
	r := h.Check(t, Request{}, Want{
		Decision: Forwarded,
		Upstream: map[string]string{"x-way": "a/1, b/1, c/1"}, Headers: map[string]string{"x-back": "c, b, a"},
	})
	want := []string{"1 a request a", "1 b request b", "1 c request c", "1 a done a", "1 b done b", "1 c done c"}
	if diff := cmp.Diff(want, logged(r.Logs, "request", "done")); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
	// A filter that never saw the request is left out of the response, and created for the log.
	r = h.Check(t, with("x-answer", "b"), Want{
		Decision: Answered, Status: 403, Body: "b", Headers: map[string]string{"x-back": "b, a"},
	})
	want = []string{"1 a request a", "1 b request b", "1 a done a", "1 b done b", "1 c done c"}
	if diff := cmp.Diff(want, logged(r.Logs, "request", "done")); diff != "" {
		t.Errorf("logs of an answered request (-want +got):\n%s", diff)
	}
	h.Check(t, with("x-answer", "c"), Want{Headers: map[string]string{"x-back": "c, b, a"}})
}

func TestPluginsShareAVM(t *testing.T) {
	t.Parallel()
	a, b := named(t, "tag", "a"), named(t, "tag", "b")
	tests := []struct {
		name   string
		change func(b *Plugin)
		way    string
		starts []string // of worker 1
	}{
		{"all the same", func(*Plugin) {}, "a/1, b/2", []string{"vm start config", "plugin start a", "vm start config", "plugin start b"}},
		{"other root id", func(b *Plugin) { b.RootID = "other" }, "a/1, b/2", nil},
		{"other vm_id", func(b *Plugin) { b.VMID = "other" }, "a/1, b/1", nil},
		{"other configuration", func(b *Plugin) { b.VMConfiguration = nil }, "a/1, b/1", []string{"vm start config", "plugin start a", "vm start ", "plugin start b"}},
		{"other module", func(b *Plugin) { b.Filter = guest(t, "sloppy") }, "a/1", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, b := a, b
			a.VMID, b.VMID = "vm", "vm"
			a.VMConfiguration, b.VMConfiguration = []byte("config"), []byte("config")
			tt.change(&b)
			h := New(t, Options{}, a, b)
			h.Check(t, Request{}, Want{Upstream: map[string]string{"x-way": tt.way}})
			var starts []string
			for _, l := range h.Logs() {
				if l.Worker == 1 && strings.Contains(l.Message, "start") {
					starts = append(starts, l.Message)
				}
			}
			if tt.starts != nil && !slices.Equal(starts, tt.starts) {
				t.Errorf("starts %q, want %q", starts, tt.starts)
			}
		})
	}
}

// Plugins of one VM die together, those of others do not notice.
func TestDeathIsTheVMs(t *testing.T) {
	t.Parallel()
	a, b, crasher := named(t, "tag", "a"), named(t, "tag", "b"), named(t, "crasher", "c")
	other := crasher
	other.Name = "d"
	h := New(t, Options{Profile: Envoy140}, a, crasher, b, other)
	h.Expect(ErrTrap)
	h.Check(t, with("x-crash", "request"), Want{Status: 503, Details: "wasm_fail_stream", Headers: map[string]string{"x-back": "a"}})
	dead := 0
	for _, s := range h.workers[1].slots {
		if s.vm.dead != nil {
			dead++
		}
	}
	if dead != 1 || len(h.workers[1].slots) != 3 {
		t.Errorf("%d of %d VMs are dead, want 1 of 3", dead, len(h.workers[1].slots))
	}
}

func TestEachWorkerHasItsVM(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Workers: 3, Seed: 5}, named(t, "tag", "a"))
	for worker, requests := range []int{0, 2, 1, 3} {
		for n := range requests {
			h.Check(t, Request{Worker: worker}, Want{Upstream: map[string]string{"x-way": fmt.Sprintf("a/%d", n+1)}})
		}
	}
	served := map[int]int{}
	for range 60 {
		r := h.Do(t, Request{})
		served[r.Logs[0].Worker]++
	}
	if len(served) != 3 || served[1] < 5 || served[2] < 5 || served[3] < 5 {
		t.Errorf("the seed let the workers serve %v", served)
	}
}

func TestMainThread(t *testing.T) {
	t.Parallel()
	plugin := named(t, "counter", "p")
	plugin.Configuration = []byte("start tick")
	for _, tt := range []struct {
		main          bool
		starts, ticks string
	}{{false, "3", "20"}, {true, "4", "30"}} {
		h := New(t, Options{Workers: 2, MainThread: tt.main}, plugin)
		h.Advance(1050 * time.Millisecond)
		starts, _ := h.SharedData().Value("p", "starts")
		ticks, _ := h.SharedData().Value("p", "ticks")
		if starts != tt.starts || ticks != tt.ticks {
			t.Errorf("main thread %t: %s starts, %s ticks, want %s and %s", tt.main, starts, ticks, tt.starts, tt.ticks)
		}
	}
	h := New(t, Options{Workers: 2, MainThread: true}, named(t, "tag", "a"))
	for range 30 {
		if r := h.Do(t, Request{}); r.Logs[0].Worker == MainThread {
			t.Fatal("the main thread served a stream")
		}
	}
	if h.MemoryBytes() != 3*New(t, Options{}, named(t, "tag", "a")).MemoryBytes() {
		t.Errorf("three threads hold %d bytes", h.MemoryBytes())
	}
	h.Kill(MainThread)
	h.Check(t, Request{}, Want{Status: 200})
}

// What a canary shares, counts and logs stays; its timers, queues and callouts go with it, and it hears of no end.
func TestCanary(t *testing.T) {
	t.Parallel()
	counter := named(t, "counter", "p")
	counter.Configuration = []byte("start tick queue")
	h := New(t, Options{}, counter)
	if got := h.SharedQueues().byToken; len(got) != 1 {
		t.Errorf("%d queues", len(got))
	}
	h.Check(t, with("x-do", "enqueue", "x-value", "v"), Want{Status: 200})
	h.Settle()
	if got := logged(h.Logs(), "took"); !slices.Equal(got, []string{"1 p took v"}) {
		t.Errorf("the queue was heard by %q", got)
	}

	h = New(t, Options{}, named(t, "tag", "a"))
	want := []string{"-1 a plugin start a", "1 a plugin start a"}
	if got := logged(h.Logs(), "plugin"); !slices.Equal(got, want) {
		t.Errorf("logs %q, want %q", got, want)
	}
	h.Replace(named(t, "tag", "b"))
	want = append(want, "-1 b plugin start b", "1 b plugin start b", "1 a plugin done a")
	if got := logged(h.Logs(), "plugin"); !slices.Equal(got, want) {
		t.Errorf("logs %q, want %q", got, want)
	}

	server := &ledger{}
	gate := named(t, "gate", "start")
	h = New(t, Options{Clusters: map[string]Cluster{"control": server}}, gate)
	h.Advance(time.Minute)
	if got := server.paths(); !slices.Equal(got, []string{"/start"}) {
		t.Errorf("the server got %q, want the worker's call alone", got)
	}
	records := h.Callouts()
	if len(records) != 2 || records[0].Worker != CanaryThread || records[0].Answered || records[1].Worker != 1 || records[1].Status != 200 {
		t.Errorf("callouts %+v", records)
	}
}

func TestQueueAcrossVMs(t *testing.T) {
	t.Parallel()
	owner, user := named(t, "counter", "p"), named(t, "counter", "q")
	owner.Configuration, user.Configuration = []byte("queue"), nil
	user.VMID = "p"
	user.VMConfiguration = []byte("another VM")
	for seed := range uint64(3) {
		h := New(t, Options{Workers: 3, Seed: seed}, owner, user)
		var open []*Exchange
		for i := range 12 {
			open = append(open, h.Start(with("x-do", "enqueue", "x-value", fmt.Sprint(i))))
		}
		for _, x := range open {
			Want{Status: 200}.Check(t, x.Wait(t))
		}
		h.Settle()
		took := logged(h.Logs(), "took")
		// Both plugins of a request add; the last worker to register hears of each value once.
		if len(took) != 24 || h.SharedQueues().Len("p", "work") != 0 || h.Metric("counter.taken") != 24 {
			t.Errorf("seed %d: took %q, %d left", seed, took, h.SharedQueues().Len("p", "work"))
		}
		for _, l := range took {
			if !strings.HasPrefix(l, "3 p took") {
				t.Errorf("seed %d: %q: not the last to register", seed, l)
			}
		}
	}
	other := owner
	other.VMID, other.Configuration = "elsewhere", nil
	h := New(t, Options{}, other)
	h.Check(t, with("x-do", "enqueue"), Want{Status: 500, BodyHas: []string{"not found"}})
}

func TestSharedDataIsTheVMIDs(t *testing.T) {
	t.Parallel()
	a, b := named(t, "counter", "a"), named(t, "counter", "b")
	h := New(t, Options{Workers: 2}, a, b)
	for worker := 1; worker <= 2; worker++ {
		n := fmt.Sprint(worker)
		h.Check(t, Request{Worker: worker, Headers: with("x-do", "add").Headers}, Want{SharedData: map[string]string{"a/n": n, "b/n": n, "c/n": ""}})
	}
}

// What has to be torn down by a change of configuration, in order: streams, plugins, callouts; and what stays.
func TestReplace(t *testing.T) {
	t.Parallel()
	server := &ledger{}
	slow := &Script{Cluster: server, Plan: Every(Play{Delay: time.Second, Return: time.Second})}
	tag, gate, counter := named(t, "tag", "a"), named(t, "gate", "b"), named(t, "counter", "kept")
	gone := named(t, "counter", "gone")
	h := New(t, Options{Workers: 2, Clusters: map[string]Cluster{"control": slow}}, tag, gate, counter, gone)
	h.Check(t, with("x-do", "add", "x-calls", "0"), Want{SharedData: map[string]string{"kept/n": "1", "gone/n": "1"}})
	var open []*Exchange
	for worker := 1; worker <= 2; worker++ {
		open = append(open, h.Start(Request{Worker: worker, Headers: with("x-timeout", "5000").Headers}))
	}
	h.Advance(1500 * time.Millisecond) // the server has acted, its answer is on the way
	unsent := h.Start(Request{})
	before := len(h.Logs())
	h.Replace(named(t, "tag", "n"), counter)
	for _, x := range open {
		if !x.Ended() {
			t.Error("a stream of the old filters is still open")
		}
		if r := x.Wait(t); r.Err == nil || r.Status != 0 || r.Callouts[0].Answered {
			t.Errorf("a stream of the old filters: %+v", r)
		}
	}
	// Only these two have anything to log at the end, and the streams come before their plugins.
	want := []string{"1 a done a", "1 a plugin done a", "2 a done a", "2 a plugin done a"}
	if got := logged(h.Logs()[before:], "done a"); !slices.Equal(got, want) {
		t.Errorf("the old plugins' ends: %q, want %q", got, want)
	}
	Want{Status: 200, Upstream: map[string]string{"x-way": "n/1"}}.Check(t, unsent.Wait(t))
	h.Check(t, with("x-do", "add"), Want{SharedData: map[string]string{"kept/n": "2", "gone/n": ""}})
	calls := h.Callouts()
	h.Advance(time.Minute)
	if diff := cmp.Diff(calls, h.Callouts()); diff != "" {
		t.Errorf("callouts of the old plugins went on:\n%s", diff)
	}
	if got := server.paths(); len(got) != 2 {
		t.Errorf("the server got %q", got)
	}
}
