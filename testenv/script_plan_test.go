package testenv

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPlans(t *testing.T) {
	t.Parallel()
	slow, lost := Play{Delay: time.Second}, Play{Lose: LoseReply}
	a, b, x := addressed("GET", "/a"), addressed("GET", "/b?/a"), addressed("GET", "/a/?x")
	aQuery := addressed("GET", "/a?x=1")
	tests := []struct {
		name  string
		plan  Plan
		calls []*CalloutRequest
		want  []Play
	}{
		{"nil", nil, []*CalloutRequest{a, b}, []Play{{}, {}}},
		{"plays, then delivery", Plays(slow, lost), []*CalloutRequest{a, a, a, a}, []Play{slow, lost, {}, {}}},
		{"no plays", Plays(), []*CalloutRequest{a}, []Play{{}}},
		{"every", Every(lost), []*CalloutRequest{a, b, a}, []Play{lost, lost, lost}},
		{"one path", OnPath("/a", Every(lost), nil), []*CalloutRequest{a, b, aQuery, x}, []Play{lost, {}, lost, {}}},
		{"each path counts for itself", OnPath("/a", Plays(slow, lost), Plays(lost)), []*CalloutRequest{b, a, b, aQuery, a}, []Play{lost, slow, {}, lost, {}}},
		{"nested", OnPath("/a", nil, OnPath("/b", Plays(slow), Every(lost))), []*CalloutRequest{a, b, b, x}, []Play{{}, slow, {}, lost}},
		{"own function", func(c Call) Play { return Play{Repeat: c.Number} }, []*CalloutRequest{a, b}, []Play{{Repeat: 1}, {Repeat: 2}}},
		{"a weight of all", Mix(Weighted{0, slow}, Weighted{3, lost}, Weighted{0, Play{}}), []*CalloutRequest{a, a, a}, []Play{lost, lost, lost}},
		{"jitter of nothing", Jittered(0, Plays(slow)), []*CalloutRequest{a, a}, []Play{slow, {}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &Script{Plan: tt.plan}
			var got []Play
			for _, req := range tt.calls {
				got = append(got, s.plan(req, nil))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("plays %+v, want %+v", got, tt.want)
			}
		})
	}
}

func chaos() Plan {
	return Jittered(time.Second, Mix(Weighted{6, Play{}}, Weighted{3, Play{Lose: LoseReply}}, Weighted{1, Play{Reset: ResetAfter}}))
}

func drawn(s *Script, rnd *rand.Rand, calls int) []Play {
	plays := make([]Play, calls)
	for i := range plays {
		plays[i] = s.plan(addressed("GET", "/"), rnd)
	}
	return plays
}

func TestScriptIsItsSeeds(t *testing.T) {
	t.Parallel()
	first := drawn(&Script{Plan: chaos(), Seed: 1}, nil, 100)
	if again := drawn(&Script{Plan: chaos(), Seed: 1}, nil, 100); !slices.Equal(first, again) {
		t.Error("the same seed gave another run")
	}
	if other := drawn(&Script{Plan: chaos(), Seed: 2}, nil, 100); slices.Equal(first, other) {
		t.Error("another seed gave the same run")
	}
	given := func(seed uint64) []Play {
		return drawn(&Script{Plan: chaos(), Seed: seed}, rand.New(rand.NewPCG(7, 7)), 100)
	}
	if !slices.Equal(given(1), given(2)) || slices.Equal(given(1), first) {
		t.Error("the chance given did not take the place of the script's own")
	}
}

