package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// KeyFilter narrows Keys to the keys that have all that its fields ask for; empty fields ask for nothing.
type KeyFilter struct {
	AccountID string
	// ProjectID asks for pairs of that project.
	ProjectID   string
	Scheme      string
	Environment Environment
	Status      KeyStatus
	// Prefix asks for keys of which what is shown of the secret, or the publishable half, starts with it.
	Prefix string
	// Last4 are the last four characters of the secret.
	Last4 string
	// Name asks for keys whose name contains it, whatever the case of ASCII letters.
	Name string
	// ExternalRef is an imported key's name where it came from.
	ExternalRef string
	// MetadataName and MetadataValue are those of one entry of the metadata.
	MetadataName, MetadataValue string
}

// manyKeys is from how many keys on a condition is not worth to be looked up first: a page of them is found faster in the
// order of the list.
const manyKeys = 1000

// Keys lists keys newest first and reports whether more follow the page. An unknown account or project has none.
func (s *Store) Keys(ctx context.Context, filter KeyFilter, page Page) ([]Key, bool, error) {
	after, limit, err := page.bounds()
	if err != nil {
		return nil, false, fmt.Errorf("list keys: %w", err)
	}
	q, err := s.keyQuery(ctx, &filter)
	if err != nil {
		return nil, false, s.readError("keys", err)
	}
	found, err := s.searchKeys(ctx, q, after, limit)
	if err != nil {
		return nil, false, s.readError("keys", err)
	}
	keys, more := cut(found, page, keyOf)
	return keys, more, nil
}

func (s *Store) searchKeys(ctx context.Context, q *keyQuery, after string, limit int64) (found []queries.Key, err error) {
	text, args := q.sql(after, limit)
	rows, err := s.readers.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var k queries.Key
		err := rows.Scan(&k.ID, &k.AccountID, &k.ProjectID, &k.Scheme, &k.Name, &k.Environment, &k.Prefix, &k.Last4,
			&k.Publishable, &k.Status, &k.ReplacedBy, &k.CreatedUs, &k.UpdatedUs, &k.ExpiresUs, &k.RevokedUs, &k.Metadata,
			&k.Restriction, &k.ExternalRef, &k.ImportID, &k.LastUsedUs)
		if err != nil {
			return nil, err
		}
		found = append(found, k)
	}
	return found, rows.Err()
}

// keyQuery is a search in the making.
//
// # Why is it said which index to use?
//
// The planner knows no more of an index than that it has one: it would as soon walk all active keys to find those of an
// account as the other way round. So the condition that leaves the fewest keys in practice is led by, and of the others
// the columns are hidden from it.
type keyQuery struct {
	from  string
	where []string
	args  []any
	// led: a condition is there that an index is used for.
	led bool
	// order is the column of the key's id by which the list is ordered.
	order string
}

// equals asks for a column's value; an empty one asks for nothing. Lead says whether to look it up by its index.
func (q *keyQuery) equals(column, value string, lead bool) {
	switch {
	case value == "":
		return
	case !lead:
		q.add("k."+column+" || '' = ?", value)
	default:
		q.led = true
		q.add("k."+column+" = ?", value)
	}
}

func (q *keyQuery) add(condition string, args ...any) {
	q.where = append(q.where, condition)
	q.args = append(q.args, args...)
}

// keyQuery chooses how f is looked up, in the order in which conditions tend to leave few keys.
func (s *Store) keyQuery(ctx context.Context, f *KeyFilter) (*keyQuery, error) {
	q := &keyQuery{from: "keys k", order: "k.id"}
	if f.MetadataName != "" {
		// A cross join is one whose order the planner keeps.
		q.from, q.order, q.led = "key_metadata m CROSS JOIN keys k", "m.key_id", true
		q.add("k.id = m.key_id AND m.name = ? AND m.value = ?", f.MetadataName, f.MetadataValue)
	}
	if f.ExternalRef != "" {
		q.add("k.external_ref <> ''") // the index has only these
	}
	for _, c := range []struct{ column, value string }{{"last4", f.Last4}, {"external_ref", f.ExternalRef},
		{"project_id", f.ProjectID}, {"account_id", f.AccountID}} {
		if err := s.equals(ctx, q, c.column, c.value, f.Name != ""); err != nil {
			return nil, err
		}
	}
	if err := s.startsWith(ctx, q, f.Prefix); err != nil {
		return nil, err
	}
	status, active := string(f.Status), ""
	if f.Status == KeyActive {
		status, active = active, status
	}
	for _, c := range []struct{ column, value string }{{"status", status}, {"environment", string(f.Environment)},
		{"scheme", f.Scheme}, {"status", active}} {
		if err := s.equals(ctx, q, c.column, c.value, f.Name != ""); err != nil {
			return nil, err
		}
	}
	if f.Name != "" {
		q.add(`lower(k.name) LIKE ? ESCAPE '\'`, "%"+escapeLike(lowerASCII(f.Name))+"%")
	}
	return q, nil
}

// equals has a condition lead if none does yet. If few is set, because the rest of the search has to look at each key, only
// one that few keys meet may lead: all keys in their order are read faster than those of an index one by one.
func (s *Store) equals(ctx context.Context, q *keyQuery, column, value string, few bool) error {
	lead := !q.led && value != ""
	if lead && few {
		found := 0
		err := s.readers.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM keys WHERE "+column+" = ? LIMIT ?)", value, manyKeys).Scan(&found)
		if err != nil {
			return err
		}
		lead = found < manyKeys
	}
	q.equals(column, value, lead)
	return nil
}

// startsWith asks for what is shown of a key. Prefixes of secrets are those of schemes, so that many keys have them, and
// publishable halves are each of one key: the beginning of a few of these is looked up.
func (s *Store) startsWith(ctx context.Context, q *keyQuery, text string) error {
	if text == "" {
		return nil
	}
	end := text + "\U0010ffff"
	if !q.led {
		var secrets, halves int
		err := s.readers.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM (SELECT 1 FROM keys WHERE prefix >= ?1 AND prefix < ?2 LIMIT 1)),
			(SELECT count(*) FROM (SELECT 1 FROM keys WHERE publishable >= ?1 AND publishable < ?2 AND publishable <> '' LIMIT ?3))`,
			text, end, manyKeys).Scan(&secrets, &halves)
		if err != nil {
			return err
		}
		if secrets == 0 && halves < manyKeys {
			q.led = true
			q.add("k.id IN (SELECT id FROM keys WHERE publishable >= ? AND publishable < ? AND publishable <> '')", text, end)
			return nil
		}
	}
	q.add("(k.prefix || '' >= ? AND k.prefix || '' < ? OR k.publishable || '' >= ? AND k.publishable || '' < ?)", text, end, text, end)
	return nil
}

// sql returns the query of up to limit keys whose ids precede after.
func (q *keyQuery) sql(after string, limit int64) (string, []any) {
	where := strings.Join(append(q.where, q.order+" < ?"), " AND ")
	return "SELECT " + keyColumns + " FROM " + q.from + " WHERE " + where + " ORDER BY " + q.order + " DESC LIMIT ?",
		append(q.args, after, limit)
}

const keyColumns = `k.id, k.account_id, k.project_id, k.scheme, k.name, k.environment, k.prefix, k.last4, k.publishable,
	k.status, k.replaced_by, k.created_us, k.updated_us, k.expires_us, k.revoked_us, k.metadata, k.restriction,
	k.external_ref, k.import_id, k.last_used_us`

// escapeLike has LIKE take every character for itself.
func escapeLike(text string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text)
}

// lowerASCII is SQLite's lower.
func lowerASCII(text string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, text)
}
