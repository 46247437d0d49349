package testenv

import "strings"

// Envoy's prefixes: of filters' metrics among its statistics (stats_handler.h, CustomStatNamespace), which Prometheus does
// not get to see, and of everything else in Prometheus' format (prometheus_stats.cc).
const (
	customStatPrefix = "wasmcustom."
	prometheusPrefix = "envoy_"
)

// StatName returns the name under which Envoy's admin interface lists a filter's metric. All plugins count under one
// prefix: those that define the same name count together.
func StatName(metric string) string { return customStatPrefix + metric }

// PrometheusName returns the name of a filter's metric in Envoy's Prometheus output: as the filter has it, with "_" for
// every byte other than a letter, a digit or "_". It is empty for a metric that Envoy leaves out, because nothing is left
// of the name or it begins with a digit. Names that end in "_rq_200" or the like lose the code to a label in Envoy; that is
// not done here.
func PrometheusName(metric string) string {
	name := sanitized(metric)
	if name == "" || '0' <= name[0] && name[0] <= '9' {
		return ""
	}
	return name
}

// StatName returns the metric's name among Envoy's statistics.
func (m Metric) StatName() string {
	if m.Host {
		return m.Name
	}
	return StatName(m.Name)
}

// PrometheusName returns the metric's name in Envoy's Prometheus output, empty if Envoy leaves it out.
func (m Metric) PrometheusName() string {
	if m.Host {
		return prometheusPrefix + sanitized(m.Name)
	}
	return PrometheusName(m.Name)
}

func sanitized(name string) string {
	var out strings.Builder
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			c = '_'
		}
		out.WriteByte(c)
	}
	return out.String()
}
