package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// Which half works when, through three rotations of one pair.
func TestRotationOverlap(t *testing.T) {
	w := newWorld(t)
	key := w.mustPair(w.mustSite().ID, "1")
	expect := func(when string, want map[[2]string]api.Verdict) {
		t.Helper()
		for halves, verdict := range want {
			if got := w.verdict("vexrail", verified, halves[0], halves[1]); got != verdict {
				t.Errorf("%s: %v is %s, want %s", when, halves, got, verdict)
			}
		}
	}
	w.clock.Advance(time.Minute)
	got := w.mustRotate(key.ID, Rotation{Overlap: time.Hour, Secret: newSecret("sk_2")})
	want := key
	want.Last4, want.UpdatedAt = "9999", w.clock.Now()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rotated (-want +got):\n%s", diff)
	}
	expect("at once", map[[2]string]api.Verdict{{"pk_1", "sk_1"}: api.Granted, {"pk_1", "sk_2"}: api.Granted})

	w.clock.Advance(30 * time.Minute)
	got = w.mustRotate(key.ID, Rotation{Overlap: time.Hour, Publishable: newPublishable("pk_2"), Secret: newSecret("sk_3")})
	if got.Publishable != "pk_2" || got.ID != key.ID {
		t.Errorf("got %+v, want the new publishable half under the same id", got)
	}
	expect("within both overlaps", map[[2]string]api.Verdict{
		{"pk_1", "sk_1"}: api.Granted, {"pk_1", "sk_2"}: api.Granted, {"pk_2", "sk_3"}: api.Granted, {"pk_2", "sk_1"}: api.Granted,
	})
	w.clock.Advance(30*time.Minute - time.Microsecond)
	expect("just before the first end", map[[2]string]api.Verdict{{"pk_1", "sk_1"}: api.Granted, {"pk_2", "sk_1"}: api.Granted})
	w.clock.Advance(time.Microsecond)
	expect("at the first end", map[[2]string]api.Verdict{
		{"pk_1", "sk_1"}: api.InactiveKey, {"pk_2", "sk_1"}: api.InactiveKey, {"pk_1", "sk_2"}: api.Granted,
		{"pk_2", "sk_3"}: api.Granted,
	})
	// At once: the halves that were ending keep their end, the newest ends now.
	w.mustRotate(key.ID, Rotation{Secret: newSecret("sk_4")})
	expect("after a rotation without overlap", map[[2]string]api.Verdict{
		{"pk_2", "sk_3"}: api.InactiveKey, {"pk_2", "sk_2"}: api.Granted, {"pk_1", "sk_4"}: api.Granted,
	})
	w.clock.Advance(30 * time.Minute)
	expect("at the last end", map[[2]string]api.Verdict{
		{"pk_2", "sk_2"}: api.InactiveKey, {"pk_1", "sk_4"}: api.InactiveKey, {"pk_2", "sk_4"}: api.Granted,
	})
	w.verify()
}

// Revocation ends every half, the ones in their overlap too.
func TestRevokeEndsEveryHalf(t *testing.T) {
	w := newWorld(t)
	key := w.mustPair(w.mustSite().ID, "1")
	w.mustRotate(key.ID, Rotation{Overlap: MaxOverlap, Publishable: newPublishable("pk_2"), Secret: newSecret("sk_2")})
	w.setKey(key.ID, KeyRevoked)
	for _, p := range []string{"pk_1", "pk_2"} {
		for _, s := range []string{"sk_1", "sk_2"} {
			if got := w.verdict("vexrail", verified, p, s); got != api.InactiveKey {
				t.Errorf("%s, %s: %s, want inactive_key", p, s, got)
			}
		}
	}
}