// The weights and the jitter hold over the calls of one run and over the first calls of many runs alike.
func TestMixKeepsItsWeights(t *testing.T) {
	t.Parallel()
	const draws = 10_000
	byCall := drawn(&Script{Plan: chaos()}, nil, draws)
	bySeed := make([]Play, draws)
	for seed := range bySeed {
		bySeed[seed] = (&Script{Plan: chaos(), Seed: uint64(seed)}).plan(addressed("GET", "/"), nil)
	}
	for name, plays := range map[string][]Play{"by call": byCall, "by seed": bySeed} {
		lost, reset := 0, 0
		var delay, returned time.Duration
		for _, p := range plays {
			if p.Lose == LoseReply {
				lost++
			}
			if p.Reset == ResetAfter {
				reset++
			}
			if p.Delay < 0 || p.Delay > time.Second || p.Return < 0 || p.Return > time.Second {
				t.Fatalf("%s: times out of range: %+v", name, p)
			}
			delay += p.Delay
			returned += p.Return
		}
		near := func(got, want float64) bool { return got > 0.93*want && got < 1.07*want }
		if !near(float64(lost), 0.3*draws) || !near(float64(reset), 0.1*draws) {
			t.Errorf("%s: %d lost and %d reset of %d", name, lost, reset, draws)
		}
		if !near(delay.Seconds(), 0.5*draws) || !near(returned.Seconds(), 0.5*draws) {
			t.Errorf("%s: %v of delay and %v of return in %d calls", name, delay, returned, draws)
		}
	}
}

// A plan may keep state without locks: it is asked about one call at a time, in the order of the numbers.
func TestPlanIsAskedInTurn(t *testing.T) {
	t.Parallel()
	var numbers []int
	s := &Script{Cluster: &ledgerServer{}, Plan: OnPath("/settle", func(c Call) Play {
		numbers = append(numbers, c.Number)
		return Play{}
	}, nil)}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := s.Call(t.Context(), settle("abc")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, n := range numbers {
		if n != i+1 {
			t.Fatalf("numbers %d", numbers)
		}
	}
	if len(numbers) != 64 {
		t.Errorf("asked %d times", len(numbers))
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	t.Parallel()
	answer := &CalloutResponse{Headers: []Header{{":status", "200"}}}
	tests := []struct {
		want string
		play Play
	}{
		{"negative duration: Delay -1ns", Play{Delay: -1}},
		{"negative duration: Delay 0s, Return -1ns", Play{Return: -1}},
		{"negative Repeat: -1", Play{Repeat: -1}},
		{"a body of -1", Play{Body: Truncated(-1)}},
		{"a body of -2", Play{Body: Oversized(-2)}},
		{"not a Loss: 3", Play{Lose: 3}},
		{"not a Loss: -1", Play{Lose: -1}},
		{"not a ResetAt: 3", Play{Reset: 3}},
		{"not a ResetAt: -1", Play{Reset: -1}},
		{"more than one", Play{Lose: LoseReply, Reset: ResetAfter}},
		{"more than one", Play{Lose: LoseReply, Body: Truncated(1)}},
		{"more than one", Play{Reset: ResetAfter, Body: Truncated(0)}},
		{"never arrives", Play{Lose: LoseReply, Answer: answer}},
		{"never arrives", Play{Reset: ResetBefore, Answer: answer}},
		{"without :status", Play{Answer: &CalloutResponse{}}},
		{"not asked", Play{Repeat: 1, Lose: LoseRequest}},
		{"not asked", Play{Repeat: 1, Reset: ResetBefore}},
		{"not asked", Play{Repeat: 1, Answer: answer}},
	}
	for _, tt := range tests {
		mustPanic(t, tt.want, func() { Every(tt.play) })
		mustPanic(t, tt.want, func() { Plays(Play{}, tt.play) })
		mustPanic(t, tt.want, func() { Mix(Weighted{1, Play{}}, Weighted{1, tt.play}) })
		mustPanic(t, tt.want, func() { (&Script{Plan: func(Call) Play { return tt.play }}).plan(addressed("GET", "/"), nil) })
	}
	mustPanic(t, "without a weight", func() { Mix() })
	mustPanic(t, "without a weight", func() { Mix(Weighted{0, Play{}}) })
	mustPanic(t, "weight -1", func() { Mix(Weighted{3, Play{}}, Weighted{-1, Play{}}) })
	mustPanic(t, "Jittered by -1ns", func() { Jittered(-1, nil) })
	mustPanic(t, "without Cluster", func() { _, _ = (&Script{}).Call(t.Context(), addressed("GET", "/")) })
}

func mustPanic(t *testing.T, want string, do func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "testenv: ") || !strings.Contains(got, want) {
			t.Errorf("panic %q, want %q", got, want)
		}
	}()
	do()
}
