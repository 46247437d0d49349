package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// How long gates can be told of a change one by one. Whoever asks for older ones is told that everything changed.
const (
	changesKept    = time.Hour
	maxChangesKept = 100_000
)

// The names of the rows of table meta.
const (
	metaEpoch         = "epoch"
	metaChangesPruned = "changes_pruned"
	metaIDs           = "ids"
	metaLearning      = "learning_us"
)

// change has the gates told of it, in the transaction that makes it.
func (tx *writeTx) change(kind api.ChangeKind, id string) error {
	err := tx.InsertChange(tx.ctx, queries.InsertChangeParams{Kind: string(kind), ID: id, CreatedUs: tx.now})
	if err != nil {
		return fmt.Errorf("record change: %w", err)
	}
	tx.tally.change(kind)
	// Balances are no part of what is remembered of keys.
	if kind != api.ChangeCredits {
		tx.forgetKeys()
	}
	return nil
}

// cursor is the newest change, as the transaction sees it.
func (tx *writeTx) cursor() (seq int64, err error) {
	if err := tx.row(stmtCursor).Scan(&seq); err != nil {
		return 0, fmt.Errorf("read newest change: %w", err)
	}
	return seq, nil
}

// tell puts what has changed since the gate's cursor into reply. A cursor of another epoch counts other changes.
func (s *Store) tell(ctx context.Context, reply *api.SyncReply, req *api.SyncRequest) error {
	cursor := req.Cursor
	reply.Cursor, reply.Epoch = cursor, s.epoch
	rows, err := s.brief.ChangesAfter(ctx, queries.ChangesAfterParams{Seq: cursor, MaxRows: api.MaxSyncChanges + 1})
	if err != nil {
		return s.readError("changes", err)
	}
	// Read after the rows: if some of them had been deleted by then, it shows here.
	newest, pruned, err := s.changesKnown(ctx)
	if err != nil {
		return s.readError("changes", err)
	}
	if cursor < pruned || cursor > newest || req.Epoch != 0 && req.Epoch != s.epoch {
		reply.Cursor, reply.Changes = newest, []api.Change{{Seq: newest, Kind: api.ChangeAll}}
		return nil
	}
	reply.More = len(rows) > api.MaxSyncChanges
	for _, row := range rows[:min(len(rows), api.MaxSyncChanges)] {
		if s.writer != nil && cursor > 0 && row.Kind != string(api.ChangeCredits) {
			s.writer.stats.told(time.Duration(s.now().UnixMicro()-row.CreatedUs) * time.Microsecond)
		}
		reply.Cursor = row.Seq
		reply.Changes = append(reply.Changes, api.Change{Seq: row.Seq, Kind: api.ChangeKind(row.Kind), ID: row.ID})
	}
	return nil
}

// changesKnown returns the newest change and the newest one that was deleted, 0 for none.
func (s *Store) changesKnown(ctx context.Context) (newest, pruned int64, err error) {
	newest, err = s.brief.NewestChange(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err == nil {
		pruned, err = s.brief.Meta(ctx, metaChangesPruned)
	}
	return newest, pruned, err
}

// pruneChanges deletes the changes that are too old or too many, but for the newest: its number is what cursors are
// held against.
func (tx *writeTx) pruneChanges() error {
	newest, err := tx.cursor()
	if err != nil {
		return err
	}
	last, err := tx.NewestChangeBefore(tx.ctx, tx.now-changesKept.Microseconds())
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	last = min(max(last, newest-maxChangesKept), newest-1)
	if last < 1 {
		return nil
	}
	if n, err := tx.DeleteChanges(tx.ctx, last); err != nil || n == 0 {
		return err
	}
	return tx.SetMeta(tx.ctx, queries.SetMetaParams{Name: metaChangesPruned, Value: last})
}
