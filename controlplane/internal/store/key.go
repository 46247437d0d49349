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

// Errors about keys; test for them with errors.Is.
var (
	// ErrKeyRevoked means that a key is revoked and can no longer change.
	ErrKeyRevoked = errors.New("key is revoked")
	// ErrKeyExpired means that a key's time is over.
	ErrKeyExpired = errors.New("key is expired")
	// ErrAccountNotActive means that an account is pending or disabled.
	ErrAccountNotActive = errors.New("account is not active")
)

// KeyStatus is the state of a key. Active and inactive alternate; revoked is final.
type KeyStatus string

// The key states.
const (
	KeyActive   KeyStatus = "active"
	KeyInactive KeyStatus = "inactive"
	KeyRevoked  KeyStatus = "revoked"
)

// Environment says what a key is for. It changes nothing about how the key is judged.
type Environment string

// The environments.
const (
	EnvironmentProduction Environment = "production"
	EnvironmentStaging    Environment = "staging"
)

// Key is what is known of an API key: never its secret, nor anything a gate could send in its place.
type Key struct {
	ID        string
	AccountID string
	// ProjectID is empty unless the key is a pair; then AccountID is the project's account.
	ProjectID   string
	Scheme      string
	Name        string
	Environment Environment
	// Prefix and Last4 are of the secret.
	Prefix string
	Last4  string
	// Publishable is a pair's newest publishable half in clear; empty for a key that is one secret.
	Publishable string
	Status      KeyStatus
	// ReplacedBy is the id of the key that took this one's place, if one did.
	ReplacedBy  string
	Metadata    Metadata
	Restriction Restriction
	// ExternalRef is an imported key's name where it came from.
	ExternalRef string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	// ExpiresAt is when the key stops working; nil for never.
	ExpiresAt *time.Time
	// RevokedAt is set if and only if Status is KeyRevoked.
	RevokedAt *time.Time
	// LastUsedAt is roughly when a gate last let a request with the key through, to the second and about a minute late;
	// nil for never.
	LastUsedAt *time.Time
}

// NewKey is what CreateKey takes. Exactly one of AccountID and ProjectID is set: a secret belongs to an account, a
// pair to a project. Scheme and Name are 1 to MaxNameLen bytes; Prefix and Last4, the secret's, are shown to
// people, at most 32 and 4 bytes. Of the wire digests only the stored form is kept.
type NewKey struct {
	AccountID string
	ProjectID string
	Scheme    string
	Name      string
	// Environment is EnvironmentProduction if empty.
	Environment Environment
	// ExpiresAt is in the future, or nil for never.
	ExpiresAt *time.Time
	Prefix    string
	Last4     string
	// Digest is the secret's.
	Digest apikey.Digest
	// Publishable is a pair's publishable half in clear, at most MaxNameLen bytes, and PublishableDigest its digest.
	Publishable       string
	PublishableDigest apikey.Digest
	// RequireDomain: a pair can be made only once the project's domain is verified.
	RequireDomain bool
	Metadata      Metadata
	Restriction   Restriction
}

// KeyUpdate names the fields to change; nil leaves a field as it is. Status is KeyActive or KeyInactive. ExpiresAt
// is in the future; NeverExpires takes an expiry away, and excludes it. Metadata,
// Routes and AllowedIPs take the place of all that there was of each; an empty list of the last two allows all.
type KeyUpdate struct {
	Name         *string
	Status       *KeyStatus
	Environment  *Environment
	ExpiresAt    *time.Time
	NeverExpires bool
	Metadata     *Metadata
	Routes       *[]api.RouteRule
	AllowedIPs   *[]string
}

