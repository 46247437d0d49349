package testenv

import (
	"runtime"
	"strings"
)

// lock takes the Host for one of its methods. What the Host itself runs (a handler, a Plan, Options.Log) holds it already
// and would wait for itself for ever: lock panics there.
func (h *Host) lock() {
	if h.mu.TryLock() {
		return
	}
	if insideEvent() {
		panic("testenv: a handler, a Script's Plan or Options.Log used the Host that runs it: do it once the Host has returned")
	}
	h.mu.Lock()
}

// eventFrames is how much of the stack is looked at: an event's handler has few frames of its own.
const eventFrames = 256

// insideEvent says whether the calling goroutine is running an event of a loop.
func insideEvent() bool {
	pcs := make([]uintptr, eventFrames)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		frame, more := frames.Next()
		if strings.Contains(frame.Function, "/testenv/internal/eventloop.") {
			return true
		}
		if !more {
			return false
		}
	}
}
