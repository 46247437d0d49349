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

// commit runs every job of the batch in one transaction and answers all of them after it ended. A job that
// returns an error is undone alone. If the transaction cannot be begun, continued or committed, nothing of it
// happened and every job gets that error, a refused one too: it was refused because of what is now undone.
//
// # Why are batches run twice?
//
// A savepoint around each job costs as much as a debit's own statements, and a job is hardly ever refused after it has
// written something. So a batch is first run without savepoints, and what its jobs move is kept in memory until its
// end, where each touched wallet is written once and the entries many at a time. If a job has to be undone, all is
// rolled back and run again, each job between savepoints and with everything written at once. Therefore a job may run
// twice and must leave nothing behind but its last result.
func (w *writer) commit(batch []*job) {
	err := w.refusal()
	if err == nil {
		err = w.transact(batch, false)
		if errors.Is(err, errUndo) {
			err = w.transact(batch, true)
		}
		err = w.judge(err)
	}
	for _, j := range batch {
		if err != nil {
			j.err = err
		}
		w.raise(j.err)
		close(j.done)
	}
}

// errUndo means that a job has to be undone that has no savepoint.
var errUndo = errors.New("a job has to be undone alone")

// transact runs the batch in one transaction. Only if it is careful can a job be undone alone; otherwise transact then
// returns errUndo.
func (w *writer) transact(batch []*job, careful bool) error {
	// No caller's context: one caller's hurry must not undo the others' work.
	ctx := context.Background()
	t, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin batch: %w", err)
	}
	tx := w.newTx(ctx, t)
	defer func() {
		if tx.keysChanged {
			w.keys.Add(1)
		}
	}()
	// What a batch was run from is trusted again only once it is committed.
	known := w.wallets
	w.wallets.forget()
	if !careful {
		if err := tx.recall(&known); err != nil {
			return errors.Join(fmt.Errorf("batch abandoned: %w", err), t.Rollback())
		}
	}
	for _, j := range batch {
		if j.err = j.ctx.Err(); j.err != nil {
			continue
		}
		if careful {
			err = tx.isolate(j)
		} else {
			err = tx.attempt(j)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("batch abandoned: %w", err), t.Rollback())
		}
	}
	if err := tx.flush(); err != nil {
		if !careful {
			err = errUndo
		}
		return errors.Join(fmt.Errorf("batch abandoned: %w", err), t.Rollback())
	}
	promised, err := tx.keepIDs(&w.ids)
	if err != nil {
		return errors.Join(fmt.Errorf("batch abandoned: %w", err), t.Rollback())
	}
	start := time.Now()
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit batch: %w", err)
	}
	w.ids.until = promised
	if !careful {
		known.keep(tx.wallets)
		w.wallets = known
	}
	w.stats.committed(len(batch), time.Since(start), &tx.tally)
	return nil
}

// raise makes sure that a broken invariant is seen: the job was undone, and what it found stays as it is.
func (w *writer) raise(err error) {
	if errors.Is(err, ledger.ErrBroken) || errors.Is(err, ledger.ErrUnbalanced) {
		w.stats.breach()
		w.log.Error("LEDGER INVARIANT BROKEN: the change was refused; run tollgate verify", "error", err)
	}
}

// writeTx is the writer's open transaction. Jobs use it only while they run.
type writeTx struct {
	*queries.Queries
	ctx      context.Context
	tx       *sql.Tx
	prepared *statements
	bound    statements
	newID    func(prefix string) (string, error)
	terms    LeaseOptions
	// now is the time of the whole batch, in microseconds, and steady that of the clock that never steps.
	now, steady int64
	// learning: leases from before a restore may be about; they were of another epoch.
	learning bool
	epoch    int64
	// keys is the writer's at the beginning of the batch.
	keys uint64
	// actor makes the present job's changes, and someone those of the jobs that name nobody.
	actor, someone Actor
	// tags are the states of which the present job's target has to be in one; nil if any will do.
	tags *[]Tag
	// wrote is set once the present job has changed something in the database.
	wrote bool
	// unmatched is by how much the present job has moved an account's reserved balance beyond what its leases hold.
	unmatched map[string]ledger.Credits
	tally     tally
	unflushed
}

func (w *writer) newTx(ctx context.Context, t *sql.Tx) *writeTx {
	tx := &writeTx{
		ctx: ctx, tx: t, prepared: w.stmts, newID: w.newID, terms: w.terms, now: w.now().UnixMicro(),
		steady: w.steady().UnixMicro(), keys: w.keys.Load(), someone: w.actor, unflushed: newUnflushed(), epoch: w.epoch,
	}
	tx.learning = tx.steady < w.learning.Load()
	tx.Queries = queries.New(&noting{t, tx})
	return tx
}

// noting is a transaction that notes when something was written.
type noting struct {
	*sql.Tx
	tx *writeTx
}

// ExecContext is called by package queries.
func (n *noting) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := n.Tx.ExecContext(ctx, query, args...)
	n.tx.wrote = n.tx.wrote || err == nil
	return result, err
}

// reserved notes that an account's reserved balance has moved by delta, and leased that what its leases hold has.
func (tx *writeTx) reserved(accountID string, delta ledger.Credits) {
	if delta == 0 {
		return
	}
	if tx.unmatched == nil {
		tx.unmatched = make(map[string]ledger.Credits)
	}
	tx.unmatched[accountID] += delta
}

func (tx *writeTx) leased(accountID string, delta ledger.Credits) { tx.reserved(accountID, -delta) }

// run runs j and holds I4 against what it has done: an account has reserved what its open leases hold. If it returns
// an error, what j had counted and what of it is not in the database yet is undone.
func (tx *writeTx) run(j *job) error {
	clear(tx.unmatched)
	tx.wrote = false
	tx.actor = actorOf(j.ctx, tx.someone)
	tx.tags, _ = j.ctx.Value(tagsKey{}).(*[]Tag)
	tally, mark := tx.tally, tx.mark()
	err := j.run(tx)
	for accountID, delta := range tx.unmatched {
		if err == nil && delta != 0 {
			err = fmt.Errorf("account %s: %d credits reserved beyond what its leases hold: %w", accountID, delta, ledger.ErrBroken)
		}
	}
	if err != nil {
		tx.tally = tally
		tx.revert(mark)
	}
	return err
}

// attempt runs j and leaves its error in j.err, or returns errUndo if j was refused when it had written something, or
// by a failure that may have ended the transaction.
func (tx *writeTx) attempt(j *job) error {
	if j.err = tx.run(j); j.err != nil && (tx.wrote || isFailure(j.err)) {
		return errUndo
	}
	return nil
}

// isolate runs j inside a savepoint and leaves its error in j.err. It returns an error only if the transaction
// cannot go on; some failures, such as a full disk, make SQLite roll all of it back, and then the savepoint is
// gone.
func (tx *writeTx) isolate(j *job) error {
	if _, err := tx.exec(stmtSavepoint); err != nil {
		return err
	}
	tally := tx.tally
	if j.err = tx.run(j); j.err == nil {
		j.err = tx.flush()
	}
	if j.err != nil {
		tx.tally = tally
		tx.forget()
		if _, err := tx.exec(stmtUndo); err != nil {
			return errors.Join(j.err, err)
		}
	}
	_, err := tx.exec(stmtRelease)
	return err
}
