package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// Stats are what a store has counted of what it has committed since it was opened.
type Stats struct {
	// Moved are the credits that transactions of each kind have moved.
	Moved map[ledger.Kind]int64
	// Changes are what gates were to be told of, by kind.
	Changes map[api.ChangeKind]int64
	// Granted leases, those of them reported final while open, and those closed because their time was over.
	Granted, Final, Expired int64
	// Drained leases are those whose gate was asked to give back what they hold.
	Drained int64
	// Lost are credits used of leases that gates had from before the data was restored.
	Lost int64
	// Dropped reports named a lease that the reporting VM does not have.
	Dropped int64
	// Batches of usage counted.
	Batches int64
	// Breaches are changes that were refused because they would have broken an invariant, or had found one broken.
	Breaches int64
	// BatchJobs are the sizes of the writer's batches, CommitSeconds how long their commits took, fsync included.
	BatchJobs, CommitSeconds Histogram
	// ToldSeconds is how old changes other than of credits were when a gate was told of them: what is left of a revocation
	// is the way of that reply.
	ToldSeconds Histogram
}

// Histogram counts observations by the smallest bound that they do not exceed; the last count, beyond the last bound,
// is of all others.
type Histogram struct {
	Bounds []float64
	Counts []uint64
	Sum    float64
}

func newHistogram(bounds ...float64) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
}

func (h *Histogram) observe(v float64) {
	i, _ := slices.BinarySearch(h.Bounds, v)
	h.Counts[i]++
	h.Sum += v
}

func (h *Histogram) clone() Histogram {
	return Histogram{Bounds: h.Bounds, Counts: slices.Clone(h.Counts), Sum: h.Sum}
}

// tally is what one transaction has done so far. It is a value, so that what an undone job has counted can be undone.
type tally struct {
	moved   [numKinds]int64
	changes [numChangeKinds]int64

	Granted, Final, Expired, Drained, Lost, Dropped, Batches int64
}

var (
	kinds       = ledger.Kinds()
	changeKinds = [numChangeKinds]api.ChangeKind{api.ChangeKey, api.ChangeProject, api.ChangeAccount, api.ChangeCredits}
)

const (
	numKinds       = 13
	numChangeKinds = 4
)

func (t *tally) move(m ledger.Transaction) {
	i := slices.Index(kinds, m.Kind)
	t.moved[i] = plus(t.moved[i], int64(m.Amount))
}

// plus adds amounts that are not negative, up to what an int64 holds: they are of many accounts or what gates say, and a sum
// that falls is no counter.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func (t *tally) change(kind api.ChangeKind) { t.changes[slices.Index(changeKinds[:], kind)]++ }

func (t *tally) closed(final bool) {
	if final {
		t.Final++
	} else {
		t.Expired++
	}
}

// counters are what the writer keeps for Stats.
type counters struct {
	mu              sync.Mutex
	total           tally
	breaches        int64
	batches, commit Histogram
	toldAfter       Histogram
}

// committed adds what one batch has done.
func (c *counters) committed(jobs int, took time.Duration, t *tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.init()
	c.batches.observe(float64(jobs))
	c.commit.observe(took.Seconds())
	for i, n := range t.moved {
		c.total.moved[i] = plus(c.total.moved[i], n)
	}
	for i, n := range t.changes {
		c.total.changes[i] += n
	}
	c.total.Granted += t.Granted
	c.total.Final += t.Final
	c.total.Expired += t.Expired
	c.total.Drained += t.Drained
	c.total.Lost = plus(c.total.Lost, t.Lost)
	c.total.Dropped += t.Dropped
	c.total.Batches += t.Batches
}

// told counts a gate that was told of a change of that age.
func (c *counters) told(age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.init()
	c.toldAfter.observe(age.Seconds())
}

// init makes the histograms when they are first asked for.
func (c *counters) init() {
	if c.batches.Bounds == nil {
		c.batches = newHistogram(1, 2, 4, 8, 16, 32, 64, 128, 256, maxBatch)
		c.toldAfter = newHistogram(.01, .05, .1, .25, .5, .75, 1, 1.25, 1.5, 2, 5, 10, 30, 60)
		c.commit = newHistogram(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5)
	}
}

func (c *counters) breach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breaches++
}

// Stats returns what was counted so far. Of a store that was opened for reading alone it is nothing.
func (s *Store) Stats() Stats {
	out := Stats{Moved: map[ledger.Kind]int64{}, Changes: map[api.ChangeKind]int64{}}
	if s.writer == nil {
		return out
	}
	c := &s.writer.stats
	c.mu.Lock()
	defer c.mu.Unlock()
	c.init()
	for i, kind := range kinds {
		out.Moved[kind] = c.total.moved[i]
	}
	for i, kind := range changeKinds {
		out.Changes[kind] = c.total.changes[i]
	}
	t := &c.total
	out.Granted, out.Final, out.Expired, out.Drained = t.Granted, t.Final, t.Expired, t.Drained
	out.Lost, out.Dropped, out.Batches, out.Breaches = t.Lost, t.Dropped, t.Batches, c.breaches
	out.BatchJobs, out.CommitSeconds, out.ToldSeconds = c.batches.clone(), c.commit.clone(), c.toldAfter.clone()
	return out
}

// Holdings are what leases hold now.
type Holdings struct {
	// Open leases, and the credits that are reserved for them.
	Open, Reserved int64
	// Stranded is what of Reserved is held by leases whose gates spend it no more: it waits for a final report or for the
	// close.
	Stranded int64
}

// Holdings adds up all open leases.
func (s *Store) Holdings(ctx context.Context) (h Holdings, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(granted - used), 0),
		coalesce(sum(CASE WHEN ends_us <= ? THEN granted - used ELSE 0 END), 0) FROM leases WHERE state = 'open'`,
		s.steady().UnixMicro()).Scan(&h.Open, &h.Reserved, &h.Stranded)
	if err != nil {
		return Holdings{}, s.readError("leases", fmt.Errorf("add up leases: %w", err))
	}
	return h, nil
}
