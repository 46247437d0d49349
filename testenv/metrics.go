package testenv

import (
	"cmp"
	"slices"
	"sync"
)

// MetricKind is the type of a metric as the ABI numbers it.
type MetricKind uint32

// The kinds a filter can define.
const (
	Counter MetricKind = iota
	Gauge
	Histogram
)

// Metric is the state of one metric. Value is the counter or gauge; Count and Sum are of a
// histogram's recordings.
type Metric struct {
	Name string
	Kind MetricKind
	// Host says that the host counts it, as Envoy counts "wasm.NAME.vm_reload_success" of a plugin; no filter defined it.
	Host       bool
	Value      uint64
	Count, Sum uint64
}

// Metrics are the counters, gauges and histograms of one or several VMs, kept by name, so that
// VMs which define the same name add to the same metric. It is safe for concurrent use.
type Metrics struct {
	mu    sync.Mutex
	byKey map[metricKey]*Metric
}

type metricKey struct {
	name string
	kind MetricKind
	host bool
}

// NewMetrics returns an empty set.
func NewMetrics() *Metrics { return &Metrics{byKey: map[metricKey]*Metric{}} }

// Value returns a counter's or gauge's value, a gauge taken as signed, or the number of a
// histogram's recordings; false when nothing of that name is defined.
func (m *Metrics) Value(name string) (int64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range []metricKey{{name: name}, {name: name, kind: Gauge}, {name: name, kind: Histogram}, {name: name, host: true}} {
		if v, ok := m.byKey[key]; ok {
			if v.Kind == Histogram {
				return int64(v.Count), true
			}
			return int64(v.Value), true
		}
	}
	return 0, false
}

// Snapshot returns every metric, ordered by name and kind, the filters' before the host's.
func (m *Metrics) Snapshot() []Metric {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Metric, 0, len(m.byKey))
	for _, v := range m.byKey {
		all = append(all, *v)
	}
	slices.SortFunc(all, func(a, b Metric) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(flag(a.Host), flag(b.Host)))
	})
	return all
}

func (m *Metrics) define(name string, kind MetricKind) *Metric {
	return m.at(metricKey{name: name, kind: kind})
}

// count moves a counter of the host's own.
func (m *Metrics) count(name string) {
	m.increment(m.at(metricKey{name: name, kind: Counter, host: true}), 1)
}

func (m *Metrics) at(key metricKey) *Metric {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.byKey[key]
	if !ok {
		v = &Metric{Name: key.name, Kind: key.kind, Host: key.host}
		m.byKey[key] = v
	}
	return v
}

func (m *Metrics) increment(v *Metric, offset int64) status {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch v.Kind {
	case Counter:
		if offset <= 0 {
			return statusBadArgument
		}
		v.Value += uint64(offset)
	case Gauge:
		v.Value += uint64(offset)
	default:
		return statusBadArgument
	}
	return statusOK
}

func (m *Metrics) record(v *Metric, value uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch v.Kind {
	case Counter:
		v.Value += value
	case Gauge:
		v.Value = value
	default:
		v.Count++
		v.Sum += value
	}
}

func (m *Metrics) value(v *Metric) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return v.Value
}
