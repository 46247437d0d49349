package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

func TestCreateKey(t *testing.T) {
	w := newWorld(t)
	for _, status := range []AccountStatus{AccountPending, AccountActive, AccountDisabled} {
		account := w.mustAccount(status)
		got := w.mustKey(account.ID, "secret of "+string(status))
		want := Key{
			ID: got.ID, AccountID: account.ID, Scheme: "genrex", Name: "laptop", Prefix: "grx_sk_", Last4: "abcd",
			Environment: EnvironmentProduction, Status: KeyActive, CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(),
		}
		if diff := cmp.Diff(want, got); diff != "" || !strings.HasPrefix(got.ID, "key_") {
			t.Errorf("created %s (-want +got):\n%s", got.ID, diff)
		}
		if read, err := w.Key(t.Context(), got.ID); err != nil || read != got {
			t.Errorf("read %+v, %v; want %+v", read, err, got)
		}
	}
}

func TestCreateKeyRefuses(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	valid := newKey(account.ID, "another")
	change := func(f func(*NewKey)) NewKey { k := valid; f(&k); return k }
	tests := []struct {
		name string
		in   NewKey
		want error
	}{
		{"known digest", change(func(k *NewKey) { k.Digest = apikey.DigestOf("secret") }), ErrConflict},
		{"known digest under another scheme", change(func(k *NewKey) {
			k.Digest, k.Scheme = apikey.DigestOf("secret"), "other"
		}), ErrConflict},
		{"unknown account", change(func(k *NewKey) { k.AccountID = "acct_absent" }), ErrNotFound},
		{"no name", change(func(k *NewKey) { k.Name = "" }), ErrInvalid},
		{"no scheme", change(func(k *NewKey) { k.Scheme = "" }), ErrInvalid},
		{"long last4", change(func(k *NewKey) { k.Last4 = "abcde" }), ErrInvalid},
		{"secret as prefix", change(func(k *NewKey) { k.Prefix = strings.Repeat("a", 55) }), ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := w.CreateKey(t.Context(), tt.in, nil); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if keys, _, err := w.Keys(t.Context(), KeyFilter{}, Page{Limit: 10}); err != nil || len(keys) != 1 {
		t.Errorf("%d keys, %v; want 1", len(keys), err)
	}
}

// A stolen file must hold nothing that opens a gate: neither secret nor wire digest, in bytes or in hex.
func TestNothingUsableIsStored(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	const secret = "grx_sk_0123456789abcdef0123456789abcdef0123456789abcdef"
	w.mustKey(account.ID, secret)
	if _, _, err := w.CreateToken(t.Context(), newToken(RoleGate, secret+"t"), nil); err != nil {
		t.Fatal(err)
	}
	w.mustTopUp(account.ID, 5)
	w.mustAcquire(acquireOf(secret, "boot-1-1", 1))
	w.mustSync(void("boot-1-1"))
	w.mustSync(unpaid("boot-1-2", 1, "genrex", secret))
	// A pair, all of whose secrets so far came to their end in a different way.
	pairSecret := func(i int) string { return fmt.Sprintf("sk_live_%032d", i) }
	in := newPair(w.mustSite().ID, "1")
	in.Digest = apikey.DigestOf(pairSecret(1))
	pair, _, err := w.CreateKey(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.mustRotate(pair.ID, Rotation{Secret: newSecret(pairSecret(2))})
	if _, _, err := w.ReplaceKey(t.Context(), pair.ID, Replacement{newSecret(pairSecret(3)), newPublishable("pk_2")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	stored := apikey.DigestOf(secret).Stored()
	if !bytes.Contains(file, stored[:]) {
		t.Error("the stored digest is not in the file, so this test would miss the others too")
	}
	for _, s := range []string{secret, secret + "t", pairSecret(1), pairSecret(2), pairSecret(3)} {
		digest := apikey.DigestOf(s)
		for name, part := range map[string][]byte{
			"secret": []byte(s[:40]), "digest": digest[:], "digest in hex": []byte(digest.Hex()),
		} {
			if bytes.Contains(file, part) {
				t.Errorf("the file holds a %s", name)
			}
		}
	}
}

func TestUpdateKey(t *testing.T) {
	w := newWorld(t)
	key := w.mustKey(w.mustAccount(AccountActive).ID, "secret")
	update := func(in KeyUpdate) Key {
		t.Helper()
		w.clock.Advance(time.Minute)
		got, err := w.UpdateKey(t.Context(), key.ID, in)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := update(KeyUpdate{}); got != key {
		t.Errorf("update of nothing: %+v, want %+v", got, key)
	}
	want := key
	want.Status, want.Name = KeyInactive, "desktop"
	got := update(KeyUpdate{Name: ptr("desktop"), Status: ptr(KeyInactive)})
	if want.UpdatedAt = w.clock.Now(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := update(KeyUpdate{Status: ptr(KeyActive)}); got.Status != KeyActive || got.Name != "desktop" {
		t.Errorf("got %+v, want it active again", got)
	}
	for name, in := range map[string]KeyUpdate{
		"revoked": {Status: ptr(KeyRevoked)}, "unknown": {Status: ptr(KeyStatus("x"))}, "name": {Name: ptr("")},
	} {
		if _, err := w.UpdateKey(t.Context(), key.ID, in); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if _, err := w.UpdateKey(t.Context(), "key_absent", KeyUpdate{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: got %v, want ErrNotFound", err)
	}
}

func TestRevokeIsFinal(t *testing.T) {
	w := newWorld(t)
	key := w.mustKey(w.mustAccount(AccountActive).ID, "secret")
	at := w.clock.Advance(time.Minute)
	first, err := w.RevokeKey(t.Context(), key.ID)
	if err != nil || first.Status != KeyRevoked || first.RevokedAt == nil || !first.RevokedAt.Equal(at) || !first.UpdatedAt.Equal(at) {
		t.Fatalf("got %+v, %v", first, err)
	}
	w.clock.Advance(time.Minute)
	again, err := w.RevokeKey(t.Context(), key.ID)
	if diff := cmp.Diff(first, again); diff != "" || err != nil {
		t.Errorf("revoked again, %v (-first +again):\n%s", err, diff)
	}
	for name, in := range map[string]KeyUpdate{"activate": {Status: ptr(KeyActive)}, "rename": {Name: ptr("x")}} {
		if _, err := w.UpdateKey(t.Context(), key.ID, in); !errors.Is(err, ErrKeyRevoked) {
			t.Errorf("%s: got %v, want ErrKeyRevoked", name, err)
		}
	}
	read, err := w.Key(t.Context(), key.ID)
	if diff := cmp.Diff(first, read); diff != "" || err != nil {
		t.Errorf("read, %v (-revoked +read):\n%s", err, diff)
	}
	if _, err := w.RevokeKey(t.Context(), "key_absent"); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: got %v, want ErrNotFound", err)
	}
}

func TestCreateKeyIsIdempotent(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	idem := &Idempotency{Caller: "token_1", Key: "k", RequestHash: [32]byte{1}}
	first, replayed, err := w.CreateKey(t.Context(), newKey(account.ID, "one"), idem)
	if err != nil || replayed {
		t.Fatalf("first: replayed %v, %v", replayed, err)
	}
	// The server makes a new secret for each attempt; a replay must not record it.
	again, replayed, err := w.CreateKey(t.Context(), newKey(account.ID, "two"), idem)
	if err != nil || !replayed || again != first {
		t.Errorf("again: %+v, replayed %v, %v; want %+v", again, replayed, err, first)
	}
	if reply := w.mustAcquire(acquireOf("two", "op-1", 0)); reply.Verdict != "unknown_key" {
		t.Errorf("secret of the replay is %s", reply.Verdict)
	}
	if _, _, err := w.CreateKey(t.Context(), newKey("acct_absent", "x"), &Idempotency{Caller: "token_1", Key: "l"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("refused: %v", err)
	}
	if _, replayed, err := w.CreateKey(t.Context(), newKey(account.ID, "x"), &Idempotency{Caller: "token_1", Key: "l"}); err != nil || replayed {
		t.Errorf("a refused call used its key up: replayed %v, %v", replayed, err)
	}
}

func TestKeysOfAnAccount(t *testing.T) {
	w := newWorld(t)
	a, b := w.mustAccount(AccountActive).ID, w.mustAccount(AccountActive).ID
	k1, k2, k3 := w.mustKey(a, "1").ID, w.mustKey(b, "2").ID, w.mustKey(a, "3").ID
	tests := []struct {
		name    string
		account string
		page    Page
		want    []string
		more    bool
	}{
		{"all", "", Page{Limit: 10}, []string{k3, k2, k1}, false},
		{"all, first page", "", Page{Limit: 2}, []string{k3, k2}, true},
		{"all, second page", "", Page{Limit: 2, After: k2}, []string{k1}, false},
		{"one account's", a, Page{Limit: 10}, []string{k3, k1}, false},
		{"one account's, first page", a, Page{Limit: 1}, []string{k3}, true},
		{"one account's, second page", a, Page{Limit: 1, After: k3}, []string{k1}, false},
		{"unknown account's", "acct_absent", Page{Limit: 10}, []string{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys, more, err := w.Keys(t.Context(), KeyFilter{AccountID: tt.account}, tt.page)
			got := make([]string, len(keys))
			for i, k := range keys {
				got[i] = k.ID
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || more != tt.more || err != nil {
				t.Errorf("more %v, %v (-want +got):\n%s", more, err, diff)
			}
		})
	}
}

func TestKeyExpiry(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustTopUp(account.ID, 10)
	in := newKey(account.ID, "secret")
	end := w.clock.Now().Add(time.Hour)
	in.ExpiresAt = &end
	key, _, err := w.CreateKey(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	// At a cost the writer judges, at none a reader: both by the same clock.
	expect := func(when string, want api.Verdict) {
		t.Helper()
		w.ops++
		costly := w.mustAcquire(acquireOf("secret", opID(w.ops), 1)).Verdict
		if free := w.verdict("genrex", charged, "secret"); free != want || costly != want {
			t.Errorf("%s: %s, at a cost %s; want %s", when, free, costly, want)
		}
	}
	w.clock.Advance(time.Hour - time.Microsecond)
	expect("just before", api.Granted)
	w.clock.Advance(time.Microsecond)
	expect("at the end", api.InactiveKey)
	if _, _, err := w.RotateKey(t.Context(), key.ID, Rotation{Secret: newSecret("next")}, nil); !errors.Is(err, ErrKeyExpired) {
		t.Errorf("rotate: got %v, want ErrKeyExpired", err)
	}
	if _, _, err := w.ReplaceKey(t.Context(), key.ID, Replacement{Secret: newSecret("next")}, nil); !errors.Is(err, ErrKeyExpired) {
		t.Errorf("replace: got %v, want ErrKeyExpired", err)
	}
	w.clock.Advance(time.Hour)
	expect("after", api.InactiveKey)
	later := w.clock.Now().Add(time.Hour)
	if got, err := w.UpdateKey(t.Context(), key.ID, KeyUpdate{ExpiresAt: &later}); err != nil || !got.ExpiresAt.Equal(later) {
		t.Errorf("extended: %+v, %v", got, err)
	}
	expect("extended", api.Granted)
	if got, err := w.UpdateKey(t.Context(), key.ID, KeyUpdate{NeverExpires: true}); err != nil || got.ExpiresAt != nil {
		t.Errorf("cleared: %+v, %v", got, err)
	}
	w.clock.Advance(1000 * time.Hour)
	expect("cleared", api.Granted)
	for name, in := range map[string]KeyUpdate{
		"past":        {ExpiresAt: &end},
		"both":        {ExpiresAt: ptr(w.clock.Now().Add(time.Hour)), NeverExpires: true},
		"environment": {Environment: ptr(Environment("test"))},
	} {
		if _, err := w.UpdateKey(t.Context(), key.ID, in); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if got, err := w.UpdateKey(t.Context(), key.ID, KeyUpdate{Environment: ptr(EnvironmentStaging)}); err != nil || got.Environment != EnvironmentStaging {
		t.Errorf("environment: %+v, %v", got, err)
	}
}

func TestKeysOfAProject(t *testing.T) {
	w := newWorld(t)
	a, b := w.mustSite(), w.mustSite()
	k1, k2, k3 := w.mustPair(a.ID, "1").ID, w.mustPair(b.ID, "2").ID, w.mustPair(a.ID, "3").ID
	w.mustKey(a.AccountID, "lone")
	tests := []struct {
		name   string
		filter KeyFilter
		page   Page
		want   []string
		more   bool
	}{
		{"a project's", KeyFilter{ProjectID: a.ID}, Page{Limit: 10}, []string{k3, k1}, false},
		{"first page", KeyFilter{ProjectID: a.ID}, Page{Limit: 1}, []string{k3}, true},
		{"second page", KeyFilter{ProjectID: a.ID}, Page{Limit: 1, After: k3}, []string{k1}, false},
		{"another's", KeyFilter{ProjectID: b.ID}, Page{Limit: 10}, []string{k2}, false},
		{"its account's", KeyFilter{AccountID: a.AccountID, ProjectID: a.ID}, Page{Limit: 10}, []string{k3, k1}, false},
		{"another account's", KeyFilter{AccountID: b.AccountID, ProjectID: a.ID}, Page{Limit: 1}, []string{}, false},
		{"unknown", KeyFilter{ProjectID: "proj_absent"}, Page{Limit: 1}, []string{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys, more, err := w.Keys(t.Context(), tt.filter, tt.page)
			got := make([]string, len(keys))
			for i, k := range keys {
				got[i] = k.ID
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || more != tt.more || err != nil {
				t.Errorf("more %v, %v (-want +got):\n%s", more, err, diff)
			}
		})
	}
}