// CreateKey records an active key. A secret may be made for an account in any state; a pair only for an active
// account and, if in asks for it, a verified domain: otherwise ErrAccountNotActive, ErrDomainNotVerified. Replayed is
// true if an earlier call under idem did it; then the key is that call's, in its present state, and no digest of
// in was recorded. It returns ErrNotFound for an unknown account or project, ErrConflict for a digest that is
// already known, ErrInvalid for an expiry that is not in the future, or ErrIdempotencyMismatch.
func (s *Store) CreateKey(ctx context.Context, in NewKey, idem *Idempotency) (key Key, replayed bool, err error) {
	if in.Environment == "" {
		in.Environment = EnvironmentProduction
	}
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
	err := errors.Join(
		checkText("scheme", in.Scheme, 1, MaxNameLen), checkText("name", in.Name, 1, MaxNameLen),
		in.Environment.check(), checkExpiry(in.ExpiresAt), checkText("prefix", in.Prefix, 0, maxPrefixLen),
		checkText("last4", in.Last4, 0, last4Len), idem.check())
	if (in.AccountID == "") == (in.ProjectID == "") {
		err = errors.Join(err, fmt.Errorf("%w: account, project: expected exactly one", ErrInvalid))
	}
	if in.ProjectID != "" {
		return errors.Join(err, checkPublishable(in.Publishable, in.PublishableDigest))
	}
	if in.Publishable != "" || in.PublishableDigest != (apikey.Digest{}) {
		err = errors.Join(err, fmt.Errorf("%w: publishable: expected none in a key without a project", ErrInvalid))
	}
	return err
}

func (tx *writeTx) createKey(in NewKey) (Key, error) {
	accountID := in.AccountID
	if in.ProjectID != "" {
		var err error
		if accountID, err = tx.pairOwner(in.ProjectID, in.RequireDomain); err != nil {
			return Key{}, err
		}
	} else if err := tx.checkOpen(accountID); err != nil {
		return Key{}, err
	}
	if err := tx.checkFuture(in.ExpiresAt); err != nil {
		return Key{}, fmt.Errorf("create key: %w", err)
	}
	return tx.insertKey(Key{
		AccountID: accountID, ProjectID: in.ProjectID, Scheme: in.Scheme, Name: in.Name, Environment: in.Environment,
		Prefix: in.Prefix, Last4: in.Last4, Publishable: in.Publishable, ExpiresAt: inMicros(in.ExpiresAt),
		Metadata: in.Metadata, Restriction: in.Restriction,
	}, in.Digest, in.PublishableDigest)
}

// pairOwner returns the account of a project for which a pair may be made now.
func (tx *writeTx) pairOwner(projectID string, requireDomain bool) (accountID string, err error) {
	project, err := tx.project(projectID)
	if err != nil {
		return "", err
	}
	account, err := tx.account(project.AccountID)
	if err != nil {
		return "", err
	}
	switch {
	case account.Status == AccountClosed:
		return "", fmt.Errorf("create key pair: %w", ErrAccountClosed)
	case account.Status != AccountActive:
		return "", fmt.Errorf("create key pair: %w", ErrAccountNotActive)
	case requireDomain && project.DomainStatus != DomainVerified:
		return "", fmt.Errorf("create key pair: %w", ErrDomainNotVerified)
	}
	return account.ID, nil
}

// insertKey records k as a new active key, with the digest of its secret and, if it is a pair, of its publishable
// half.
func (tx *writeTx) insertKey(k Key, secret, publishable apikey.Digest) (Key, error) {
	id, err := tx.newID(prefixKey)
	if err != nil {
		return Key{}, err
	}
	at := fromMicros(tx.now)
	k.ID, k.Status, k.CreatedAt, k.UpdatedAt = id, KeyActive, at, at
	err = tx.InsertKey(tx.ctx, queries.InsertKeyParams{
		ID: id, AccountID: k.AccountID, ProjectID: optional(k.ProjectID), Scheme: k.Scheme, Name: k.Name,
		Environment: string(k.Environment), Prefix: k.Prefix, Last4: k.Last4, Publishable: k.Publishable,
		CreatedUs: tx.now, ExpiresUs: toMicros(k.ExpiresAt), Metadata: string(k.Metadata), Restriction: string(k.Restriction),
	})
	if err == nil {
		err = tx.indexMetadata(id, "", k.Metadata)
	}
	if err != nil {
		return Key{}, fmt.Errorf("create key: %w", err)
	}
	err = tx.insertDigest(id, halfSecret, secret)
	if err == nil && k.ProjectID != "" {
		err = tx.insertDigest(id, halfPublishable, publishable)
	}
	if err != nil {
		return Key{}, err
	}
	return k, tx.audit(act{action: "key.create", kind: kindKey, id: id, accountID: k.AccountID, after: viewKey(k)})
}

