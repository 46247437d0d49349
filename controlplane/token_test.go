package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// A token of an account, made on the machine of the database, is that account's, ends when it was told to, and its making
// is in the audit log.
func TestTokenCreateForAnAccount(t *testing.T) {
	db := filepath.Join(t.TempDir(), "t.db")
	st, err := store.Open(t.Context(), store.Options{Path: db, Actor: store.LocalActor})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	account, _, err := st.CreateAccount(t.Context(), store.NewAccount{Name: "Ada", Status: store.AccountActive}, nil)
	if err != nil {
		t.Fatal(err)
	}
	create := func(args ...string) result {
		t.Helper()
		return finish(t, command(t, append([]string{"token", "create", "--db", db, "--name", "n"}, args...)...))
	}
	got := create("--account="+account.ID, "--expires=2d")
	token, err := st.TokenByDigest(context.Background(), apikey.DigestOf(strings.TrimSpace(got.stdout)))
	if err != nil || got.code != 0 || token.Role != store.RoleAccount || token.AccountID != account.ID || token.ExpiresAt == nil ||
		token.ExpiresAt.Sub(token.CreatedAt).Round(time.Hour) != 48*time.Hour {
		t.Errorf("%+v: got %+v, %v", got, token, err)
	}
	acts, _, err := st.Acts(t.Context(), store.ActFilter{TargetID: token.ID}, store.Page{Limit: 10})
	if err != nil || len(acts) != 1 || acts[0].Actor != store.LocalActor || acts[0].Action != "token.create" {
		t.Errorf("acts %+v, %v", acts, err)
	}
	for name, tt := range map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"no role":             {nil, 2, "--role: expected one of owner"},
		"no account":          {[]string{"--role=account"}, 2, "--account: expected with --role account"},
		"account of a viewer": {[]string{"--role=viewer", "--account=" + account.ID}, 2, "--account: expected with --role account"},
		"unknown account":     {[]string{"--role=account", "--account=acct_none"}, 1, "--account: expected the id of an account"},
		"no time":             {[]string{"--role=viewer", "--expires=soon"}, 2, "expected a time such as"},
		"ended":               {[]string{"--role=viewer", "--expires=2020-01-01T00:00:00Z"}, 1, "--expires: expected a time in the future"},
	} {
		if got := create(tt.args...); got.code != tt.code || got.stdout != "" || !strings.Contains(got.stderr, tt.stderr) {
			t.Errorf("%s: got %+v, want %d %q", name, got, tt.code, tt.stderr)
		}
	}
}

func lastUse(t *testing.T, db, text string) *time.Time {
	t.Helper()
	st, err := store.OpenReadOnly(t.Context(), store.Options{Path: db})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	token, err := st.TokenByDigest(t.Context(), apikey.DigestOf(text))
	if err != nil {
		t.Fatal(err)
	}
	return token.LastUsedAt
}
