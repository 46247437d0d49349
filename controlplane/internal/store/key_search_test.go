package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// Every condition finds its keys, alone and with each other one, newest first, and nothing else.
func TestKeySearch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	account, site := w.mustAccount(AccountActive), w.mustSite()
	var all []Key
	for i := range 48 {
		in := newKey(account.ID, fmt.Sprint("secret ", i))
		if i%3 == 0 {
			in = newPair(site.ID, fmt.Sprintf("%02d_%d", i%4, i))
		}
		in.Last4 = fmt.Sprintf("%04d", i%5)
		in.Name = []string{"Laptop 100%", "build_box", `back\slash`}[i%7%3]
		in.Environment = []Environment{EnvironmentProduction, EnvironmentStaging}[i%2]
		in.Metadata = mustMetadata(t, map[string]string{"team": fmt.Sprint("t", i%4), "n": "1"})
		key, _, err := w.CreateKey(ctx, in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if i%6 == 1 {
			key, err = w.UpdateKey(ctx, key.ID, KeyUpdate{Status: ptr(KeyInactive), Metadata: ptr(Metadata(""))})
			if err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, key)
	}
	slices.Reverse(all)
	contains := func(sub string) func(Key) bool {
		return func(k Key) bool { return strings.Contains(strings.ToLower(k.Name), sub) }
	}
	conditions := []struct {
		field string
		set   func(*KeyFilter)
		holds func(Key) bool
	}{
		{"AccountID", func(f *KeyFilter) { f.AccountID = account.ID }, func(k Key) bool { return k.AccountID == account.ID }},
		{"ProjectID", func(f *KeyFilter) { f.ProjectID = site.ID }, func(k Key) bool { return k.ProjectID == site.ID }},
		{"Scheme", func(f *KeyFilter) { f.Scheme = "vexrail" }, func(k Key) bool { return k.Scheme == "vexrail" }},
		{"Environment", func(f *KeyFilter) { f.Environment = EnvironmentStaging }, func(k Key) bool { return k.Environment == EnvironmentStaging }},
		{"Status", func(f *KeyFilter) { f.Status = KeyActive }, func(k Key) bool { return k.Status == KeyActive }},
		{"Status", func(f *KeyFilter) { f.Status = KeyInactive }, func(k Key) bool { return k.Status == KeyInactive }},
		{"Prefix", func(f *KeyFilter) { f.Prefix = "grx" }, func(k Key) bool { return k.Prefix == "grx_sk_" }},
		{"Prefix", func(f *KeyFilter) { f.Prefix = "pk_" }, func(k Key) bool { return k.Publishable != "" }},
		{"Prefix", func(f *KeyFilter) { f.Prefix = "pk_03_" }, func(k Key) bool { return strings.HasPrefix(k.Publishable, "pk_03_") }},
		{"Prefix", func(f *KeyFilter) { f.Prefix = "no such" }, func(Key) bool { return false }},
		{"Last4", func(f *KeyFilter) { f.Last4 = "0003" }, func(k Key) bool { return k.Last4 == "0003" }},
		{"Name", func(f *KeyFilter) { f.Name = "LAP" }, contains("lap")},
		{"Name", func(f *KeyFilter) { f.Name = "0%" }, contains("0%")},
		{"Name", func(f *KeyFilter) { f.Name = "d_b" }, contains("d_b")},
		{"Name", func(f *KeyFilter) { f.Name = `k\s` }, contains(`k\s`)},
		{"Name", func(f *KeyFilter) { f.Name = "_" }, contains("_")},
		{"MetadataName", func(f *KeyFilter) { f.MetadataName, f.MetadataValue = "team", "t2" }, func(k Key) bool { return k.Metadata.Entries()["team"] == "t2" }},
		{"MetadataName", func(f *KeyFilter) { f.MetadataName, f.MetadataValue = "n", "1" }, func(k Key) bool { return k.Metadata.Entries()["n"] == "1" }},
		{"ExternalRef", func(f *KeyFilter) { f.ExternalRef = "absent" }, func(Key) bool { return false }},
	}
	for i, a := range conditions {
		for j, b := range conditions[:i+1] {
			if a.field == b.field && i != j {
				continue
			}
			var filter KeyFilter
			a.set(&filter)
			b.set(&filter)
			var want []string
			for _, k := range all {
				if a.holds(k) && b.holds(k) {
					want = append(want, k.ID)
				}
			}
			if got := w.searchAll(filter, 3); !slices.Equal(got, want) {
				t.Errorf("%+v:\ngot  %d %v\nwant %d %v", filter, len(got), got, len(want), want)
			}
		}
	}
}

