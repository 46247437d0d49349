package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every connection of a pool must have its pragmas, not only the one that happened to be opened first.
func TestPragmasOnEveryConnection(t *testing.T) {
	common := map[string]string{
		"busy_timeout": "5000", "journal_mode": "wal", "foreign_keys": "1", "recursive_triggers": "1", "synchronous": "2",
	}
	tests := []struct {
		access    access
		queryOnly string
		conns     int
	}{
		{writing, "0", 1},
		{reading, "1", runtime.GOMAXPROCS(0)},
	}
	for _, tt := range tests {
		t.Run(string(tt.access), func(t *testing.T) {
			w := newWorld(t)
			db, err := connect(w.path, tt.access)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if got := db.Stats().MaxOpenConnections; got != tt.conns {
				t.Errorf("pool of %d connections, want %d", got, tt.conns)
			}
			db.SetMaxOpenConns(4)
			for range 4 {
				conn, err := db.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				got := map[string]string{}
				for name := range common {
					got[name] = pragma(t, conn, name)
				}
				if diff := cmp.Diff(common, got); diff != "" {
					t.Errorf("pragmas (-want +got):\n%s", diff)
				}
				if got := pragma(t, conn, "query_only"); got != tt.queryOnly {
					t.Errorf("query_only = %s, want %s", got, tt.queryOnly)
				}
			}
		})
	}
}

func pragma(t *testing.T, conn *sql.Conn, name string) string {
	t.Helper()
	var value string
	if err := conn.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&value); err != nil {
		t.Fatalf("pragma %s: %v", name, err)
	}
	return value
}

func TestReadersCannotWrite(t *testing.T) {
	w := newWorld(t)
	if _, err := w.readers.ExecContext(t.Context(), "DELETE FROM accounts"); err == nil {
		t.Error("a reader wrote")
	}
}

