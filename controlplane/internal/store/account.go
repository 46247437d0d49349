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

// ErrInvalidTransition means that an account or a domain cannot go from its status to the one asked for.
var ErrInvalidTransition = errors.New("status transition not allowed")

// AccountStatus is the state of an account. Only an active account's keys are let through.
type AccountStatus string

// The account states. An account may leave pending but never return to it; active and disabled alternate. Closed is final,
// and only CloseAccount leads to it.
const (
	AccountPending  AccountStatus = "pending"
	AccountActive   AccountStatus = "active"
	AccountDisabled AccountStatus = "disabled"
	AccountClosed   AccountStatus = "closed"
)

// Account is a customer. It owns one wallet.
type Account struct {
	ID        string
	Name      string
	Status    AccountStatus
	CreatedAt time.Time
	UpdatedAt time.Time
	// ClosedAt is zero unless Status is AccountClosed, and CloseReason, the closer's, empty.
	ClosedAt    time.Time
	CloseReason string
}

// NewAccount is what CreateAccount takes. Name is 1 to MaxNameLen bytes; Status is any but AccountClosed.
type NewAccount struct {
	Name   string
	Status AccountStatus
}

// AccountUpdate names the fields to change; nil leaves a field as it is.
type AccountUpdate struct {
	Name   *string
	Status *AccountStatus
}

// CreateAccount records an account and its empty wallet. Replayed is true if an earlier call under idem did it; then the
// account is that call's, in its present state. It returns ErrIdempotencyMismatch.
func (s *Store) CreateAccount(ctx context.Context, in NewAccount, idem *Idempotency) (a Account, replayed bool, err error) {
	if err := errors.Join(checkText("name", in.Name, 1, MaxNameLen), in.Status.check(), idem.check()); err != nil {
		return Account{}, false, fmt.Errorf("create account: %w", err)
	}
	out, err := write(ctx, s, func(tx *writeTx) (outcome[Account], error) {
		return once(tx, idem, "create_account", tx.account, func() (Account, string, error) {
			a, err := tx.createAccount(in)
			return a, a.ID, err
		})
	})
	return out.result, out.replayed, err
}

func (tx *writeTx) createAccount(in NewAccount) (Account, error) {
	id, err := tx.newID(prefixAccount)
	if err != nil {
		return Account{}, err
	}
	err = tx.InsertAccount(tx.ctx, queries.InsertAccountParams{
		ID: id, Name: in.Name, Status: string(in.Status), CreatedUs: tx.now,
	})
	if err == nil {
		err = tx.InsertWallet(tx.ctx, id)
	}
	if err != nil {
		return Account{}, fmt.Errorf("create account: %w", err)
	}
	at := fromMicros(tx.now)
	a := Account{ID: id, Name: in.Name, Status: in.Status, CreatedAt: at, UpdatedAt: at}
	return a, tx.audit(act{action: "account.create", kind: kindAccount, id: id, accountID: id, after: viewAccount(a)})
}

// Account returns one account, or ErrNotFound.
func (s *Store) Account(ctx context.Context, id string) (Account, error) {
	row, err := s.queries.Account(ctx, id)
	if err != nil {
		return Account{}, s.readError("account", err)
	}
	return accountOf(row), nil
}

// Accounts lists accounts newest first and reports whether more follow the page.
func (s *Store) Accounts(ctx context.Context, page Page) ([]Account, bool, error) {
	after, rows, err := page.bounds()
	if err != nil {
		return nil, false, fmt.Errorf("list accounts: %w", err)
	}
	found, err := s.queries.Accounts(ctx, queries.AccountsParams{After: after, MaxRows: rows})
	if err != nil {
		return nil, false, s.readError("accounts", err)
	}
	accounts, more := cut(found, page, accountOf)
	return accounts, more, nil
}

// UpdateAccount changes the named fields, all or none. It returns ErrNotFound, ErrStale, ErrAccountClosed, or
// ErrInvalidTransition for a status that cannot follow the present one.
func (s *Store) UpdateAccount(ctx context.Context, id string, in AccountUpdate) (Account, error) {
	if err := in.check(); err != nil {
		return Account{}, fmt.Errorf("update account: %w", err)
	}
	return write(ctx, s, func(tx *writeTx) (Account, error) {
		old, err := tx.account(id)
		if err != nil {
			return Account{}, err
		}
		if err := tx.expect(old); err != nil {
			return Account{}, fmt.Errorf("update account: %w", err)
		}
		if old.Status == AccountClosed {
			return Account{}, fmt.Errorf("update account: %w", ErrAccountClosed)
		}
		next := old
		if in.Name != nil {
			next.Name = *in.Name
		}
		if in.Status != nil {
			next.Status = *in.Status
		}
		if next == old {
			return old, nil
		}
		if !old.Status.mayBecome(next.Status) {
			return Account{}, fmt.Errorf("account from %s to %s: %w", old.Status, next.Status, ErrInvalidTransition)
		}
		next.UpdatedAt = fromMicros(tx.now)
		err = tx.Queries.UpdateAccount(tx.ctx, queries.UpdateAccountParams{
			ID: id, Name: next.Name, Status: string(next.Status), UpdatedUs: tx.now,
		})
		if err == nil && next.Status != old.Status {
			err = tx.change(api.ChangeAccount, id)
		}
		if err != nil {
			return Account{}, fmt.Errorf("update account: %w", err)
		}
		return next, tx.audit(act{
			action: "account.update", kind: kindAccount, id: id, accountID: id, before: viewAccount(old), after: viewAccount(next),
		})
	})
}

func (tx *writeTx) account(id string) (Account, error) {
	row, err := tx.Queries.Account(tx.ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, fmt.Errorf("account: %w", ErrNotFound)
	}
	if err != nil {
		return Account{}, fmt.Errorf("read account: %w", err)
	}
	return accountOf(row), nil
}

func (u AccountUpdate) check() error {
	var err error
	if u.Name != nil {
		err = checkText("name", *u.Name, 1, MaxNameLen)
	}
	if u.Status != nil {
		err = errors.Join(err, u.Status.check())
	}
	return err
}

func (st AccountStatus) check() error {
	switch st {
	case AccountPending, AccountActive, AccountDisabled:
		return nil
	}
	return fmt.Errorf("%w: status: expected pending, active or disabled", ErrInvalid)
}

func (st AccountStatus) mayBecome(next AccountStatus) bool {
	return st == next || next != AccountPending
}

func accountOf(row queries.Account) Account {
	a := Account{
		ID: row.ID, Name: row.Name, Status: AccountStatus(row.Status), CreatedAt: fromMicros(row.CreatedUs),
		UpdatedAt: fromMicros(row.UpdatedUs),
	}
	if row.ClosedUs.Valid {
		a.Status, a.ClosedAt, a.CloseReason = AccountClosed, fromMicros(row.ClosedUs.Int64), row.ClosedReason
	}
	return a
}
