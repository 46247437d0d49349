package store

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// decision is the job of an acquire, and where its reply will be.
func (w *world) decision(req *api.AcquireRequest) (*job, *api.AcquireReply) {
	w.Helper()
	a, err := newAcquire(req, charged)
	if err != nil {
		w.Fatal(err)
	}
	a.terms, a.epoch = w.Store.terms, w.epoch
	reply := &api.AcquireReply{}
	return &job{ctx: context.Background(), done: make(chan struct{}), run: func(tx *writeTx) (err error) {
		*reply, err = a.decide(tx)
		return err
	}}, reply
}

func jobDoing(run func(*writeTx) error) *job {
	return &job{ctx: context.Background(), done: make(chan struct{}), run: run}
}

// Whatever is refused in a batch, and whether or not it has written something by then, the jobs around it see and move
// balances as if it had not been there.
func TestRefusalsInABatchMoveNothing(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	debit, err := ledger.Capture(100)
	if err != nil {
		t.Fatal(err)
	}
	move := func(tx *writeTx) error {
		return tx.charge(&posting{accountID: w.account.ID, move: debit, keyID: w.key.ID, opID: "vm-x"})
	}
	refusals := map[string]func(tx *writeTx) error{
		"nothing done":            func(*writeTx) error { return errRefused },
		"moved":                   func(tx *writeTx) error { return errors.Join(move(tx), errRefused) },
		"moved and written":       func(tx *writeTx) error { return errors.Join(move(tx), insertNamed(tx, "x"), errRefused) },
		"moved, written, flushed": func(tx *writeTx) error { return errors.Join(move(tx), tx.flush(), errRefused) },
		"moved and conflicting": func(tx *writeTx) error {
			return errors.Join(move(tx), insertNamed(tx, "y"), insertNamed(tx, "y"), errRefused)
		},
		"moved the reserved": func(tx *writeTx) error {
			b, err := tx.balances(w.account.ID)
			if err != nil {
				return err
			}
			next := b
			next.Reserved, next.Available = b.Reserved+1, b.Available-1
			return errors.Join(tx.moveBalances(w.account.ID, b, next), errRefused)
		},
		"key revoked": func(tx *writeTx) error {
			k, err := tx.key(w.key.ID)
			if err != nil {
				return err
			}
			_, err = tx.revoke("key.revoke", k, "")
			return errors.Join(err, errRefused)
		},
	}
	spent, reserved := int64(0), int64(0)
	for name, refusal := range refusals {
		for _, careful := range []bool{false, true} {
			n := fmt.Sprintf("%s-%v", name, careful)
			first, firstReply := w.decision(acquireOf("secret", "vm-1-"+n, 3))
			second, secondReply := w.decision(leaseOf("vm", "2-"+n, "secret", 2, 10))
			third, thirdReply := w.decision(acquireOf("secret", "vm-3-"+n, 4))
			refused := jobDoing(refusal)
			batch := []*job{first, refused, second, jobDoing(refusal), third}
			if !careful {
				w.writer.commit(batch)
			} else if err := w.writer.transact(batch, true); err != nil {
				t.Fatal(err)
			}
			if !errors.Is(refused.err, errRefused) || first.err != nil || second.err != nil || third.err != nil {
				t.Errorf("%s: %v, %v, %v, %v", n, first.err, refused.err, second.err, third.err)
				continue
			}
			left := 1000 - spent - reserved
			got := []int64{firstReply.Lease.Available, secondReply.Lease.Available, thirdReply.Lease.Available}
			spent, reserved = spent+7, reserved+10
			for i, want := range []int64{left - 3, left - 13, left - 17} {
				if got[i] != want {
					t.Errorf("%s: answer %d: %d available, want %d", n, i, got[i], want)
				}
			}
			w.mustHave(1000-spent-reserved, reserved, spent, 0)
		}
	}
	s := w.Stats()
	if s.Moved[ledger.KindDebit] != spent || s.Moved[ledger.KindReserve] != reserved || s.Changes[api.ChangeKey] != 0 || s.Breaches != 0 {
		t.Errorf("stats %+v count what was undone; want %d debited, %d reserved", s, spent, reserved)
	}
}

