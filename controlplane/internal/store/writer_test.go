package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// newStepped returns a writer on a real file whose batches the test commits itself.
func newStepped(t *testing.T) *writer {
	t.Helper()
	path, err := prepareFile(filepath.Join(t.TempDir(), "tollgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := openWriter(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	opts, err := Options{Now: newClock().Now}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(db, opts)
	if w.stmts, err = prepare(t.Context(), db, allStatements()...); err != nil {
		t.Fatal(err)
	}
	return w
}

// jobOf is a job that inserts an account named name and then returns err.
func jobOf(name string, err error) *job {
	return &job{ctx: context.Background(), done: make(chan struct{}), run: func(tx *writeTx) error {
		return errors.Join(insertNamed(tx, name), err)
	}}
}

func insertNamed(tx *writeTx, name string) error {
	return tx.InsertAccount(tx.ctx, queries.InsertAccountParams{ID: name, Name: name, Status: "active"})
}

// names are those of the accounts that are there, in the order they were inserted.
func names(t *testing.T, db *sql.DB) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT name FROM accounts ORDER BY rowid")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		all = append(all, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func step(t *testing.T, w *writer, jobs ...*job) {
	t.Helper()
	w.commit(jobs)
	for i, j := range jobs {
		select {
		case <-j.done:
		default:
			t.Errorf("job %d was not answered", i)
		}
	}
}

var errRefused = errors.New("refused")

func TestRefusedJobIsUndoneAlone(t *testing.T) {
	w := newStepped(t)
	good, bad, duplicate, last := jobOf("a", nil), jobOf("b", errRefused), jobOf("a", nil), jobOf("c", nil)
	step(t, w, good, bad, duplicate, last)
	if good.err != nil || last.err != nil {
		t.Errorf("good jobs got %v, %v", good.err, last.err)
	}
	if !errors.Is(bad.err, errRefused) || !isDuplicate(duplicate.err) {
		t.Errorf("bad jobs got %v, %v", bad.err, duplicate.err)
	}
	if diff := cmp.Diff([]string{"a", "c"}, names(t, w.db)); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

func TestJobsSeeThoseBeforeThem(t *testing.T) {
	w := newStepped(t)
	var seen []string
	look := &job{ctx: context.Background(), done: make(chan struct{}), run: func(tx *writeTx) error {
		row, err := tx.Account(tx.ctx, "a")
		seen = append(seen, row.Name)
		return err
	}}
	step(t, w, jobOf("a", nil), look)
	if look.err != nil || len(seen) != 1 || seen[0] != "a" {
		t.Errorf("saw %v, %v", seen, look.err)
	}
}

// A deferred foreign key fails at COMMIT and nowhere before.
func TestFailedCommitAnswersAll(t *testing.T) {
	w := newStepped(t)
	orphan := &job{ctx: context.Background(), done: make(chan struct{}), run: func(tx *writeTx) error {
		_, err := tx.tx.ExecContext(tx.ctx, "PRAGMA defer_foreign_keys = 1")
		return errors.Join(err, tx.InsertWallet(tx.ctx, "nobody"))
	}}
	refused := jobOf("b", errRefused)
	jobs := []*job{jobOf("a", nil), orphan, refused, jobOf("c", nil)}
	step(t, w, jobs...)
	for i, j := range jobs {
		if j.err == nil || errors.Is(j.err, errRefused) {
			t.Errorf("job %d got %v, want the commit's error", i, j.err)
		}
	}
	if got := names(t, w.db); len(got) != 0 {
		t.Errorf("accounts %v remain of a failed batch", got)
	}
	next := jobOf("d", nil)
	step(t, w, next)
	if diff := cmp.Diff([]string{"d"}, names(t, w.db)); diff != "" || next.err != nil {
		t.Errorf("the next batch: %v (-want +got):\n%s", next.err, diff)
	}
}

// A full disk makes SQLite roll back the whole transaction in the middle of it; jobs that come after must not
// run outside of one.
func TestFullDiskAbandonsTheBatch(t *testing.T) {
	w := newStepped(t)
	var pages int
	if err := w.db.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		t.Helper()
		if err := w.db.QueryRowContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", n)).Scan(new(int)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages)
	huge := &job{ctx: context.Background(), done: make(chan struct{}), run: func(tx *writeTx) error {
		return insertNamed(tx, string(make([]byte, 1<<20)))
	}}
	jobs := []*job{jobOf("a", nil), huge, jobOf("b", nil)}
	step(t, w, jobs...)
	for i, j := range jobs {
		if j.err == nil {
			t.Errorf("job %d got no error", i)
		}
	}
	limit(1 << 20)
	if got := names(t, w.db); len(got) != 0 {
		t.Errorf("accounts %q remain of an abandoned batch", got)
	}
	next := jobOf("c", nil)
	step(t, w, next)
	if diff := cmp.Diff([]string{"c"}, names(t, w.db)); diff != "" || next.err != nil {
		t.Errorf("the next batch: %v (-want +got):\n%s", next.err, diff)
	}
}

func TestCancelledJobIsSkipped(t *testing.T) {
	w := newStepped(t)
	ctx, cancel := context.WithCancel(t.Context())
	gone := jobOf("gone", nil)
	gone.ctx = ctx
	if err := w.submit(gone); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := w.submit(jobOf("a", nil)); err != nil {
		t.Fatal(err)
	}
	batch, _ := w.take()
	step(t, w, batch...)
	if !errors.Is(gone.err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", gone.err)
	}
	if diff := cmp.Diff([]string{"a"}, names(t, w.db)); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	late := jobOf("late", nil)
	late.ctx = ctx
	if err := w.submit(late); !errors.Is(err, context.Canceled) {
		t.Errorf("submit of a cancelled job: got %v", err)
	}
}

// Nobody commits here, so write must come back for its context alone.
func TestCancelledCallerReturns(t *testing.T) {
	s := &Store{writer: newStepped(t)}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := write(ctx, s, func(tx *writeTx) (string, error) { return "a", insertNamed(tx, "a") })
		result <- err
	}()
	<-s.writer.wake
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestTakeIsBoundedAndInOrder(t *testing.T) {
	w := newStepped(t)
	jobs := make([]*job, maxBatch+3)
	for i := range jobs {
		jobs[i] = jobOf("x", nil)
		if err := w.submit(jobs[i]); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := w.take()
	second, _ := w.take()
	third, _ := w.take()
	if len(first) != maxBatch || len(second) != 3 || len(third) != 0 {
		t.Fatalf("took %d, %d, %d", len(first), len(second), len(third))
	}
	for i, j := range append(first, second...) {
		if j != jobs[i] {
			t.Fatalf("job %d is out of order", i)
		}
	}
}

func TestStopAnswersAcceptedJobs(t *testing.T) {
	w := newStepped(t)
	accepted := jobOf("a", nil)
	if err := w.submit(accepted); err != nil {
		t.Fatal(err)
	}
	go w.loop()
	w.stop()
	<-accepted.done
	if accepted.err != nil {
		t.Errorf("accepted job got %v", accepted.err)
	}
	if err := w.submit(jobOf("b", nil)); !errors.Is(err, ErrClosed) {
		t.Errorf("submit after stop: got %v, want ErrClosed", err)
	}
	if diff := cmp.Diff([]string{"a"}, names(t, w.db)); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

// Another process's writer is waited for, not run into.
func TestTwoStoresOnOneFile(t *testing.T) {
	w := newWorld(t)
	other, err := Open(t.Context(), Options{Path: w.path, Actor: tester})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	errs := make(chan error)
	for _, s := range []*Store{w.Store, other} {
		go func() {
			var err error
			for i := 0; i < 50 && err == nil; i++ {
				_, _, err = s.CreateAccount(context.Background(), NewAccount{"Ada", AccountActive}, nil)
			}
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if all, _, err := w.Accounts(t.Context(), Page{Limit: 200}); err != nil || len(all) != 100 {
		t.Errorf("%d accounts, %v; want 100", len(all), err)
	}
}
