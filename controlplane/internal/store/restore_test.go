package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
)

// backUp makes a backup of the world.
func (w *world) backUp() string {
	w.Helper()
	to := filepath.Join(w.TempDir(), "backup.db")
	if _, err := BackUp(w.Context(), w.path, to, nil); err != nil {
		w.Fatal(err)
	}
	return to
}

// restore closes the world, puts a backup in its place and opens it again.
func (w *world) restore(from string) Restored {
	w.Helper()
	must(w, w.Close())
	got, err := Restore{From: from, To: w.path, Replace: true, Now: w.clock.Now}.Run(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.reopen()
	return got
}

// leased is how many credits an acquire that wants 10 gets.
func (w *world) leased(op string) int64 {
	w.Helper()
	return w.mustAcquire(leaseOf("vm", op, "secret", 1, 10)).Lease.Credits
}

// reportIn is a report of a VM that has heard of an epoch.
func (w *world) reportIn(epoch int64, lease string, used int64, final bool) api.SyncReply {
	w.Helper()
	reply, err := w.Sync(w.Context(), &api.SyncRequest{
		Gate: "gate-1", Boot: "vm", Epoch: epoch, Leases: []api.LeaseReport{{Lease: lease, Used: used, Final: final}},
	})
	must(w, err)
	return reply
}

// After a restore leases hold one request's credits, until one process has seen ttl and grace pass. Leases of the backup
// are open as long and settled by their reports; what was used of leases that it does not know is kept, once.
func TestRestoreBeginsAnEpochAndLearns(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	account := w.account.ID
	known := w.lease("vm", "known", 1, 10).Lease.ID
	from := w.backUp()
	lost := w.lease("vm", "lost", 1, 10).Lease.ID
	w.clock.Advance(time.Hour) // the backup's lease is long over
	got := w.restore(from)
	if got.Epoch <= 1 || got.Epoch != w.epoch || got.Aside == "" || !got.Verified() || got.Learning != 20*time.Second {
		t.Fatalf("%+v, epoch %d", got, w.epoch)
	}
	if n, err := w.CloseExpired(t.Context(), 10); n != 0 || err != nil {
		t.Errorf("closed %d leases of the backup at once, %v", n, err)
	}
	if n := w.leased("1"); n != 1 {
		t.Errorf("a lease of %d credits", n)
	}
	w.clock.Advance(39 * time.Second)
	must(t, w.Close())
	w.reopen()
	w.clock.Advance(39 * time.Second)
	if _, err := w.CloseExpired(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if n, left := w.leased("2"), w.Learning(); n != 1 || left != time.Second {
		t.Errorf("a restart has cut it short: a lease of %d credits, %s left", n, left)
	}
	if r := w.reportIn(1, known, 4, false); r.Epoch != got.Epoch || len(r.Changes) != 1 || r.Changes[0].Kind != api.ChangeAll {
		t.Errorf("a gate of another epoch is told %+v", r)
	}
	for _, used := range []int64{3, 7, 7, 5} {
		if r := w.reportIn(1, lost, used, true); r.Leases[0].Action != api.LeaseDrop {
			t.Errorf("a lease that is not known: %+v", r.Leases)
		}
	}
	if n := w.Stats().Lost; n != 7 {
		t.Errorf("%d credits lost, want 7", n)
	}
	w.clock.Advance(time.Second)
	if n, err := w.CloseExpired(t.Context(), 10); n != 2 || err != nil {
		t.Errorf("closed %d, %v; want the backup's lease and the first one since", n, err)
	}
	if n, left := w.leased("3"), w.Learning(); n != 10 || left != 0 {
		t.Errorf("afterwards a lease of %d credits, %s left", n, left)
	}
	must(t, w.Close())
	w.reopen()
	if w.Learning() != 0 {
		t.Error("it begins again")
	}
	if wallet := w.mustWallet(account); wallet.Spent != 4 {
		t.Errorf("wallet %+v, want the 4 reported of the backup's lease spent", wallet)
	}
	w.verify()
}

// Every restore is an epoch of its own, also of the same backup, and by a clock that stands.
func TestRestoredEpochsDiffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustAccount(AccountActive)
	from := w.backUp()
	seen := map[int64]bool{1: true}
	last := int64(1)
	for range 3 {
		got := w.restore(from)
		if seen[got.Epoch] || got.Epoch <= last {
			t.Errorf("epoch %d again, after %d", got.Epoch, last)
		}
		seen[got.Epoch], last = true, got.Epoch
		w.clock.Advance(time.Millisecond) // its name has to differ
	}
	w.clock.Advance(-time.Hour)
	if got := w.restore(from); got.Epoch <= last {
		t.Errorf("epoch %d after %d", got.Epoch, last)
	}
}

// What is replaced is kept, with all that was committed, also where its log could not be folded in.
func TestRestoreKeepsWhatItReplaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.mustAccount(AccountActive)
	from := w.backUp()
	w.mustTopUp(a.ID, 5)
	got := w.restore(from)
	if _, err := w.Account(t.Context(), a.ID); err != nil {
		t.Error(err)
	}
	if wallet := w.mustWallet(a.ID); wallet.Granted != 0 {
		t.Errorf("wallet %+v after the restore", wallet)
	}
	old, err := OpenReadOnly(t.Context(), Options{Path: got.Aside})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if wallet, err := old.Wallet(t.Context(), a.ID); err != nil || wallet.Granted != 5 {
		t.Errorf("kept aside: %+v, %v", wallet, err)
	}
	must(t, w.Close())
	must(t, os.WriteFile(w.path, []byte(strings.Repeat("no database\n", 1000)), 0o600))
	must(t, os.WriteFile(w.path+"-wal", []byte("a log"), 0o600))
	w.clock.Advance(time.Second)
	got, err = Restore{From: from, To: w.path, Replace: true, Now: w.clock.Now}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.reopen()
	w.verify()
	if b, err := os.ReadFile(got.Aside + "-wal"); err != nil || string(b) != "a log" {
		t.Errorf("the log of what was replaced: %q, %v", b, err)
	}
}

