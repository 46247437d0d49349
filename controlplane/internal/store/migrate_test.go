package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// newFirstSchema makes a database as the first migration left it, with two accounts' data in every table.
func newFirstSchema(t *testing.T) (path string, acquires map[string]*api.AcquireRequest) {
	t.Helper()
	path, err := prepareFile(filepath.Join(t.TempDir(), "tollgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := connect(path, writing)
	if err != nil {
		t.Fatal(err)
	}
	text, err := migrations.ReadFile("migrations/0001_init.sql")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, fstest.MapFS{"0001_init.sql": {Data: text}})
	if err == nil {
		_, err = p.Up(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	acquires = fillFirstSchema(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path, acquires
}

func fillFirstSchema(t *testing.T, db *sql.DB) map[string]*api.AcquireRequest {
	t.Helper()
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	stored := func(secret string) []byte { d := apikey.DigestOf(secret).Stored(); return d[:] }
	exec(`INSERT INTO accounts VALUES ('acct_1', 'Ada', 'active', 1, 2), ('acct_2', 'Bob', 'disabled', 3, 4), ('acct_3', 'Eve', 'active', 3, 4)`)
	exec(`INSERT INTO wallets VALUES ('acct_1', -100, 93, 0, 7, 0), ('acct_2', -5, 5, 0, 0, 0), ('acct_3', 0, 0, 0, 0, 0)`)
	exec(`INSERT INTO keys VALUES ('key_1', 'acct_1', 'genrex', 'laptop', 'grx_sk_', 'abcd', ?, 'active', 5, 6, NULL),
		('key_2', 'acct_2', 'genrex', 'old', 'grx_sk_', 'efgh', ?, 'revoked', 7, 8, 9),
		('key_3', 'acct_1', 'genrex', 'off', 'grx_sk_', 'ijkl', ?, 'inactive', 10, 11, NULL)`,
		stored("one"), stored("two"), stored("three"))
	exec(`INSERT INTO tokens VALUES ('token_1', 'ci', 'owner', ?, 12)`, stored("token"))
	exec(`INSERT INTO entries VALUES
		('acct_1', 'entry_01', 'txn_1', 'top_up', 'funding', -100, -100, '', '', 'invoice', 'token_1', 13),
		('acct_1', 'entry_02', 'txn_1', 'top_up', 'available', 100, 100, '', '', 'invoice', 'token_1', 13),
		('acct_2', 'entry_021', 'txn_3', 'top_up', 'funding', -5, -5, '', '', 'gift', 'token_1', 13),
		('acct_2', 'entry_022', 'txn_3', 'top_up', 'available', 5, 5, '', '', 'gift', 'token_1', 13),
		('acct_1', 'entry_03', 'txn_2', 'debit', 'available', -7, 93, 'key_1', 'boot-1-a', '', '', 14),
		('acct_1', 'entry_04', 'txn_2', 'debit', 'spent', 7, 7, 'key_1', 'boot-1-a', '', '', 14)`)
	granted, denied := acquireOf("one", "boot-1-a", 7), acquireOf("one", "boot-1-b", 500)
	g, d := hashRequest(granted), hashRequest(denied)
	exec(`INSERT INTO operations VALUES ('boot-1-a', ?, 'granted', 'acct_1', 'key_1', 7, 14),
		('boot-1-b', ?, 'insufficient_credits', 'acct_1', 'key_1', 0, 15)`, g[:], d[:])
	exec(`INSERT INTO idempotency VALUES ('token_1', 'k', ?1, 'create_key', 'key_1', 16), ('token_1', 'k 2', ?1, 'top_up', 'entry_02', 13)`,
		make([]byte, 32))
	return map[string]*api.AcquireRequest{"granted": granted, "denied": denied}
}

func TestMigrationKeepsEveryRow(t *testing.T) {
	path, acquires := newFirstSchema(t)
	w := &world{TB: t, path: path, clock: newClock()}
	w.reopen()
	w.verify()

	key := func(id, account, name, last4 string, status KeyStatus, created int64) Key {
		return Key{
			ID: id, AccountID: account, Scheme: "genrex", Name: name, Environment: EnvironmentProduction, Prefix: "grx_sk_",
			Last4: last4, Status: status, CreatedAt: fromMicros(created), UpdatedAt: fromMicros(created + 1),
		}
	}
	two := key("key_2", "acct_2", "old", "efgh", KeyRevoked, 7)
	two.RevokedAt = ptr(fromMicros(9))
	want := []Key{key("key_3", "acct_1", "off", "ijkl", KeyInactive, 10), two, key("key_1", "acct_1", "laptop", "abcd", KeyActive, 5)}
	keys, _, err := w.Keys(t.Context(), KeyFilter{}, Page{Limit: 10})
	if diff := cmp.Diff(want, keys); diff != "" || err != nil {
		t.Errorf("keys, %v (-want +got):\n%s", err, diff)
	}
	for secret, want := range map[string]api.Verdict{"one": api.Granted, "two": api.InactiveKey, "three": api.InactiveKey} {
		if got := w.verdict("genrex", charged, secret); got != want {
			t.Errorf("%s: %s, want %s", secret, got, want)
		}
	}
	entries, _, err := w.Entries(t.Context(), "acct_1", Page{Limit: 10})
	if err != nil || len(entries) != 4 || entries[3].Reason != "invoice" || entries[2].IdempotencyKey != "k 2" || entries[0].OpID != "boot-1-a" {
		t.Errorf("entries %+v, %v", entries, err)
	}
	gift, _, err := w.Entries(t.Context(), "acct_2", Page{Limit: 10})
	if err != nil || len(gift) != 2 || gift[0].ID != "entry_022" || gift[1].ID != "entry_021" {
		t.Errorf("entries %+v, %v", gift, err)
	}
	if none, _, err := w.Entries(t.Context(), "acct_3", Page{Limit: 10}); err != nil || len(none) != 0 {
		t.Errorf("entries %+v, %v", none, err)
	}
	lease := &api.Lease{Credits: 7, Available: 93, Account: "acct_1", Key: "key_1"}
	if got := w.mustAcquire(acquires["granted"]); !cmp.Equal(got.Lease, lease) {
		t.Errorf("replayed grant %+v, want %+v", got.Lease, lease)
	}
	if got := w.mustAcquire(acquires["denied"]).Verdict; got != api.InsufficientCredits {
		t.Errorf("replayed denial: %s", got)
	}
	replayed, again, err := w.CreateKey(t.Context(), newKey("acct_1", "x"), &Idempotency{Caller: "token_1", Key: "k"})
	if err != nil || !again || replayed.ID != "key_1" {
		t.Errorf("idempotency key: %+v, replayed %v, %v", replayed, again, err)
	}
	if token, err := w.TokenByDigest(t.Context(), apikey.DigestOf("token")); err != nil || token.ID != "token_1" {
		t.Errorf("token %+v, %v", token, err)
	}
}

// What the first schema could not hold works in a migrated one, and its guards are still there.
func TestMigratedDatabaseWorks(t *testing.T) {
	path, _ := newFirstSchema(t)
	w := &world{TB: t, path: path, clock: newClock()}
	w.reopen()
	w.mustSync(void("boot-1-a"))
	w.mustSync(unpaid("boot-1-b", 500, "genrex", "one"))
	w.mustRotate("key_1", Rotation{Secret: newSecret("next")})
	want := Wallet{AccountID: "acct_1", Granted: 100, Available: 100, WrittenOff: 500}
	if got := w.mustWallet("acct_1"); got != want {
		t.Errorf("wallet %+v, want %+v", got, want)
	}
	w.verify()
	for _, statement := range []string{"UPDATE entries SET delta = delta * 2", "DELETE FROM entries"} {
		if _, err := w.writer.db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s was let through", statement)
		}
	}
	var left string
	row := w.readers.QueryRowContext(t.Context(), "SELECT coalesce(group_concat(name), '') FROM sqlite_schema WHERE sql GLOB '*_000[0-9]*'")
	if err := row.Scan(&left); err != nil || left != "" {
		t.Errorf("left of the first schema: %q, %v", left, err)
	}
}

// copyFile is how an operator copies a database that nothing has open.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenReadOnlyMigratesNothing(t *testing.T) {
	old, _ := newFirstSchema(t)
	newer := newWorld(t)
	if _, err := newer.writer.db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := newer.Close(); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		path string
		want error
	}{
		"older": {old, ErrSchemaTooOld}, "newer": {newer.path, ErrSchemaTooNew}, "empty": {empty, ErrSchemaTooOld},
	} {
		before := readFile(t, tt.path)
		s, err := OpenReadOnly(t.Context(), Options{Path: tt.path})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, %v; want %v", name, s, err, tt.want)
		}
		if !bytes.Equal(before, readFile(t, tt.path)) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	absent := filepath.Join(t.TempDir(), "absent.db")
	if s, err := OpenReadOnly(t.Context(), Options{Path: absent}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: got %v, %v; want ErrNotExist", s, err)
	}
	if _, err := os.Stat(absent); err == nil {
		t.Error("absent: the file was made")
	}
}

func TestOpenReadOnlyChangesNothing(t *testing.T) {
	w, account, key := syncWorld(t)
	w.mustAcquire(acquireOf("secret", "boot-1-a", 4))
	wallet := w.mustWallet(account.ID)
	// Beside the writer, what it commits later is seen too.
	s, err := OpenReadOnly(t.Context(), Options{Path: w.path, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Wallet(t.Context(), account.ID); err != nil || got != wallet {
		t.Errorf("wallet %+v, %v; want %+v", got, err, wallet)
	}
	w.mustAcquire(acquireOf("secret", "boot-1-b", 1))
	if got, err := s.Wallet(t.Context(), account.ID); err != nil || got.Available != 5 {
		t.Errorf("wallet %+v, %v; want 5 available", got, err)
	}
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"account": func() error { _, _, err := s.CreateAccount(ctx, NewAccount{"Ada", AccountActive}, nil); return err },
		"revoke":  func() error { _, err := s.RevokeKey(ctx, key.ID); return err },
		"acquire": func() error { _, err := s.Acquire(ctx, acquireOf("secret", "boot-1-c", 1), charged); return err },
		"sync":    func() error { _, err := s.Sync(ctx, void("boot-1-a")); return err },
	} {
		if err := call(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: got %v, want ErrReadOnly", name, err)
		}
	}
	if _, err := s.readers.ExecContext(ctx, "PRAGMA query_only = 0; DELETE FROM idempotency; UPDATE accounts SET name = 'x'"); err == nil {
		t.Error("a read-only connection wrote")
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := s.Verify(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("verify after close: got %v, want ErrClosed", err)
	}
	// The writer goes on as if nobody had been there.
	w.mustAcquire(acquireOf("secret", "boot-1-d", 1))
	w.verify()
}

// A copy taken from a crashed process has a log beside it; one of a closed database has none.
func TestVerifyOfACopy(t *testing.T) {
	w, _, _ := syncWorld(t)
	w.mustAcquire(acquireOf("secret", "boot-1-a", 4))
	want, err := w.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	crashed := filepath.Join(t.TempDir(), "crashed.db")
	copyFile(t, w.path, crashed)
	copyFile(t, w.path+"-wal", crashed+"-wal")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"crashed": crashed, "closed": w.path} {
		before := readFile(t, path)
		s, err := OpenReadOnly(context.Background(), Options{Path: path})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := s.Verify(t.Context())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s, %v (-want +got):\n%s", name, err, diff)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
		if !bytes.Equal(before, readFile(t, path)) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}