func (w *world) searchAll(f KeyFilter, limit int) (ids []string) {
	w.Helper()
	for page := (Page{Limit: limit}); ; {
		keys, more, err := w.Keys(context.Background(), f, page)
		if err != nil {
			w.Fatal(err)
		}
		for _, k := range keys {
			ids = append(ids, k.ID)
		}
		if !more {
			return ids
		}
		page.After = ids[len(ids)-1]
	}
}

func mustMetadata(t testing.TB, entries map[string]string) Metadata {
	t.Helper()
	m, err := NewMetadata(entries)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// No search that leaves few keys looks at all of them: each is led by an index.
func TestKeySearchPlans(t *testing.T) {
	w := newWorld(t)
	for want, f := range map[string]KeyFilter{
		"keys_by_account (account_id=? AND id<?)":   {AccountID: "a", Status: KeyInactive, Name: "n", Environment: EnvironmentStaging, Scheme: "s"},
		"keys_by_project (project_id=? AND id<?)":   {ProjectID: "p", AccountID: "a", Status: KeyActive, Prefix: "p"},
		"keys_by_last4 (last4=? AND id<?)":          {Last4: "1234", AccountID: "a", ProjectID: "p", Prefix: "p"},
		"keys_by_status (status=? AND id<?)":        {Status: KeyRevoked, Environment: EnvironmentProduction, Scheme: "s"},
		"keys_by_environment (environment=? AND id": {Environment: EnvironmentStaging, Scheme: "s", Status: KeyActive},
		"keys_by_scheme (scheme=? AND id<?)":        {Scheme: "s", Status: KeyActive},
		"keys_by_external_ref (external_ref=? AND ": {ExternalRef: "x", AccountID: "a"},
		"keys_by_publishable (publishable>? AND pu": {Prefix: "pk_0", Status: KeyActive},
		"m USING PRIMARY KEY (name=? AND value=? A": {MetadataName: "n", MetadataValue: "v", Last4: "1234", AccountID: "a"},
	} {
		q, err := w.keyQuery(t.Context(), &f)
		if err != nil {
			t.Fatal(err)
		}
		text, args := q.sql(afterNewest, 10)
		var plan strings.Builder
		rows, err := w.readers.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan.WriteString(detail + "\n")
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan.String(), want) || strings.Contains(plan.String(), "TEMP B-TREE FOR ORDER") || strings.Contains(plan.String(), "SCAN k") {
			t.Errorf("%+v: want %s, got\n%s", f, want, plan.String())
		}
	}
}

func TestMetadataBounds(t *testing.T) {
	many := map[string]string{}
	for i := range MaxMetadata {
		many[fmt.Sprint("n", i)] = strings.Repeat("é", MaxMetadataValueLen)
	}
	if m := mustMetadata(t, many); len(m.Entries()) != MaxMetadata {
		t.Errorf("kept %d entries", len(m.Entries()))
	}
	many["one more"] = ""
	for name, entries := range map[string]map[string]string{
		"too many": many, "no name": {"": "x"}, "long name": {strings.Repeat("a", MaxMetadataNameLen+1): "x"},
		"odd name": {"a=b": "x"}, "long value": {"a": strings.Repeat("x", MaxMetadataValueLen+1)},
		"control character": {"a": "x\n"}, "no UTF-8": {"a": "\xff"},
	} {
		if m, err := NewMetadata(entries); err == nil {
			t.Errorf("%s: made %s", name, m)
		}
	}
	if a, b := mustMetadata(t, map[string]string{"b": "1", "a": "2"}), mustMetadata(t, map[string]string{"a": "2", "b": "1"}); a != b {
		t.Errorf("%s differs from %s", a, b)
	}
}

