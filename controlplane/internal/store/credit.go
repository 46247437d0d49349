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

// Errors about refunds; test for them with errors.Is.
var (
	// ErrNotSpent means that an entry spent nothing, or that what it spent was taken back.
	ErrNotSpent = errors.New("entry spent nothing that can be refunded")
	// ErrRefundExceeds means that more would be refunded of an entry than it has spent.
	ErrRefundExceeds = fmt.Errorf("refunds exceed what the entry spent: %w", ledger.ErrInsufficientCredits)
)

// TopUp is a grant of credits. Amount is 1 to ledger.MaxCredits; Reason is at most MaxReasonLen bytes; Actor
// names who granted it, 1 to MaxNameLen bytes.
type TopUp struct {
	AccountID string
	Amount    int64
	Reason    string
	Actor     string
}

// Adjustment corrects what was granted: by Amount, which is not 0 and within ±ledger.MaxCredits. Reason is 1 to
// MaxReasonLen bytes, Actor as for TopUp.
type Adjustment struct {
	AccountID string
	Amount    int64
	Reason    string
	Actor     string
}

// Refund gives back Amount credits that were spent, 1 to ledger.MaxCredits: of the entry EntryID, if that is not empty.
// Reason and Actor are as for Adjustment.
type Refund struct {
	AccountID string
	Amount    int64
	EntryID   string
	Reason    string
	Actor     string
}

// Transaction is a movement of credits as the caller who made it sees it.
type Transaction struct {
	ID        string
	AccountID string
	Kind      string
	// Amount is negative for an adjustment downwards.
	Amount int64
	// Available is the balance right after this transaction.
	Available int64
	Reason    string
	Actor     string
	// IdempotencyKey is the one that it was made under, RefundedEntry what a refund is of; both may be empty.
	IdempotencyKey string
	RefundedEntry  string
	CreatedAt      time.Time
}

// TopUp grants credits to an account. Replayed is true if an earlier call under idem did it; then the
// transaction is that call's. A nil idem makes every call a new grant. It returns ErrNotFound, ErrAccountClosed,
// ErrIdempotencyMismatch, or ledger.ErrBalanceLimit if the account would have been granted more than
// ledger.MaxCredits in all.
func (s *Store) TopUp(ctx context.Context, in TopUp, idem *Idempotency) (txn Transaction, replayed bool, err error) {
	move, err := ledger.TopUp(ledger.Credits(in.Amount))
	m := movement{in.AccountID, move, in.Amount, "", in.Reason, in.Actor, ""}
	return s.moveCredits(ctx, &m, err, 0, idem)
}

// Adjust grants credits or takes available ones back. It is as TopUp; taking more than is available is
// ledger.ErrInsufficientCredits: what leases hold is not available.
func (s *Store) Adjust(ctx context.Context, in Adjustment, idem *Idempotency) (txn Transaction, replayed bool, err error) {
	move, err := ledger.Adjust(ledger.Credits(in.Amount))
	m := movement{in.AccountID, move, in.Amount, "", in.Reason, in.Actor, ""}
	return s.moveCredits(ctx, &m, err, 1, idem)
}

// RefundCredits makes spent credits available again. It is as TopUp; giving back more than is spent is
// ledger.ErrInsufficientCredits, ErrRefundExceeds where it is more than is left of the entry named. ErrNotSpent is an
// entry that is not of this account or spent nothing.
func (s *Store) RefundCredits(ctx context.Context, in Refund, idem *Idempotency) (txn Transaction, replayed bool, err error) {
	move, err := ledger.RefundSpent(ledger.Credits(in.Amount))
	m := movement{in.AccountID, move, in.Amount, in.EntryID, in.Reason, in.Actor, ""}
	err = errors.Join(err, checkText("entry_id", in.EntryID, 0, MaxNameLen))
	return s.moveCredits(ctx, &m, err, 1, idem)
}

// movement is a transaction that people make.
type movement struct {
	accountID string
	move      ledger.Transaction
	// amount is move's, negative for an adjustment downwards.
	amount        int64
	refundedEntry string
	reason, actor string
	// refundedOp is the operation by which a gate may give back, later, what refundedEntry spent.
	refundedOp string
}

// moveCredits does m, unless bad says that it was ill made.
func (s *Store) moveCredits(
	ctx context.Context, m *movement, bad error, minReason int, idem *Idempotency,
) (txn Transaction, replayed bool, err error) {
	if errors.Is(bad, ledger.ErrAmount) {
		bad = fmt.Errorf("%w: amount: %w", ErrInvalid, bad)
	}
	err = errors.Join(bad, checkText("reason", m.reason, minReason, MaxReasonLen), checkText("actor", m.actor, 1, MaxNameLen),
		idem.check())
	if err != nil {
		return Transaction{}, false, fmt.Errorf("move credits: %w", err)
	}
	out, err := write(ctx, s, func(tx *writeTx) (outcome[Transaction], error) {
		replay := func(entryID string) (Transaction, error) { return tx.moved(m.accountID, entryID) }
		return once(tx, idem, string(m.move.Kind), replay, func() (Transaction, string, error) {
			key := ""
			if idem != nil {
				key = idem.Key
			}
			return tx.moveCredits(m, key)
		})
	})
	return out.result, out.replayed, err
}

