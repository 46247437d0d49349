package store

import (
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// posting is a ledger transaction to record. KeyID and OpID are empty unless a gate caused it, leaseID unless a lease
// did; reason and actor unless an admin did.
type posting struct {
	accountID     string
	move          ledger.Transaction
	keyID, opID   string
	leaseID       string
	reason, actor string
}

// posted says what post recorded: the ids of the transaction and of its entries, in the order of its postings.
type posted struct {
	id      string
	entries []string
}

// post moves credits from balances, which were read in this transaction, to next, which the ledger has made from
// them by p.move. It may fail before it has moved anything, and not later.
func (tx *writeTx) post(p *posting, balances, next ledger.Balances) (posted, error) {
	id, err := tx.newID(prefixTransaction)
	if err != nil {
		return posted{}, err
	}
	done := posted{id: id, entries: make([]string, len(p.move.Postings))}
	for i := range done.entries {
		if done.entries[i], err = tx.newID(prefixEntry); err != nil {
			return posted{}, err
		}
	}
	if err := tx.moveBalances(p.accountID, balances, next); err != nil {
		return posted{}, err
	}
	for i, leg := range p.move.Postings {
		tx.entries = append(tx.entries, entryRow{
			accountID: p.accountID, id: done.entries[i], transactionID: id, kind: p.move.Kind, leg: leg,
			balance: next.Of(leg.Bucket), keyID: p.keyID, opID: p.opID, leaseID: p.leaseID, reason: p.reason, actor: p.actor,
		})
	}
	tx.tally.move(p.move)
	return done, nil
}
