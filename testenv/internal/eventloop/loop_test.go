package eventloop

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const start = time.Hour

// fakeClock starts at start and fails the test that moves it back.
type fakeClock struct {
	t   testing.TB
	now time.Duration
}

func (c *fakeClock) Monotonic() time.Duration { return c.now }

func (c *fakeClock) Advance(d time.Duration) {
	if d < 0 {
		c.t.Errorf("time goes back by %v", -d)
	}
	c.now += d
}

// run is a loop and a trace of what ran.
type run struct {
	*Loop
	clock *fakeClock
	trace []string
}

func newRun(t testing.TB, seed uint64, threads int) *run {
	c := &fakeClock{t: t, now: start}
	r := &run{Loop: New(c, seed, threads), clock: c}
	t.Cleanup(r.Close)
	return r
}

func (r *run) say(s string) { r.trace = append(r.trace, s) }

// note schedules an event that says its name and the time since start.
func (r *run) note(due time.Duration, thread int, name string) *Event {
	return r.At(start+due, thread, func() { r.say(fmt.Sprintf("%s@%v", name, r.clock.now-start)) })
}

func never() bool { return false }

// wantTrace compares and empties the trace.
func (r *run) wantTrace(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.trace); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
	r.trace = nil
}

// busyTrace is a run with everything in it, as text.
func busyTrace(t *testing.T, seed uint64) string {
	r := newRun(t, seed, 3)
	for i := range 30 {
		thread := i%4 - 1
		r.At(start+time.Duration(i/6), thread, func() {
			r.say(fmt.Sprint("begin ", i, r.clock.now, r.Rand().IntN(10)))
			e := r.note(time.Duration(i/3), thread, fmt.Sprint("child ", i))
			r.Yield()
			if r.Rand().IntN(3) == 0 {
				r.Cancel(e)
			}
			r.say(fmt.Sprint("end ", i))
		})
	}
	r.AdvanceTo(start + 7)
	if err := r.RunUntil(never, start+100); !errors.Is(err, ErrIdle) {
		t.Errorf("got %v, want ErrIdle", err)
	}
	return strings.Join(r.trace, "\n")
}

func TestTheSameSeedIsTheSameRun(t *testing.T) {
	t.Parallel()
	seen := map[string]uint64{}
	for seed := range uint64(50) {
		first := busyTrace(t, seed)
		if diff := cmp.Diff(first, busyTrace(t, seed)); diff != "" {
			t.Fatalf("seed %d twice:\n%s", seed, diff)
		}
		if other, ok := seen[first]; ok {
			t.Errorf("seeds %d and %d are the same run", other, seed)
		}
		seen[first] = seed
	}
}

// Every order that two threads with three steps each allow is reached, and no other.
func TestEveryInterleavingIsReached(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for seed := range uint64(1000) {
		r := newRun(t, seed, 2)
		for thread, steps := range []string{"abc", "xyz"} {
			r.At(start, thread, func() {
				r.say(steps[:1])
				r.Yield()
				r.say(steps[1:2])
				r.Yield()
				r.say(steps[2:])
			})
		}
		r.RunReady()
		order := strings.Join(r.trace, "")
		if strip(order, "xyz") != "abc" || strip(order, "abc") != "xyz" {
			t.Fatalf("seed %d: %q", seed, order)
		}
		seen[order]++
	}
	if len(seen) != 20 { // 6 over 3
		t.Errorf("%d interleavings, want 20: %v", len(seen), seen)
	}
}

func strip(s, letters string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(letters, c) {
			return -1
		}
		return c
	}, s)
}

// The choice among ready events is even, wherever they are to run.
func TestChoicesAreEven(t *testing.T) {
	t.Parallel()
	const seeds, events = 3000, 6
	first := map[string]int{}
	for seed := range uint64(seeds) {
		r := newRun(t, seed, 2)
		for i, thread := range [events]int{0, 0, 0, 1, NoThread, NoThread} {
			r.At(start, thread, func() { r.say(fmt.Sprint(i)) })
		}
		r.RunReady()
		first[r.trace[0]]++
	}
	for name, n := range first {
		if n < seeds/events*8/10 || n > seeds/events*12/10 {
			t.Errorf("event %s came first %d times of %d", name, n, seeds)
		}
	}
	if len(first) != events {
		t.Errorf("%d of %d events ever came first", len(first), events)
	}
}

