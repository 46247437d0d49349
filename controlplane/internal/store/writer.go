package store

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// maxBatch bounds the jobs of one transaction, and with it how long the first of them waits.
const maxBatch = 512

// job is one mutation. Whoever submits it waits for done and reads err only then.
type job struct {
	ctx  context.Context
	run  func(*writeTx) error
	err  error
	done chan struct{}
}

// writer runs jobs. Its commit is synchronous and may be stepped by a test; loop is the thin goroutine around it.
type writer struct {
	db    *sql.DB
	stmts *statements
	now   func() time.Time
	// steady is the clock of what lasts for a while: it never steps.
	steady func() time.Time
	terms  LeaseOptions
	// actor makes the changes whose context names nobody.
	actor Actor
	newID func(prefix string) (string, error)
	// ids makes what newID returns.
	ids   ids
	epoch int64
	log   *slog.Logger
	stats counters
	// maxBatch bounds the jobs of one transaction.
	maxBatch int
	wallets  walletCache
	// keys counts the batches that may have changed a key, its owners or what belongs to them, each after its end and
	// before any of its jobs is answered or the next batch begins. So whoever loads it, reads a key from the database, and
	// is in a batch that finds it at the same value, knows the key as it is.
	keys atomic.Uint64
	// learning is until when leases hold a single request's credits, by the steady clock in microseconds; 0 if they do not.
	learning atomic.Int64

	mu      sync.Mutex
	waiting []*job
	closed  bool
	// failed is set once the disk has let the writer down: nothing is written any more. full is set while the disk is
	// full; then nothing is tried before retry, by the steady clock.
	failed error
	full   bool
	retry  time.Time
	// dead is closed when failed is set.
	dead chan struct{}
	// wake holds a token if something was submitted, or the writer closed, since loop last looked.
	wake chan struct{}
	// stopped is closed when loop has returned.
	stopped chan struct{}
}

func newWriter(db *sql.DB, opts Options) *writer {
	w := &writer{
		db: db, now: opts.Now, steady: opts.Steady, terms: opts.Leases, actor: opts.Actor, ids: ids{now: opts.Now}, log: opts.Log,
		maxBatch: maxBatch,
		dead:     make(chan struct{}), wake: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	w.newID = w.ids.make
	return w
}

// write has the writer run fn and returns its result once that is durable. If ctx ends first, write returns its
// error; fn may then run, wholly, or not at all.
func write[T any](ctx context.Context, s *Store, fn func(*writeTx) (T, error)) (T, error) {
	var zero, out T
	if s.writer == nil {
		return zero, ErrReadOnly
	}
	j := &job{ctx: ctx, done: make(chan struct{})}
	j.run = func(tx *writeTx) (err error) {
		out, err = fn(tx)
		return err
	}
	if err := s.writer.submit(j); err != nil {
		return zero, err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		return zero, ctx.Err()
	}
	if j.err != nil {
		return zero, j.err
	}
	return out, nil
}

// submit queues j, or returns the error of j's context, ErrClosed, ErrDead, or ErrDiskFull while nothing can be written.
func (w *writer) submit(j *job) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return ErrClosed
	case w.failed != nil:
		return w.failed
	case w.full && w.steady().Before(w.retry):
		return ErrDiskFull
	}
	w.waiting = append(w.waiting, j)
	w.signal()
	return nil
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns up to maxBatch waiting jobs, oldest first, and whether the writer is closed.
func (w *writer) take() (batch []*job, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.waiting), w.maxBatch)
	batch = w.waiting[:n:n]
	if w.waiting = w.waiting[n:]; len(w.waiting) == 0 {
		w.waiting = nil
	}
	return batch, w.closed
}

// loop commits whatever is waiting until the writer is closed and nothing is. It never waits for a batch to fill:
// the jobs that arrive during one commit are the next batch.
func (w *writer) loop() {
	defer close(w.stopped)
	for {
		batch, closed := w.take()
		switch {
		case len(batch) > 0:
			w.commit(batch)
		case closed:
			return
		default:
			<-w.wake
		}
	}
}

// stop refuses new jobs, waits for the accepted ones to be answered, and ends loop.
func (w *writer) stop() {
	w.mu.Lock()
	w.closed = true
	w.signal()
	w.mu.Unlock()
	<-w.stopped
}
