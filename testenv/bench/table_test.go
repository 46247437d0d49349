package main

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuartiles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		sample []float64
		want   quartiles
	}{
		{[]float64{7}, quartiles{7, 7, 7}},
		{[]float64{4, 2}, quartiles{2.5, 3, 3.5}},
		{[]float64{5, 1, 4, 2, 3}, quartiles{2, 3, 4}},
	}
	for _, tt := range tests {
		given := slices.Clone(tt.sample)
		if got := quartilesOf(tt.sample); got != tt.want {
			t.Errorf("quartilesOf(%v) = %+v, want %+v", tt.sample, got, tt.want)
		}
		if !slices.Equal(given, tt.sample) {
			t.Errorf("quartilesOf changed its argument to %v", tt.sample)
		}
	}
	if got := quartilesOf(nil); !math.IsNaN(got.median) {
		t.Errorf("the median of nothing is %v, want NaN", got.median)
	}
}

func TestDigits(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0.034: "0.0340", 0.5: "0.500", 1.0 / 3e6: "0.0000", 1: "1.00", 9.99: "9.99", 12.34: "12.3", 123.4: "123", 12345: "12345", 0: "0.00"} {
		if got := digits(v); got != want {
			t.Errorf("digits(%v) = %q, want %q", v, got, want)
		}
	}
}

// Ratios are made round by round, so that what slows a whole round down does not show in them.
func TestTable(t *testing.T) {
	t.Parallel()
	tb := table{title: "work", unit: unit{"ms", time.Millisecond}, rounds: 3, baseline: "plain", ways: []way{
		{name: "plain"},
		{name: "double", goal: within(10 * time.Millisecond)},
		{name: "slow", goal: within(10 * time.Millisecond)},
	}}
	got := tb.markdown(map[string][]float64{"plain": {1e6, 10e6, 4e6}, "double": {2e6, 20e6, 8e6}, "slow": {20e6, 20e6, 20e6}})
	want := `| work | ms | ÷ plain | goal |
|---|---|---|---|
| plain | 4.00 (2.50–7.00) | 1.00 (1.00–1.00) |  |
| double | 8.00 (5.00–14.0) | 2.00 (2.00–2.00) | ≤ 10ms: met |
| slow | 20.0 (20.0–20.0) | 5.00 (3.50–12.5) | ≤ 10ms: **goal missed** |

3 rounds.
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// Rates are of a second, and a goal for them is missed when they are too low; then it is told what dominates.
func TestRateTable(t *testing.T) {
	t.Parallel()
	tb := table{title: "work", unit: unit{"per s", 0}, perSecond: true, rounds: 3, baseline: "plain", ways: []way{
		{name: "plain"},
		{name: "double", goal: atLeast(2).but("nothing")},
		{name: "half", goal: atLeast(1).but("the waiting")},
		{name: "much", goal: atMost(0.6)},
	}}
	got := tb.markdown(map[string][]float64{"plain": {1e6, 10e6, 4e6}, "double": {5e5, 5e6, 2e6}, "half": {2e6, 20e6, 8e6}, "much": {1e6, 10e6, 4e6}})
	want := `| work | per s | ÷ plain | goal |
|---|---|---|---|
| plain | 250 (175–625) | 1.00 (1.00–1.00) |  |
| double | 500 (350–1250) | 2.00 (2.00–2.00) | ≥ 2 ×: met |
| half | 125 (87.5–312) | 0.500 (0.500–0.500) | ≥ 1 ×: **goal missed** |
| much | 250 (175–625) | 1.00 (1.00–1.00) | ≤ 0.6 ×: **goal missed** |

3 rounds.

half: what dominates is the waiting.
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// Every round runs every way once, and the first round does not count.
func TestRounds(t *testing.T) {
	t.Parallel()
	var order []string
	tick := func(name string) way {
		return way{name: name, round: func() time.Duration {
			order = append(order, name)
			if len(order) <= 2 {
				return time.Hour
			}
			return time.Millisecond
		}}
	}
	text := table{unit: unit{"ms", time.Millisecond}, rounds: 9, baseline: "a", ways: []way{tick("a"), tick("b")}}.measure()
	if !strings.Contains(text, "| a | 1.00 (1.00–1.00) | 1.00 (1.00–1.00) |") {
		t.Errorf("the first round counts:\n%s", text)
	}
	firsts := map[string]int{}
	for round := range slices.Chunk(order, 2) {
		if round[0] == round[1] {
			t.Fatalf("a round ran %v", round)
		}
		firsts[round[0]]++
	}
	if len(order) != 20 || firsts["a"] == 0 || firsts["b"] == 0 {
		t.Errorf("ran %v: want 10 rounds, in changing order", order)
	}
}

func TestGrowthVerdict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		most, perStream float64
		want            string
	}{
		{1, -3, "≤ 1: met"}, {1, 1, "≤ 1: met"}, {1, 8, "≤ 1: **goal missed**"},
	}
	for _, tt := range tests {
		if got := (held{most: tt.most}).verdict(tt.perStream); got != tt.want {
			t.Errorf("verdict of %v at most %v = %q, want %q", tt.perStream, tt.most, got, tt.want)
		}
	}
}

