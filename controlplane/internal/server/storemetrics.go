package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// holdingsTimeout bounds how long a scrape waits for the sums over open leases.
const holdingsTimeout = 2 * time.Second

// storeMetrics reads what the store has counted when it is asked.
type storeMetrics struct {
	store *store.Store

	moved, changes, leases, drained, lost, dropped, batches, breaches *prometheus.Desc

	batchJobs, commit, told *prometheus.Desc

	open, reserved, stranded *prometheus.Desc
}

func newStoreMetrics(st *store.Store) *storeMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tollgate_"+name, help, labels, nil)
	}
	return &storeMetrics{
		store: st,
		moved: desc("credits_moved_total", "Credits moved in the ledger, by kind of transaction; unpaid and late_write_off are written off, "+
			"forfeit was charged for although unreported.", "kind"),
		changes:   desc("changes_total", "Changes that gates were to be told of, by kind.", "kind"),
		leases:    desc("leases_total", "Leases that were granted, reported final, or expired without a final report, by event.", "event"),
		drained:   desc("leases_drained_total", "Leases whose gate was asked to give back what they hold."),
		lost:      desc("lost_credits_total", "Credits used of leases that gates had from before the data was restored from a backup: they are in no balance."),
		dropped:   desc("lease_reports_dropped_total", "Reports of leases that the reporting VM does not have."),
		batches:   desc("usage_batches_total", "Batches of usage counted."),
		breaches:  desc("invariant_breaches_total", "Changes refused because an invariant of the ledger was broken or would have been."),
		batchJobs: desc("commit_jobs", "Mutations per durable commit."),
		commit:    desc("commit_duration_seconds", "Time of a durable commit, fsync included."),
		told: desc("change_told_seconds", "Age of a change of a key, project or account when a gate was told of it: with the "+
			"reply's way to the gate, what a revocation takes."),
		open:     desc("leases_open", "Open leases."),
		reserved: desc("credits_reserved", "Credits that open leases hold."),
		stranded: desc("credits_stranded", "Credits held by leases whose gates spend them no more: they wait for a final report or the close."),
	}
}

// Describe is called by the registry.
func (m *storeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.moved, m.changes, m.leases, m.drained, m.lost, m.dropped, m.batches, m.breaches, m.batchJobs, m.commit, m.told, m.open,
		m.reserved, m.stranded,
	} {
		ch <- d
	}
}

// Collect is called by the registry. The gauges are left out if the database does not answer.
func (m *storeMetrics) Collect(ch chan<- prometheus.Metric) {
	s := m.store.Stats()
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for kind, n := range s.Moved {
		count(m.moved, n, string(kind))
	}
	for kind, n := range s.Changes {
		count(m.changes, n, string(kind))
	}
	count(m.leases, s.Granted, "granted")
	count(m.leases, s.Final, "final")
	count(m.leases, s.Expired, "expired")
	count(m.drained, s.Drained)
	count(m.lost, s.Lost)
	count(m.dropped, s.Dropped)
	count(m.batches, s.Batches)
	count(m.breaches, s.Breaches)
	histogram(ch, m.batchJobs, &s.BatchJobs)
	histogram(ch, m.commit, &s.CommitSeconds)
	histogram(ch, m.told, &s.ToldSeconds)

	ctx, cancel := context.WithTimeout(context.Background(), holdingsTimeout)
	defer cancel()
	h, err := m.store.Holdings(ctx)
	if err != nil {
		return
	}
	for d, n := range map[*prometheus.Desc]int64{m.open: h.Open, m.reserved: h.Reserved, m.stranded: h.Stranded} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
}

// histogram sends h, whose counts are each of one bucket, as prometheus has them: each with all smaller ones.
func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, h *store.Histogram) {
	buckets, total := make(map[float64]uint64, len(h.Bounds)), uint64(0)
	for i, n := range h.Counts {
		total += n
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = total
		}
	}
	ch <- prometheus.MustNewConstHistogram(d, total, h.Sum, buckets)
}
