package testenv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mustDequeue takes a value that has to be there.
func mustDequeue(t *testing.T, q *SharedQueues, token uint32) string {
	t.Helper()
	value, st := q.dequeue(token)
	if st != statusOK {
		t.Fatalf("dequeue = status %d, want OK", st)
	}
	return value
}

func TestSharedQueueOrder(t *testing.T) {
	t.Parallel()
	q := NewSharedQueues()
	token := q.register("vm", "usage", "vm", nil)
	want := []string{"a", "", "b"}
	for _, value := range want {
		if st := q.enqueue(token, value); st != statusOK {
			t.Fatalf("enqueue = status %d", st)
		}
	}
	if got := q.Len("vm", "usage"); got != len(want) {
		t.Errorf("Len = %d, want %d", got, len(want))
	}
	var got []string
	for range want {
		got = append(got, mustDequeue(t, q, token))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if _, st := q.dequeue(token); st != statusEmpty {
		t.Errorf("dequeue of an empty queue = status %d, want Empty", st)
	}
}

func TestSharedQueueTokens(t *testing.T) {
	t.Parallel()
	q := NewSharedQueues()
	a, b, other := q.register("vm", "a", "vm", nil), q.register("vm", "b", "vm", nil), q.register("vm2", "a", "vm", nil)
	if diff := cmp.Diff([]uint32{1, 2, 3}, []uint32{a, b, other}); diff != "" {
		t.Fatalf("tokens (-want +got):\n%s", diff)
	}
	if again := q.register("vm", "a", "vm", nil); again != a {
		t.Errorf("second registration = %d, want %d", again, a)
	}
	for _, tt := range []struct {
		vmID, name string
		token      uint32
		status     status
	}{
		{"vm", "b", b, statusOK}, {"vm2", "a", other, statusOK},
		{"vm2", "b", 0, statusNotFound}, {"", "a", 0, statusNotFound},
	} {
		if token, st := q.resolve(tt.vmID, tt.name); token != tt.token || st != tt.status {
			t.Errorf("resolve(%q, %q) = %d, status %d; want %d, status %d", tt.vmID, tt.name, token, st, tt.token, tt.status)
		}
	}
}

func TestSharedQueueUnknownToken(t *testing.T) {
	t.Parallel()
	q := NewSharedQueues()
	for _, token := range []uint32{0, 1} {
		if st := q.enqueue(token, "x"); st != statusNotFound {
			t.Errorf("enqueue(%d) = status %d, want NotFound", token, st)
		}
		if _, st := q.dequeue(token); st != statusNotFound {
			t.Errorf("dequeue(%d) = status %d, want NotFound", token, st)
		}
	}
	if got := q.Len("vm", "none"); got != 0 {
		t.Errorf("Len of an unknown queue = %d", got)
	}
}

// Every value is announced, also behind others that wait, and to the last registration alone, which keeps the values.
func TestSharedQueueReady(t *testing.T) {
	t.Parallel()
	q := NewSharedQueues()
	var first, second []uint32
	token := q.register("vm", "usage", "worker 1", func(token uint32) { first = append(first, token) })
	q.enqueue(token, "1")
	q.enqueue(token, "2")
	q.register("vm", "usage", "worker 2", func(token uint32) { second = append(second, token) })
	q.enqueue(token, "3")
	if diff := cmp.Diff([]uint32{token, token}, first); diff != "" {
		t.Errorf("first registration's calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uint32{token}, second); diff != "" {
		t.Errorf("second registration's calls (-want +got):\n%s", diff)
	}
	if got := mustDequeue(t, q, token); got != "1" {
		t.Errorf("first value = %q, want the one from before the second registration", got)
	}
}

// A VM that ends takes its own registrations along and no values.
func TestSharedQueueForget(t *testing.T) {
	t.Parallel()
	q := NewSharedQueues()
	var calls []string
	note := func(who string) func(uint32) { return func(uint32) { calls = append(calls, who) } }
	a := q.register("vm", "a", "old", note("old"))
	b := q.register("vm", "b", "old", note("old"))
	q.register("vm", "b", "new", note("new"))
	if !q.serves("old") || !q.serves("new") || q.serves("other") {
		t.Errorf("serves: old %v, new %v, other %v", q.serves("old"), q.serves("new"), q.serves("other"))
	}
	q.forget("old")
	if q.serves("old") || !q.serves("new") {
		t.Errorf("serves after forget: old %v, new %v", q.serves("old"), q.serves("new"))
	}
	q.enqueue(a, "x")
	q.enqueue(b, "y")
	if diff := cmp.Diff([]string{"new"}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got := mustDequeue(t, q, a); got != "x" {
		t.Errorf("value of the silent queue = %q, want x", got)
	}
}

// ready runs outside the store's lock and after the value is there.
func TestSharedQueueReadyMayUseTheStore(t *testing.T) {
	t.Parallel()
	q := NewSharedQueues()
	var got string
	token := q.register("vm", "usage", "vm", func(token uint32) { got, _ = q.dequeue(token) })
	q.enqueue(token, "x")
	if got != "x" {
		t.Errorf("dequeue inside ready = %q, want x", got)
	}
}

func TestSharedQueuesOfAVMIDAreDeleted(t *testing.T) {
	t.Parallel()
	q := NewSharedQueues()
	token, kept := q.register("vm", "a", "vm", nil), q.register("other", "a", "vm", nil)
	q.enqueue(token, "x")
	q.deleteVMID("vm")
	if _, st := q.resolve("vm", "a"); st != statusNotFound {
		t.Errorf("resolve = status %d, want NotFound", st)
	}
	if st := q.enqueue(token, "y"); st != statusNotFound {
		t.Errorf("enqueue = status %d, want NotFound", st)
	}
	if st := q.enqueue(kept, "y"); st != statusOK {
		t.Errorf("enqueue to another vm_id = status %d, want OK", st)
	}
	if again := q.register("vm", "a", "vm", nil); again == token || q.Len("vm", "a") != 0 {
		t.Errorf("a new queue has token %d and %d values, want a new token and none", again, q.Len("vm", "a"))
	}
}

func TestSharedQueueTokensWrap(t *testing.T) {
	t.Parallel()
	q := NewSharedQueues()
	q.register("vm", "first", "vm", nil)
	q.lastToken = math.MaxUint32 - 1
	got := []uint32{q.register("vm", "last", "vm", nil), q.register("vm", "wrapped", "vm", nil)}
	if diff := cmp.Diff([]uint32{math.MaxUint32, 2}, got); diff != "" {
		t.Errorf("tokens skip 0 and those in use (-want +got):\n%s", diff)
	}
}

// Whatever the interleaving, each value is announced once and taken once, in the order of its producer.
func TestSharedQueueConcurrency(t *testing.T) {
	t.Parallel()
	const producers, each = 4, 500
	q := NewSharedQueues()
	ready := make(chan struct{}, producers*each)
	token := q.register("vm", "usage", "vm", func(uint32) { ready <- struct{}{} })
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				q.enqueue(token, fmt.Sprintf("%d %d", p, i))
			}
		})
	}
	next := make([]int, producers)
	for range producers * each {
		<-ready
		var p, i int
		if _, err := fmt.Sscanf(mustDequeue(t, q, token), "%d %d", &p, &i); err != nil {
			t.Fatal(err)
		}
		if i != next[p] {
			t.Fatalf("producer %d: value %d after %d", p, i, next[p]-1)
		}
		next[p]++
	}
	wg.Wait()
	if got := q.Len("vm", "usage"); got != 0 {
		t.Errorf("%d values left", got)
	}
}

// The store against the plainest model of it: a slice per name.
func TestSharedQueueModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	q := NewSharedQueues()
	model := map[uint32][]string{}
	names := []string{"a", "b", "c"}
	for i := range 5000 {
		name := names[rnd.IntN(len(names))]
		token := q.register("vm", name, "vm", nil)
		if rnd.IntN(2) == 0 {
			value := fmt.Sprint(i)
			q.enqueue(token, value)
			model[token] = append(model[token], value)
			continue
		}
		got, st := q.dequeue(token)
		switch want := model[token]; {
		case len(want) == 0 && st != statusEmpty:
			t.Fatalf("step %d: dequeue = %q, status %d; want Empty", i, got, st)
		case len(want) > 0 && (st != statusOK || got != want[0]):
			t.Fatalf("step %d: dequeue = %q, status %d; want %q", i, got, st, want[0])
		case len(want) > 0:
			model[token] = want[1:]
		}
		if q.Len("vm", name) != len(model[token]) {
			t.Fatalf("step %d: Len = %d, want %d", i, q.Len("vm", name), len(model[token]))
		}
	}
}