func TestPathsOfAnyName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"plain.db", "with space.db", "what?.db", "mode?mode=memory.db", "hash#1.db", "100%.db", "%41.db", "a+b&c=d;e.db",
		"кредит.db", "back\\slash.db", ":memory:", "line\nbreak.db",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			data, err := emptyFile()
			must(t, err)
			must(t, os.WriteFile(path, data, 0o600))
			s, err := Open(t.Context(), Options{Path: path, Actor: tester})
			if err != nil {
				t.Fatal(err)
			}
			account, _, err := s.CreateAccount(t.Context(), NewAccount{Name: "Ada", Status: AccountActive}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != 1 || files[0].Name() != name {
				t.Errorf("directory holds %v (%v), want %q alone", files, err, name)
			}
			if s, err = Open(t.Context(), Options{Path: path, Actor: tester}); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Account(t.Context(), account.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	s, err := Open(t.Context(), Options{Path: "tollgate.db"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := os.Stat("tollgate.db"); err != nil {
		t.Error(err)
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	w := newWorld(t)
	w.mustAccount(AccountActive)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(w.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("mode of the database%s is %o, want 600", suffix, mode)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		is         error
	}{
		{"no path", "", ErrInvalid},
		{"NUL in the path", filepath.Join(dir, "a\x00b"), ErrInvalid},
		{"missing directory", filepath.Join(dir, "absent", "tollgate.db"), os.ErrNotExist},
		{"directory", dir, nil},
		{"other file", text, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Open(t.Context(), Options{Path: tt.path})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %v", err, tt.is)
			}
		})
	}
	if got, err := os.ReadFile(text); err != nil || !strings.HasPrefix(string(got), "not a database\n") {
		t.Errorf("the other file was changed: %v", err)
	}
}

func TestLibraryVersion(t *testing.T) {
	tests := []struct {
		version string
		ok      bool
	}{
		{"3.51.3", true},
		{"3.51.10", true},
		{"3.53.0", true},
		{"4.0.0", true},
		{"3.51.2", false},
		{"3.50.9", false},
		{"2.99.99", false},
		{"", false},
		{"three", false},
	}
	for _, tt := range tests {
		if err := checkVersion(tt.version); (err == nil) != tt.ok {
			t.Errorf("%q: got %v, want ok = %v", tt.version, err, tt.ok)
		}
	}
}

func TestReopenKeepsEverything(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	key := w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 100)
	granted := w.mustAcquire(acquireOf("secret", "op-1", 7))
	before := w.mustWallet(account.ID)
	entries, _, err := w.Entries(t.Context(), account.ID, Page{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if diff := cmp.Diff(before, w.mustWallet(account.ID)); diff != "" {
		t.Errorf("wallet (-before +after):\n%s", diff)
	}
	after, _, err := w.Entries(t.Context(), account.ID, Page{Limit: 10})
	if diff := cmp.Diff(entries, after); diff != "" || err != nil {
		t.Errorf("entries, %v (-before +after):\n%s", err, diff)
	}
	key.LastUsedAt = ptr(w.clock.Now().Truncate(time.Second))
	if got, err := w.Key(t.Context(), key.ID); err != nil || !cmp.Equal(got, key) {
		t.Errorf("key: got %+v, %v; want %+v", got, err, key)
	}
	if diff := cmp.Diff(granted, w.mustAcquire(acquireOf("secret", "op-1", 7))); diff != "" {
		t.Errorf("replay (-want +got):\n%s", diff)
	}
	w.verify()
}

func TestNewerSchemaIsRefusedUntouched(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := connect(w.path, writing)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const later = "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"
	if _, err := db.ExecContext(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{Path: w.path})
	if !errors.Is(err, ErrSchemaTooNew) {
		t.Fatalf("got %v, %v; want ErrSchemaTooNew", s, err)
	}
	var name string
	if err := db.QueryRowContext(t.Context(), "SELECT name FROM accounts WHERE id = ?", account.ID).Scan(&name); err != nil {
		t.Errorf("account after the refusal: %v", err)
	}
}

// serve and token create may meet on a database that neither has seen.
func TestConcurrentFirstOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tollgate.db")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s, err := Open(context.Background(), Options{Path: path, Actor: tester})
			if err != nil {
				t.Errorf("open %d: %v", i, err)
				return
			}
			if _, _, err := s.CreateAccount(context.Background(), NewAccount{Name: "Ada", Status: AccountActive}, nil); err != nil {
				t.Errorf("create %d: %v", i, err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("close %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if all, _, err := s.Accounts(t.Context(), Page{Limit: 100}); err != nil || len(all) != 8 {
		t.Errorf("%d accounts, %v; want 8", len(all), err)
	}
}

func TestClosedStore(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	calls := map[string]func() error{
		"account":  func() error { _, err := w.Account(ctx, account.ID); return err },
		"accounts": func() error { _, _, err := w.Accounts(ctx, Page{Limit: 1}); return err },
		"create":   func() error { _, _, err := w.CreateAccount(ctx, NewAccount{"Ada", AccountActive}, nil); return err },
		"wallet":   func() error { _, err := w.Wallet(ctx, account.ID); return err },
		"entries":  func() error { _, _, err := w.Entries(ctx, account.ID, Page{Limit: 1}); return err },
		"keys":     func() error { _, _, err := w.Keys(ctx, KeyFilter{}, Page{Limit: 1}); return err },
		"top up":   func() error { _, _, err := w.Store.TopUp(ctx, TopUp{account.ID, 1, "", "x"}, nil); return err },
		"acquire":  func() error { _, err := w.Acquire(ctx, acquireOf("secret", "op", 1), charged); return err },
		"sync":     func() error { _, err := w.Sync(ctx, void("boot-1-op")); return err },
		"project":  func() error { _, err := w.Project(ctx, "proj_1"); return err },
		"projects": func() error { _, _, err := w.Projects(ctx, ProjectFilter{}, Page{Limit: 1}); return err },
		"attest":   func() error { _, err := w.AttestDomain(ctx, "proj_1", "r", "a"); return err },
		"verify":   func() error { _, err := w.Verify(ctx); return err },
		"token":    func() error { _, err := w.TokenByDigest(ctx, [32]byte{}); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
}
