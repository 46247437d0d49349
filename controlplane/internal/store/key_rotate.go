package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// MaxOverlap bounds how long a half may outlive its rotation.
const MaxOverlap = 30 * 24 * time.Hour

// half names a part of a key.
type half string

// The halves. A key without a project has a secret alone.
const (
	halfSecret      half = "secret"
	halfPublishable half = "publishable"
)

// NewHalf is a new half of an existing key. Of Digest, the wire digest, only the stored form is kept.
type NewHalf struct {
	// Text is a publishable half in clear, at most MaxNameLen bytes; empty for a secret.
	Text string
	// Last4 is the end of a secret as it is shown to people, at most 4 bytes; a publishable half's is not kept.
	Last4  string
	Digest apikey.Digest
}

// Rotation is what RotateKey takes: one new half or both. Those that they replace work until Overlap, 0 to
// MaxOverlap, has passed.
type Rotation struct {
	Overlap     time.Duration
	Secret      *NewHalf
	Publishable *NewHalf
}

// Replacement is what ReplaceKey takes: every half of the new key, so Publishable is nil unless it is a pair.
type Replacement struct {
	Secret      *NewHalf
	Publishable *NewHalf
}

// RotateKey gives a key new halves under the same id. They work at once, the halves that they replace until the
// overlap has passed, and halves replaced before keep the end that they have. Neither account nor domain is asked
// for. Replayed is true if an earlier call under idem did it; then no digest of in was recorded. It returns
// ErrNotFound, ErrStale, ErrKeyRevoked, ErrKeyExpired, ErrConflict for a digest that is already known, ErrInvalid for a
// publishable half of a key that is no pair, or ErrIdempotencyMismatch.
func (s *Store) RotateKey(ctx context.Context, id string, in Rotation, idem *Idempotency) (key Key, replayed bool, err error) {
	if err := errors.Join(in.check(), idem.check()); err != nil {
		return Key{}, false, fmt.Errorf("rotate key: %w", err)
	}
	out, err := write(ctx, s, func(tx *writeTx) (outcome[Key], error) {
		return once(tx, idem, "rotate_key", tx.key, func() (Key, string, error) {
			key, err := tx.rotateKey(id, in)
			return key, id, err
		})
	})
	return out.result, out.replayed, err
}

func (tx *writeTx) rotateKey(id string, in Rotation) (Key, error) {
	key, err := tx.liveKey(id)
	if err != nil {
		return Key{}, fmt.Errorf("rotate key: %w", err)
	}
	if in.Publishable != nil && key.ProjectID == "" {
		return Key{}, fmt.Errorf("rotate key: %w: publishable: expected none for a key without a project", ErrInvalid)
	}
	old, end := key, tx.now+in.Overlap.Microseconds()
	if in.Secret != nil {
		key.Last4 = in.Secret.Last4
		if err := tx.rotateHalf(id, halfSecret, in.Secret.Digest, end); err != nil {
			return Key{}, err
		}
	}
	if in.Publishable != nil {
		key.Publishable = in.Publishable.Text
		if err := tx.rotateHalf(id, halfPublishable, in.Publishable.Digest, end); err != nil {
			return Key{}, err
		}
	}
	if err := tx.change(api.ChangeKey, id); err != nil {
		return Key{}, err
	}
	after := viewKey(key)
	after.OverlapSeconds = int64(in.Overlap / time.Second)
	return tx.replaceKeyAs(act{action: "key.rotate", after: after}, old, key)
}

func (tx *writeTx) rotateHalf(id string, h half, digest apikey.Digest, end int64) error {
	err := tx.EndNewestDigest(tx.ctx, queries.EndNewestDigestParams{
		KeyID: id, Half: string(h), NotAfterUs: sql.NullInt64{Int64: end, Valid: true},
	})
	if err != nil {
		return fmt.Errorf("end %s half: %w", h, err)
	}
	return tx.insertDigest(id, h, digest)
}

// ReplaceKey revokes a key, with all its halves at once, and makes a new active one for the same owner, scheme, name,
// environment, expiry, metadata and restriction: what a compromised key needs, so neither account nor domain is asked for. It returns the
// new key. Replayed is true if an earlier call under idem did it; then no digest of in was recorded. It returns
// ErrNotFound, ErrStale, ErrKeyRevoked, ErrKeyExpired, ErrConflict for a digest that is already known, ErrInvalid for halves
// that are not those of the key's type, or ErrIdempotencyMismatch.
func (s *Store) ReplaceKey(ctx context.Context, id string, in Replacement, idem *Idempotency) (key Key, replayed bool, err error) {
	if err := errors.Join(in.check(), idem.check()); err != nil {
		return Key{}, false, fmt.Errorf("replace key: %w", err)
	}
	out, err := write(ctx, s, func(tx *writeTx) (outcome[Key], error) {
		return once(tx, idem, "replace_key", tx.key, func() (Key, string, error) {
			key, err := tx.successor(id, in)
			return key, key.ID, err
		})
	})
	return out.result, out.replayed, err
}

