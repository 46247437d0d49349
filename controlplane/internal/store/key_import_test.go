package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

func importKey(accountID, secret string) ImportKey {
	return ImportKey{NewKey: newKey(accountID, secret), ExternalRef: "ref of " + secret}
}

func importPair(projectID, name string) ImportKey {
	return ImportKey{NewKey: newPair(projectID, name)}
}

func (w *world) mustImport(idem *Idempotency, in ...ImportKey) []ImportedKey {
	w.Helper()
	out, _, err := w.ImportKeys(context.Background(), in, idem)
	if err != nil {
		w.Fatalf("%v: %+v", err, err)
	}
	return out
}

func (w *world) countKeys() (n int) {
	w.Helper()
	if err := w.readers.QueryRow("SELECT count(*) FROM keys").Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

// Imported keys work as made ones do; those that their owner has are left as they are, whatever the rest of the row says.
func TestImportKeys(t *testing.T) {
	w := newWorld(t)
	account, site := w.mustAccount(AccountActive), w.mustSite()
	had := w.mustKey(account.ID, "had")
	hadPair := w.mustPair(site.ID, "had")
	in := importKey(account.ID, "new")
	in.Metadata = mustMetadata(t, map[string]string{"team": "blue"})
	in.Restriction = mustRestriction(t, api.Restriction{AllowedIPs: []string{"::1"}})
	in.ExpiresAt = ptr(w.clock.Now().Add(time.Hour))
	again := importKey(account.ID, "had")
	again.Name, again.ExpiresAt = "another", ptr(w.clock.Now().Add(-time.Hour))
	got := w.mustImport(nil, in, again, importPair(site.ID, "new"), importPair(site.ID, "had"))
	want := []ImportedKey{{got[0].ID, true}, {had.ID, false}, {got[2].ID, true}, {hadPair.ID, false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	key, err := w.Key(t.Context(), got[0].ID)
	wantKey := Key{
		ID: got[0].ID, AccountID: account.ID, Scheme: "genrex", Name: "laptop", Environment: EnvironmentProduction, Prefix: "grx_sk_", Last4: "abcd",
		Status: KeyActive, Metadata: in.Metadata, Restriction: in.Restriction, ExternalRef: "ref of new", CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(),
		ExpiresAt: in.ExpiresAt,
	}
	if diff := cmp.Diff(wantKey, key); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if k, err := w.Key(t.Context(), had.ID); err != nil || k != had {
		t.Errorf("the key that there was is %+v, %v", k, err)
	}
	if v := w.verdict("vexrail", verified, "pk_new", "sk_new"); v != api.Granted {
		t.Errorf("an imported pair: %s", v)
	}
	if ids := w.searchAll(KeyFilter{ExternalRef: "ref of new"}, 1); len(ids) != 1 || ids[0] != got[0].ID {
		t.Errorf("found %v", ids)
	}
	if ids := w.searchAll(KeyFilter{MetadataName: "team", MetadataValue: "blue"}, 1); len(ids) != 1 || ids[0] != got[0].ID {
		t.Errorf("found %v", ids)
	}
	w.verify()
}

// Whatever is wrong with a key is found, each in its row and field, and then nothing is made.
func TestImportNamesEveryBadRow(t *testing.T) {
	w := newWorld(t)
	account, other, site := w.mustAccount(AccountActive), w.mustAccount(AccountActive), w.mustSite()
	pending := w.mustProject(w.mustAccount(AccountPending).ID)
	unverified := w.mustProject(account.ID)
	closed := w.mustSite()
	if _, _, err := w.CloseAccount(t.Context(), closed.AccountID, closing(RefuseBalance), nil); err != nil {
		t.Fatal(err)
	}
	w.mustKey(other.ID, "of another")
	w.mustPair(site.ID, "1")
	w.mustPair(site.ID, "2")
	change := func(k ImportKey, f func(*ImportKey)) ImportKey { f(&k); return k }
	rows := []struct {
		row   ImportKey
		field string
		want  error
	}{
		{importKey(account.ID, "good"), "", nil},
		{importKey(account.ID, "of another"), "secret", ErrAnothers},
		{change(importKey(other.ID, "of another"), func(k *ImportKey) { k.Scheme = "x" }), "secret", ErrRepeated},
		{importKey("acct_none", "a"), "account_id", ErrNotFound},
		{importPair("proj_none", "a"), "project_id", ErrNotFound},
		{importPair(pending.ID, "b"), "project_id", ErrAccountNotActive},
		{importPair(unverified.ID, "c"), "project_id", ErrDomainNotVerified},
		{importKey(closed.AccountID, "d"), "account_id", ErrAccountClosed},
		{importPair(closed.ID, "d"), "project_id", ErrAccountClosed},
		{importKey(account.ID, "good"), "secret", ErrRepeated},
		{change(importKey(account.ID, "late"), func(k *ImportKey) { k.ExpiresAt = ptr(w.clock.Now()) }), "expires_at", ErrInvalid},
		{change(importPair(site.ID, "1"), func(k *ImportKey) { k.Publishable, k.PublishableDigest = "pk_2", apikey.DigestOf("pk_2") }), "publishable_key", ErrAnothers},
		{change(importPair(site.ID, "2"), func(k *ImportKey) { k.Digest = apikey.DigestOf("sk_new") }), "publishable_key", ErrRepeated},
		{change(importPair(site.ID, "3"), func(k *ImportKey) { k.Digest = apikey.DigestOf("pk_1") }), "secret", ErrAnothers},
		{change(importPair(site.ID, "4"), func(k *ImportKey) { k.Publishable, k.PublishableDigest = "pk_1", apikey.DigestOf("pk_1") }), "publishable_key", ErrRepeated},
	}
	in := make([]ImportKey, len(rows))
	for i := range rows {
		in[i] = rows[i].row
	}
	before := w.countKeys()
	for name, try := range map[string]func() error{
		"check":  func() error { return w.CheckImport(t.Context(), in) },
		"import": func() error { _, _, err := w.ImportKeys(t.Context(), in, nil); return err },
	} {
		var bad BadRows
		if err := try(); !errors.As(err, &bad) {
			t.Fatalf("%s: %v", name, err)
		}
		found := map[int]BadRow{}
		for _, b := range bad {
			found[b.Index] = b
		}
		for i, r := range rows {
			if b, ok := found[i]; ok != (r.want != nil) || b.Field != r.field || !errors.Is(b.Err, r.want) {
				t.Errorf("%s: row %d: %+v, want %v in %q", name, i, b, r.want, r.field)
			}
		}
		if len(found) != len(bad) {
			t.Errorf("%s: %d faults of %d rows", name, len(bad), len(found))
		}
	}
	if n := w.countKeys() - before; n != 0 {
		t.Errorf("%d keys were made", n)
	}
	for name, in := range map[string][]ImportKey{"none": nil, "too many": make([]ImportKey, MaxImport+1)} {
		if _, _, err := w.ImportKeys(t.Context(), in, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Under an idempotency key an import tells the same again; without one, that everything is there.
func TestImportIsRepeatable(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	had := w.mustKey(account.ID, "had")
	idem := &Idempotency{Caller: "token_1", Key: "k", RequestHash: [32]byte{1}}
	rows := []ImportKey{importKey(account.ID, "a"), importKey(account.ID, "had")}
	rows[0].ExpiresAt = ptr(w.clock.Now().Add(time.Minute))
	first := w.mustImport(idem, rows...)
	if want := []ImportedKey{{first[0].ID, true}, {had.ID, false}}; !cmp.Equal(first, want) {
		t.Errorf("imported %+v, want %+v", first, want)
	}
	w.clock.Advance(time.Hour) // beyond the key's own end
	again, replayed, err := w.ImportKeys(t.Context(), rows, idem)
	if err != nil || !replayed || !cmp.Equal(again, first) {
		t.Errorf("replayed %v: %+v, %v; want %+v", replayed, again, err, first)
	}
	if got, want := w.mustImport(nil, rows...), []ImportedKey{{first[0].ID, false}, {had.ID, false}}; !cmp.Equal(got, want) {
		t.Errorf("imported again %+v, want %+v", got, want)
	}
	idem.RequestHash[0]++
	if _, _, err := w.ImportKeys(t.Context(), rows, idem); !errors.Is(err, ErrIdempotencyMismatch) {
		t.Errorf("another import under the key: %v", err)
	}
	if n := w.countKeys(); n != 2 {
		t.Errorf("%d keys, want 2", n)
	}
}

// Of an import the audit log has one act for each account that got keys.
func TestImportIsAudited(t *testing.T) {
	w := newWorld(t)
	a, b := w.mustAccount(AccountActive), w.mustAccount(AccountActive)
	w.mustImport(nil, importKey(a.ID, "1"), importKey(a.ID, "2"), importKey(b.ID, "3"))
	w.mustImport(nil, importKey(a.ID, "1"))
	rows, err := w.readers.Query("SELECT account_id, after FROM audit WHERE action = 'key.import'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[string]string{}
	for n := 0; rows.Next(); n++ {
		var account, after string
		if err := rows.Scan(&account, &after); err != nil || n > 1 {
			t.Fatal(n, err)
		}
		got[account] = after
	}
	if want := map[string]string{a.ID: `{"keys":2}`, b.ID: `{"keys":1}`}; !cmp.Equal(got, want) {
		t.Errorf("acts %v, want %v", got, want)
	}
}

// BenchmarkImport is of 1,000 keys at a time, with one entry of metadata each.
func BenchmarkImport(b *testing.B) {
	w := newWorld(b)
	account := w.mustAccount(AccountActive)
	n := 0
	for b.Loop() {
		rows := make([]ImportKey, MaxImport)
		for i := range rows {
			n++
			rows[i] = importKey(account.ID, fmt.Sprint("imported ", n))
			rows[i].Metadata = Metadata(fmt.Sprintf(`{"customer":"c%d"}`, n%1000))
		}
		w.mustImport(nil, rows...)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "keys/s")
}
