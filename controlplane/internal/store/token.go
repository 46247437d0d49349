package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// ErrLastOwner means that without this token nobody could make another.
var ErrLastOwner = errors.New("the last usable owner token")

// Role is what a token may do; the server maps roles to endpoints.
type Role string

// The roles. A gate token acquires credits; the others are for people and their tools, and RoleAccount for those of one
// account.
const (
	RoleOwner    Role = "owner"
	RoleOperator Role = "operator"
	RoleBilling  Role = "billing"
	RoleViewer   Role = "viewer"
	RoleGate     Role = "gate"
	RoleAccount  Role = "account"
)

// Roles are all of them.
func Roles() []Role {
	return []Role{RoleOwner, RoleOperator, RoleBilling, RoleViewer, RoleGate, RoleAccount}
}

// Token is what is known of an admin or gate token: never its secret.
type Token struct {
	ID   string
	Name string
	Role Role
	// AccountID is set if and only if Role is RoleAccount.
	AccountID string
	CreatedAt time.Time
	// ExpiresAt is when the token stops working; nil for never.
	ExpiresAt *time.Time
	RevokedAt *time.Time
	// LastUsedAt is when the token was seen last, as far as UseTokens was told; nil if never.
	LastUsedAt *time.Time
}

// Usable reports whether the token works at a time.
func (t *Token) Usable(at time.Time) bool {
	return t.RevokedAt == nil && (t.ExpiresAt == nil || at.Before(*t.ExpiresAt))
}

// NewToken is what CreateToken takes. Name is 1 to MaxNameLen bytes; of Digest only the stored form is kept.
type NewToken struct {
	Name string
	Role Role
	// AccountID is the account of a token of RoleAccount, and empty for the others.
	AccountID string
	// ExpiresAt is in the future, or nil for never.
	ExpiresAt *time.Time
	Digest    apikey.Digest
}

// TokenFilter narrows Tokens; an empty AccountID lists all.
type TokenFilter struct {
	AccountID string
}

// CreateToken records a token. Replayed is true if an earlier call under idem did it; then the token is that call's, in
// its present state, and the digest of in was not recorded. It returns ErrNotFound for an unknown account, ErrConflict for
// a digest that is already known, ErrInvalid for an expiry that is not in the future, or ErrIdempotencyMismatch.
func (s *Store) CreateToken(ctx context.Context, in NewToken, idem *Idempotency) (token Token, replayed bool, err error) {
	if err := errors.Join(in.check(), idem.check()); err != nil {
		return Token{}, false, fmt.Errorf("create token: %w", err)
	}
	out, err := write(ctx, s, func(tx *writeTx) (outcome[Token], error) {
		return once(tx, idem, "create_token", tx.token, func() (Token, string, error) {
			token, err := tx.createToken(in)
			return token, token.ID, err
		})
	})
	return out.result, out.replayed, err
}

func (in *NewToken) check() error {
	err := errors.Join(checkText("name", in.Name, 1, MaxNameLen), in.Role.check(), checkExpiry(in.ExpiresAt))
	if (in.AccountID != "") != (in.Role == RoleAccount) {
		err = errors.Join(err, fmt.Errorf("%w: account: expected one if and only if the role is account", ErrInvalid))
	}
	return err
}

func (tx *writeTx) createToken(in NewToken) (Token, error) {
	if in.AccountID != "" {
		if err := tx.checkOpen(in.AccountID); err != nil {
			return Token{}, err
		}
	}
	if err := tx.checkFuture(in.ExpiresAt); err != nil {
		return Token{}, fmt.Errorf("create token: %w", err)
	}
	id, err := tx.newID(prefixToken)
	if err != nil {
		return Token{}, err
	}
	stored := in.Digest.Stored()
	err = tx.InsertToken(tx.ctx, queries.InsertTokenParams{
		ID: id, Name: in.Name, Role: string(in.Role), AccountID: optional(in.AccountID), Digest: stored[:],
		CreatedUs: tx.now, ExpiresUs: toMicros(in.ExpiresAt),
	})
	if isDuplicate(err) {
		return Token{}, fmt.Errorf("token: %w", ErrConflict)
	}
	if err != nil {
		return Token{}, fmt.Errorf("create token: %w", err)
	}
	t := Token{
		ID: id, Name: in.Name, Role: in.Role, AccountID: in.AccountID, CreatedAt: fromMicros(tx.now),
		ExpiresAt: inMicros(in.ExpiresAt),
	}
	return t, tx.audit(act{action: "token.create", kind: kindToken, id: id, accountID: t.AccountID, after: viewToken(t)})
}

