package testenv

import (
	"fmt"
	"sync"
	"time"
)

// watchdog ends the process, in real time, when a guest or a handler does not return to a Host: nothing else can stop
// either. It cannot run while Go's collector waits for a guest that loops without a single hostcall: compiled wasm is not
// preempted, and such a process ends with the timeout of go test. A nil watchdog watches nothing. It is safe for concurrent
// use.
type watchdog struct {
	patience time.Duration // how long one entry may take
	handlers time.Duration // how much longer a handler may, which should heed its context first
	looks    time.Duration // how often to look
	// story tells what happened before. It must be safe to call while something is inside.
	story func() string

	mu     sync.Mutex
	timer  *time.Timer
	inside bool
	who    string // a plugin, or a cluster's handler
	where  string // the callback or the call
	until  time.Time
}

// watch starts a watchdog, to be stopped.
func watch(limit time.Duration, story func() string) *watchdog {
	d := &watchdog{patience: limit, handlers: limit, looks: limit / 6, story: story}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = time.AfterFunc(d.looks, d.look)
	return d
}

// enter says that something is entered now, and how much longer than patience it may take. Entries do not nest: one is left,
// or given up for another.
func (d *watchdog) enter(who, where string, more time.Duration) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside, d.who, d.where, d.until = true, who, where, time.Now().Add(d.patience+more)
}

// leave says that nothing is inside any more.
func (d *watchdog) leave() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside = false
}

// stop ends the looks.
func (d *watchdog) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer.Stop()
	d.timer = nil
}

// look runs on the timer's goroutine, where a panic is the end of the process.
func (d *watchdog) look() {
	if text := d.stuck(); text != "" {
		panic(text)
	}
}

// stuck returns what to say of an entry that takes too long, or arms the timer again.
func (d *watchdog) stuck() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer == nil {
		return ""
	}
	if d.inside && time.Now().After(d.until) {
		return fmt.Sprintf("testenv: %s has not returned from %s in %v of real time: an endless loop? %s",
			d.who, d.where, d.patience, d.story())
	}
	d.timer.Reset(d.looks)
	return ""
}
