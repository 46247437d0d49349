package server

import (
	"context"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// healthMetrics tell how the server is when they are asked.
type healthMetrics struct {
	server *Server

	build, started, epoch, writable, learning, database, log, vms *prometheus.Desc
}

func newHealthMetrics(s *Server) *healthMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tollgate_"+name, help, labels, nil)
	}
	return &healthMetrics{
		server:   s,
		build:    desc("build_info", "1, with the versions of the program, of Go and of SQLite.", "version", "go", "sqlite"),
		started:  desc("start_time_seconds", "When the server began, by the wall clock."),
		epoch:    desc("epoch", "Which life of the data this is; every restore begins one."),
		writable: desc("writable", "1 if changes are accepted, 0 while the disk is full or once it has failed."),
		learning: desc("learning_seconds", "For how much longer, after a restore, leases hold one request's credits; 0 if they do not."),
		database: desc("database_bytes", "Size of the database file."),
		log:      desc("database_log_bytes", "Size of the database's write-ahead log."),
		vms:      desc("gate_vms", "VMs of gates that were heard of within the last minute."),
	}
}

// Describe is called by the registry.
func (m *healthMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.build, m.started, m.epoch, m.writable, m.learning, m.database, m.log, m.vms} {
		ch <- d
	}
}

// Collect is called by the registry. What the database tells is left out if it does not answer.
func (m *healthMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(m.started, float64(m.server.started.UnixMilli())/1000)
	gauge(m.vms, float64(m.server.heard.active()))
	ctx, cancel := context.WithTimeout(context.Background(), holdingsTimeout)
	defer cancel()
	h, err := m.server.store.Health(ctx)
	if err != nil {
		return
	}
	writable := 0.0
	if h.Unwritable == nil {
		writable = 1
	}
	gauge(m.build, 1, version(), runtime.Version(), h.Library)
	gauge(m.epoch, float64(h.Epoch))
	gauge(m.writable, writable)
	gauge(m.learning, h.Learning.Seconds())
	gauge(m.database, float64(h.Bytes))
	gauge(m.log, float64(h.LogBytes))
}
