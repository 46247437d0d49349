package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// Errors about closed accounts; test for them with errors.Is.
var (
	// ErrAccountClosed means that an account is closed: it stays so, and nothing of it changes any more.
	ErrAccountClosed = errors.New("account is closed")
	// ErrBalanceLeft means that an account still has credits, available or held by gates.
	ErrBalanceLeft = errors.New("account has credits left")
)

// ClosingBalance says what becomes of the credits of an account that is closed.
type ClosingBalance string

// The choices.
const (
	// WriteOffBalance takes back what is available, by an adjustment, and what gates return later too.
	WriteOffBalance ClosingBalance = "write_off"
	// RefuseBalance closes only an account that has no credits, available or held by gates.
	RefuseBalance ClosingBalance = "refuse"
)

// Closing is what CloseAccount takes. Reason is 1 to MaxReasonLen bytes, Actor 1 to MaxNameLen.
type Closing struct {
	Balance ClosingBalance
	Reason  string
	Actor   string
}

// CloseAccount closes an account for good. Gates are told, so that its keys stop, and report what they have used of its
// leases, which is paid from what those hold; whatever they return is taken back. So a closed account never has credits
// available. Replayed is true if an earlier call under idem did it. It returns ErrNotFound, ErrStale, ErrAccountClosed,
// ErrBalanceLeft or ErrIdempotencyMismatch.
func (s *Store) CloseAccount(ctx context.Context, id string, in Closing, idem *Idempotency) (a Account, replayed bool, err error) {
	if err := errors.Join(in.check(), idem.check()); err != nil {
		return Account{}, false, fmt.Errorf("close account: %w", err)
	}
	out, err := write(ctx, s, func(tx *writeTx) (outcome[Account], error) {
		return once(tx, idem, "close_account", tx.account, func() (Account, string, error) {
			a, err := tx.closeAccount(id, in)
			return a, id, err
		})
	})
	return out.result, out.replayed, err
}

func (in *Closing) check() error {
	err := errors.Join(checkText("reason", in.Reason, 1, MaxReasonLen), checkText("actor", in.Actor, 1, MaxNameLen))
	if in.Balance != WriteOffBalance && in.Balance != RefuseBalance {
		err = errors.Join(err, fmt.Errorf("%w: balance: expected write_off or refuse", ErrInvalid))
	}
	return err
}

func (tx *writeTx) closeAccount(id string, in Closing) (Account, error) {
	old, err := tx.account(id)
	if err != nil {
		return Account{}, err
	}
	if err := tx.expect(old); err != nil {
		return Account{}, fmt.Errorf("close account: %w", err)
	}
	if old.Status == AccountClosed {
		return Account{}, fmt.Errorf("close account: %w", ErrAccountClosed)
	}
	balances, err := tx.balances(id)
	if err != nil {
		return Account{}, err
	}
	if in.Balance == RefuseBalance && balances.Available+balances.Reserved > 0 {
		return Account{}, fmt.Errorf("close account: %w", ErrBalanceLeft)
	}
	err = tx.Queries.CloseAccount(tx.ctx, queries.CloseAccountParams{
		ID: id, ClosedUs: sql.NullInt64{Int64: tx.now, Valid: true}, ClosedReason: in.Reason, ClosedActor: in.Actor,
	})
	if err != nil {
		return Account{}, fmt.Errorf("close account: %w", err)
	}
	if err := tx.sweep(id); err != nil {
		return Account{}, err
	}
	// The VMs that hold leases are asked for them with their next report, whether or not they know what an account is.
	if err := tx.drain(id, 0, "", ""); err != nil {
		return Account{}, err
	}
	if err := tx.change(api.ChangeAccount, id); err != nil {
		return Account{}, err
	}
	next, err := tx.account(id)
	if err != nil {
		return Account{}, err
	}
	return next, tx.audit(act{
		action: "account.close", kind: kindAccount, id: id, accountID: id, reason: in.Reason, before: viewAccount(old),
		after: viewAccount(next),
	})
}

// sweep takes back what is available of a closed account, for the reason and in the name of who closed it. Of any other
// account it does nothing.
func (tx *writeTx) sweep(accountID string) error {
	balances, err := tx.balances(accountID)
	if err != nil || balances.Available == 0 {
		return err
	}
	m := movement{accountID: accountID, amount: -int64(balances.Available)}
	err = tx.row(stmtClosed, accountID).Scan(&m.reason, &m.actor)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read account: %w", err)
	}
	if m.move, err = ledger.Adjust(-balances.Available); err != nil {
		return err
	}
	_, _, err = tx.adjustCredits(&m, "")
	return err
}

// checkOpen returns ErrNotFound or ErrAccountClosed for an account that cannot change.
func (tx *writeTx) checkOpen(accountID string) error {
	a, err := tx.account(accountID)
	if err == nil && a.Status == AccountClosed {
		err = ErrAccountClosed
	}
	return err
}
