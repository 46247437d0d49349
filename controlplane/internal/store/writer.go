package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
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
	newID func(prefix string) (string, error)

	mu      sync.Mutex
	waiting []*job
	closed  bool
	// wake holds a token if something was submitted, or the writer closed, since loop last looked.
	wake chan struct{}
	// stopped is closed when loop has returned.
	stopped chan struct{}
}

func newWriter(db *sql.DB, now func() time.Time) *writer {
	return &writer{db: db, now: now, newID: newID, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
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

// submit queues j, or returns ErrClosed or the error of j's context.
func (w *writer) submit(j *job) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
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
	n := min(len(w.waiting), maxBatch)
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

// commit runs every job of the batch in one transaction and answers all of them after it ended. A job that
// returns an error is undone alone. If the transaction cannot be begun, continued or committed, nothing of it
// happened and every job gets that error, a refused one too: it was refused because of what is now undone.
func (w *writer) commit(batch []*job) {
	err := w.transact(batch)
	for _, j := range batch {
		if err != nil {
			j.err = err
		}
		close(j.done)
	}
}

func (w *writer) transact(batch []*job) error {
	// No caller's context: one caller's hurry must not undo the others' work.
	ctx := context.Background()
	t, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin batch: %w", err)
	}
	tx := &writeTx{
		Queries: queries.New(t), ctx: ctx, tx: t, prepared: w.stmts, newID: w.newID, now: w.now().UnixMicro(),
	}
	for _, j := range batch {
		if j.err = j.ctx.Err(); j.err != nil {
			continue
		}
		if err := tx.isolate(j); err != nil {
			return errors.Join(fmt.Errorf("batch abandoned: %w", err), t.Rollback())
		}
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit batch: %w", err)
	}
	return nil
}

// writeTx is the writer's open transaction. Jobs use it only while they run.
type writeTx struct {
	*queries.Queries
	ctx      context.Context
	tx       *sql.Tx
	prepared *statements
	bound    statements
	newID    func(prefix string) (string, error)
	// now is the time of the whole batch, in microseconds.
	now int64
}

// isolate runs j inside a savepoint and leaves its error in j.err. It returns an error only if the transaction
// cannot go on; some failures, such as a full disk, make SQLite roll all of it back, and then the savepoint is
// gone.
func (tx *writeTx) isolate(j *job) error {
	if _, err := tx.exec(stmtSavepoint); err != nil {
		return err
	}
	if j.err = j.run(tx); j.err != nil {
		if _, err := tx.exec(stmtUndo); err != nil {
			return errors.Join(j.err, err)
		}
	}
	_, err := tx.exec(stmtRelease)
	return err
}