// Key returns one key, or ErrNotFound.
func (s *Store) Key(ctx context.Context, id string) (Key, error) {
	row, err := s.queries.Key(ctx, id)
	if err != nil {
		return Key{}, s.readError("key", err)
	}
	return keyOf(row), nil
}

// UpdateKey changes the named fields, all or none; a later expiry, or none, brings an expired key back. It returns
// ErrNotFound, ErrStale, ErrKeyRevoked for a revoked key, ErrAccountClosed, or ErrInvalid for a value out of its bounds.
func (s *Store) UpdateKey(ctx context.Context, id string, in KeyUpdate) (Key, error) {
	if err := in.check(); err != nil {
		return Key{}, fmt.Errorf("update key: %w", err)
	}
	return write(ctx, s, func(tx *writeTx) (Key, error) {
		key, err := tx.key(id)
		if err != nil {
			return Key{}, err
		}
		if err := tx.expect(key); err != nil {
			return Key{}, fmt.Errorf("update key: %w", err)
		}
		if key.Status == KeyRevoked {
			return Key{}, fmt.Errorf("update key: %w", ErrKeyRevoked)
		}
		if err := tx.checkOpen(key.AccountID); err != nil {
			return Key{}, fmt.Errorf("update key: %w", err)
		}
		if err := tx.checkFuture(in.ExpiresAt); err != nil {
			return Key{}, fmt.Errorf("update key: %w", err)
		}
		old := key
		if err := in.restrict(&key); err != nil {
			return Key{}, fmt.Errorf("update key: %w", err)
		}
		if !in.apply(&key, &old) {
			return key, nil
		}
		if key.Status != old.Status || key.Restriction != old.Restriction || toMicros(key.ExpiresAt) != toMicros(old.ExpiresAt) {
			if err := tx.change(api.ChangeKey, id); err != nil {
				return Key{}, err
			}
		}
		if err := tx.indexMetadata(id, old.Metadata, key.Metadata); err != nil {
			return Key{}, fmt.Errorf("update key: %w", err)
		}
		return tx.replaceKey("key.update", old, key)
	})
}

// restrict changes the named parts of k's restriction.
func (u KeyUpdate) restrict(k *Key) (err error) {
	if u.Routes == nil && u.AllowedIPs == nil {
		return nil
	}
	r := k.Restriction.Value()
	if r == nil {
		r = &api.Restriction{}
	}
	if u.Routes != nil {
		r.Routes = *u.Routes
	}
	if u.AllowedIPs != nil {
		r.AllowedIPs = *u.AllowedIPs
	}
	k.Restriction, err = NewRestriction(*r)
	return err
}

// apply changes the other named fields of k and reports whether it is another than old now.
func (u KeyUpdate) apply(k, old *Key) bool {
	if u.Name != nil {
		k.Name = *u.Name
	}
	if u.Status != nil {
		k.Status = *u.Status
	}
	if u.Environment != nil {
		k.Environment = *u.Environment
	}
	if u.ExpiresAt != nil || u.NeverExpires {
		k.ExpiresAt = inMicros(u.ExpiresAt)
	}
	if u.Metadata != nil {
		k.Metadata = *u.Metadata
	}
	return toMicros(k.ExpiresAt) != toMicros(old.ExpiresAt) || k.Name != old.Name || k.Status != old.Status ||
		k.Environment != old.Environment || k.Metadata != old.Metadata || k.Restriction != old.Restriction
}