// A use is written once NoteUses is called, or the store closed; no request waits for it, and none goes back in time.
func TestKeyUses(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustTopUp(account.ID, 10)
	key, other, denied := w.mustKey(account.ID, "one"), w.mustKey(account.ID, "two"), w.mustKey(account.ID, "three")
	lastUsed := func(id string) *time.Time {
		t.Helper()
		k, err := w.Key(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return k.LastUsedAt
	}
	w.mustAcquire(acquireOf("one", "boot-1-1", 1))
	if at := lastUsed(key.ID); at != nil {
		t.Errorf("written at once: %v", at)
	}
	w.mustNoteUses()
	first := w.clock.Now().Truncate(time.Second)
	if at := lastUsed(key.ID); at == nil || !at.Equal(first) {
		t.Errorf("after an acquire: %v, want %v", at, first)
	}
	w.clock.Advance(time.Hour)
	w.mustSync(&api.SyncRequest{Usage: &api.UsageBatch{Seq: 1, Rows: []api.UsageRow{
		{Key: other.ID, Route: "/", Requests: 2, Refused: 1}, {Key: denied.ID, Route: "/", Requests: 2, Refused: 2}, {Key: "key_none", Route: "/", Requests: 1},
		{Route: api.OtherRows, Requests: 1},
	}}})
	w.mustNoteUses()
	if at := lastUsed(other.ID); at == nil || !at.Equal(w.clock.Now().Truncate(time.Second)) {
		t.Errorf("after a usage batch: %v", at)
	}
	if at := lastUsed(denied.ID); at != nil {
		t.Errorf("a key whose requests were all refused was used at %v", at)
	}
	w.clock.Advance(-2 * time.Hour)
	w.mustAcquire(acquireOf("one", "boot-1-2", 1))
	w.mustNoteUses()
	if at := lastUsed(key.ID); !at.Equal(first) {
		t.Errorf("gone back to %v", at)
	}
	w.clock.Advance(4 * time.Hour)
	w.mustAcquire(acquireOf("one", "boot-1-3", 1))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if at := lastUsed(key.ID); !at.Equal(w.clock.Now().Truncate(time.Second)) {
		t.Errorf("after closing: %v", at)
	}
}

func (w *world) mustNoteUses() {
	w.Helper()
	if err := w.NoteUses(context.Background()); err != nil {
		w.Fatal(err)
	}
}

// Metadata goes with a key to the one that replaces it, and a change of it tells no gate anything.
func TestMetadataLife(t *testing.T) {
	w := newWorld(t)
	in := newKey(w.mustAccount(AccountActive).ID, "one")
	in.Metadata = mustMetadata(t, map[string]string{"team": "blue"})
	key, _, err := w.CreateKey(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	before, _, err := w.changesKnown(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	red := mustMetadata(t, map[string]string{"team": "red", "since": "2026"})
	if key, err = w.UpdateKey(t.Context(), key.ID, KeyUpdate{Metadata: &red}); err != nil || key.Metadata != red {
		t.Errorf("updated to %s, %v", key.Metadata, err)
	}
	if after, _, err := w.changesKnown(t.Context()); err != nil || after != before {
		t.Errorf("gates were told: %d changes, %v", after-before, err)
	}
	next, _, err := w.ReplaceKey(t.Context(), key.ID, Replacement{Secret: newSecret("two")}, nil)
	if err != nil || next.Metadata != red {
		t.Errorf("replaced by one with %s, %v", next.Metadata, err)
	}
	find := func(name, value string) []string {
		return w.searchAll(KeyFilter{MetadataName: name, MetadataValue: value}, 10)
	}
	if got := find("team", "red"); !slices.Equal(got, []string{next.ID, key.ID}) {
		t.Errorf("found %v", got)
	}
	if got := find("team", "blue"); len(got) != 0 {
		t.Errorf("found by what it was: %v", got)
	}
}

// fillKeys makes n keys of an account by raw SQL.
func (w *world) fillKeys(accountID string, n int) {
	w.Helper()
	_, err := write(context.Background(), w.Store, func(tx *writeTx) (struct{}, error) {
		for i := range n {
			k := Key{AccountID: accountID, Scheme: "genrex", Name: fmt.Sprint("key ", i), Environment: EnvironmentProduction,
				Prefix: "grx_sk_", Last4: fmt.Sprintf("%04x", i%65536), Metadata: Metadata(fmt.Sprintf(`{"customer":"c%d"}`, i%1000))}
			if i%100 == 0 {
				k.Environment = EnvironmentStaging
			}
			if _, err := tx.insertKey(k, apikey.DigestOf(fmt.Sprint("fill ", i)), apikey.Digest{}); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// BenchmarkKeySearch is of pages of 20 among 100,000 keys.
func BenchmarkKeySearch(b *testing.B) {
	w := newWorld(b)
	account := w.mustAccount(AccountActive)
	w.fillKeys(account.ID, 100_000)
	for name, f := range map[string]KeyFilter{
		"list": {}, "account": {AccountID: account.ID}, "last4": {Last4: "12ab"}, "metadata": {MetadataName: "customer", MetadataValue: "c7"},
		"staging": {Environment: EnvironmentStaging}, "status": {Status: KeyRevoked}, "prefix": {Prefix: "grx_sk_"},
		"name": {Name: "key 99"}, "name, none": {Name: "absent"}, "account and name, none": {AccountID: account.ID, Name: "absent"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := w.Keys(b.Context(), f, Page{Limit: 20}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
