package store

import (
	"errors"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// unflushed is what a batch has read and moved and not written yet.
type unflushed struct {
	// wallets are the balances that the batch has read, by account.
	wallets map[string]*wallet
	// remembered are those that the batches before have left.
	remembered map[string]wallet
	// touched are the accounts whose balances were moved, in order and possibly more than once, with the balances before.
	touched []touch
	entries []entryRow
	// newest is the seq of the newest entry in the database; 0 until it is read.
	newest int64
	// subjects are the keys that were looked up, by what was presented. They have the balances of wallets.
	subjects map[string]subject
	// keysChanged: keys, their owners or what belongs to them may be others than before the batch.
	keysChanged bool
}

// wallet is an account's balances and the seq of its newest entry, as the database has them and as they are to be.
type wallet struct {
	recorded, now            ledger.Balances
	recordedEntry, lastEntry int64
}

// touch is a movement of an account's balances, with those before it.
type touch struct {
	accountID string
	before    ledger.Balances
}

// entryRow are the columns of an entry but for its time, which is the batch's, and its place, which flush gives it.
type entryRow struct {
	accountID, id, transactionID string
	kind                         ledger.Kind
	leg                          ledger.Posting
	balance                      ledger.Credits
	keyID, opID, leaseID         string
	reason, actor                string
}

func newUnflushed() unflushed {
	return unflushed{wallets: make(map[string]*wallet), subjects: make(map[string]subject)}
}

// mark is a state of unflushed to come back to.
type mark struct{ touched, entries int }

func (u *unflushed) mark() mark { return mark{len(u.touched), len(u.entries)} }

// revert undoes what was moved since m, of which nothing may have been flushed.
func (u *unflushed) revert(m mark) {
	for len(u.touched) > m.touched {
		last := u.touched[len(u.touched)-1]
		u.wallets[last.accountID].now = last.before
		u.touched = u.touched[:len(u.touched)-1]
	}
	u.entries = u.entries[:min(len(u.entries), m.entries)]
}

// forget drops what was read: the database is about to go back to an earlier state.
func (u *unflushed) forget() {
	u.touched, u.entries, u.newest = nil, nil, 0
	clear(u.wallets)
	clear(u.subjects)
}

// forgetKeys drops what was read of keys and their owners, for it has changed.
func (u *unflushed) forgetKeys() {
	u.keysChanged = true
	clear(u.subjects)
}

// know notes a wallet that was just read from the database, and returns the balances that are to be.
func (u *unflushed) know(accountID string, recorded ledger.Balances, lastEntry int64) ledger.Balances {
	w := u.wallets[accountID]
	if w == nil {
		w = &wallet{recorded: recorded, now: recorded, recordedEntry: lastEntry, lastEntry: lastEntry}
		u.wallets[accountID] = w
	}
	return w.now
}

// moveBalances brings an account's balances, which were read before, from old to next.
func (tx *writeTx) moveBalances(accountID string, old, next ledger.Balances) error {
	w := tx.wallets[accountID]
	if w == nil || w.now != old {
		return fmt.Errorf("move balances from %+v: %w: they are others", old, ledger.ErrBroken)
	}
	tx.touched = append(tx.touched, touch{accountID, old})
	w.now = next
	tx.reserved(accountID, next.Reserved-old.Reserved)
	return nil
}

// flush writes what was moved: each wallet once, and the entries in as few statements as may be.
func (tx *writeTx) flush() error {
	args, err := tx.chainEntries()
	if err != nil {
		return err
	}
	for _, t := range tx.touched {
		if err := tx.flushWallet(t.accountID, tx.wallets[t.accountID]); err != nil {
			return err
		}
	}
	tx.touched = tx.touched[:0]
	return tx.flushEntries(args)
}

// chainEntries puts the entries behind those of the database and each behind its account's one before, and returns their
// columns.
func (tx *writeTx) chainEntries() ([]any, error) {
	if len(tx.entries) == 0 {
		return nil, nil
	}
	if tx.newest == 0 {
		if err := tx.row(stmtNewestEntry).Scan(&tx.newest); err != nil {
			return nil, fmt.Errorf("read newest entry: %w", err)
		}
	}
	args := make([]any, 0, len(tx.entries)*entryColumns)
	for i := range tx.entries {
		e := &tx.entries[i]
		w := tx.wallets[e.accountID]
		tx.newest++
		args = append(args, tx.newest, w.lastEntry, e.accountID, e.id, e.transactionID, string(e.kind), string(e.leg.Bucket),
			int64(e.leg.Delta), int64(e.balance), e.keyID, e.opID, e.leaseID, e.reason, e.actor, tx.now)
		w.lastEntry = tx.newest
	}
	tx.entries = tx.entries[:0]
	return args, nil
}

// flushWallet guards a second time, against the row itself, what the ledger has checked.
func (tx *writeTx) flushWallet(accountID string, w *wallet) error {
	if w.lastEntry == w.recordedEntry {
		return nil
	}
	n, o := &w.now, &w.recorded
	result, err := tx.exec(stmtMove, int64(n.Funding), int64(n.Available), int64(n.Reserved), int64(n.Spent),
		int64(n.WrittenOff), w.lastEntry, accountID, int64(o.Funding), int64(o.Available), int64(o.Reserved), int64(o.Spent),
		int64(o.WrittenOff), w.recordedEntry)
	if err != nil {
		return fmt.Errorf("move balances: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("move balances: %d rows changed, expected 1: %w", n, ledger.ErrBroken), err)
	}
	w.recorded, w.recordedEntry = w.now, w.lastEntry
	return nil
}

func (tx *writeTx) flushEntries(args []any) error {
	for len(args) > 0 {
		name, size := entriesStatement(len(args) / entryColumns)
		if _, err := tx.exec(name, args[:size*entryColumns]...); err != nil {
			return fmt.Errorf("record entries: %w", err)
		}
		args = args[size*entryColumns:]
	}
	return nil
}
