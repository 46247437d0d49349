package testenv

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Workers: 2}, Plugin{Filter: guest(t, "telemetry"), Name: "telemetry"})
	h.Check(t, Request{Worker: 1, Body: []byte("12345")}, Want{
		Metrics: map[string]int64{"telemetry.requests": 1, "telemetry.open": 0, "telemetry.sizes": 1},
		Logs:    []string{"requests 1, defined again 1, open 1"},
	})
	// The VMs of all workers count together.
	h.Check(t, Request{Worker: 2, Body: []byte("123"), ChunkSize: 1}, Want{Logs: []string{"requests 2, defined again 2, open 1"}})
	h.Check(t, Request{Path: "/below"}, Want{Logs: []string{"requests 3", "open -2"}})
	want := []Metric{
		{Name: "telemetry.open", Kind: Gauge},
		{Name: "telemetry.requests", Kind: Counter, Value: 3},
		{Name: "telemetry.sizes", Kind: Histogram, Count: 3, Sum: 8},
	}
	if diff := cmp.Diff(want, h.Metrics().Snapshot()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if h.Metric("telemetry.requests") != 3 || h.Metric("telemetry.sizes") != 3 || h.Metric("absent") != 0 {
		t.Errorf("requests %d sizes %d absent %d", h.Metric("telemetry.requests"), h.Metric("telemetry.sizes"), h.Metric("absent"))
	}

	// They outlive a change of configuration.
	h.Replace(Plugin{Filter: guest(t, "telemetry"), Name: "again", VMConfiguration: []byte("other")})
	h.Check(t, Request{}, Want{Logs: []string{"requests 4, defined again 4, open 1"}})
}

func TestMetricsOfOneName(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	counter, gauge, histogram := m.define("x", Counter), m.define("x", Gauge), m.define("y", Histogram)
	if m.define("x", Counter) != counter {
		t.Error("a second definition is another metric")
	}
	steps := []struct {
		what string
		got  status
		want status
	}{
		{"counter up", m.increment(counter, 2), statusOK},
		{"counter by nothing", m.increment(counter, 0), statusBadArgument},
		{"counter down", m.increment(counter, -1), statusBadArgument},
		{"gauge down", m.increment(gauge, -7), statusOK},
		{"histogram", m.increment(histogram, 1), statusBadArgument},
	}
	for _, s := range steps {
		if s.got != s.want {
			t.Errorf("%s: %v, want %v", s.what, s.got, s.want)
		}
	}
	m.record(counter, 5) // adds
	m.record(gauge, 9)   // sets
	m.record(histogram, 4)
	m.record(histogram, 6)
	want := []Metric{
		{Name: "x", Kind: Counter, Value: 7}, {Name: "x", Kind: Gauge, Value: 9}, {Name: "y", Kind: Histogram, Count: 2, Sum: 10},
	}
	if got := m.Snapshot(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if v, ok := m.Value("x"); v != 7 || !ok {
		t.Errorf("x is %d, %t: a counter comes before a gauge", v, ok)
	}
	if v, ok := m.Value("z"); v != 0 || ok {
		t.Errorf("z is %d, %t", v, ok)
	}
}
