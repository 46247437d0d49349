package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// Wallet is an account's balances in credits. Granted is all that was ever topped up, with all adjustments, and always equals
// Available + Reserved + Spent; WrittenOff is beside them: credits used that nobody paid for.
type Wallet struct {
	AccountID  string
	Granted    int64
	Available  int64
	Reserved   int64
	Spent      int64
	WrittenOff int64
}

// Entry is one immutable signed row of the ledger. The entries of one transaction sum to zero, but for one to the
// bucket "written_off", which is alone in its transaction and in no sum.
type Entry struct {
	ID            string
	TransactionID string
	AccountID     string
	// Kind is one of ledger.Kinds(); Bucket is "funding", "available", "reserved", "spent" or "written_off".
	Kind   string
	Bucket string
	// Delta is in credits; negative takes from the bucket.
	Delta int64
	// KeyID and OpID are empty unless a gate caused the transaction, LeaseID unless a lease did; OpID is then that of the
	// acquire. Reason, Actor and IdempotencyKey are empty unless an admin caused it, and may be then. RefundedEntry is the
	// entry of which a refund gives credits back, if it names one.
	KeyID          string
	OpID           string
	LeaseID        string
	Reason         string
	Actor          string
	IdempotencyKey string
	RefundedEntry  string
	CreatedAt      time.Time
}

// Wallet returns an account's balances, or ErrNotFound.
func (s *Store) Wallet(ctx context.Context, accountID string) (Wallet, error) {
	row, err := s.queries.Wallet(ctx, accountID)
	if err != nil {
		return Wallet{}, s.readError("account", err)
	}
	return Wallet{
		AccountID: row.AccountID, Granted: -row.Funding, Available: row.Available, Reserved: row.Reserved,
		Spent: row.Spent, WrittenOff: row.WrittenOff,
	}, nil
}

// Entries lists an account's entries newest first and reports whether more follow the page; ErrNotFound for an
// unknown account.
func (s *Store) Entries(ctx context.Context, accountID string, page Page) ([]Entry, bool, error) {
	_, rows, err := page.bounds()
	if err != nil {
		return nil, false, fmt.Errorf("list entries: %w", err)
	}
	found, err := s.entriesOf(ctx, accountID, page.After, rows)
	if err == nil && len(found) == 0 {
		_, err = s.queries.Account(ctx, accountID)
		if err == nil && page.After != "" {
			_, err = s.queries.Entry(ctx, queries.EntryParams{AccountID: accountID, ID: page.After})
			if errors.Is(err, sql.ErrNoRows) {
				return nil, false, fmt.Errorf("list entries: %w: after: it is none of the account's entries", ErrInvalid)
			}
		}
	}
	if err != nil {
		return nil, false, s.readError("account's entries", err)
	}
	entries, more := cut(found, page, func(e Entry) Entry { return e })
	return entries, more, nil
}

// entriesOf reads up to limit entries of an account, newest first: those before the one of the id after, unless that is
// empty.
func (s *Store) entriesOf(ctx context.Context, accountID, after string, limit int64) (found []Entry, err error) {
	rows, err := s.reads[stmtEntriesOf].QueryContext(ctx, accountID, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e Entry
		var created int64
		err := rows.Scan(&e.ID, &e.TransactionID, &e.AccountID, &e.Kind, &e.Bucket, &e.Delta, &e.KeyID, &e.OpID, &e.LeaseID,
			&e.Reason, &e.Actor, &e.IdempotencyKey, &e.RefundedEntry, &created)
		if err != nil {
			return nil, err
		}
		e.CreatedAt = fromMicros(created)
		found = append(found, e)
	}
	return found, rows.Err()
}
