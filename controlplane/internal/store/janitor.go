package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// How long a call that was made under an idempotency key can be repeated without taking effect again.
const idempotencyKept = 30 * 24 * time.Hour

// How long it is remembered what was used of leases that a restored database does not know.
const lostLeasesKept = 90 * 24 * time.Hour

// How long the tombstones of closed leases and of VMs' usage batches are kept: long after anybody sends a report again.
const tombstonesKept = 7 * 24 * time.Hour

// maxPruned bounds what one call of Prune deletes of each kind.
const maxPruned = 1000

// CloseExpired closes up to limit open leases whose time is over, the oldest first, by the store's policy for what was
// not reported, and returns how many it closed. When the time after a restore is over, it ends it. Each is closed for itself: the error joins those of the leases that
// could not be, which stay as they are.
func (s *Store) CloseExpired(ctx context.Context, limit int) (closed int, err error) {
	if s.writer == nil {
		return 0, ErrReadOnly
	}
	if err := s.endLearning(ctx); err != nil {
		return 0, err
	}
	ids, err := s.queries.ExpiredLeases(ctx, queries.ExpiredLeasesParams{ClosesUs: s.steady().UnixMicro(), MaxRows: int64(limit)})
	if err != nil {
		return 0, s.readError("leases", err)
	}
	jobs := make([]*job, 0, len(ids))
	for _, id := range ids {
		j := &job{ctx: ctx, done: make(chan struct{}), run: func(tx *writeTx) error { return tx.expire(id) }}
		if err = s.writer.submit(j); err != nil {
			break
		}
		jobs = append(jobs, j)
	}
	errs := []error{err}
	for _, j := range jobs {
		<-j.done
		if j.err == nil {
			closed++
		}
		errs = append(errs, j.err)
	}
	return closed, errors.Join(errs...)
}

// expire closes a lease, unless somebody was faster.
func (tx *writeTx) expire(id string) error {
	l, found, err := tx.lease(id)
	if err != nil || !found {
		return err
	}
	next, moves, err := l.Close(tx.terms.Unreported)
	if errors.Is(err, ledger.ErrLeaseClosed) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("close lease %s: %w", id, err)
	}
	return tx.settleLease(&l, next, moves)
}

// Prune deletes what nobody can need any more: changes that gates were told of long ago, leases closed and usage
// batches counted more than a week ago, idempotency keys used more than 30 days ago. It deletes a bounded number of rows at a time.
func (s *Store) Prune(ctx context.Context) error {
	_, err := write(ctx, s, func(tx *writeTx) (struct{}, error) {
		before := tx.now - tombstonesKept.Microseconds()
		err := tx.pruneChanges()
		if err == nil {
			_, err = tx.DeleteClosedLeases(tx.ctx, queries.DeleteClosedLeasesParams{ClosedUs: sql.NullInt64{Int64: before, Valid: true}, MaxRows: maxPruned})
		}
		if err == nil {
			_, err = tx.DeleteBatches(tx.ctx, before)
		}
		if err == nil {
			_, err = tx.DeleteIdempotency(tx.ctx, queries.DeleteIdempotencyParams{CreatedUs: tx.now - idempotencyKept.Microseconds(), MaxRows: maxPruned})
		}
		if err == nil {
			_, err = tx.DeleteLostLeases(tx.ctx, queries.DeleteLostLeasesParams{ReportedUs: tx.now - lostLeasesKept.Microseconds(), MaxRows: maxPruned})
		}
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	return nil
}
