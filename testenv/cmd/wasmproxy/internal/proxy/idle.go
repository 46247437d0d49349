package proxy

import (
	"sync"
	"time"
)

// idleTimer expires when no byte has moved on a stream for a while. A nil one never does.
type idleTimer struct {
	limit  time.Duration
	expire func()

	mu    sync.Mutex
	timer *time.Timer // nil once stopped
}

// newIdleTimer starts a timer that calls expire, on a goroutine of its own, each time limit passes
// without touch; it does not go on by itself after that. It is nil for a limit of 0.
func newIdleTimer(limit time.Duration, expire func()) *idleTimer {
	if limit <= 0 {
		return nil
	}
	t := &idleTimer{limit: limit, expire: expire}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(limit, t.fire)
	return t
}

func (t *idleTimer) fire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.expire()
	}
}

// touch says that bytes have moved.
func (t *idleTimer) touch() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Reset(t.limit)
	}
}

// stop ends the timer: expire neither runs nor will run once it returns.
func (t *idleTimer) stop() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer.Stop()
	t.timer = nil
}
