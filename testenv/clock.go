package testenv

import (
	"fmt"
	"sync"
	"time"
)

// wholePPM is a drift as fast as time itself: the wall clock stands still (negative) or runs double.
const wholePPM = 1_000_000

// Clock is a clock that moves only when a test moves it. Its Now and Monotonic fit the fields of
// Options. It is safe for concurrent use.
type Clock struct {
	mu   sync.Mutex
	wall time.Time
	mono time.Duration

	driftPPM int64
	// driftRest is what drift has gained beyond wall, in millionths of a nanosecond, 0 to 999,999.
	// With it the sum is exact: how time is cut into Advances does not show.
	driftRest int64
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

// Advance moves the monotonic clock forward by d, and the wall clock by d and its drift. A negative
// d is a bug of the test: Advance panics.
func (c *Clock) Advance(d time.Duration) {
	if d < 0 {
		panic(fmt.Sprintf("testenv: Clock.Advance(%v): a monotonic clock does not go back", d))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mono += d
	c.wall = c.wall.Add(d).Add(c.drift(d))
}

// drift returns the whole nanoseconds that the wall clock gains over d, and keeps the rest.
func (c *Clock) drift(d time.Duration) time.Duration {
	millions, rest := int64(d)/wholePPM, int64(d)%wholePPM
	parts := rest*c.driftPPM + c.driftRest
	gain := parts / wholePPM
	c.driftRest = parts % wholePPM
	if c.driftRest < 0 {
		gain--
		c.driftRest += wholePPM
	}
	return time.Duration(millions*c.driftPPM + gain)
}

// SetDrift makes the wall clock gain ppm microseconds in every monotonic second from now on, or
// lose them if ppm is negative. It panics unless ppm is within ±1,000,000: beyond it the wall clock
// would run backwards, which is StepWall's to do.
func (c *Clock) SetDrift(ppm int64) {
	if ppm < -wholePPM || ppm > wholePPM {
		panic(fmt.Sprintf("testenv: Clock.SetDrift(%d): beyond ±%d", ppm, wholePPM))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.driftPPM = ppm
}

// StepWall moves the wall clock alone by d, which may be negative: an operator or NTP set it.
func (c *Clock) StepWall(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

// Suspend is a sleep of the machine: the wall clock moves by d, the monotonic one does not, since
// Linux's CLOCK_MONOTONIC leaves suspension out. Drift does not act on d. A negative d is a bug of
// the test: Suspend panics.
func (c *Clock) Suspend(d time.Duration) {
	if d < 0 {
		panic(fmt.Sprintf("testenv: Clock.Suspend(%v): negative", d))
	}
	c.StepWall(d)
}
