// Package eventloop runs events in virtual time, on threads that are coroutines, interleaved by a
// seed. What runs when depends on the seed and the calls alone: the same seed gives the same run.
//
// A Loop belongs to the goroutine that calls it. Everything it runs runs strictly one at a time,
// with a happens-before edge at each hand-over, so events share data and use the loop without locks.
// Events must not wait for each other by other means: a mutex held across Yield and wanted by
// another event is a deadlock.
package eventloop

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// What ends RunUntil before it is done.
var (
	// ErrIdle means that nothing is scheduled any more.
	ErrIdle = errors.New("nothing is scheduled")
	// ErrLimit means that virtual time has come to the limit.
	ErrLimit = errors.New("time limit reached")
)

// Clock is the loop's virtual time. Others may move it forward too, even an event while it runs.
type Clock interface {
	Monotonic() time.Duration
	Advance(time.Duration)
}

// Loop is a queue of events and the threads that run them.
type Loop struct {
	clock   Clock
	rand    *rand.Rand
	threads []*thread // the last one is the caller, for NoThread
	direct  bool      // there is one thread: its events run on the caller
	future  queue
	seq     uint64

	current  *thread // whose coroutine runs now; nil on the caller
	running  bool
	draining bool // only suspended threads go on
	closed   bool
}

// New returns a loop with the given number of threads, at least 1. Close it after use.
func New(clock Clock, seed uint64, threads int) *Loop {
	if threads < 1 {
		panic(fmt.Sprintf("eventloop: %d threads", threads))
	}
	l := &Loop{clock: clock, rand: rand.New(rand.NewPCG(seed, 0)), direct: threads == 1}
	for range threads + 1 {
		l.threads = append(l.threads, &thread{})
	}
	return l
}

// At schedules run on a thread, or with NoThread on the caller of Run*, not before the monotonic
// time due. A time that has come makes the event ready at once. Ready events run in the order the
// seed chooses, also those of one thread; but a thread ends one event before it starts another.
//
// A closed loop takes no events: At returns one that is already cancelled.
func (l *Loop) At(due time.Duration, thread int, run func()) *Event {
	if thread == NoThread {
		thread = len(l.threads) - 1
	} else if thread < 0 || thread >= len(l.threads)-1 {
		panic(fmt.Sprintf("eventloop: At: there is no thread %d", thread))
	}
	if run == nil {
		panic("eventloop: At: nothing to run")
	}
	e := &Event{due: due, seq: l.seq, run: run, thread: l.threads[thread]}
	l.seq++
	switch {
	case l.closed:
		e.end()
	case due <= l.clock.Monotonic():
		e.thread.makeReady(e)
	default:
		heap.Push(&l.future, e)
	}
	return e
}

// Cancel keeps e from running. It does nothing to an event that has begun, has run or was cancelled
// before, and to nil. e must be of this loop.
func (l *Loop) Cancel(e *Event) {
	if e == nil {
		return
	}
	switch e.state {
	case waiting:
		heap.Remove(&l.future, e.index)
	case ready:
		e.thread.remove(e.index)
	}
	e.end()
}

// Rand returns the run's only source of chance. The loop draws its choices from it too, so a draw
// changes what follows, the same way every time.
func (l *Loop) Rand() *rand.Rand { return l.rand }

// Pending returns the number of events that have neither begun nor been cancelled.
func (l *Loop) Pending() int {
	n := len(l.future)
	for _, th := range l.threads {
		n += len(th.ready)
	}
	return n
}

// RunReady runs until nothing is ready and no thread is suspended in Yield. It does not move time.
// Events that keep scheduling others for the present keep it from returning.
func (l *Loop) RunReady() {
	l.enter("RunReady")
	defer l.leave()
	l.runReady()
}

// AdvanceTo moves time from due to due up to the monotonic time t, running what becomes ready, as
// RunReady does, at each stop and at t. If t is not in the future, it is RunReady.
func (l *Loop) AdvanceTo(t time.Duration) {
	l.enter("AdvanceTo")
	defer l.leave()
	for l.runReady(); l.clock.Monotonic() < t; l.runReady() {
		if len(l.future) > 0 {
			l.moveTo(min(l.future[0].due, t))
		} else {
			l.moveTo(t)
		}
	}
}

// RunUntil runs until done says so, and moves time only as far as needed and only when nothing is
// ready. It asks done, on the caller's goroutine, before the first event, after each event and
// whenever a thread is suspended, and once more at the limit. Then it runs the threads suspended in
// Yield to the end of their events, and nothing else, so that no thread is suspended when it returns.
//
// It returns ErrIdle when nothing is scheduled any more, where time stays; and ErrLimit when what
// is next is due after the monotonic time limit, to which time has then moved. Events due at the
// limit run.
func (l *Loop) RunUntil(done func() bool, limit time.Duration) error {
	l.enter("RunUntil")
	defer l.leave()
	for !done() {
		if l.step() {
			continue
		}
		if len(l.future) == 0 {
			return ErrIdle
		}
		due := l.future[0].due
		if due > limit && l.clock.Monotonic() >= limit {
			return ErrLimit
		}
		l.moveTo(min(due, limit))
	}
	l.draining = true
	l.runReady()
	return nil
}

func (l *Loop) enter(call string) {
	if l.running {
		panic("eventloop: " + call + " called inside an event")
	}
	l.running = true
}

// leave ends a Run*, also when a panic or Goexit passes through it: then the current thread's
// coroutine has ended, and the thread starts another one when it has an event to run.
func (l *Loop) leave() {
	if l.current != nil {
		l.current.next = nil
		l.current = nil
	}
	l.running, l.draining = false, false
}

func (l *Loop) moveTo(t time.Duration) {
	if d := t - l.clock.Monotonic(); d > 0 {
		l.clock.Advance(d)
	}
}

func (l *Loop) runReady() {
	for l.step() {
	}
}

// step lets the candidate of the seed's choice go on; false means that there is none.
func (l *Loop) step() bool {
	n := l.candidates()
	if n == 0 {
		return false
	}
	choice := 0
	if n > 1 {
		choice = l.rand.IntN(n)
	}
	for _, th := range l.threads {
		w := l.weight(th)
		if choice < w {
			l.run(th, choice)
			return true
		}
		choice -= w
	}
	panic("eventloop: the candidates changed while one was chosen")
}

// candidates makes ready what has come due, and counts what could go on now.
func (l *Loop) candidates() int {
	now := l.clock.Monotonic()
	for len(l.future) > 0 && l.future[0].due <= now {
		e := heap.Pop(&l.future).(*Event)
		e.thread.makeReady(e)
	}
	n := 0
	for _, th := range l.threads {
		n += l.weight(th)
	}
	return n
}

// weight returns in how many ways th could go on: one if it is suspended, else one for each ready
// event. All of them are equally likely.
func (l *Loop) weight(th *thread) int {
	switch {
	case th.suspended:
		return 1
	case l.draining:
		return 0
	}
	return len(th.ready)
}

func (l *Loop) run(th *thread, choice int) {
	if !th.suspended {
		e := th.remove(choice)
		run := e.run
		e.end()
		if l.direct || th == l.threads[len(l.threads)-1] {
			guard(run)
			return
		}
		th.event = run
	}
	l.resume(th)
}