// RevokeToken ends a token for good. Revoking again changes nothing and succeeds. It returns ErrNotFound, ErrStale, or
// ErrLastOwner for an owner's usable token without which there would be none.
func (s *Store) RevokeToken(ctx context.Context, id string) (Token, error) {
	return write(ctx, s, func(tx *writeTx) (Token, error) {
		old, err := tx.token(id)
		if err == nil {
			err = tx.expect(old)
		}
		if err != nil {
			return Token{}, fmt.Errorf("revoke token: %w", err)
		}
		if old.RevokedAt != nil {
			return old, nil
		}
		if err := tx.checkOwners(&old); err != nil {
			return Token{}, err
		}
		next, at := old, fromMicros(tx.now)
		next.RevokedAt = &at
		err = tx.Queries.RevokeToken(tx.ctx, queries.RevokeTokenParams{ID: id, RevokedUs: toMicros(&at)})
		if err != nil {
			return Token{}, fmt.Errorf("revoke token: %w", err)
		}
		return next, tx.audit(act{
			action: "token.revoke", kind: kindToken, id: id, accountID: old.AccountID, before: viewToken(old), after: viewToken(next),
		})
	})
}

// checkOwners makes sure that there is a usable owner token beside t, if t is one.
func (tx *writeTx) checkOwners(t *Token) error {
	if t.Role != RoleOwner || !t.Usable(fromMicros(tx.now)) {
		return nil
	}
	others, err := tx.OtherOwners(tx.ctx, queries.OtherOwnersParams{
		ID: t.ID, NowUs: sql.NullInt64{Int64: tx.now, Valid: true},
	})
	if err != nil {
		return fmt.Errorf("count owner tokens: %w", err)
	}
	if others == 0 {
		return fmt.Errorf("revoke token: %w", ErrLastOwner)
	}
	return nil
}

// UseTokens records when tokens, by id, were used, where that is later than what is recorded. It is no act: nobody has
// asked for it.
func (s *Store) UseTokens(ctx context.Context, used map[string]time.Time) error {
	_, err := write(ctx, s, func(tx *writeTx) (struct{}, error) {
		for id, at := range used {
			err := tx.UseToken(tx.ctx, queries.UseTokenParams{ID: id, UsedUs: toMicros(&at)})
			if err != nil {
				return struct{}{}, fmt.Errorf("record use of token: %w", err)
			}
		}
		return struct{}{}, nil
	})
	return err
}

// TokenByDigest returns the token with this wire digest, usable or not, or ErrNotFound.
func (s *Store) TokenByDigest(ctx context.Context, digest apikey.Digest) (Token, error) {
	stored := digest.Stored()
	row, err := s.brief.TokenByDigest(ctx, stored[:])
	if err != nil {
		return Token{}, s.readError("token", err)
	}
	return tokenOf(row), nil
}

// Token returns one token, or ErrNotFound.
func (s *Store) Token(ctx context.Context, id string) (Token, error) {
	row, err := s.queries.Token(ctx, id)
	if err != nil {
		return Token{}, s.readError("token", err)
	}
	return tokenOf(row), nil
}

// Tokens lists tokens newest first, the revoked and expired ones too, and reports whether more follow the page. An
// unknown account has none.
func (s *Store) Tokens(ctx context.Context, filter TokenFilter, page Page) ([]Token, bool, error) {
	after, rows, err := page.bounds()
	if err != nil {
		return nil, false, fmt.Errorf("list tokens: %w", err)
	}
	var found []queries.Token
	if filter.AccountID == "" {
		found, err = s.queries.Tokens(ctx, queries.TokensParams{After: after, MaxRows: rows})
	} else {
		found, err = s.queries.TokensOfAccount(ctx, queries.TokensOfAccountParams{
			AccountID: optional(filter.AccountID), After: after, MaxRows: rows,
		})
	}
	if err != nil {
		return nil, false, s.readError("tokens", err)
	}
	tokens, more := cut(found, page, tokenOf)
	return tokens, more, nil
}

func (tx *writeTx) token(id string) (Token, error) {
	row, err := tx.Queries.Token(tx.ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Token{}, fmt.Errorf("token: %w", ErrNotFound)
	}
	if err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	return tokenOf(row), nil
}

func (r Role) check() error {
	if slices.Contains(Roles(), r) {
		return nil
	}
	return fmt.Errorf("%w: role: expected one of %v", ErrInvalid, Roles())
}

func tokenOf(row queries.Token) Token {
	return Token{
		ID: row.ID, Name: row.Name, Role: Role(row.Role), AccountID: row.AccountID.String, CreatedAt: fromMicros(row.CreatedUs),
		ExpiresAt: timeOf(row.ExpiresUs), RevokedAt: timeOf(row.RevokedUs), LastUsedAt: timeOf(row.LastUsedUs),
	}
}