// moveCredits does m and returns the id of its entry to the available bucket too. It tells the gates.
func (tx *writeTx) moveCredits(m *movement, idempotencyKey string) (txn Transaction, entryID string, err error) {
	if err := tx.checkOpen(m.accountID); err != nil {
		return Transaction{}, "", err
	}
	if err := tx.checkRefund(m); err != nil {
		return Transaction{}, "", err
	}
	txn, entryID, err = tx.adjustCredits(m, idempotencyKey)
	if err == nil {
		err = tx.change(api.ChangeCredits, m.accountID)
	}
	if err == nil {
		err = tx.audit(act{
			action: "credit." + string(m.move.Kind), kind: kindCredit, id: txn.ID, accountID: m.accountID, reason: m.reason,
			before: creditView{Available: txn.Available - m.amount},
			after:  creditView{Available: txn.Available, Amount: m.amount, RefundedEntry: m.refundedEntry},
		})
	}
	return txn, entryID, err
}

// adjustCredits posts m and records what the entries do not say.
func (tx *writeTx) adjustCredits(m *movement, idempotencyKey string) (txn Transaction, entryID string, err error) {
	balances, err := tx.balances(m.accountID)
	if err != nil {
		return Transaction{}, "", err
	}
	next, err := balances.Apply(m.move)
	if err != nil {
		return Transaction{}, "", err
	}
	p := posting{accountID: m.accountID, move: m.move, reason: m.reason, actor: m.actor}
	done, err := tx.post(&p, balances, next)
	if err != nil {
		return Transaction{}, "", err
	}
	err = tx.InsertCredit(tx.ctx, queries.InsertCreditParams{
		TransactionID: done.id, AccountID: m.accountID, Kind: string(m.move.Kind), Amount: m.amount,
		IdempotencyKey: idempotencyKey, RefundedEntry: optional(m.refundedEntry),
		RefundedOp: optional(m.refundedOp),
	})
	if err != nil {
		return Transaction{}, "", fmt.Errorf("record credits: %w", err)
	}
	for i, leg := range m.move.Postings {
		if leg.Bucket == ledger.Available {
			entryID = done.entries[i]
		}
	}
	return Transaction{
		ID: done.id, AccountID: m.accountID, Kind: string(m.move.Kind), Amount: m.amount, Available: int64(next.Available),
		Reason: m.reason, Actor: m.actor, IdempotencyKey: idempotencyKey, RefundedEntry: m.refundedEntry,
		CreatedAt: fromMicros(tx.now),
	}, entryID, nil
}

// checkRefund holds a refund that names an entry against what that entry spent and what was refunded of it before.
func (tx *writeTx) checkRefund(m *movement) error {
	if m.refundedEntry == "" {
		return nil
	}
	if err := tx.flush(); err != nil {
		return err
	}
	e, err := tx.Entry(tx.ctx, queries.EntryParams{AccountID: m.accountID, ID: m.refundedEntry})
	if errors.Is(err, sql.ErrNoRows) || err == nil && (e.Bucket != string(ledger.Spent) || e.Delta < 0) {
		return ErrNotSpent
	}
	if err != nil {
		return fmt.Errorf("read entry: %w", err)
	}
	returned, err := tx.returned(&e)
	if err != nil {
		return err
	}
	m.refundedOp = ""
	if e.Kind == string(ledger.KindDebit) || e.Kind == string(ledger.KindForfeit) {
		m.refundedOp = e.OpID
	}
	refunds, err := tx.RefundsOfEntry(tx.ctx, optional(m.refundedEntry))
	if err != nil {
		return fmt.Errorf("read refunds: %w", err)
	}
	left := e.Delta - returned - m.amount
	for _, amount := range refunds {
		left -= amount
	}
	if left < 0 {
		return ErrRefundExceeds
	}
	return nil
}

// returned is what a gate has given back of what an entry spent, at most; ErrNotSpent if that may be all.
func (tx *writeTx) returned(e *queries.Entry) (int64, error) {
	switch ledger.Kind(e.Kind) {
	case ledger.KindDebit:
		verdict, err := tx.OperationVerdict(tx.ctx, e.OpID)
		if err != nil {
			return 0, fmt.Errorf("read operation: %w", err)
		}
		if verdict != string(opGranted) {
			return 0, ErrNotSpent
		}
	case ledger.KindForfeit:
		l, found, err := tx.lease(e.LeaseID)
		if err != nil {
			return 0, err
		}
		// Once the lease is forgotten, nobody knows.
		if !found {
			return 0, ErrNotSpent
		}
		if l.Final {
			return int64(l.Granted - l.Used), nil
		}
	}
	return 0, nil
}

// refundedOf is what people have given back of an operation's debit, or of what its lease forfeited.
func (tx *writeTx) refundedOf(opID string) (ledger.Credits, error) {
	refunds, err := tx.RefundsOfOperation(tx.ctx, optional(opID))
	if err != nil {
		return 0, fmt.Errorf("read refunds: %w", err)
	}
	var sum ledger.Credits
	for _, amount := range refunds {
		sum += ledger.Credits(amount)
	}
	return sum, nil
}

// moved rebuilds a transaction of people from its entry to the available bucket.
func (tx *writeTx) moved(accountID, entryID string) (Transaction, error) {
	if err := tx.flush(); err != nil {
		return Transaction{}, err
	}
	row, err := tx.Entry(tx.ctx, queries.EntryParams{AccountID: accountID, ID: entryID})
	if err != nil {
		return Transaction{}, fmt.Errorf("read entry %s: %w", entryID, err)
	}
	c, err := tx.Credit(tx.ctx, row.TransactionID)
	if err != nil {
		return Transaction{}, fmt.Errorf("read credits of %s: %w", row.TransactionID, err)
	}
	return Transaction{
		ID: row.TransactionID, AccountID: row.AccountID, Kind: row.Kind, Amount: row.Delta, Available: row.Balance,
		Reason: row.Reason, Actor: row.Actor, IdempotencyKey: c.IdempotencyKey, RefundedEntry: c.RefundedEntry.String,
		CreatedAt: fromMicros(row.CreatedUs),
	}, nil
}
