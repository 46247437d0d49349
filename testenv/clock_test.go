package testenv

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var clockStart = time.Unix(1_700_000_000, 0)

func TestClockReadings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		move       func(*Clock)
		wall, mono time.Duration // since the start
	}{
		{"still", func(*Clock) {}, 0, 0},
		{"advance", func(c *Clock) { c.Advance(3 * time.Second) }, 3 * time.Second, 3 * time.Second},
		{"step back", func(c *Clock) { c.StepWall(-time.Hour) }, -time.Hour, 0},
		{"suspend", func(c *Clock) { c.Suspend(time.Hour) }, time.Hour, 0},
		{"suspend does not drift", func(c *Clock) { c.SetDrift(500); c.Suspend(time.Hour) }, time.Hour, 0},
		{"gain", func(c *Clock) { c.SetDrift(50); c.Advance(10 * time.Second) }, 10*time.Second + 500*time.Microsecond, 10 * time.Second},
		{"lose", func(c *Clock) { c.SetDrift(-50); c.Advance(10 * time.Second) }, 10*time.Second - 500*time.Microsecond, 10 * time.Second},
		{"a lost part of a nanosecond shows at once", func(c *Clock) { c.SetDrift(-1); c.Advance(1) }, 0, 1},
		{"parts survive a change of drift", func(c *Clock) {
			c.SetDrift(400_000)
			c.Advance(1)
			c.SetDrift(600_000)
			c.Advance(1)
		}, 3, 2},
		{"drift ends", func(c *Clock) {
			c.SetDrift(100)
			c.Advance(time.Second)
			c.SetDrift(0)
			c.Advance(time.Second)
		}, 2*time.Second + 100*time.Microsecond, 2 * time.Second},
		{"standstill for 290 years", func(c *Clock) { c.SetDrift(-1_000_000); c.Advance(math.MaxInt64 - time.Hour) }, 0, math.MaxInt64 - time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := NewClock(clockStart)
			mono := c.Monotonic()
			tt.move(c)
			if got := c.Now().Sub(clockStart); got != tt.wall {
				t.Errorf("wall moved by %v, want %v", got, tt.wall)
			}
			if got := c.Monotonic() - mono; got != tt.mono {
				t.Errorf("monotonic moved by %v, want %v", got, tt.mono)
			}
		})
	}
}

// However time is cut into Advances, the clocks read the same.
func TestClockDriftIsExact(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		ppm := random.Int64N(2*wholePPM+1) - wholePPM
		small, large := NewClock(clockStart), NewClock(clockStart)
		small.SetDrift(ppm)
		large.SetDrift(ppm)
		var sum time.Duration
		for range random.IntN(200) {
			d := time.Duration(random.Int64N(1 << random.IntN(45)))
			small.Advance(d)
			sum += d
		}
		large.Advance(sum)
		if !small.Now().Equal(large.Now()) || small.Monotonic() != large.Monotonic() {
			t.Fatalf("ppm %d, %v: many Advances read %v, one reads %v", ppm, sum, small.Now(), large.Now())
		}
	}
}

func TestClockRefusesBugs(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(*Clock){
		"advance":        func(c *Clock) { c.Advance(-1) },
		"suspend":        func(c *Clock) { c.Suspend(-1) },
		"drift too high": func(c *Clock) { c.SetDrift(wholePPM + 1) },
		"drift too low":  func(c *Clock) { c.SetDrift(-wholePPM - 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := NewClock(clockStart)
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
				c.Advance(time.Second) // neither locked nor moved
				if !c.Now().Equal(clockStart.Add(time.Second)) {
					t.Errorf("the clock reads %v", c.Now())
				}
			}()
			move(c)
		})
	}
}

func TestClockIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	c := NewClock(clockStart)
	c.SetDrift(1)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 250 {
				c.Advance(time.Millisecond)
				c.Suspend(time.Millisecond)
				c.StepWall(-time.Millisecond)
				c.SetDrift(1)
				_, _ = c.Now(), c.Monotonic()
			}
		})
	}
	all.Wait()
	if got, want := c.Now().Sub(clockStart), time.Second+time.Microsecond; got != want {
		t.Errorf("wall moved by %v, want %v", got, want)
	}
}
