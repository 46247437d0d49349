package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// MaxImport bounds the keys of one import: they are made in one transaction, which others wait for.
const MaxImport = 1000

// ImportKey is a key that was made elsewhere, known by its secret's digest.
type ImportKey struct {
	NewKey
	// ExternalRef is the key's name where it comes from, at most MaxNameLen bytes.
	ExternalRef string
}

// ImportedKey is what became of one key of an import.
type ImportedKey struct {
	ID string
	// Created is false if the owner had the key before.
	Created bool
}

// BadRow is what is wrong with one key of an import. Field is the one of the REST API, where "secret" stands for the
// digest, too.
type BadRow struct {
	Index int
	Field string
	Err   error
}

// BadRows are all that is wrong with an import.
type BadRows []BadRow

// Error counts the rows; it repeats nothing of them.
func (b BadRows) Error() string { return fmt.Sprintf("import keys: %d bad rows", len(b)) }

// ErrAnothers means that a key of an import is known already, and another's: of another owner or scheme, or the halves of
// two keys.
var ErrAnothers = errors.New("the key is another's")

// ErrRepeated means that an import has a key twice.
var ErrRepeated = errors.New("the key is repeated")

// ImportKeys records 1 to MaxImport keys that were made elsewhere, all or none, and returns what became of each, in their
// order. A key that its owner has already, in the same scheme, is left as it is. What CreateKey asks of the owner it asks,
// too. Replayed is true if an earlier call under idem did it. It returns BadRows if anything is wrong with a key:
// ErrNotFound for an unknown owner, ErrAccountNotActive, ErrAccountClosed, ErrDomainNotVerified, ErrInvalid, ErrAnothers, ErrRepeated.
func (s *Store) ImportKeys(ctx context.Context, in []ImportKey, idem *Idempotency) (keys []ImportedKey, replayed bool, err error) {
	if err := checkImport(in, idem); err != nil {
		return nil, false, err
	}
	out, err := write(ctx, s, func(tx *writeTx) (outcome[[]ImportedKey], error) {
		m := newImporter(tx, in)
		return once(tx, idem, "import_keys", m.replay, m.run)
	})
	return out.result, out.replayed, err
}

// CheckImport returns the error that ImportKeys would return without an idempotency key, and changes nothing.
func (s *Store) CheckImport(ctx context.Context, in []ImportKey) error {
	if err := checkImport(in, nil); err != nil {
		return err
	}
	_, err := write(ctx, s, func(tx *writeTx) (struct{}, error) { return struct{}{}, newImporter(tx, in).look() })
	return err
}

func checkImport(in []ImportKey, idem *Idempotency) error {
	if len(in) < 1 || len(in) > MaxImport {
		return fmt.Errorf("import keys: %w: keys: expected 1 to %d", ErrInvalid, MaxImport)
	}
	var bad BadRows
	for i := range in {
		if in[i].Environment == "" {
			in[i].Environment = EnvironmentProduction
		}
		err := errors.Join(in[i].check(nil), checkText("external_ref", in[i].ExternalRef, 0, MaxNameLen))
		if err != nil {
			bad = append(bad, BadRow{i, "", err})
		}
	}
	if len(bad) > 0 {
		return bad
	}
	return idem.check()
}

// importer makes the keys of one import.
type importer struct {
	tx *writeTx
	in []ImportKey
	// known are the ids of those that there are, by index, and accounts the owners of the others.
	known    []string
	accounts []string
	owners   map[string]owner
}

type owner struct {
	account string
	err     error
}

func newImporter(tx *writeTx, in []ImportKey) *importer {
	return &importer{tx: tx, in: in, known: make([]string, len(in)), accounts: make([]string, len(in)), owners: map[string]owner{}}
}

// replay tells once more what an import did.
func (m *importer) replay(importID string) ([]ImportedKey, error) {
	out := make([]ImportedKey, len(m.in))
	for i := range m.in {
		h, found, err := m.half(m.in[i].Digest)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("import keys: a key of %s: %w", importID, ErrNotFound)
		}
		out[i] = ImportedKey{ID: h.keyID, Created: h.importID == importID}
	}
	return out, nil
}

// run makes the keys that there are not yet. Everything is looked at before the first is made.
func (m *importer) run() ([]ImportedKey, string, error) {
	if err := m.look(); err != nil {
		return nil, "", err
	}
	id, err := m.tx.newID(prefixImport)
	if err != nil {
		return nil, "", err
	}
	out := make([]ImportedKey, len(m.in))
	created := map[string]int{}
	for i := range m.in {
		if out[i].ID = m.known[i]; out[i].ID != "" {
			continue
		}
		if out[i].ID, err = m.insert(i, id); err != nil {
			return nil, "", err
		}
		out[i].Created = true
		created[m.accounts[i]]++
	}
	for account, n := range created {
		a := act{action: "key.import", kind: kindImport, id: id, accountID: account, after: importView{Keys: n}}
		if err := m.tx.audit(a); err != nil {
			return nil, "", err
		}
	}
	return out, id, nil
}