// The log of a database that is gone is not taken for that of the restored one.
func TestRestoreBesideAStrayLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.mustAccount(AccountActive)
	from := w.backUp()
	w.mustTopUp(a.ID, 5)
	log, err := os.ReadFile(w.path + "-wal") // with frames of its own, as of a process that was killed
	must(t, err)
	to := filepath.Join(t.TempDir(), "tollgate.db")
	must(t, os.WriteFile(to+"-wal", log, 0o600))
	got, err := Restore{From: from, To: to, Now: w.clock.Now}.Run(t.Context())
	if err != nil || got.Aside != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	restored := &world{TB: t, path: to, clock: w.clock}
	restored.reopen()
	restored.verify()
	if wallet := restored.mustWallet(a.ID); wallet.Granted != 0 {
		t.Errorf("wallet %+v", wallet)
	}
	if names := namesIn(t, filepath.Dir(to)); !slices.Contains(names, "tollgate.db.replaced-20260301T120000.123Z-wal") {
		t.Errorf("the log is not kept: %q", names)
	}
}

func TestRestoreRefusals(t *testing.T) {
	t.Parallel()
	w := fullWorld(t)
	dir := t.TempDir()
	to := filepath.Join(dir, "tollgate.db")
	taken := filepath.Join(t.TempDir(), "taken.db")
	must(t, os.WriteFile(taken, []byte("mine"), 0o600))
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	changed := func(statement string) string {
		whole, err := os.ReadFile(w.path)
		must(t, err)
		path := file("changed.db", string(whole))
		execIn(t, path, statement)
		return path
	}
	for _, tt := range []struct {
		name     string
		from, to string
		want     error
	}{
		{"nothing", filepath.Join(dir, "missing"), to, os.ErrNotExist},
		{"something there", w.path, taken, ErrExists},
		{"itself", w.path, w.path, ErrInvalid},
		{"a directory to replace", w.path, dir, ErrInvalid},
		{"no database", file("garbage", strings.Repeat("no database\n", 1000)), to, ErrUnsound},
		{"empty", file("empty", ""), to, ErrInvalid},
		{"another program's", changed("DROP TABLE goose_db_version"), to, ErrInvalid},
		{"a newer schema", changed("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)"), to, ErrSchemaTooNew},
		{"books that do not agree", changed("UPDATE wallets SET available = available + 1, funding = funding - 1"), to, ErrUnsound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Restore{From: tt.from, To: tt.to}.Run(t.Context())
			if !errors.Is(err, tt.want) || got.Path != "" {
				t.Errorf("%+v, %v; want %v", got, err, tt.want)
			}
		})
	}
	if got := namesIn(t, dir); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
	if b, err := os.ReadFile(taken); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

// A backup of an older schema is migrated before it is put in place.
func TestRestoreMigrates(t *testing.T) {
	t.Parallel()
	from, _ := newFirstSchema(t)
	before, err := os.ReadFile(from)
	must(t, err)
	w := &world{TB: t, path: filepath.Join(t.TempDir(), "tollgate.db"), clock: newClock()}
	got, err := Restore{From: from, To: w.path, Now: w.clock.Now}.Run(t.Context())
	if err != nil || !got.Verified() || got.Aside != "" || got.Report.Entries == 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if names := namesIn(t, filepath.Dir(w.path)); !slices.Equal(names, []string{"tollgate.db"}) {
		t.Errorf("left behind: %q", names)
	}
	w.reopen()
	w.verify()
	after, err := os.ReadFile(from)
	if err != nil || string(before) != string(after) {
		t.Errorf("the backup was changed: %v", err)
	}
}

// Keys of calls are forgotten after 30 days, some at a time.
func TestPruneForgetsIdempotencyKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.mustAccount(AccountActive)
	topUp := func(key string) bool {
		_, replayed, err := w.TopUp(t.Context(), TopUp{AccountID: a.ID, Amount: 1, Actor: "tester"}, &Idempotency{Caller: "c", Key: key})
		must(t, err)
		return replayed
	}
	topUp("old")
	w.clock.Advance(time.Hour)
	for i := range 3 {
		topUp(fmt.Sprint(i))
	}
	w.clock.Advance(30*24*time.Hour - time.Minute)
	must(t, w.Prune(t.Context()))
	if topUp("old") {
		t.Error("remembered for more than 30 days")
	}
	if !topUp("1") {
		t.Error("forgotten before 30 days")
	}
	w.verify()
}
