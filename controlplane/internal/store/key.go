package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// ErrKeyRevoked means that a key is revoked and can no longer change.
var ErrKeyRevoked = errors.New("key is revoked")

// KeyStatus is the state of a key. Active and inactive alternate; revoked is final.
type KeyStatus string

// The key states.
const (
	KeyActive   KeyStatus = "active"
	KeyInactive KeyStatus = "inactive"
	KeyRevoked  KeyStatus = "revoked"
)

// Key is what is known of an API key: never its secret, nor anything a gate could send in its place.
type Key struct {
	ID        string
	AccountID string
	Scheme    string
	Name      string
	Prefix    string
	Last4     string
	Status    KeyStatus
	CreatedAt time.Time
	UpdatedAt time.Time
	// RevokedAt is set if and only if Status is KeyRevoked.
	RevokedAt *time.Time
}

// NewKey is what CreateKey takes. Scheme and Name are 1 to MaxNameLen bytes; Prefix and Last4 are shown to
// people, at most 32 and 4 bytes; Digest is the wire digest, of which only the stored form is kept.
type NewKey struct {
	AccountID string
	Scheme    string
	Name      string
	Prefix    string
	Last4     string
	Digest    apikey.Digest
}

// KeyFilter narrows Keys; an empty AccountID lists every account's.
type KeyFilter struct {
	AccountID string
}

// KeyUpdate names the fields to change; nil leaves a field as it is. Status is KeyActive or KeyInactive.
type KeyUpdate struct {
	Name   *string
	Status *KeyStatus
}

// CreateKey records an active key, for an account in any state. Replayed is true if an earlier call under idem
// did it; then the key is that call's, in its present state, and in.Digest was not recorded. It returns
// ErrNotFound for an unknown account, ErrConflict for a digest that is already known, or ErrIdempotencyMismatch.
func (s *Store) CreateKey(ctx context.Context, in NewKey, idem *Idempotency) (key Key, replayed bool, err error) {
	if err := in.check(idem); err != nil {
		return Key{}, false, fmt.Errorf("create key: %w", err)
	}
	out, err := write(ctx, s, func(tx *writeTx) (outcome[Key], error) {
		return once(tx, idem, "create_key", tx.key, func() (Key, string, error) {
			key, err := tx.createKey(in)
			return key, key.ID, err
		})
	})
	return out.result, out.replayed, err
}

func (in *NewKey) check(idem *Idempotency) error {
	return errors.Join(
		checkText("scheme", in.Scheme, 1, MaxNameLen), checkText("name", in.Name, 1, MaxNameLen),
		checkText("prefix", in.Prefix, 0, maxPrefixLen), checkText("last4", in.Last4, 0, last4Len), idem.check())
}

func (tx *writeTx) createKey(in NewKey) (Key, error) {
	if _, err := tx.account(in.AccountID); err != nil {
		return Key{}, err
	}
	id, err := tx.newID(prefixKey)
	if err != nil {
		return Key{}, err
	}
	stored := in.Digest.Stored()
	err = tx.InsertKey(tx.ctx, queries.InsertKeyParams{
		ID: id, AccountID: in.AccountID, Scheme: in.Scheme, Name: in.Name, Prefix: in.Prefix, Last4: in.Last4,
		Digest: stored[:], CreatedUs: tx.now,
	})
	if isDuplicate(err) {
		return Key{}, fmt.Errorf("key: %w", ErrConflict)
	}
	if err != nil {
		return Key{}, fmt.Errorf("create key: %w", err)
	}
	at := fromMicros(tx.now)
	return Key{
		ID: id, AccountID: in.AccountID, Scheme: in.Scheme, Name: in.Name, Prefix: in.Prefix, Last4: in.Last4,
		Status: KeyActive, CreatedAt: at, UpdatedAt: at,
	}, nil
}

// Key returns one key, or ErrNotFound.
func (s *Store) Key(ctx context.Context, id string) (Key, error) {
	row, err := s.queries.Key(ctx, id)
	if err != nil {
		return Key{}, s.readError("key", err)
	}
	return keyOf(row), nil
}

