package eventloop

import (
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
)

// thread runs events one at a time on a coroutine, which it makes for the first of them and keeps.
type thread struct {
	ready     []*Event
	suspended bool   // the event is in Yield
	event     func() // what the coroutine is to run when it goes on, unless it is suspended

	next  func() (struct{}, bool) // nil: there is no coroutine
	stop  func()
	yield func(struct{}) bool
}

func (th *thread) makeReady(e *Event) {
	e.state, e.index = ready, len(th.ready)
	th.ready = append(th.ready, e)
}

// remove takes the ready event at index i out, and puts the last one in its place: the order of
// ready events means nothing, since the seed chooses among them, but it must be the same in each run.
func (th *thread) remove(i int) *Event {
	e, last := th.ready[i], len(th.ready)-1
	th.ready[i] = th.ready[last]
	th.ready[i].index = i
	th.ready[last] = nil
	th.ready = th.ready[:last]
	return e
}

// serve is the body of the coroutine. It goes back to the loop after each event.
func (th *thread) serve(yield func(struct{}) bool) {
	th.yield = yield
	for {
		run := th.event
		th.event = nil
		guard(run)
		if !yield(struct{}{}) {
			return
		}
	}
}

// end ends the coroutine. Its event, if suspended, ends with Goexit in Yield, since a panic might be
// recovered half-way by what called Yield; stop hands the Goexit on to its caller, which therefore
// is a goroutine of its own. It returns what deferred functions of the event panicked with.
func (th *thread) end() (panicked any) {
	if th.next == nil {
		return nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { panicked = recover() }()
		th.stop()
	}()
	<-ended
	th.next, th.suspended = nil, false
	return panicked
}

// resume lets th go on until its event ends or yields. A panic or Goexit of the event comes out of
// next; leave then sees to the thread.
func (l *Loop) resume(th *thread) {
	if th.next == nil {
		th.next, th.stop = iter.Pull(th.serve)
	}
	l.current, th.suspended = th, false
	th.next()
	l.current = nil
}

// Yield, called inside an event on a thread, lets others go on before it does: ready events of
// other threads and of the caller, and suspended threads. The seed decides which, if any, and time
// may move if one of them moves it. It must be called on the event's own goroutine.
//
// It returns at once if nobody else could go on, outside of events, in events without a thread, and
// if the loop has one thread only, whose events run directly on the caller: there is nobody to give
// way to but events without a thread, and no coroutine to switch from.
//
// If the loop is closed meanwhile, Yield does not return: it runs the deferred functions and ends
// the event, as runtime.Goexit does.
func (l *Loop) Yield() {
	th := l.current
	if th == nil {
		return
	}
	th.suspended = true
	if l.candidates() == 1 {
		th.suspended = false
		return
	}
	if !th.yield(struct{}{}) {
		runtime.Goexit()
	}
}

// Close drops what is scheduled and ends the threads, so that no goroutine of the loop is left. An
// event that a panic elsewhere left suspended in Yield ends there; its deferred functions run, and
// Close panics with what the first of them panics with, once every thread has ended. A second Close
// does nothing. Close must not be called inside an event.
func (l *Loop) Close() {
	l.enter("Close")
	defer l.leave()
	l.closed = true
	for _, e := range l.future {
		e.end()
	}
	l.future = nil
	for _, th := range l.threads {
		for _, e := range th.ready {
			e.end()
		}
		th.ready = nil
	}
	var first any // only now: what ends may look at the loop, and cancel
	for _, th := range l.threads {
		if p := th.end(); first == nil {
			first = p
		}
	}
	if first != nil {
		panic(first)
	}
}

// Panic is what Run* and Close panic with when an event panics. A coroutine's stack is gone by then,
// so the panic carries it. Goexit, and with it FailNow of a test, reaches the caller as Goexit.
type Panic struct {
	Value any    // what the event panicked with
	Stack []byte // of the event, as text
}

// Error is the value and the stack, so that the runtime prints both if nobody recovers.
func (p *Panic) Error() string {
	return fmt.Sprintf("an event panicked: %v\n\n%s", p.Value, p.Stack)
}

// Unwrap returns the value if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// guard runs an event and makes its panic a *Panic.
func guard(run func()) {
	defer func() {
		if v := recover(); v != nil {
			panic(&Panic{Value: v, Stack: debug.Stack()})
		}
	}()
	run()
}
