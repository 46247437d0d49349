package testenv

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sharing is a plugin of the guest shared with a name, a vm_id and the queues it registers.
func sharing(t testing.TB, name, vmID, queues string) Plugin {
	t.Helper()
	return Plugin{
		Filter: guest(t, "shared"), Name: name, VMID: vmID, Configuration: []byte(queues), VMConfiguration: []byte(name),
	}
}

// sharedRequest asks the guest shared for something.
func sharedRequest(path string, pairs ...string) Request {
	r := with(pairs...)
	r.Path = path
	return r
}

func TestSharedDataCAS(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, sharing(t, "shared", "a", ""))
	q := sharedRequest("/cas", "x-key", "k")
	r := h.Check(t, q, Want{SharedData: map[string]string{"a/k": "e", "b/k": "", "a/other": ""}})
	wantMessages(t, r.Logs,
		"get:  not found",
		"absent, any cas: <nil>", // Envoy looks at the cas of keys that exist
		"wrong cas: cas mismatch",
		"get: a <nil>",
		"right cas: <nil>",
		"spent cas: cas mismatch",
		"get: c <nil>",
		"no cas: <nil>",
		"get: e <nil>",
		"cas changed: true true",
	)
	h.Check(t, sharedRequest("/set", "x-key", "k", "x-value", "z", "x-cas", "12345"), Want{
		SharedData: map[string]string{"a/k": "e"}, Logs: []string{"set: cas mismatch"},
	})
	h.Check(t, sharedRequest("/set", "x-key", "empty", "x-value", ""), Want{Logs: []string{"set: <nil>"}})
	if v, ok := h.SharedData().Value("a", "empty"); v != "" || !ok || h.SharedData().Len("a") != 2 {
		t.Errorf("an empty value is a value: %q %t, %d keys", v, ok, h.SharedData().Len("a"))
	}
}

func TestSharedDataBelongsToAVMID(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Workers: 3}, sharing(t, "first", "a", ""), sharing(t, "second", "b", ""), sharing(t, "third", "a", ""))
	for worker := 1; worker <= 3; worker++ {
		q := sharedRequest("/add", "x-key", "n")
		q.Worker = worker
		h.Do(t, q)
	}
	// Each request passes three VMs, of which two count in one key.
	for vmID, want := range map[string]string{"a": "6", "b": "3", "": ""} {
		if got, _ := h.SharedData().Value(vmID, "n"); got != want {
			t.Errorf("vm_id %q has %q, want %q", vmID, got, want)
		}
	}
	q := sharedRequest("/get", "x-key", "n")
	q.Worker = 2
	wantMessages(t, h.Do(t, q).Logs, "get: 6 <nil>", "get: 3 <nil>", "get: 6 <nil>")
}

// A value that is enqueued in one VM wakes the VM that registered the queue, once for each value, on that VM's worker.
func TestSharedQueuesAcrossVMs(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Workers: 2}, sharing(t, "owner", "a", "jobs"), sharing(t, "other", "b", ""))
	q := sharedRequest("/enqueue", "x-vm", "a", "x-key", "jobs", "x-value", "one two")
	q.Worker = 1
	h.Do(t, q) // both VMs enqueue: the owner may too
	h.Settle()
	var got []string
	for _, l := range h.Logs() {
		if l.Worker == CanaryThread {
			continue
		}
		got = append(got, fmt.Sprint(l.Worker, " ", l.Plugin, " ", l.Message))
	}
	slices.Sort(got)
	want := []string{
		"1 other enqueue: <nil>", "1 other enqueue: <nil>", "1 owner enqueue: <nil>", "1 owner enqueue: <nil>",
		"2 owner ready jobs: one <nil>", "2 owner ready jobs: one <nil>", // the last registration hears of it
		"2 owner ready jobs: two <nil>", "2 owner ready jobs: two <nil>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
	if n := h.SharedQueues().Len("a", "jobs"); n != 0 {
		t.Errorf("%d values left", n)
	}
}

func TestSharedQueueAnswers(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, sharing(t, "owner", "a", "jobs none"))
	tests := []struct {
		name    string
		request Request
		want    []string
	}{
		{"empty", sharedRequest("/dequeue", "x-vm", "a", "x-key", "none"), []string{"resolve: <nil>", "dequeue:  empty"}},
		{"own vm_id when none is named", sharedRequest("/dequeue", "x-key", "none"), []string{"resolve: <nil>", "dequeue:  empty"}},
		{"no such queue", sharedRequest("/enqueue", "x-vm", "a", "x-key", "nosuch"), []string{"resolve: not found"}},
		{"no such vm_id", sharedRequest("/enqueue", "x-vm", "c", "x-key", "jobs"), []string{"resolve: not found"}},
		{"no such token", sharedRequest("/unknown"), []string{"unknown: not found not found"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantMessages(t, h.Do(t, tt.request).Logs, tt.want...)
		})
	}
}

// The order of values is kept, also where nobody is woken: what a canary registered is nobody's.
func TestSharedQueueOfNobody(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, sharing(t, "owner", "a", "jobs"))
	h.Replace(sharing(t, "heir", "a", ""))
	h.Do(t, sharedRequest("/enqueue", "x-key", "jobs", "x-value", "one two three"))
	if n := h.SharedQueues().Len("a", "jobs"); n != 3 {
		t.Errorf("%d values", n)
	}
	for _, want := range []string{"one", "two", "three"} {
		h.Check(t, sharedRequest("/dequeue", "x-key", "jobs"), Want{Logs: []string{"dequeue: " + want + " <nil>"}})
	}
	if got := saying("ready", h.Logs()); got != nil {
		t.Errorf("somebody was told: %q", got)
	}
}