func (tx *writeTx) successor(id string, in Replacement) (Key, error) {
	old, err := tx.liveKey(id)
	if err != nil {
		return Key{}, fmt.Errorf("replace key: %w", err)
	}
	if (in.Publishable != nil) != (old.ProjectID != "") {
		return Key{}, fmt.Errorf("replace key: %w: publishable: expected one if and only if the key is a pair", ErrInvalid)
	}
	next := Key{
		AccountID: old.AccountID, ProjectID: old.ProjectID, Scheme: old.Scheme, Name: old.Name,
		Environment: old.Environment, Prefix: old.Prefix, Last4: in.Secret.Last4, ExpiresAt: old.ExpiresAt,
		Metadata: old.Metadata, Restriction: old.Restriction,
	}
	var publishable apikey.Digest
	if in.Publishable != nil {
		next.Publishable, publishable = in.Publishable.Text, in.Publishable.Digest
	}
	if next, err = tx.insertKey(next, in.Secret.Digest, publishable); err != nil {
		return Key{}, err
	}
	if _, err := tx.revoke("key.replace", old, next.ID); err != nil {
		return Key{}, err
	}
	return next, nil
}

// liveKey returns a key that the present job may change, that is neither revoked nor expired, and whose account is not
// closed; it may be inactive.
func (tx *writeTx) liveKey(id string) (Key, error) {
	key, err := tx.key(id)
	if err == nil {
		err = tx.expect(key)
	}
	switch {
	case err != nil:
		return Key{}, err
	case key.Status == KeyRevoked:
		return Key{}, ErrKeyRevoked
	case key.ExpiresAt != nil && key.ExpiresAt.UnixMicro() <= tx.now:
		return Key{}, ErrKeyExpired
	}
	return key, tx.checkOpen(key.AccountID)
}

func (tx *writeTx) insertDigest(id string, h half, digest apikey.Digest) error {
	stored := digest.Stored()
	err := tx.InsertDigest(tx.ctx, queries.InsertDigestParams{
		Digest: stored[:], KeyID: id, Half: string(h), CreatedUs: tx.now,
	})
	if isDuplicate(err) {
		return fmt.Errorf("%s half of key: %w", h, ErrConflict)
	}
	if err != nil {
		return fmt.Errorf("record %s half: %w", h, err)
	}
	tx.forgetKeys()
	return nil
}

func (in *Rotation) check() error {
	err := errors.Join(in.Secret.checkSecret(), in.Publishable.checkPublishable())
	if in.Overlap < 0 || in.Overlap > MaxOverlap {
		err = errors.Join(err, fmt.Errorf("%w: overlap: expected 0 to 30 days", ErrInvalid))
	}
	if in.Secret == nil && in.Publishable == nil {
		err = errors.Join(err, fmt.Errorf("%w: halves: expected at least one", ErrInvalid))
	}
	return err
}

func (in *Replacement) check() error {
	if in.Secret == nil {
		return fmt.Errorf("%w: secret: expected one", ErrInvalid)
	}
	return errors.Join(in.Secret.checkSecret(), in.Publishable.checkPublishable())
}

func (h *NewHalf) checkSecret() error {
	if h == nil {
		return nil
	}
	err := checkText("last4", h.Last4, 0, last4Len)
	if h.Text != "" {
		err = errors.Join(err, fmt.Errorf("%w: secret: expected no text", ErrInvalid))
	}
	return err
}

func (h *NewHalf) checkPublishable() error {
	if h == nil {
		return nil
	}
	return checkPublishable(h.Text, h.Digest)
}

// checkPublishable also keeps whoever confuses the halves from storing a secret in clear: it would have to be
// registered as the publishable half, too.
func checkPublishable(text string, digest apikey.Digest) error {
	err := checkText("publishable", text, 1, MaxNameLen)
	if apikey.DigestOf(text) != digest {
		err = errors.Join(err, fmt.Errorf("%w: publishable digest: expected that of the publishable half", ErrInvalid))
	}
	return err
}