func TestRotateRefuses(t *testing.T) {
	w := newWorld(t)
	site := w.mustSite()
	pair := w.mustPair(site.ID, "1")
	lone := w.mustKey(site.AccountID, "lone")
	revoked := w.mustKey(site.AccountID, "revoked")
	w.setKey(revoked.ID, KeyRevoked)
	fresh := newSecret("fresh")
	tests := []struct {
		name  string
		id    string
		in    Rotation
		idem  *Idempotency
		field string
		want  error
	}{
		{"unknown key", "key_absent", Rotation{Secret: fresh}, nil, "key", ErrNotFound},
		{"revoked key", revoked.ID, Rotation{Secret: fresh}, nil, "", ErrKeyRevoked},
		{"no half", pair.ID, Rotation{}, nil, "halves", ErrInvalid},
		{"negative overlap", pair.ID, Rotation{Overlap: -1, Secret: fresh}, nil, "overlap", ErrInvalid},
		{"long overlap", pair.ID, Rotation{Overlap: MaxOverlap + 1, Secret: fresh}, nil, "overlap", ErrInvalid},
		{"publishable half of a lone secret", lone.ID, Rotation{Publishable: newPublishable("pk_x")}, nil, "publishable", ErrInvalid},
		{"publishable half without text", pair.ID, Rotation{Publishable: fresh}, nil, "publishable", ErrInvalid},
		{"publishable half with another's digest", pair.ID, Rotation{Publishable: &NewHalf{Text: "pk_x", Digest: apikey.DigestOf("pk_y")}}, nil, "publishable", ErrInvalid},
		{"secret in clear", pair.ID, Rotation{Secret: &NewHalf{Text: "sk_x", Digest: apikey.DigestOf("sk_x")}}, nil, "secret", ErrInvalid},
		{"long last4", pair.ID, Rotation{Secret: &NewHalf{Last4: "12345"}}, nil, "last4", ErrInvalid},
		{"the same secret", pair.ID, Rotation{Secret: newSecret("sk_1")}, nil, "secret", ErrConflict},
		{"another key's secret", pair.ID, Rotation{Secret: newSecret("lone")}, nil, "secret", ErrConflict},
		{"one half good, one known", pair.ID, Rotation{Secret: fresh, Publishable: newPublishable("pk_1")}, nil, "publishable", ErrConflict},
		{"bad idempotency key", pair.ID, Rotation{Secret: fresh}, &Idempotency{Caller: "x"}, "idempotency key", ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := w.RotateKey(t.Context(), tt.id, tt.in, tt.idem)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("got %v, want %v naming %q", err, tt.want, tt.field)
			}
		})
	}
	for _, want := range []Key{pair, lone} {
		if got, err := w.Key(t.Context(), want.ID); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	if got := w.verdict("vexrail", verified, "pk_1", "sk_1"); got != api.Granted {
		t.Errorf("pair after refusals: %s, want granted", got)
	}
	if got := w.verdict("vexrail", verified, "pk_1", "fresh"); got != api.UnknownKey {
		t.Errorf("refused half: %s, want unknown_key", got)
	}
	w.verify()
}

