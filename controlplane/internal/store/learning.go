package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// Learning returns for how much longer no lease is granted for more than a single request, 0 if leases are granted as
// usual. It is on once data was restored from a backup, until every lease that was granted before is over: what those
// hold is in the restored balances still.
//
// # Why does it begin anew with every process?
//
// How much of it has passed while nobody served, only the wall clock could tell, and that may have been set meanwhile.
// The mark in the database goes once one process has seen the whole of it pass on the clock that never steps.
func (s *Store) Learning() time.Duration {
	if s.writer == nil {
		return 0
	}
	until := s.writer.learning.Load()
	if until == 0 {
		return 0
	}
	return max(time.Microsecond, time.Duration(until-s.steady().UnixMicro())*time.Microsecond)
}

// learn, which is for who serves, turns learning on if the database asks for it: for as long as leases last and may be reported, by these terms
// or by the longest that the backup had seen. Leases that are open stay so at least as long.
func (w *writer) learn(ctx context.Context, q *queries.Queries) error {
	least, err := q.Meta(ctx, metaLearning)
	if err != nil {
		return fmt.Errorf("read learning: %w", err)
	}
	if least == 0 {
		return nil
	}
	span := max(time.Duration(least)*time.Microsecond, w.terms.TTL+w.terms.Grace)
	until := w.steady().Add(span).UnixMicro()
	if err := q.HoldLeases(ctx, until); err != nil {
		return fmt.Errorf("hold leases open: %w", err)
	}
	w.learning.Store(until)
	w.log.Warn("restored from a backup: until the leases from before are over, none is granted for more than one request",
		"for", span)
	return nil
}

// endLearning takes the mark from the database once the time is over.
func (s *Store) endLearning(ctx context.Context) error {
	w := s.writer
	if until := w.learning.Load(); until == 0 || until > w.steady().UnixMicro() {
		return nil
	}
	_, err := write(ctx, s, func(tx *writeTx) (struct{}, error) {
		return struct{}{}, tx.SetMeta(tx.ctx, queries.SetMetaParams{Name: metaLearning, Value: 0})
	})
	if err != nil {
		return fmt.Errorf("end learning: %w", err)
	}
	w.learning.Store(0)
	w.log.Info("the leases from before the restore are over: leases are granted as usual")
	return nil
}

// lose keeps what was used of a lease that was granted after the backup from which the data was restored: it is in no
// balance, and nobody knows whose it was.
func (tx *writeTx) lose(req *api.SyncRequest, r *api.LeaseReport) error {
	if r.Used <= 0 || !tx.learning && (req.Epoch == 0 || req.Epoch == tx.epoch) {
		return nil
	}
	known, err := tx.LostLease(tx.ctx, r.Lease)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("record lost lease: %w", err)
	}
	used := min(r.Used, int64(ledger.MaxCredits))
	if used <= known {
		return nil
	}
	err = tx.RecordLostLease(tx.ctx, queries.RecordLostLeaseParams{
		LeaseID: r.Lease, Gate: req.Gate, Boot: req.Boot, Used: used, ReportedUs: tx.now,
	})
	if err != nil {
		return fmt.Errorf("record lost lease: %w", err)
	}
	tx.tally.Lost = plus(tx.tally.Lost, used-known)
	return nil
}