// RevokeKey ends a key for good. Revoking again changes nothing and succeeds. It returns ErrNotFound or ErrStale.
func (s *Store) RevokeKey(ctx context.Context, id string) (Key, error) {
	return write(ctx, s, func(tx *writeTx) (Key, error) {
		key, err := tx.key(id)
		if err == nil {
			err = tx.expect(key)
		}
		if err != nil {
			return Key{}, fmt.Errorf("revoke key: %w", err)
		}
		if key.Status == KeyRevoked {
			return key, nil
		}
		return tx.revoke("key.revoke", key, "")
	})
}

// revoke ends a key, in favour of another one if replacedBy is not empty.
func (tx *writeTx) revoke(action string, old Key, replacedBy string) (Key, error) {
	k, at := old, fromMicros(tx.now)
	k.Status, k.RevokedAt, k.ReplacedBy = KeyRevoked, &at, replacedBy
	if err := tx.change(api.ChangeKey, k.ID); err != nil {
		return Key{}, err
	}
	return tx.replaceKey(action, old, k)
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

// replaceKey records the changeable fields of k, which action has made of old, and returns it with its new update time.
func (tx *writeTx) replaceKey(action string, old, k Key) (Key, error) {
	return tx.replaceKeyAs(act{action: action, after: viewKey(k)}, old, k)
}

// replaceKeyAs is replaceKey for an act that says more of the key than its view does.
func (tx *writeTx) replaceKeyAs(a act, old, k Key) (Key, error) {
	k.UpdatedAt = fromMicros(tx.now)
	err := tx.Queries.UpdateKey(tx.ctx, queries.UpdateKeyParams{
		ID: k.ID, Name: k.Name, Environment: string(k.Environment), Last4: k.Last4, Publishable: k.Publishable,
		Status: string(k.Status), ReplacedBy: optional(k.ReplacedBy), UpdatedUs: tx.now,
		ExpiresUs: toMicros(k.ExpiresAt), RevokedUs: toMicros(k.RevokedAt),
		Metadata: string(k.Metadata), Restriction: string(k.Restriction),
	})
	if err != nil {
		return Key{}, fmt.Errorf("update key: %w", err)
	}
	a.kind, a.id, a.accountID, a.before = kindKey, k.ID, k.AccountID, viewKey(old)
	return k, tx.audit(a)
}

func (u KeyUpdate) check() error {
	err := checkExpiry(u.ExpiresAt)
	if u.Name != nil {
		err = errors.Join(err, checkText("name", *u.Name, 1, MaxNameLen))
	}
	if u.Status != nil && *u.Status != KeyActive && *u.Status != KeyInactive {
		err = errors.Join(err, fmt.Errorf("%w: status: expected active or inactive", ErrInvalid))
	}
	if u.Environment != nil {
		err = errors.Join(err, u.Environment.check())
	}
	if u.ExpiresAt != nil && u.NeverExpires {
		err = errors.Join(err, fmt.Errorf("%w: expires_at: expected a time or none, not both", ErrInvalid))
	}
	return err
}

func (e Environment) check() error {
	if e == EnvironmentProduction || e == EnvironmentStaging {
		return nil
	}
	return fmt.Errorf("%w: environment: expected production or staging", ErrInvalid)
}

func keyOf(row queries.Key) Key {
	return Key{
		ID: row.ID, AccountID: row.AccountID, ProjectID: row.ProjectID.String, Scheme: row.Scheme, Name: row.Name,
		Environment: Environment(row.Environment), Prefix: row.Prefix, Last4: row.Last4, Publishable: row.Publishable,
		Status: KeyStatus(row.Status), ReplacedBy: row.ReplacedBy.String, CreatedAt: fromMicros(row.CreatedUs),
		UpdatedAt: fromMicros(row.UpdatedUs), ExpiresAt: timeOf(row.ExpiresUs), RevokedAt: timeOf(row.RevokedUs),
		Metadata: Metadata(row.Metadata), Restriction: Restriction(row.Restriction), ExternalRef: row.ExternalRef,
		LastUsedAt: timeOf(row.LastUsedUs),
	}
}
