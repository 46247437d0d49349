package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// The clock of recorded times may step; leases are closed by the other one.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	wall, steady := newClock(), newClock()
	w := &world{TB: t, path: t.TempDir() + "/tollgate.db", clock: wall}
	s, err := Open(t.Context(), Options{Path: w.path, Actor: tester, Now: wall.Now, Steady: steady.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w.Store = s
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 100)
	w.mustAcquire(leaseOf("vm", "1", "secret", 1, 10))
	wall.Advance(time.Hour)
	steady.Advance(40*time.Second - time.Microsecond)
	if n, err := s.CloseExpired(t.Context(), 10); n != 0 || err != nil {
		t.Errorf("a step forward closed %d, %v", n, err)
	}
	wall.Advance(-2 * time.Hour)
	steady.Advance(time.Microsecond)
	if n, err := s.CloseExpired(t.Context(), 10); n != 1 || err != nil {
		t.Errorf("after a step back: closed %d, %v", n, err)
	}
	w.verify()
}

func TestCloseExpiredIsBounded(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	for i := range 5 {
		w.lease("vm", fmt.Sprint(i), 1, 10)
		w.clock.Advance(time.Millisecond)
	}
	if h, err := w.Holdings(t.Context()); err != nil || h != (Holdings{Open: 5, Reserved: 50}) {
		t.Errorf("holdings %+v, %v", h, err)
	}
	w.clock.Advance(20 * time.Second)
	if h, err := w.Holdings(t.Context()); err != nil || h != (Holdings{Open: 5, Reserved: 50, Stranded: 50}) {
		t.Errorf("holdings %+v, %v", h, err)
	}
	w.clock.Advance(time.Hour)
	for _, want := range []int{3, 2, 0} {
		if n, err := w.CloseExpired(t.Context(), 3); err != nil || n != want {
			t.Errorf("closed %d, %v; want %d", n, err, want)
		}
	}
	stats := w.Stats()
	if stats.Granted != 5 || stats.Expired != 5 || stats.Final != 0 || stats.Moved[ledger.KindRelease] != 50 {
		t.Errorf("stats %+v", stats)
	}
	w.mustHave(1000, 0, 0, 0)
}

// Tombstones and changes are kept for their time, and the books agree without them.
func TestPrune(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	l := w.lease("vm", "1", 1, 50).Lease
	w.mustReport("vm", l, 10, true, 10, api.LeaseDrop)
	open := w.lease("vm", "2", 1, 50).Lease
	prune := func(d time.Duration) {
		t.Helper()
		w.clock.Advance(d)
		if err := w.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rows := func() (n int) {
		t.Helper()
		if err := w.readers.QueryRowContext(t.Context(), "SELECT count(*) FROM leases").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	prune(tombstonesKept)
	if got := rows(); got != 2 {
		t.Errorf("%d leases after a week, want 2", got)
	}
	prune(time.Second)
	if got := rows(); got != 1 {
		t.Errorf("%d leases after more than a week, want the open one", got)
	}
	w.mustReport("vm", l, 10, true, 0, api.LeaseDrop)
	w.mustReport("vm", open, 3, false, 3, api.LeaseKeep)
	if got := w.lease("vm", "1", 1, 50); got.Lease == nil || got.Lease.ID != l.ID {
		t.Errorf("replay after the tombstone is gone: %+v", got)
	}
	req := api.SyncRequest{Gate: "gate-1", Boot: "vm", Void: []string{"vm-1"}}
	if _, err := w.Sync(t.Context(), &req); err != nil {
		t.Error(err)
	}
	w.mustHave(940, 47, 13, 0)
}