// A suspended thread is one candidate, however many events wait behind the one it is in.
func TestASuspendedThreadIsOneCandidate(t *testing.T) {
	t.Parallel()
	const seeds = 2000
	otherFirst := 0
	for seed := range uint64(seeds) {
		r := newRun(t, seed, 2)
		r.At(start, 0, func() {
			for range 9 {
				r.note(0, 0, "behind")
			}
			r.At(start, 1, func() { otherFirst += 1 - min(len(r.trace), 1) })
			r.Yield()
			r.say("back")
		})
		r.RunReady()
	}
	if otherFirst < seeds*4/10 || otherFirst > seeds*6/10 {
		t.Errorf("the other thread came first %d times of %d", otherFirst, seeds)
	}
}

func TestAdvanceTo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		set  func(*run)
		to   time.Duration
		want []string
		left int
	}{
		{"nothing", func(*run) {}, 5, nil, 0},
		{"timers in order", func(r *run) {
			r.note(3, 0, "c")
			r.note(1, 1, "a")
			r.note(2, NoThread, "b")
		}, 5, []string{"a@1ns", "b@2ns", "c@3ns"}, 0},
		{"due at the end, due after it", func(r *run) {
			r.note(5, 0, "at")
			r.note(6, 0, "after")
		}, 5, []string{"at@5ns"}, 1},
		{"scheduled in the past", func(r *run) { r.note(-2*start, 0, "past") }, 5, []string{"past@0s"}, 0},
		{"the past is where time stands", func(r *run) { r.note(0, 0, "now") }, -5, []string{"now@0s"}, 0},
		{"events schedule events", func(r *run) {
			r.At(start+1, 0, func() {
				r.note(2, 1, "later")
				r.note(1, 1, "now")
				r.note(9, 1, "not yet")
			})
		}, 5, []string{"now@1ns", "later@2ns"}, 1},
		{"an event moves time", func(r *run) {
			r.At(start+1, 0, func() { r.clock.Advance(6) })
			r.note(6, 1, "passed")
			r.note(8, 1, "not yet")
		}, 5, []string{"passed@7ns"}, 1},
		{"a thread in Yield sees time moved", func(r *run) {
			r.At(start+1, 0, func() {
				r.note(1, 1, "other")
				r.Yield()
			})
		}, 5, []string{"other@1ns"}, 0},
	}
	for _, tt := range tests {
		for threads := 2; threads <= 3; threads++ {
			t.Run(fmt.Sprint(tt.name, " ", threads), func(t *testing.T) {
				t.Parallel()
				r := newRun(t, 4, threads)
				tt.set(r)
				r.AdvanceTo(start + tt.to)
				if got := r.clock.now - start; got < max(tt.to, 0) {
					t.Errorf("time stops at %v", got)
				}
				if got := r.Pending(); got != tt.left {
					t.Errorf("pending: %d, want %d", got, tt.left)
				}
				r.wantTrace(t, tt.want...)
			})
		}
	}
}

func TestRunReadyDoesNotMoveTime(t *testing.T) {
	t.Parallel()
	r := newRun(t, 1, 2)
	r.note(1, 0, "later")
	r.note(0, 0, "now")
	r.RunReady()
	r.wantTrace(t, "now@0s")
	r.clock.Advance(4) // the test itself moves time
	r.RunReady()
	r.wantTrace(t, "later@4ns")
}

