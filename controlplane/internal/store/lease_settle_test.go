package store

import (
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// What becomes of a lease of 50 that was closed at its time with 10 reported, when more is reported later.
func TestLateReports(t *testing.T) {
	t.Parallel()
	type balances struct{ available, spent, writtenOff int64 }
	tests := []struct {
		name   string
		policy ledger.Policy
		// drained leaves so much available.
		drained int64
		used    int64
		final   bool
		want    balances
		action  api.LeaseAction
	}{
		{"refund, nothing more", ledger.Refund, 990, 10, true, balances{990, 10, 0}, api.LeaseDrop},
		{"refund, more", ledger.Refund, 990, 30, true, balances{970, 30, 0}, api.LeaseDrop},
		{"refund, not final", ledger.Refund, 990, 30, false, balances{970, 30, 0}, api.LeaseDrain},
		{"refund, half of it there", ledger.Refund, 5, 30, true, balances{0, 1000, 15}, api.LeaseDrop},
		{"refund, above granted", ledger.Refund, 990, 999, true, balances{950, 50, 0}, api.LeaseDrop},
		{"charge, nothing more", ledger.Charge, 950, 10, true, balances{990, 10, 0}, api.LeaseDrop},
		{"charge, more", ledger.Charge, 950, 30, true, balances{970, 30, 0}, api.LeaseDrop},
		{"charge, not final", ledger.Charge, 950, 30, false, balances{950, 50, 0}, api.LeaseDrain},
		{"charge, all", ledger.Charge, 950, 50, true, balances{950, 50, 0}, api.LeaseDrop},
		{"charge, backwards", ledger.Charge, 950, 0, true, balances{990, 10, 0}, api.LeaseDrop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newLeaseWorld(t, LeaseOptions{Unreported: tt.policy})
			l := w.lease("vm", "1", 1, 50).Lease
			w.mustReport("vm", l, 10, false, 10, api.LeaseKeep)
			w.clock.Advance(40*time.Second - time.Microsecond)
			if n, err := w.CloseExpired(t.Context(), 10); err != nil || n != 0 {
				t.Fatalf("closed %d before its time, %v", n, err)
			}
			w.expire(1)
			if take := w.mustWallet(w.account.ID).Available - tt.drained; take > 0 {
				w.mustAcquire(acquireOf("secret", "vm-strict", take))
			}
			counted := max(10, min(tt.used, 50))
			for range 2 {
				w.mustReport("vm", l, tt.used, tt.final, counted, tt.action)
				w.mustHave(tt.want.available, 0, tt.want.spent, tt.want.writtenOff)
			}
		})
	}
}

// Taking back an acquire ends its lease; what comes of it before or after changes nothing.
func TestVoidedLease(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	l := w.lease("vm", "1", 1, 50).Lease
	sync := func(req api.SyncRequest) api.SyncReply {
		t.Helper()
		req.Gate, req.Boot = "gate-1", "vm"
		reply, err := w.Sync(t.Context(), &req)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	for range 2 {
		sync(api.SyncRequest{Void: []string{"vm-1", "vm-2"}})
		w.mustHave(1000, 0, 0, 0)
	}
	for _, op := range []string{"1", "2"} {
		if got := w.lease("vm", op, 1, 50); got.Verdict != api.Voided || got.Lease != nil {
			t.Errorf("acquire %s after its void: %+v", op, got)
		}
	}
	w.mustReport("vm", l, 20, false, 0, api.LeaseDrop)
	w.mustHave(1000, 0, 0, 0)

	// In one sync, what was used counts and the rest goes back.
	m := w.lease("vm", "3", 1, 50).Lease
	sync(api.SyncRequest{Void: []string{"vm-3"}, Leases: []api.LeaseReport{{Lease: m.ID, Used: 4}}})
	w.mustHave(996, 0, 4, 0)

	// After the close, a void is a late final report.
	w.lease("vm", "4", 1, 50)
	w.expire(1)
	sync(api.SyncRequest{Void: []string{"vm-4"}})
	w.mustHave(996, 0, 4, 0)
}

// However much a gate says that a request was worth, no more is taken than its lease was granted, and the rest of what it
// reports is settled with it.
func TestUnpaidBeyondAllCredits(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	l := w.lease("vm", "1", 3, 50).Lease
	w.mustReport("vm", l, 10, false, 10, api.LeaseKeep)
	req := unpaid("vm-1", api.MaxCredits, "genrex", "secret")
	req.Gate, req.Boot = "gate-1", "vm"
	if _, err := w.Sync(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	w.mustHave(950, 0, 50, 0)
	w.verify()
}

// A request that was let through undecided is paid from the lease that was granted for it.
func TestUnpaidOfALease(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		policy            ledger.Policy
		expired           bool
		available, spent  int64
		acquireOf, unpaid int64
	}{
		"open":               {ledger.Refund, false, 997, 3, 3, 3},
		"closed":             {ledger.Refund, true, 997, 3, 3, 3},
		"closed and charged": {ledger.Charge, true, 997, 3, 3, 3},
		"beyond granted":     {ledger.Refund, false, 950, 50, 3, 99},
	} {
		w := newLeaseWorld(t, LeaseOptions{Unreported: tt.policy})
		w.lease("vm", "1", tt.acquireOf, 50)
		if tt.expired {
			w.expire(1)
		}
		req := unpaid("vm-1", tt.unpaid, "genrex", "secret")
		req.Gate, req.Boot = "gate-1", "vm"
		for range 2 {
			if _, err := w.Sync(t.Context(), req); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			w.mustHave(tt.available, 0, tt.spent, 0)
		}
		if got := w.lease("vm", "1", tt.acquireOf, 50).Verdict; got != api.Voided {
			t.Errorf("%s: acquire afterwards: %s", name, got)
		}
	}
}