// What one job changes of a key, an account or a wallet, the next job of the batch goes by.
func TestJobsOfABatchSeeWhatChanged(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	before, _ := w.decision(acquireOf("secret", "vm-1", 1))
	absent, absentReply := w.decision(acquireOf("new", "vm-2", 1))
	make := jobDoing(func(tx *writeTx) error { _, err := tx.createKey(withDefaults(newKey(w.account.ID, "new"))); return err })
	there, thereReply := w.decision(acquireOf("new", "vm-3", 999))
	short, shortReply := w.decision(acquireOf("new", "vm-4", 1))
	topUp := jobDoing(func(tx *writeTx) error {
		grant, err := ledger.TopUp(5)
		if err == nil {
			_, _, err = tx.moveCredits(&movement{accountID: w.account.ID, move: grant, amount: 5, actor: "x"}, "")
		}
		return err
	})
	again, againReply := w.decision(acquireOf("new", "vm-5", 5))
	revoke := jobDoing(func(tx *writeTx) error {
		k, err := tx.key(w.key.ID)
		if err == nil {
			_, err = tx.revoke("key.revoke", k, "")
		}
		return err
	})
	after, afterReply := w.decision(acquireOf("secret", "vm-6", 1))
	batch := []*job{before, absent, make, there, short, topUp, again, revoke, after}
	w.writer.commit(batch)
	for i, j := range batch {
		if j.err != nil {
			t.Errorf("job %d: %v", i, j.err)
		}
	}
	got := []api.Verdict{absentReply.Verdict, thereReply.Verdict, shortReply.Verdict, againReply.Verdict, afterReply.Verdict}
	want := []api.Verdict{api.UnknownKey, api.Granted, api.InsufficientCredits, api.Granted, api.InactiveKey}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("answer %d: %s, want %s", i, got[i], want[i])
		}
	}
	w.mustHave(0, 0, 1005, 0)
}

func withDefaults(k NewKey) NewKey {
	k.Environment = EnvironmentProduction
	return k
}

// Every number of entries is recorded, however it divides into statements.
func TestEntriesOfLargeBatches(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	total := 0
	for _, n := range []int{1, 3, 4, 5, 31, 32, 33, 71} {
		batch := make([]*job, n)
		for i := range batch {
			batch[i], _ = w.decision(acquireOf("secret", fmt.Sprintf("vm-%d-%d", n, i), 1))
		}
		w.writer.commit(batch)
		total += n
		w.mustHave(int64(1000-total), 0, int64(total), 0)
	}
	report, err := w.Verify(t.Context())
	if err != nil || report.Entries != int64(2+2*total) {
		t.Errorf("%d entries, %v; want %d", report.Entries, err, 2+2*total)
	}
}

// A full disk refuses changes, keeps serving reads, and is tried again after a while.
func TestFullDiskRefusesChanges(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	w.mustAcquire(acquireOf("secret", "vm-1", 1))
	limit := func(pages int) {
		t.Helper()
		if err := w.writer.db.QueryRowContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)).Scan(new(int)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	full := 0
	for ; full < 1000; full++ {
		_, err := w.Acquire(t.Context(), acquireOf("secret", fmt.Sprintf("vm-full-%d", full), 1), charged)
		if errors.Is(err, ErrDiskFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := w.mustWallet(w.account.ID)
	if before.Spent != int64(1+full) {
		t.Errorf("wallet %+v after %d grants", before, 1+full)
	}
	limit(1 << 20)
	// There is room again, but nobody has looked yet.
	if _, err := w.Acquire(t.Context(), acquireOf("secret", "vm-2", 1), charged); !errors.Is(err, ErrDiskFull) {
		t.Errorf("before the next try: %v", err)
	}
	if _, err := w.Sync(t.Context(), &api.SyncRequest{Gate: "g", Boot: "vm", Cursor: 1}); err != nil {
		t.Errorf("a sync that reports nothing: %v", err)
	}
	w.clock.Advance(probeEvery)
	if got := w.mustAcquire(acquireOf("secret", "vm-2", 1)).Verdict; got != api.Granted {
		t.Errorf("with room: %s", got)
	}
	if got := w.mustAcquire(acquireOf("secret", fmt.Sprintf("vm-full-%d", full), 1)).Verdict; got != api.Granted {
		t.Errorf("what was refused before: %s", got)
	}
	w.mustHave(before.Available-2, 0, before.Spent+2, 0)
}