func TestRunUntil(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		done  func(*run) bool
		limit time.Duration
		err   error
		want  []string
		now   time.Duration
	}{
		{"done before anything", func(*run) bool { return true }, 9, nil, nil, 0},
		{"done by an event", func(r *run) bool { return len(r.trace) == 2 }, 9, nil, []string{"a@1ns", "b@2ns"}, 2},
		{"idle", func(*run) bool { return false }, 9, ErrIdle, []string{"a@1ns", "b@2ns", "c@4ns"}, 4},
		{"due at the limit", func(*run) bool { return false }, 4, ErrIdle, []string{"a@1ns", "b@2ns", "c@4ns"}, 4},
		{"limit", func(*run) bool { return false }, 3, ErrLimit, []string{"a@1ns", "b@2ns"}, 3},
		{"limit now", func(*run) bool { return false }, 0, ErrLimit, nil, 0},
		{"limit past", func(*run) bool { return false }, -1, ErrLimit, nil, 0},
		{"done at the limit", func(r *run) bool { return r.clock.now == start+3 }, 3, nil, []string{"a@1ns", "b@2ns"}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, 1, 2)
			r.note(1, 0, "a")
			r.note(2, 1, "b")
			r.note(4, NoThread, "c")
			if err := r.RunUntil(func() bool { return tt.done(r) }, start+tt.limit); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			if got := r.clock.now - start; got != tt.now {
				t.Errorf("time stops at %v, want %v", got, tt.now)
			}
			r.wantTrace(t, tt.want...)
		})
	}
}

// What is in Yield when RunUntil is done runs to its end, through further Yields; what is ready or
// becomes so meanwhile does not begin.
func TestRunUntilDrainsSuspendedThreads(t *testing.T) {
	t.Parallel()
	left := map[int]bool{}
	for seed := range uint64(100) {
		r := newRun(t, seed, 4)
		begun, ended := 0, 0
		for thread := range 4 {
			r.At(start, thread, func() {
				begun++
				r.Yield()
				if begun == 2 {
					r.At(start, thread, func() { t.Errorf("seed %d: a new event began", seed) })
				}
				r.Yield()
				ended++
			})
		}
		if err := r.RunUntil(func() bool { return begun == 2 }, start); err != nil {
			t.Fatal(err)
		}
		if begun != 2 || ended != 2 {
			t.Fatalf("seed %d: %d begun, %d ended; want 2", seed, begun, ended)
		}
		left[r.Pending()] = true
		r.Close()
	}
	if !left[4] {
		t.Errorf("pending: %v, want 4", left)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	r := newRun(t, 1, 2)
	r.Cancel(nil)
	ready, future := r.note(0, 0, "ready"), r.note(1, 0, "future")
	kept := r.note(2, 0, "kept")
	for range 2 {
		r.Cancel(ready)
		r.Cancel(future)
	}
	if got := r.Pending(); got != 1 {
		t.Errorf("pending: %d, want 1", got)
	}
	r.AdvanceTo(start + 3)
	r.wantTrace(t, "kept@2ns")
	r.note(4, 0, "after")
	r.Cancel(kept) // has run: another event's place in a queue is safe
	var self *Event
	self = r.At(start, 1, func() {
		r.Cancel(self)
		r.Yield()
		r.say("self")
	})
	r.AdvanceTo(start + 5)
	r.wantTrace(t, "self", "after@4ns")
}

func TestOneThreadRunsOnTheCaller(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := newRun(t, seed, 1)
		for range 2 {
			r.At(start, 0, func() {
				r.say("a")
				r.Yield()
				r.say("b")
			})
		}
		r.RunReady()
		r.wantTrace(t, "a", "b", "a", "b")
	}
}

func TestYieldOutsideAThread(t *testing.T) {
	t.Parallel()
	r := newRun(t, 1, 2)
	r.Yield()
	r.note(0, 0, "other")
	r.Cancel(r.note(0, 1, "cancelled"))
	r.At(start-1, NoThread, func() {
		n := len(r.trace)
		r.Yield()
		if len(r.trace) != n {
			t.Error("an event of the caller gave way")
		}
	})
	r.RunReady()
	r.wantTrace(t, "other@0s")
}
