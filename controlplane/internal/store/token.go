package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// Role is what a token may do; the server maps roles to endpoints.
type Role string

// The roles. A gate token acquires credits; the others are for people and their tools.
const (
	RoleOwner    Role = "owner"
	RoleOperator Role = "operator"
	RoleViewer   Role = "viewer"
	RoleGate     Role = "gate"
)

// Token is what is known of an admin or gate token: never its secret.
type Token struct {
	ID        string
	Name      string
	Role      Role
	CreatedAt time.Time
}

// NewToken is what CreateToken takes. Name is 1 to MaxNameLen bytes; of Digest only the stored form is kept.
type NewToken struct {
	Name   string
	Role   Role
	Digest apikey.Digest
}

// CreateToken records a token. It returns ErrConflict for a digest that is already known.
func (s *Store) CreateToken(ctx context.Context, in NewToken) (Token, error) {
	if err := errors.Join(checkText("name", in.Name, 1, MaxNameLen), in.Role.check()); err != nil {
		return Token{}, fmt.Errorf("create token: %w", err)
	}
	return write(ctx, s, func(tx *writeTx) (Token, error) {
		id, err := tx.newID(prefixToken)
		if err != nil {
			return Token{}, err
		}
		stored := in.Digest.Stored()
		err = tx.InsertToken(tx.ctx, queries.InsertTokenParams{
			ID: id, Name: in.Name, Role: string(in.Role), Digest: stored[:], CreatedUs: tx.now,
		})
		if isDuplicate(err) {
			return Token{}, fmt.Errorf("token: %w", ErrConflict)
		}
		if err != nil {
			return Token{}, fmt.Errorf("create token: %w", err)
		}
		t := Token{ID: id, Name: in.Name, Role: in.Role, CreatedAt: fromMicros(tx.now)}
		return t, tx.audit(act{action: "token.create", kind: kindToken, id: id, after: viewToken(t)})
	})
}

// TokenByDigest returns the token with this wire digest, or ErrNotFound.
func (s *Store) TokenByDigest(ctx context.Context, digest apikey.Digest) (Token, error) {
	stored := digest.Stored()
	row, err := s.queries.TokenByDigest(ctx, stored[:])
	if err != nil {
		return Token{}, s.readError("token", err)
	}
	return Token{ID: row.ID, Name: row.Name, Role: Role(row.Role), CreatedAt: fromMicros(row.CreatedUs)}, nil
}

func (r Role) check() error {
	switch r {
	case RoleOwner, RoleOperator, RoleViewer, RoleGate:
		return nil
	}
	return fmt.Errorf("%w: role: expected owner, operator, viewer or gate", ErrInvalid)
}
