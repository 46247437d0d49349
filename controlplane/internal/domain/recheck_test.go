package domain

import (
	"testing"
	"time"
)

const day = 24 * time.Hour

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// look is a look at a proof, so many days after the one before.
type look struct {
	after float64
	found Outcome
}

func repeat(n int, l look) []look {
	out := make([]look, n)
	for i := range out {
		out[i] = l
	}
	return out
}

func TestWhenAProofEnds(t *testing.T) {
	gone, blind, seen := look{1, NXDomain}, look{1, Timeout}, look{1, Verified}
	for _, tt := range []struct {
		name  string
		looks []look
		// lapses is the look that ends it, counted from 1; 0 for none.
		lapses int
	}{
		{"seen", repeat(100, seen), 0},
		{"gone for three days", repeat(4, gone), 4},
		{"gone, looked at by hand again and again", append(repeat(10, look{0.001, NoRecord}), look{3, WrongValue}), 11},
		{"gone twice over a long time", []look{{30, NXDomain}, {10, NXDomain}}, 0},
		{"gone, back, gone", []look{gone, gone, gone, seen, gone, gone, gone}, 0},
		{"nothing found out for a month and more", append([]look{{30, Timeout}}, repeat(30, blind)...), 31},
		{"nothing found out, then seen", append(append(repeat(50, blind), seen), repeat(50, blind)...), 0},
		{"gone, with days of which nothing is known", []look{gone, blind, blind, gone, gone}, 5},
		{"gone first after days of which nothing is known", append(repeat(20, blind), gone, gone, gone), 0},
		{"resolvers that disagree", repeat(20, look{1, ResolversDisagree}), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Schedule{Random: func() float64 { return 0.5 }}
			now, h := start, s.First(start)
			for i, l := range tt.looks {
				now = now.Add(time.Duration(l.after * float64(day)))
				var lapses bool
				if h, lapses = s.After(h, l.found, now); lapses != (i+1 == tt.lapses) {
					t.Fatalf("look %d: lapses %t: %+v", i+1, lapses, h)
				}
				if lapses {
					return
				}
			}
		})
	}
}

func TestWhenToLookAgain(t *testing.T) {
	for _, tt := range []struct {
		interval     time.Duration
		random       float64
		found        Outcome
		least, limit time.Duration
	}{
		{0, 0, Verified, 27 * day, 27 * day},
		{0, 0.5, Verified, 30 * day, 30 * day},
		{0, 0.999999, Verified, 32 * day, 33 * day},
		{time.Hour, 0.5, Verified, time.Hour, time.Hour},
		{0, 0.5, NXDomain, day, day},
		{0, 0, Timeout, day * 9 / 10, day * 9 / 10},
		{time.Hour, 0.5, NXDomain, time.Hour, time.Hour},
	} {
		s := Schedule{Interval: tt.interval, Random: func() float64 { return tt.random }}
		h, _ := s.After(s.First(start), tt.found, start)
		if got := h.NextAt.Sub(start); got < tt.least || got > tt.limit {
			t.Errorf("%+v: again after %s", tt, got)
		}
	}
	// Proofs of one moment are not all due at one moment.
	a, b := Schedule{}.First(start), Schedule{}.First(start)
	if a.NextAt.Equal(b.NextAt) {
		t.Error("no jitter")
	}
}
