package server

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tollgate/tollgate/controlplane/api"
)

// metrics are the server's own, in a registry of their own. No label takes a value from a request.
type metrics struct {
	registry  *prometheus.Registry
	acquires  *prometheus.CounterVec
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		acquires: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_acquires_total", Help: "Acquires answered to gates, by verdict.",
		}, []string{"verdict"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_http_requests_total", Help: "Requests answered, by listener and status.",
		}, []string{"listener", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tollgate_http_request_duration_seconds", Help: "Time from a request's header to the end of its answer, by listener.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"listener"}),
	}
	m.registry.MustRegister(m.acquires, m.requests, m.durations,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, v := range []api.Verdict{
		api.Granted, api.UnknownKey, api.KeyPairMismatch, api.InactiveKey,
		api.AccountNotActive, api.DomainNotVerified, api.InsufficientCredits,
	} {
		m.acquires.WithLabelValues(string(v))
	}
	return m
}

func (m *metrics) request(listener string, status int, took time.Duration) {
	m.requests.WithLabelValues(listener, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(listener).Observe(took.Seconds())
}
