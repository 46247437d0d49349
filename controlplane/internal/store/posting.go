package store

import (
	"fmt"

	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// posting is a ledger transaction to record. KeyID and OpID are empty unless a gate caused it; Reason and Actor
// unless an admin did.
type posting struct {
	accountID     string
	move          ledger.Transaction
	keyID, opID   string
	reason, actor string
}

// posted says what post recorded: the ids of the transaction and of its entries, in the order of its postings.
type posted struct {
	id      string
	entries []string
}

// post moves credits from balances, which were read in this transaction, to next, which the ledger has made from
// them by p.move.
func (tx *writeTx) post(p *posting, balances, next ledger.Balances) (posted, error) {
	id, err := tx.newID(prefixTransaction)
	if err != nil {
		return posted{}, err
	}
	if err := tx.moveBalances(p.accountID, balances, next); err != nil {
		return posted{}, err
	}
	done := posted{id: id, entries: make([]string, len(p.move.Postings))}
	for i, leg := range p.move.Postings {
		if done.entries[i], err = tx.newID(prefixEntry); err != nil {
			return posted{}, err
		}
		_, err = tx.exec(stmtEntry, p.accountID, done.entries[i], id, string(p.move.Kind), string(leg.Bucket),
			int64(leg.Delta), int64(next.Of(leg.Bucket)), p.keyID, p.opID, p.reason, p.actor, tx.now)
		if err != nil {
			return posted{}, fmt.Errorf("record entry: %w", err)
		}
	}
	return done, nil
}

// moveBalances brings the recorded balances from old to next. The statement guards a second time, against the
// row itself, what the ledger has checked.
func (tx *writeTx) moveBalances(accountID string, old, next ledger.Balances) error {
	available, reserved := int64(next.Available-old.Available), int64(next.Reserved-old.Reserved)
	spent := int64(next.Spent - old.Spent)
	result, err := tx.exec(stmtMove, int64(next.Funding-old.Funding), available, reserved, spent,
		int64(next.WrittenOff-old.WrittenOff), accountID, -available, -reserved, -spent)
	if err != nil {
		return fmt.Errorf("move balances: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("move balances: %d rows changed, expected 1: %w", n, ledger.ErrBroken)
	}
	return nil
}