// look finds everything that is wrong.
func (m *importer) look() error {
	var bad BadRows
	seen := make(map[apikey.Digest]bool, len(m.in))
	for i := range m.in {
		field, err := m.lookAt(i, seen)
		if field == "" && err != nil {
			return err
		}
		if err != nil {
			bad = append(bad, BadRow{i, field, err})
		}
	}
	if len(bad) > 0 {
		return bad
	}
	return nil
}

// lookAt finds what is wrong with one key, and in which field: in none if the database cannot be read.
func (m *importer) lookAt(i int, seen map[apikey.Digest]bool) (field string, err error) {
	in := &m.in[i]
	if seen[in.Digest] {
		return "secret", ErrRepeated
	}
	seen[in.Digest] = true
	if in.ProjectID != "" {
		if seen[in.PublishableDigest] {
			return "publishable_key", ErrRepeated
		}
		seen[in.PublishableDigest] = true
	}
	secret, known, err := m.half(in.Digest)
	if err != nil {
		return "", err
	}
	if known && !secret.is(in, halfSecret) {
		return "secret", ErrAnothers
	}
	if in.ProjectID != "" {
		other, knownOther, err := m.half(in.PublishableDigest)
		if err != nil {
			return "", err
		}
		if knownOther != known || known && (other.keyID != secret.keyID || !other.is(in, halfPublishable)) {
			return "publishable_key", ErrAnothers
		}
	}
	if known {
		m.known[i] = secret.keyID
		return "", nil
	}
	if err := m.tx.checkFuture(in.ExpiresAt); err != nil {
		return "expires_at", err
	}
	o := m.owner(in)
	m.accounts[i] = o.account
	switch {
	case o.err == nil:
		return "", nil
	case !isRefusal(o.err):
		return "", o.err
	case in.ProjectID != "":
		return "project_id", o.err
	}
	return "account_id", o.err
}

func isRefusal(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrAccountNotActive) || errors.Is(err, ErrAccountClosed) ||
		errors.Is(err, ErrDomainNotVerified)
}

// owner finds who a key is to belong to, once for each.
func (m *importer) owner(in *ImportKey) owner {
	name := in.AccountID
	if in.ProjectID != "" {
		name = fmt.Sprint(in.ProjectID, in.RequireDomain)
	}
	o, known := m.owners[name]
	switch {
	case known:
		return o
	case in.ProjectID != "":
		o.account, o.err = m.tx.pairOwner(in.ProjectID, in.RequireDomain)
	default:
		o.err = m.tx.checkOpen(in.AccountID)
		o.account = in.AccountID
	}
	m.owners[name] = o
	return o
}

// knownHalf is a half that is recorded.
type knownHalf struct {
	half                                      half
	keyID, account, project, scheme, importID string
}

// is reports whether h is that half of a key of the owner that in names.
func (h *knownHalf) is(in *ImportKey, which half) bool {
	if in.ProjectID == "" && h.account != in.AccountID {
		return false
	}
	return h.half == which && h.project == in.ProjectID && h.scheme == in.Scheme
}

func (m *importer) half(digest apikey.Digest) (h knownHalf, found bool, err error) {
	stored := digest.Stored()
	err = m.tx.row(stmtHalf, stored[:]).Scan(&h.half, &h.keyID, &h.account, &h.project, &h.scheme, &h.importID)
	if errors.Is(err, sql.ErrNoRows) {
		return knownHalf{}, false, nil
	}
	if err != nil {
		return knownHalf{}, false, fmt.Errorf("look up key: %w", err)
	}
	return h, true, nil
}

func (m *importer) insert(i int, importID string) (string, error) {
	in, tx := &m.in[i], m.tx
	id, err := tx.newID(prefixKey)
	if err != nil {
		return "", err
	}
	_, err = tx.exec(stmtInsertKey, id, m.accounts[i], optional(in.ProjectID), in.Scheme, in.Name, string(in.Environment),
		in.Prefix, in.Last4, in.Publishable, tx.now, toMicros(inMicros(in.ExpiresAt)), string(in.Metadata), string(in.Restriction),
		in.ExternalRef, importID)
	if err == nil {
		err = tx.indexMetadata(id, "", in.Metadata)
	}
	if err == nil {
		err = tx.importHalf(id, halfSecret, in.Digest)
	}
	if err == nil && in.ProjectID != "" {
		err = tx.importHalf(id, halfPublishable, in.PublishableDigest)
	}
	if err != nil {
		return "", fmt.Errorf("import key: %w", err)
	}
	return id, nil
}

func (tx *writeTx) importHalf(id string, h half, digest apikey.Digest) error {
	stored := digest.Stored()
	if _, err := tx.exec(stmtInsertHalf, stored[:], id, string(h), tx.now); err != nil {
		return fmt.Errorf("record %s half: %w", h, err)
	}
	tx.forgetKeys()
	return nil
}

// Has reports whether any text of the key holds secret, as it does where somebody has confused fields.
func (k *ImportKey) Has(secret string) bool {
	return secret != "" && strings.Contains(k.Name+"\x00"+k.ExternalRef+"\x00"+string(k.Metadata)+"\x00"+k.Publishable+"\x00"+string(k.Restriction), secret)
}
