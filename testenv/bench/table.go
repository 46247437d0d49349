package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// table compares ways of doing the same work.
type table struct {
	title  string // of the first column
	unit   unit
	rounds int
	// perSecond: shown is how many there are in a second, not the time for one, and ratios are of that. The unit's name says
	// of what; its time is not used.
	perSecond bool
	// baseline names the way that the others are divided by.
	baseline string
	ways     []way
	// more are further columns of ratios.
	more []column
}

// column is one of ratios to a baseline, with the goals of the ways that have one.
type column struct {
	baseline string
	goals    map[string]*goal
}

// way is one row of a table.
type way struct {
	name string
	// round does the work once and returns the time for what the table counts.
	round func() time.Duration
	// goal is what the row has to reach; nil asks for nothing.
	goal *goal
}

// unit is what times are shown in.
type unit struct {
	name string
	one  time.Duration
}

// goal is what a row has to reach, as text and as a check of the row's medians.
type goal struct {
	text string
	met  func(median time.Duration, ratio float64) bool
	// dominates says what a profile showed the time to go to; it is told where the goal is missed.
	dominates string
}

// but returns g with what dominates.
func (g *goal) but(dominates string) *goal {
	return &goal{text: g.text, met: g.met, dominates: dominates}
}

// within is the goal of taking at most d.
func within(d time.Duration) *goal {
	return &goal{
		text: fmt.Sprintf("≤ %v", d),
		met:  func(median time.Duration, _ float64) bool { return median <= d },
	}
}

// atMost and atLeast are goals for the ratio to the baseline.
func atMost(most float64) *goal {
	return &goal{
		text: fmt.Sprintf("≤ %v ×", most),
		met:  func(_ time.Duration, ratio float64) bool { return ratio <= most },
	}
}

func atLeast(least float64) *goal {
	return &goal{
		text: fmt.Sprintf("≥ %v ×", least),
		met:  func(_ time.Duration, ratio float64) bool { return ratio >= least },
	}
}

// verdict says how a goal came out.
func (g *goal) verdict(median time.Duration, ratio float64) string {
	switch {
	case g == nil:
		return ""
	case g.met(median, ratio):
		return g.text + ": met"
	default:
		return g.text + ": **goal missed**"
	}
}

// measure runs the rounds and returns the table in Markdown.
func (t table) measure() string { return t.markdown(t.times()) }

// times runs the rounds and returns what they took, in nanoseconds, by name and round. The first round warms up and does
// not count.
func (t table) times() map[string][]float64 {
	times := map[string][]float64{}
	order := rand.New(rand.NewPCG(1, 1))
	for round := range t.rounds + 1 {
		for _, i := range order.Perm(len(t.ways)) {
			runtime.GC()
			took := t.ways[i].round()
			if round > 0 {
				times[t.ways[i].name] = append(times[t.ways[i].name], float64(took))
			}
		}
	}
	return times
}

func (t table) markdown(times map[string][]float64) string {
	var b strings.Builder
	first := column{t.baseline, map[string]*goal{}}
	for _, w := range t.ways {
		first.goals[w.name] = w.goal
	}
	columns := append([]column{first}, t.more...)
	fmt.Fprintf(&b, "| %s | %s |", t.title, t.unit.name)
	for _, c := range columns {
		fmt.Fprintf(&b, " ÷ %s | goal |", c.baseline)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|---|", len(columns)) + "\n")
	var missed []string
	for _, w := range t.ways {
		took := quartilesOf(times[w.name])
		fmt.Fprintf(&b, "| %s | %s |", w.name, t.shown(times[w.name]))
		for _, c := range columns {
			ratio, g := t.ratio(times[w.name], times[c.baseline]), c.goals[w.name]
			fmt.Fprintf(&b, " %s | %s |", ratio.in(1), g.verdict(time.Duration(took.median), ratio.median))
			if g != nil && g.dominates != "" && !g.met(time.Duration(took.median), ratio.median) {
				missed = append(missed, fmt.Sprintf("\n%s: what dominates is %s.\n", w.name, g.dominates))
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n%d rounds.\n%s", t.rounds, strings.Join(slices.Compact(missed), ""))
	return b.String()
}

// shown is how a way's times stand in the table.
func (t table) shown(times []float64) string {
	if !t.perSecond {
		return quartilesOf(times).in(float64(t.unit.one))
	}
	rates := make([]float64, len(times))
	for i, one := range times {
		rates[i] = float64(time.Second) / one
	}
	return quartilesOf(rates).in(1)
}

// ratio divides what is shown of a way by what is shown of the baseline, round by round.
func (t table) ratio(times, baseline []float64) quartiles {
	ratios := make([]float64, len(times))
	for i, one := range times {
		ratios[i] = one / baseline[i]
		if t.perSecond {
			ratios[i] = 1 / ratios[i]
		}
	}
	return quartilesOf(ratios)
}

// quartiles are the median of a sample and the bounds of its middle half.
type quartiles struct{ low, median, high float64 }

// quartilesOf returns NaN for no sample.
func quartilesOf(sample []float64) quartiles {
	sorted := slices.Sorted(slices.Values(sample))
	return quartiles{low: quantile(sorted, 0.25), median: quantile(sorted, 0.5), high: quantile(sorted, 0.75)}
}

// quantile interpolates between the two values next to the place q, 0 to 1, in a sorted sample.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	place := q * float64(len(sorted)-1)
	below := int(place)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (place-float64(below))*(sorted[above]-sorted[below])
}

// in shows the quartiles as multiples of one.
func (q quartiles) in(one float64) string {
	return fmt.Sprintf("%s (%s–%s)", digits(q.median/one), digits(q.low/one), digits(q.high/one))
}

// digits shows three significant digits, without an exponent and with at most four decimals.
func digits(v float64) string {
	decimals := 2
	if size := math.Abs(v); size > 0 && !math.IsInf(size, 0) {
		decimals = min(max(0, 2-int(math.Floor(math.Log10(size)))), 4)
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}
