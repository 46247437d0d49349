package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// namesIn lists a directory.
func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// A backup beside a writer holds one moment of the books, in a single file that needs no other to be read.
func TestBackUpBesideAWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.mustAccount(AccountActive)
	w.mustKey(a.ID, "secret")
	w.mustTopUp(a.ID, 1_000_000)
	stop, wait := make(chan struct{}), sync.WaitGroup{}
	wait.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.mustTopUp(a.ID, 1)
			}
		}
	})
	dir := t.TempDir()
	to := filepath.Join(dir, "b.db")
	var steps []string
	b, err := BackUp(t.Context(), w.path, to, func(step string, done, total int64) {
		if len(steps) == 0 || steps[len(steps)-1] != step {
			steps = append(steps, step)
		}
		if done > total {
			t.Errorf("%s: %d of %d", step, done, total)
		}
	})
	close(stop)
	wait.Wait()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode() != 0o600 || info.Size() != b.Bytes || b.Path != to {
		t.Errorf("%+v: %v, %v", b, info, err)
	}
	if !b.Verified() || b.Report.Accounts != 1 || b.Report.Entries < 2 || !slices.Equal(steps, []string{"copy", "verify"}) {
		t.Errorf("%+v after %q", b, steps)
	}
	if got := namesIn(t, dir); !slices.Equal(got, []string{"b.db"}) {
		t.Errorf("left behind: %q", got)
	}
	must(t, os.Chmod(dir, 0o500))
	defer func() { _ = os.Chmod(dir, 0o700) }()
	copied, err := OpenReadOnly(t.Context(), Options{Path: to})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	entries, _, err := copied.Entries(t.Context(), a.ID, Page{Limit: 1})
	if err != nil || len(entries) != 1 {
		t.Errorf("entries %v, %v", entries, err)
	}
}

func TestBackUpNeverOverwrites(t *testing.T) {
	t.Parallel()
	w := fullWorld(t)
	to := filepath.Join(t.TempDir(), "taken")
	must(t, os.WriteFile(to, []byte("mine"), 0o600))
	if _, err := BackUp(t.Context(), w.path, to, nil); !errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(to); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	stray := filepath.Join(filepath.Dir(to), "b.db")
	must(t, os.WriteFile(stray+"-wal", []byte("another's log"), 0o600))
	if _, err := BackUp(t.Context(), w.path, stray, nil); !errors.Is(err, ErrExists) {
		t.Errorf("beside a log: %v", err)
	}
	if got := namesIn(t, filepath.Dir(to)); len(got) != 2 {
		t.Errorf("left behind: %q", got)
	}
}

// What ends early, or has nothing to copy, leaves nothing.
func TestBackUpThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := fullWorld(t)
	dir := t.TempDir()
	ended, end := context.WithCancel(t.Context())
	if _, err := BackUp(ended, w.path, filepath.Join(dir, "b.db"), func(string, int64, int64) { end() }); !errors.Is(err, context.Canceled) {
		t.Errorf("ended early: %v", err)
	}
	if _, err := BackUp(t.Context(), filepath.Join(dir, "missing"), filepath.Join(dir, "b.db"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	if got := namesIn(t, dir); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

// A copy whose books do not agree is no backup, but it is not thrown away either.
func TestBackUpOfWhatIsUnsound(t *testing.T) {
	t.Parallel()
	w := fullWorld(t)
	execIn(t, w.path, "UPDATE wallets SET available = available + 1, funding = funding - 1")
	to := filepath.Join(t.TempDir(), "b.db")
	b, err := BackUp(t.Context(), w.path, to, nil)
	if !errors.Is(err, ErrUnsound) || len(b.Report.Problems) == 0 || b.Path != to+".unsound" {
		t.Errorf("%+v, %v", b, err)
	}
	if got := namesIn(t, filepath.Dir(to)); !slices.Equal(got, []string{"b.db.unsound"}) {
		t.Errorf("left behind: %q", got)
	}
}

// A page that was overwritten is found, whatever it held.
func TestBackUpFindsADamagedFile(t *testing.T) {
	t.Parallel()
	w := fullWorld(t)
	whole, err := os.ReadFile(w.path)
	must(t, err)
	for page := range len(whole) / 4096 {
		if page%7 != 1 {
			continue
		}
		damaged := slices.Clone(whole)
		copy(damaged[page*4096:], bytes.Repeat([]byte{0xa5}, 4096))
		from := filepath.Join(t.TempDir(), "damaged.db")
		must(t, os.WriteFile(from, damaged, 0o600))
		if _, err := BackUp(t.Context(), from, from+".bak", nil); !errors.Is(err, ErrUnsound) {
			t.Errorf("page %d: %v", page, err)
		}
	}
}

// A database of an older schema is copied as it is.
func TestBackUpOfAnOlderSchema(t *testing.T) {
	t.Parallel()
	path, _ := newFirstSchema(t)
	b, err := BackUp(t.Context(), path, path+".bak", nil)
	if err != nil || b.Verified() || b.Schema != 1 {
		t.Errorf("%+v, %v", b, err)
	}
}

// execIn runs a statement that no store would.
func execIn(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	_, err = db.Exec(statement)
	must(t, err)
	must(t, db.Close())
}
