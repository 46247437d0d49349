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

// Wallet is an account's balances in credits. Granted is all that was ever topped up and always equals
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
	// acquire. Reason and Actor are empty unless an admin caused it.
	KeyID     string
	OpID      string
	LeaseID   string
	Reason    string
	Actor     string
	CreatedAt time.Time
}

// TopUp is a grant of credits. Amount is 1 to ledger.MaxCredits; Reason is at most MaxReasonLen bytes; Actor
// names who granted it, 1 to MaxNameLen bytes.
type TopUp struct {
	AccountID string
	Amount    int64
	Reason    string
	Actor     string
}

// Transaction is a movement of credits as the caller who made it sees it.
type Transaction struct {
	ID        string
	AccountID string
	Kind      string
	Amount    int64
	// Available is the balance right after this transaction.
	Available int64
	Reason    string
	Actor     string
	CreatedAt time.Time
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
			&e.Reason, &e.Actor, &created)
		if err != nil {
			return nil, err
		}
		e.CreatedAt = fromMicros(created)
		found = append(found, e)
	}
	return found, rows.Err()
}

// TopUp grants credits to an account. Replayed is true if an earlier call under idem did it; then the
// transaction is that call's. A nil idem makes every call a new grant. It returns ErrNotFound,
// ErrIdempotencyMismatch, or ledger.ErrBalanceLimit if the account would have been granted more than
// ledger.MaxCredits in all.
func (s *Store) TopUp(ctx context.Context, in TopUp, idem *Idempotency) (txn Transaction, replayed bool, err error) {
	grant, err := in.check(idem)
	if err != nil {
		return Transaction{}, false, fmt.Errorf("top up: %w", err)
	}
	out, err := write(ctx, s, func(tx *writeTx) (outcome[Transaction], error) {
		replay := func(entryID string) (Transaction, error) { return tx.granted(in.AccountID, entryID) }
		return once(tx, idem, "top_up", replay, func() (Transaction, string, error) { return tx.topUp(in, grant) })
	})
	return out.result, out.replayed, err
}

func (in *TopUp) check(idem *Idempotency) (ledger.Transaction, error) {
	grant, err := ledger.TopUp(ledger.Credits(in.Amount))
	if err != nil {
		err = fmt.Errorf("%w: amount: %w", ErrInvalid, err)
	}
	err = errors.Join(err,
		checkText("reason", in.Reason, 0, MaxReasonLen), checkText("actor", in.Actor, 1, MaxNameLen), idem.check())
	return grant, err
}

// topUp returns the grant and the id of the entry that made it available.
func (tx *writeTx) topUp(in TopUp, grant ledger.Transaction) (txn Transaction, entryID string, err error) {
	balances, err := tx.balances(in.AccountID)
	if errors.Is(err, sql.ErrNoRows) {
		return Transaction{}, "", fmt.Errorf("account: %w", ErrNotFound)
	}
	if err != nil {
		return Transaction{}, "", err
	}
	next, err := balances.Apply(grant)
	if err != nil {
		return Transaction{}, "", err
	}
	p := posting{accountID: in.AccountID, move: grant, reason: in.Reason, actor: in.Actor}
	done, err := tx.post(&p, balances, next)
	if err == nil {
		err = tx.change(api.ChangeCredits, in.AccountID)
	}
	if err == nil {
		err = tx.audit(act{
			action: "credit.top_up", kind: kindCredit, id: done.id, accountID: in.AccountID, reason: in.Reason,
			before: creditView{Available: int64(balances.Available)},
			after:  creditView{Available: int64(next.Available), Amount: in.Amount},
		})
	}
	if err != nil {
		return Transaction{}, "", err
	}
	return Transaction{
		ID: done.id, AccountID: in.AccountID, Kind: string(grant.Kind), Amount: in.Amount,
		Available: int64(next.Available), Reason: in.Reason, Actor: in.Actor, CreatedAt: fromMicros(tx.now),
	}, done.entries[1], nil
}

// granted rebuilds a top-up from its entry into the available bucket.
func (tx *writeTx) granted(accountID, entryID string) (Transaction, error) {
	if err := tx.flush(); err != nil {
		return Transaction{}, err
	}
	row, err := tx.Entry(tx.ctx, queries.EntryParams{AccountID: accountID, ID: entryID})
	if err != nil {
		return Transaction{}, fmt.Errorf("read entry %s: %w", entryID, err)
	}
	return Transaction{
		ID: row.TransactionID, AccountID: row.AccountID, Kind: row.Kind, Amount: row.Delta, Available: row.Balance,
		Reason: row.Reason, Actor: row.Actor, CreatedAt: fromMicros(row.CreatedUs),
	}, nil
}
