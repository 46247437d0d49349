package server

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/domain"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// metrics are the server's own, in a registry of their own. No label takes a value from a request.
type metrics struct {
	registry  *prometheus.Registry
	acquires  *prometheus.CounterVec
	syncs     prometheus.Counter
	reported  *prometheus.CounterVec
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	looks     *prometheus.CounterVec
}

func newMetrics(st *store.Store) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		acquires: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_acquires_total", Help: "Acquires answered to gates, by verdict and mode.",
		}, []string{"verdict", "mode"}),
		syncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tollgate_syncs_total", Help: "Syncs answered to gates.",
		}),
		reported: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_sync_operations_total", Help: "Operations that gates reported as void or unpaid, and reports of leases, by kind; a repeated report counts again.",
		}, []string{"kind"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_http_requests_total", Help: "Requests answered, by listener and status.",
		}, []string{"listener", "status"}),
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_domain_checks_total", Help: "Looks for the proof of a domain, on request and by the job, by outcome.",
		}, []string{"outcome"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tollgate_http_request_duration_seconds", Help: "Time from a request's header to the end of its answer, by listener.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"listener"}),
	}
	m.registry.MustRegister(m.acquires, m.syncs, m.reported, m.requests, m.durations, m.looks, newStoreMetrics(st),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, v := range []api.Verdict{
		api.Granted, api.UnknownKey, api.KeyPairMismatch, api.InactiveKey,
		api.AccountNotActive, api.DomainNotVerified, api.InsufficientCredits, api.Voided,
	} {
		m.acquires.WithLabelValues(string(v), string(api.ModeStrict))
		m.acquires.WithLabelValues(string(v), string(api.ModeLease))
	}
	for _, o := range domain.Outcomes() {
		m.looks.WithLabelValues(string(o))
	}
	for _, kind := range []string{kindVoid, kindUnpaid, kindLease} {
		m.reported.WithLabelValues(kind)
	}
	return m
}

// The kinds of operation that a sync reports.
const (
	kindVoid   = "void"
	kindUnpaid = "unpaid"
	kindLease  = "lease"
)

// sync counts a sync that was answered.
func (m *metrics) sync(req *api.SyncRequest) {
	m.syncs.Inc()
	m.reported.WithLabelValues(kindVoid).Add(float64(len(req.Void)))
	m.reported.WithLabelValues(kindUnpaid).Add(float64(len(req.Unpaid)))
	m.reported.WithLabelValues(kindLease).Add(float64(len(req.Leases)))
}

func (m *metrics) request(listener string, status int, took time.Duration) {
	m.requests.WithLabelValues(listener, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(listener).Observe(took.Seconds())
}
