package testenv

import (
	"sync"
	"time"
)

// Clock is a clock that moves only when a test moves it. Its Now and Monotonic fit the fields of
// Options. It is safe for concurrent use.
type Clock struct {
	mu   sync.Mutex
	wall time.Time
	mono time.Duration
}

// NewClock returns a clock whose wall time is start; its monotonic reading starts at one hour,
// since zero is a value that filters may take for "never".
func NewClock(start time.Time) *Clock { return &Clock{wall: start, mono: time.Hour} }

// Now returns the wall time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

// Monotonic returns the monotonic reading.
func (c *Clock) Monotonic() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mono
}

// Advance moves both clocks forward by d, which must not be negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
	c.mono += d
}

// StepWall moves the wall clock alone by d, which may be negative: an operator or NTP set it.
func (c *Clock) StepWall(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}