func TestWithSection(t *testing.T) {
	t.Parallel()
	doc := withSection(withSection("# Title\n", "a", "first\n"), "b", "second\n\n")
	want := "# Title\n\n<!-- begin a -->\nfirst\n<!-- end a -->\n\n<!-- begin b -->\nsecond\n<!-- end b -->\n"
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Fatalf("two sections (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(strings.Replace(want, "first", "again", 1), withSection(doc, "a", "again")); diff != "" {
		t.Errorf("one measured anew (-want +got):\n%s", diff)
	}
}

// What a Host reports is an error of the section, and Fatalf ends it; what was to be cleaned up is, last first.
func TestBenchReports(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	var ended []int
	b := newBench(guests{}, 0)
	_, err := b.run(section{measure: func(b *bench) string {
		b.Cleanup(func() { ended = append(ended, 1) })
		b.Cleanup(func() { ended = append(ended, 2) })
		b.Errorf("a stream was left open")
		b.check(broken)
		t.Error("went on after an error")
		return ""
	}})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "left open") || !slices.Equal(ended, []int{2, 1}) {
		t.Errorf("error %v, cleaned up %v; want both errors and 2, 1", err, ended)
	}
}

// A table can hold its ways against several of them, each with goals of its own.
func TestTableOfSeveralBaselines(t *testing.T) {
	t.Parallel()
	tb := table{
		title: "work", unit: unit{"jobs/s", 0}, perSecond: true, rounds: 1, baseline: "plain",
		more: []column{{"half", map[string]*goal{"slow": atLeast(0.9).but("waiting")}}},
		ways: []way{{name: "plain"}, {name: "half"}, {name: "slow", goal: atLeast(0.25)}},
	}
	got := tb.markdown(map[string][]float64{"plain": {1e6}, "half": {2e6}, "slow": {4e6}})
	want := `| work | jobs/s | ÷ plain | goal | ÷ half | goal |
|---|---|---|---|---|---|
| plain | 1000 (1000–1000) | 1.00 (1.00–1.00) |  | 2.00 (2.00–2.00) |  |
| half | 500 (500–500) | 0.500 (0.500–0.500) |  | 1.00 (1.00–1.00) |  |
| slow | 250 (250–250) | 0.250 (0.250–0.250) | ≥ 0.25 ×: met | 0.500 (0.500–0.500) | ≥ 0.9 ×: **goal missed** |

1 rounds.

slow: what dominates is waiting.
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownSection(t *testing.T) {
	t.Parallel()
	if err := run("nothing", "", "", "", 0); err == nil || !strings.Contains(err.Error(), "requests") {
		t.Errorf("error %v, want one that lists the sections", err)
	}
}