// Keys lists keys newest first and reports whether more follow the page. An unknown account has none.
func (s *Store) Keys(ctx context.Context, filter KeyFilter, page Page) ([]Key, bool, error) {
	after, rows, err := page.bounds()
	if err != nil {
		return nil, false, fmt.Errorf("list keys: %w", err)
	}
	if filter.AccountID != "" {
		found, err := s.queries.KeysOfAccount(ctx, queries.KeysOfAccountParams{
			AccountID: filter.AccountID, After: after, MaxRows: rows,
		})
		keys, more := cut(found, page, func(r queries.KeysOfAccountRow) Key { return keyOf(queries.KeyRow(r)) })
		return keys, more, s.readError("keys", err)
	}
	found, err := s.queries.Keys(ctx, queries.KeysParams{After: after, MaxRows: rows})
	keys, more := cut(found, page, func(r queries.KeysRow) Key { return keyOf(queries.KeyRow(r)) })
	return keys, more, s.readError("keys", err)
}

// UpdateKey changes the named fields, all or none. It returns ErrNotFound, ErrKeyRevoked for a revoked key, or
// ErrInvalid for a status other than active and inactive.
func (s *Store) UpdateKey(ctx context.Context, id string, in KeyUpdate) (Key, error) {
	if err := in.check(); err != nil {
		return Key{}, fmt.Errorf("update key: %w", err)
	}
	return write(ctx, s, func(tx *writeTx) (Key, error) {
		old, err := tx.key(id)
		if err != nil {
			return Key{}, err
		}
		if old.Status == KeyRevoked {
			return Key{}, fmt.Errorf("update key: %w", ErrKeyRevoked)
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
		return tx.replaceKey(next)
	})
}

// RevokeKey ends a key for good. Revoking again changes nothing and succeeds. It returns ErrNotFound.
func (s *Store) RevokeKey(ctx context.Context, id string) (Key, error) {
	return write(ctx, s, func(tx *writeTx) (Key, error) {
		key, err := tx.key(id)
		if err != nil || key.Status == KeyRevoked {
			return key, err
		}
		at := fromMicros(tx.now)
		key.Status, key.RevokedAt = KeyRevoked, &at
		return tx.replaceKey(key)
	})
}

func (tx *writeTx) key(id string) (Key, error) {
	row, err := tx.Queries.Key(tx.ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Key{}, fmt.Errorf("key: %w", ErrNotFound)
	}
	if err != nil {
		return Key{}, fmt.Errorf("read key: %w", err)
	}
	return keyOf(row), nil
}

// replaceKey records the changeable fields of k and returns it with its new update time.
func (tx *writeTx) replaceKey(k Key) (Key, error) {
	k.UpdatedAt = fromMicros(tx.now)
	row := queries.UpdateKeyParams{ID: k.ID, Name: k.Name, Status: string(k.Status), UpdatedUs: tx.now}
	if k.RevokedAt != nil {
		row.RevokedUs = sql.NullInt64{Int64: k.RevokedAt.UnixMicro(), Valid: true}
	}
	if err := tx.Queries.UpdateKey(tx.ctx, row); err != nil {
		return Key{}, fmt.Errorf("update key: %w", err)
	}
	return k, nil
}

func (u KeyUpdate) check() error {
	var err error
	if u.Name != nil {
		err = checkText("name", *u.Name, 1, MaxNameLen)
	}
	if u.Status != nil && *u.Status != KeyActive && *u.Status != KeyInactive {
		err = errors.Join(err, fmt.Errorf("%w: status: expected active or inactive", ErrInvalid))
	}
	return err
}

func keyOf(row queries.KeyRow) Key {
	k := Key{
		ID: row.ID, AccountID: row.AccountID, Scheme: row.Scheme, Name: row.Name, Prefix: row.Prefix,
		Last4: row.Last4, Status: KeyStatus(row.Status),
		CreatedAt: fromMicros(row.CreatedUs), UpdatedAt: fromMicros(row.UpdatedUs),
	}
	if row.RevokedUs.Valid {
		at := fromMicros(row.RevokedUs.Int64)
		k.RevokedAt = &at
	}
	return k
}
