package domain

import (
	"math/rand/v2"
	"time"
)

// DefaultInterval is how often a proof is looked at again.
const DefaultInterval = 30 * 24 * time.Hour

// When a proof that is not found any more ends.
const (
	// retryTime is how soon a look that failed is repeated, unless the interval is shorter.
	retryTime = 24 * time.Hour
	// A proof ends once it was found to be gone lapseFailures times in a row, over lapseGrace.
	lapseFailures = 3
	lapseGrace    = 3 * 24 * time.Hour
	// blindGrace is how long nothing may be found out about a proof, beyond the interval. It is long because the fault
	// may be this machine's, and would end every proof at once.
	blindGrace = 30 * 24 * time.Hour
	// jitter is by how much of itself a time until the next look varies.
	jitter = 0.1
)

// Schedule says when proofs are looked at again. The zero value looks every DefaultInterval.
type Schedule struct {
	Interval time.Duration
	// Random returns a number from 0 to below 1; nil means rand.Float64.
	Random func() float64
}

// History is how the looks at a proof have gone.
type History struct {
	// SeenAt is when the answer was there last.
	SeenAt time.Time
	// Failures counts the conclusive failures since; FailingAt is the first of them, nil if there is none.
	Failures  int64
	FailingAt *time.Time
	// NextAt is when to look again.
	NextAt time.Time
}

// First is the history of a proof that was found at now.
func (s Schedule) First(now time.Time) History {
	return History{SeenAt: now, NextAt: now.Add(s.vary(s.interval()))}
}

// After returns the history with what a look at now has found, and whether the proof ends with it.
func (s Schedule) After(h History, found Outcome, now time.Time) (_ History, lapses bool) {
	if found == Verified {
		return s.First(now), false
	}
	h.NextAt = now.Add(s.vary(min(retryTime, s.interval())))
	if !found.Conclusive() {
		return h, now.Sub(h.SeenAt) >= s.interval()+blindGrace
	}
	if h.Failures++; h.FailingAt == nil {
		h.FailingAt = &now
	}
	return h, h.Failures >= lapseFailures && now.Sub(*h.FailingAt) >= lapseGrace
}

func (s Schedule) interval() time.Duration {
	if s.Interval == 0 {
		return DefaultInterval
	}
	return s.Interval
}

// vary spreads what began together.
func (s Schedule) vary(d time.Duration) time.Duration {
	random := s.Random
	if random == nil {
		random = rand.Float64
	}
	return d + time.Duration((2*random()-1)*jitter*float64(d))
}
