package proxy

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/tollgate/tollgate/testenv"
)

// StatsHandler serves what is counted in Prometheus' text format under Envoy's names, which leave those of filters'
// metrics as they are as far as Prometheus allows.
func (p *Proxy) StatsHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		var out strings.Builder
		for _, m := range p.metrics.Snapshot() {
			writeMetric(&out, m)
		}
		_, _ = w.Write([]byte(out.String())) // the scraper is gone: nobody to tell
	})
}

func writeMetric(out *strings.Builder, m testenv.Metric) {
	name := m.PrometheusName()
	if name == "" {
		return // Envoy leaves it out too
	}
	switch m.Kind {
	case testenv.Counter:
		fmt.Fprintf(out, "# TYPE %s counter\n%s %d\n", name, name, m.Value)
	case testenv.Gauge:
		// Filters move gauges by signed steps in an unsigned word.
		fmt.Fprintf(out, "# TYPE %s gauge\n%s %d\n", name, name, int64(m.Value))
	case testenv.Histogram:
		fmt.Fprintf(out, "# TYPE %s summary\n%s_sum %d\n%s_count %d\n", name, name, m.Sum, name, m.Count)
	}
}
