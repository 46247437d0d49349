package eventloop

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// caught returns what f panics with.
func caught(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

var errBoom = errors.New("boom")

func explode() { panic(errBoom) }

func TestPanicReachesTheCaller(t *testing.T) {
	t.Parallel()
	for _, threads := range []int{1, 2} {
		for _, thread := range []int{0, NoThread} {
			t.Run(fmt.Sprintf("thread %d of %d", thread, threads), func(t *testing.T) {
				t.Parallel()
				r := newRun(t, 1, threads)
				r.At(start, thread, func() {
					r.Yield()
					explode()
				})
				got, ok := caught(r.RunReady).(*Panic)
				if !ok || !errors.Is(got, errBoom) {
					t.Fatalf("got %v", got)
				}
				if !strings.Contains(got.Error(), "eventloop.explode") {
					t.Errorf("the event's stack is not in %q", got)
				}
				r.note(0, thread, "next") // the loop goes on
				r.RunReady()
				r.wantTrace(t, "next@0s")
			})
		}
	}
}

func TestGoexitReachesTheCaller(t *testing.T) {
	t.Parallel()
	for _, threads := range []int{1, 2} {
		for _, thread := range []int{0, NoThread} {
			t.Run(fmt.Sprintf("thread %d of %d", thread, threads), func(t *testing.T) {
				t.Parallel()
				r := newRun(t, 1, threads)
				r.At(start, thread, runtime.Goexit)
				returned, ended := false, make(chan struct{})
				go func() {
					defer close(ended)
					r.RunReady()
					returned = true
				}()
				<-ended
				if returned {
					t.Error("RunReady returned")
				}
				r.note(0, thread, "next")
				r.RunReady()
				r.wantTrace(t, "next@0s")
			})
		}
	}
}

func TestReentrancyPanics(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(*Loop){
		"RunReady":  (*Loop).RunReady,
		"AdvanceTo": func(l *Loop) { l.AdvanceTo(start) },
		"RunUntil":  func(l *Loop) { _ = l.RunUntil(never, start) },
		"Close":     (*Loop).Close,
	} {
		for _, thread := range []int{0, NoThread} {
			t.Run(fmt.Sprint(name, thread), func(t *testing.T) {
				t.Parallel()
				r := newRun(t, 1, 2)
				var got any
				r.At(start, thread, func() {
					got = caught(func() { call(r.Loop) })
					r.Yield()
				})
				r.RunReady()
				if want := "eventloop: " + name + " called inside an event"; got != want {
					t.Errorf("got %v, want %s", got, want)
				}
			})
		}
	}
}

func TestBugsPanic(t *testing.T) {
	t.Parallel()
	r := newRun(t, 1, 2)
	for name, f := range map[string]func(){
		"no threads":         func() { New(r.clock, 1, 0) },
		"thread beyond":      func() { r.At(start, 2, func() {}) },
		"thread below":       func() { r.At(start, -2, func() {}) },
		"an event of nobody": func() { r.At(start, 0, nil) },
	} {
		if caught(f) == nil {
			t.Errorf("%s: no panic", name)
		}
	}
	if got := r.Pending(); got != 0 {
		t.Errorf("pending: %d", got)
	}
}

// suspend leaves n of the loop's threads in Yield: done panics once they are there.
func suspend(t *testing.T, r *run, n int, deferred func()) {
	t.Helper()
	in := 0
	for thread := range n {
		r.At(start, thread, func() {
			defer deferred()
			in++
			for {
				r.Yield()
			}
		})
	}
	if caught(func() {
		_ = r.RunUntil(func() bool {
			if in == n {
				panic(errBoom)
			}
			return false
		}, start)
	}) != errBoom {
		t.Fatal("no panic")
	}
}

// coroutines counts the goroutines of threads in the whole process.
func coroutines() int {
	buf := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return strings.Count(string(buf[:n]), "eventloop.(*thread).serve(")
		}
		buf = make([]byte, 2*len(buf))
	}
}

// Not parallel: no other test has goroutines while it runs.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := coroutines()
	if before != 0 {
		t.Fatalf("%d coroutines left by other tests", before)
	}
	r := newRun(t, 1, 4)
	r.At(start, 3, func() {}) // stays idle
	r.RunReady()
	unwound := 0
	suspend(t, r, 3, func() {
		if recover() != nil {
			t.Error("Close ends events with a panic")
		}
		r.Yield() // goes on at once
		if r.At(start, 0, func() {}); r.Pending() != 0 {
			t.Error("a closed loop takes events")
		}
		unwound++
	})
	if got := coroutines(); got != 4 {
		t.Errorf("%d coroutines before Close, want 4", got)
	}
	r.note(5, 0, "dropped")
	r.note(0, 1, "dropped")
	for range 2 {
		r.Close()
	}
	if got := coroutines(); got != 0 {
		t.Errorf("%d coroutines left", got)
	}
	if unwound != 3 {
		t.Errorf("%d events unwound, want 3", unwound)
	}
	r.Cancel(r.note(0, 0, "refused"))
	r.AdvanceTo(start + 9)
	if err := r.RunUntil(never, start+99); !errors.Is(err, ErrIdle) {
		t.Errorf("got %v, want ErrIdle", err)
	}
	r.wantTrace(t)
}

// Not parallel, for the same reason.
func TestNoGoroutineIsLeftByFailures(t *testing.T) {
	r := newRun(t, 1, 3)
	for thread, fail := range []func(){explode, runtime.Goexit} {
		r.At(start, thread, fail)
		ended := make(chan any)
		go func() {
			defer close(ended)
			_ = caught(r.RunReady)
		}()
		<-ended
	}
	suspend(t, r, 3, explode)
	if got, ok := caught(r.Close).(*Panic); !ok || !errors.Is(got, errBoom) {
		t.Errorf("got %v", got)
	}
	if got := coroutines(); got != 0 {
		t.Errorf("%d coroutines left", got)
	}
	r.Close()
}

// A thread that was suspended when another's event panicked goes on with the next Run*.
func TestSuspendedThreadsSurviveAPanic(t *testing.T) {
	t.Parallel()
	r := newRun(t, 1, 2)
	r.At(start, 0, func() {
		r.At(start, 1, explode)
		for range 50 { // the panic comes within them, but for one seed in 2^50
			r.Yield()
		}
		r.say("end")
	})
	if p, ok := caught(r.RunReady).(*Panic); !ok || !errors.Is(p, errBoom) {
		t.Fatalf("got %v", p)
	}
	r.wantTrace(t)
	r.RunReady()
	r.wantTrace(t, "end")
}

func BenchmarkEvents(b *testing.B) {
	for _, threads := range []int{1, 4} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			const atOnce = 1000
			r := newRun(b, 1, threads)
			n := 0
			var next func()
			next = func() {
				if n++; n+atOnce <= b.N {
					r.At(r.clock.now+time.Duration(r.Rand().IntN(2)), n%threads, next)
				}
			}
			for i := range min(atOnce, b.N) {
				r.At(start, i%threads, next)
			}
			b.ReportAllocs()
			if err := r.RunUntil(never, start<<1); !errors.Is(err, ErrIdle) {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkYield(b *testing.B) {
	r := newRun(b, 1, 2)
	for thread := range 2 {
		r.At(start, thread, func() {
			for range b.N / 2 {
				r.Yield()
			}
		})
	}
	r.RunReady()
}
