package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// newToken is a token whose text is text.
func newToken(role Role, text string) NewToken {
	return NewToken{Name: "ci", Role: role, Digest: apikey.DigestOf(text)}
}

func (w *world) mustMakeToken(in NewToken) Token {
	w.Helper()
	token, _, err := w.CreateToken(w.Context(), in, nil)
	if err != nil {
		w.Fatal(err)
	}
	return token
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	for _, role := range Roles() {
		in := newToken(role, "token of "+string(role))
		if role == RoleAccount {
			in.AccountID = account.ID
		}
		if role != RoleOwner {
			in.ExpiresAt = ptr(w.clock.Now().Add(time.Hour))
		}
		got, _, err := w.CreateToken(t.Context(), in, nil)
		want := Token{ID: got.ID, Name: "ci", Role: role, AccountID: in.AccountID, CreatedAt: w.clock.Now(), ExpiresAt: in.ExpiresAt}
		if diff := cmp.Diff(want, got); diff != "" || err != nil || !strings.HasPrefix(got.ID, "token_") {
			t.Fatalf("%s, %v (-want +got):\n%s", role, err, diff)
		}
		for name, read := range map[string]func() (Token, error){
			"by digest": func() (Token, error) { return w.TokenByDigest(t.Context(), in.Digest) },
			"by id":     func() (Token, error) { return w.Token(t.Context(), got.ID) },
		} {
			if read, err := read(); !cmp.Equal(read, got) || err != nil {
				t.Errorf("%s: read %+v, %v; want %+v", name, read, err, got)
			}
		}
		if _, err := w.TokenByDigest(t.Context(), in.Digest.Stored()); !errors.Is(err, ErrNotFound) {
			t.Errorf("the stored digest opens the door: %v", err)
		}
		if _, _, err := w.CreateToken(t.Context(), in, nil); !errors.Is(err, ErrConflict) {
			t.Errorf("same digest: got %v, want ErrConflict", err)
		}
	}
	for name, tt := range map[string]struct {
		spoil func(*NewToken)
		want  error
	}{
		"no name":                   {func(in *NewToken) { in.Name = "" }, ErrInvalid},
		"bad role":                  {func(in *NewToken) { in.Role = "root" }, ErrInvalid},
		"account role alone":        {func(in *NewToken) { in.Role = RoleAccount }, ErrInvalid},
		"account of another role":   {func(in *NewToken) { in.AccountID = account.ID }, ErrInvalid},
		"expiry now":                {func(in *NewToken) { in.ExpiresAt = ptr(w.clock.Now()) }, ErrInvalid},
		"expiry beyond four digits": {func(in *NewToken) { in.ExpiresAt = &maxExpiry }, ErrInvalid},
		"unknown account":           {func(in *NewToken) { in.Role, in.AccountID = RoleAccount, "acct_none" }, ErrNotFound},
	} {
		in := newToken(RoleViewer, name)
		tt.spoil(&in)
		if _, _, err := w.CreateToken(t.Context(), in, nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
}

func TestCreateTokenOnce(t *testing.T) {
	w := newWorld(t)
	idem := &Idempotency{Caller: "token_1", Key: "k"}
	made, replayed, err := w.CreateToken(t.Context(), newToken(RoleGate, "a"), idem)
	if err != nil || replayed {
		t.Fatal(err, replayed)
	}
	again, replayed, err := w.CreateToken(t.Context(), newToken(RoleGate, "b"), idem)
	if err != nil || !replayed || !cmp.Equal(made, again) {
		t.Errorf("got %+v, replayed %v, %v; want %+v", again, replayed, err, made)
	}
	if _, err := w.TokenByDigest(t.Context(), apikey.DigestOf("b")); !errors.Is(err, ErrNotFound) {
		t.Errorf("the digest of the repeated call: %v", err)
	}
}

func TestRevokedAndExpiredTokensAreNotUsable(t *testing.T) {
	w := newWorld(t)
	in := newToken(RoleViewer, "a")
	in.ExpiresAt = ptr(w.clock.Now().Add(time.Second))
	expiring, revoked := w.mustMakeToken(in), w.mustMakeToken(newToken(RoleViewer, "b"))
	if !expiring.Usable(w.clock.Now()) || !expiring.Usable(in.ExpiresAt.Add(-1)) || expiring.Usable(*in.ExpiresAt) {
		t.Error("a token works before its expiry and not from then on")
	}
	at := w.clock.Now()
	got, err := w.RevokeToken(t.Context(), revoked.ID)
	if err != nil || got.Usable(at) || got.RevokedAt == nil || !got.RevokedAt.Equal(at) {
		t.Errorf("revoked %+v, %v", got, err)
	}
	w.clock.Advance(time.Minute)
	again, err := w.RevokeToken(t.Context(), revoked.ID)
	if read, _ := w.TokenByDigest(t.Context(), apikey.DigestOf("b")); err != nil || !cmp.Equal(again, got) || !cmp.Equal(read, got) {
		t.Errorf("revoked again %+v, %v; read %+v; want %+v", again, err, read, got)
	}
	if _, err := w.RevokeToken(t.Context(), "token_none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
}

func TestTheLastOwnerStays(t *testing.T) {
	w := newWorld(t)
	in := newToken(RoleOwner, "a")
	in.ExpiresAt = ptr(w.clock.Now().Add(time.Hour))
	expiring := w.mustMakeToken(in)
	w.mustMakeToken(newToken(RoleOperator, "o"))
	first, second := w.mustMakeToken(newToken(RoleOwner, "b")), w.mustMakeToken(newToken(RoleOwner, "c"))
	revoke := func(id string, want error) {
		t.Helper()
		if _, err := w.RevokeToken(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	revoke(first.ID, nil)
	w.clock.Advance(time.Hour)
	// The other two are revoked and expired.
	revoke(second.ID, ErrLastOwner)
	revoke(expiring.ID, nil)
	third := w.mustMakeToken(newToken(RoleOwner, "d"))
	revoke(second.ID, nil)
	revoke(third.ID, ErrLastOwner)
}

func TestUseTokensKeepsTheNewest(t *testing.T) {
	w := newWorld(t)
	a, b := w.mustMakeToken(newToken(RoleGate, "a")), w.mustMakeToken(newToken(RoleGate, "b"))
	acts := len(w.mustActs(ActFilter{}))
	at := w.clock.Now()
	for _, used := range []map[string]time.Time{
		{a.ID: at, b.ID: at.Add(time.Second)}, {a.ID: at.Add(time.Minute), b.ID: at, "token_none": at},
	} {
		if err := w.UseTokens(t.Context(), used); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]time.Time{a.ID: at.Add(time.Minute), b.ID: at.Add(time.Second)} {
		if got, err := w.Token(t.Context(), id); err != nil || got.LastUsedAt == nil || !got.LastUsedAt.Equal(want) {
			t.Errorf("%+v, %v; want last used at %v", got, err, want)
		}
	}
	if n := len(w.mustActs(ActFilter{})); n != acts {
		t.Errorf("%d acts", n-acts)
	}
}

func TestTokensAreListed(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	var want []string
	for i := range 5 {
		in := newToken(RoleAccount, fmt.Sprint(i))
		in.AccountID = account.ID
		if i%2 == 1 {
			in.Role, in.AccountID = RoleGate, ""
		}
		want = append([]string{w.mustMakeToken(in).ID}, want...)
	}
	for name, tt := range map[string]struct {
		filter TokenFilter
		want   []string
	}{
		"all":     {TokenFilter{}, want},
		"account": {TokenFilter{AccountID: account.ID}, []string{want[0], want[2], want[4]}},
		"none":    {TokenFilter{AccountID: "acct_none"}, nil},
	} {
		var got []string
		for after, more := "", true; more; {
			var page []Token
			var err error
			if page, more, err = w.Tokens(t.Context(), tt.filter, Page{Limit: 2, After: after}); err != nil {
				t.Fatal(err)
			}
			for _, token := range page {
				got, after = append(got, token.ID), token.ID
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