// A disabled key, or one whose owners are not in order, can be rotated and replaced: it may be compromised.
func TestRotateAndReplaceNeedNothingOfTheOwners(t *testing.T) {
	w := newWorld(t)
	site := w.mustSite()
	key := w.mustPair(site.ID, "1")
	w.setKey(key.ID, KeyInactive)
	if _, err := w.LapseDomain(t.Context(), site.ID, "gone", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.UpdateAccount(t.Context(), site.AccountID, AccountUpdate{Status: ptr(AccountDisabled)}); err != nil {
		t.Fatal(err)
	}
	if got := w.mustRotate(key.ID, Rotation{Secret: newSecret("sk_2")}); got.Status != KeyInactive {
		t.Errorf("rotated: %s, want it inactive as before", got.Status)
	}
	got, _, err := w.ReplaceKey(t.Context(), key.ID, Replacement{newSecret("sk_3"), newPublishable("pk_3")}, nil)
	if err != nil || got.Status != KeyActive {
		t.Errorf("replaced: %+v, %v; want it active", got, err)
	}
	w.verify()
}

func TestRotateIsIdempotent(t *testing.T) {
	w := newWorld(t)
	key := w.mustKey(w.mustAccount(AccountActive).ID, "one")
	idem := &Idempotency{Caller: "token_1", Key: "k", RequestHash: [32]byte{1}}
	first, replayed, err := w.RotateKey(t.Context(), key.ID, Rotation{Secret: newSecret("two")}, idem)
	if err != nil || replayed {
		t.Fatalf("first: replayed %v, %v", replayed, err)
	}
	again, replayed, err := w.RotateKey(t.Context(), key.ID, Rotation{Secret: newSecret("three")}, idem)
	if err != nil || !replayed || again != first {
		t.Errorf("again: %+v, replayed %v, %v; want %+v", again, replayed, err, first)
	}
	for secret, want := range map[string]api.Verdict{"one": api.InactiveKey, "two": api.Granted, "three": api.UnknownKey} {
		if got := w.verdict("genrex", charged, secret); got != want {
			t.Errorf("%s: %s, want %s", secret, got, want)
		}
	}
	other := *idem
	other.RequestHash[0] = 9
	if _, _, err := w.RotateKey(t.Context(), key.ID, Rotation{Secret: newSecret("four")}, &other); !errors.Is(err, ErrIdempotencyMismatch) {
		t.Errorf("other body: got %v, want ErrIdempotencyMismatch", err)
	}
	if _, _, err := w.ReplaceKey(t.Context(), key.ID, Replacement{Secret: newSecret("four")}, idem); !errors.Is(err, ErrIdempotencyMismatch) {
		t.Errorf("other operation: got %v, want ErrIdempotencyMismatch", err)
	}
}

func TestReplaceKey(t *testing.T) {
	w := newWorld(t)
	site := w.mustSite()
	in := newPair(site.ID, "1")
	in.Environment, in.ExpiresAt = EnvironmentStaging, ptr(w.clock.Now().Add(time.Hour))
	old, _, err := w.CreateKey(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.mustRotate(old.ID, Rotation{Overlap: time.Hour, Secret: newSecret("sk_2")})
	at := w.clock.Advance(time.Minute)
	idem := &Idempotency{Caller: "token_1", Key: "k", RequestHash: [32]byte{1}}
	got, replayed, err := w.ReplaceKey(t.Context(), old.ID, Replacement{newSecret("sk_3"), newPublishable("pk_3")}, idem)
	want := old
	want.ID, want.Last4, want.Publishable, want.CreatedAt, want.UpdatedAt = got.ID, "9999", "pk_3", at, at
	if diff := cmp.Diff(want, got); diff != "" || err != nil || replayed || got.ID == old.ID {
		t.Errorf("new key, replayed %v, %v (-want +got):\n%s", replayed, err, diff)
	}
	wantOld := old
	wantOld.Last4, wantOld.Status, wantOld.ReplacedBy, wantOld.UpdatedAt, wantOld.RevokedAt = "9999", KeyRevoked, got.ID, at, &at
	read, err := w.Key(t.Context(), old.ID)
	if diff := cmp.Diff(wantOld, read); diff != "" || err != nil {
		t.Errorf("old key, %v (-want +got):\n%s", err, diff)
	}
	again, replayed, err := w.ReplaceKey(t.Context(), old.ID, Replacement{newSecret("sk_4"), newPublishable("pk_4")}, idem)
	if diff := cmp.Diff(got, again); diff != "" || err != nil || !replayed {
		t.Errorf("again, replayed %v, %v (-first +again):\n%s", replayed, err, diff)
	}
	for halves, want := range map[[2]string]api.Verdict{
		{"pk_1", "sk_1"}: api.InactiveKey, {"pk_1", "sk_2"}: api.InactiveKey, {"pk_3", "sk_3"}: api.Granted,
		{"pk_3", "sk_2"}: api.InactiveKey, {"pk_4", "sk_4"}: api.UnknownKey,
	} {
		if got := w.verdict("vexrail", verified, halves[0], halves[1]); got != want {
			t.Errorf("%v: %s, want %s", halves, got, want)
		}
	}
	w.verify()
}

// A refused replacement leaves the old key working and makes no new one.
func TestReplaceIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	site := w.mustSite()
	pair := w.mustPair(site.ID, "1")
	lone := w.mustKey(site.AccountID, "lone")
	revoked := w.mustKey(site.AccountID, "revoked")
	w.setKey(revoked.ID, KeyRevoked)
	tests := []struct {
		name  string
		id    string
		in    Replacement
		field string
		want  error
	}{
		{"unknown key", "key_absent", Replacement{Secret: newSecret("x")}, "key", ErrNotFound},
		{"revoked key", revoked.ID, Replacement{Secret: newSecret("x")}, "", ErrKeyRevoked},
		{"no secret", lone.ID, Replacement{}, "secret", ErrInvalid},
		{"pair without a publishable half", pair.ID, Replacement{Secret: newSecret("x")}, "publishable", ErrInvalid},
		{"lone secret with one", lone.ID, Replacement{newSecret("x"), newPublishable("pk_x")}, "publishable", ErrInvalid},
		{"its own secret", pair.ID, Replacement{newSecret("sk_1"), newPublishable("pk_x")}, "secret", ErrConflict},
		{"its own publishable half", pair.ID, Replacement{newSecret("x"), newPublishable("pk_1")}, "publishable", ErrConflict},
		{"one text for both halves", pair.ID, Replacement{newSecret("pk_x"), newPublishable("pk_x")}, "publishable", ErrConflict},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := w.ReplaceKey(t.Context(), tt.id, tt.in, nil)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("got %v, want %v naming %q", err, tt.want, tt.field)
			}
		})
	}
	if keys, _, err := w.Keys(t.Context(), KeyFilter{}, Page{Limit: 10}); err != nil || len(keys) != 3 {
		t.Errorf("%d keys, %v; want 3", len(keys), err)
	}
	if a, b := w.verdict("vexrail", verified, "pk_1", "sk_1"), w.verdict("genrex", charged, "lone"); a != api.Granted || b != api.Granted {
		t.Errorf("old keys: %s, %s; want granted", a, b)
	}
	w.verify()
}
