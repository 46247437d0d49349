package access

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
)

func TestAdmit(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.admit("a", 1, at(0), NoLease)
	d.lease("a", 10, 1_000, at(0))
	a := d.admit("a", 4, at(1), Admitted)
	if a.Remaining != 1_006 {
		t.Errorf("remaining %d, want 1006", a.Remaining)
	}
	id, ok := d.Identity(a.Lease)
	if got := fmt.Sprintf("%s %s %s %t", id.Account, id.Project, id.Key, ok); got != "acct_a proj_a key_a true" {
		t.Errorf("identity %s", got)
	}
	if n := d.admit("a", 7, at(1), NoLease); n.Lease != a.Lease {
		t.Error("a lease with too little left does not tell who is calling")
	}
	d.admit("a", 6, at(2), Admitted)
	d.admit("a", 1, at(2), NoLease)
	d.admit("a", 0, at(2), Admitted)
	d.admit("b", 0, at(2), NoLease)
	d.admit("a", -1, at(2), NoDecision)
	d.admit("a", api.MaxCredits+1, at(2), NoDecision)
}

// A lease ends at its deadline by either clock, counted from when its acquire was asked for, and does not come back.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		mono, wall int64 // milliseconds since the acquire was sent
		live       bool
	}{
		{"at once", 0, 0, true},
		{"just before", 999, 999, true},
		{"by both clocks", 1_000, 1_000, false},
		{"by the monotonic clock", 1_000, 10, false},
		{"after a sleep", 10, 1_000, false},
		{"an hour forward", 10, 3_600_010, false},
		{"an hour back", 10, -3_600_000 + 10, false},
		{"a little back, but after the sending", 500, 100, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, Limits{})
			d.lease("a", 10, 1_000, at(0))
			now := Instant{at(c.mono).Mono, at(c.wall).Wall}
			want := NoLease
			if c.live {
				want = Admitted
			}
			d.admit("a", 1, now, want)
			d.admit("a", 1, at(1), want)
		})
	}
}

func TestDeadlineCountsFromTheFirstSending(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	a := d.send("a", 1, at(0))
	d.install(a.Flight, d.grant("a", 10, 1_000), at(900), Installed)
	d.admit("a", 1, at(999), Admitted)
	d.admit("a", 1, at(1_000), NoLease)

	b := d.send("b", 1, at(0))
	r := d.grant("b", 10, 1_000)
	d.install(b.Flight, r, at(1_000), Outdated)
	d.admit("b", 1, at(1_000), NoLease)
	got, _ := d.sync(at(1_000))
	want := []api.LeaseReport{{Lease: "lease_1", Used: 1, Final: true}, {Lease: r.Lease.ID, Final: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	for charge, used := range map[int64]int64{-5: 0, 0: 0, 3: 3, 6: 6, 7: 6, api.MaxCredits: 6} {
		d := newDesk(t, Limits{})
		d.lease("a", 10, 1_000, at(0))
		a := d.AdmitHeld(d.tag("a"), 6, at(0))
		if a.Standing != Admitted || a.Remaining != 1_004 {
			t.Fatalf("admitted as %d, remaining %d", a.Standing, a.Remaining)
		}
		d.admit("a", 5, at(0), NoLease)
		d.Settle(a.Hold, charge)
		d.Settle(a.Hold, 6)
		if d.counts.Holds != 0 {
			t.Error("the hold is still open")
		}
		reports, _ := d.sync(at(2_000))
		if diff := cmp.Diff([]api.LeaseReport{{Lease: "lease_1", Used: used, Final: true}}, reports); diff != "" {
			t.Errorf("charge %d (-want +got):\n%s", charge, diff)
		}
	}
}

// A handle is good for its own hold, also after another one took its place.
func TestStaleHold(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{Holds: 1})
	d.lease("a", 10, 1_000, at(0))
	first := d.AdmitHeld(d.tag("a"), 3, at(0))
	if a := d.AdmitHeld(d.tag("a"), 3, at(0)); a.Standing != NoDecision {
		t.Errorf("one hold too many: standing %d, want NoDecision", a.Standing)
	}
	d.Settle(first.Hold, 0)
	next := d.AdmitHeld(d.tag("a"), 10, at(0))
	d.Settle(first.Hold, 3)
	d.Settle(Hold{}, 3)
	d.Settle(Hold{place: 99}, 3)
	d.Settle(next.Hold, 10)
	reports, _ := d.sync(at(0))
	if len(reports) != 1 || reports[0].Used != 10 {
		t.Errorf("reports %+v, want 10 used", reports)
	}
	if a := d.AdmitHeld(d.tag("a"), 0, at(0)); a.Standing != Admitted || a.Hold != (Hold{}) {
		t.Errorf("free: standing %d, hold %v", a.Standing, a.Hold)
	}
}

// A lease with an open hold is not final, and keeps telling who it belongs to.
func TestHoldsOutliveTheLease(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 10, 1_000, at(0))
	a := d.AdmitHeld(d.tag("a"), 6, at(0))
	d.Sweep(at(1_000))
	if reports, _ := d.sync(at(1_000)); len(reports) != 0 {
		t.Errorf("reports %+v while held, want none", reports)
	}
	if _, ok := d.Identity(a.Lease); !ok {
		t.Error("the identity is gone")
	}
	d.Settle(a.Hold, 2)
	reports, r := d.sync(at(1_500))
	if diff := cmp.Diff([]api.LeaseReport{{Lease: "lease_1", Used: 2, Final: true}}, reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	d.ack(r, "lease_1", 2, api.LeaseDrop)
	if _, ok := d.Identity(a.Lease); ok {
		t.Error("the identity of a forgotten lease is still told")
	}
}

func TestSweepSettlesLostHolds(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 10, 1_000, at(0))
	a := d.AdmitHeld(d.tag("a"), 6, at(0))
	d.Sweep(at(600_000))
	if c := d.Counts(); c.Holds != 1 || c.Abandoned != 0 {
		t.Fatalf("counts %+v: settled too early", c)
	}
	d.Sweep(at(600_001))
	d.Settle(a.Hold, 0)
	if c := d.Counts(); c.Holds != 0 || c.Abandoned != 1 {
		t.Fatalf("counts %+v, want the hold abandoned", c)
	}
	if reports, _ := d.sync(at(600_001)); len(reports) != 1 || reports[0].Used != 6 || !reports[0].Final {
		t.Errorf("reports %+v, want 6 used and final", reports)
	}
}

// An identity serves what is free, does not displace credits, and is never reported.
func TestIdentity(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 0, 1_000, at(0))
	d.admit("a", 0, at(1), Admitted)
	n := d.admit("a", 1, at(1), NoLease)
	if _, ok := d.Identity(n.Lease); !ok {
		t.Error("an identity does not tell who is calling")
	}
	d.lease("a", 5, 2_000, at(10))
	f := d.send("a", 0, at(20))
	d.install(f.Flight, d.grant("a", 0, 60_000), at(20), Installed)
	d.admit("a", 5, at(30), Admitted)
	d.admit("a", 0, at(2_010), NoLease)
	d.lease("b", 0, 1_000, at(0))
	d.lease("b", 0, 1_000, at(500))
	d.admit("b", 0, at(1_400), Admitted)
	d.admit("b", 0, at(1_500), NoLease)
	if c := d.Counts(); c.Identities != 0 || c.Leases != 1 {
		t.Errorf("counts %+v, want one lease and no identity", c)
	}
	if reports, _ := d.sync(at(2_010)); len(reports) != 1 {
		t.Errorf("reports %+v, want that of the credits alone", reports)
	}
}

// A credential that was not used lately makes room; its lease is reported final.
func TestEviction(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{Keys: 3})
	for _, name := range []string{"a", "b", "c", "d"} {
		d.lease(name, 5, 1_000, at(0))
	}
	var left []string
	for _, name := range []string{"a", "b", "c"} {
		if d.byTag.find(d.tag(name)) >= 0 {
			left = append(left, name)
		}
	}
	if len(left) != 2 {
		t.Fatalf("left of three: %v, want two", left)
	}
	d.admit(left[1], 1, at(1), Admitted)
	d.lease("e", 5, 1_000, at(2))
	d.admit(left[1], 1, at(3), Admitted)
	d.admit("d", 1, at(3), Admitted)
	d.admit(left[0], 1, at(3), NoLease)
	reports, _ := d.sync(at(4))
	final := 0
	for _, r := range reports {
		if r.Final {
			final++
		}
	}
	if c := d.Counts(); final != 2 || c.Evicted != 2 || c.Leases != 5 {
		t.Errorf("reports %+v, counts %+v; want two evicted and final", reports, c)
	}
}

// With no place for another lease, acquires are strict, and renewals wait.
func TestFullTable(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{Keys: 2, Flights: 2}) // four places
	for i := range 4 {
		d.lease(fmt.Sprint("k", i), 5, 1_000, at(0))
	}
	a := d.send("k9", 3, at(1))
	if a.Mode != api.ModeStrict || a.Want != 3 {
		t.Fatalf("mode %s, want %d; want strict for 3", a.Mode, a.Want)
	}
	if again := d.send("k9", 3, at(1)); again.Flight == a.Flight {
		t.Error("strict acquires are shared")
	}
	if n := d.Renew(d.tag("k3"), 1, at(1)); n.Turn != Decline {
		t.Errorf("renewal: turn %d, want Decline", n.Turn)
	}
	r := &api.AcquireReply{OpID: "op", Verdict: api.Granted, Lease: &api.Lease{Credits: 3, Account: "acct_x", Key: "key_x"}}
	d.install(a.Flight, r, at(2), Paid)
	reports, round := d.sync(at(3))
	for _, r := range reports {
		d.ack(round, r.Lease, r.Used, api.LeaseDrop)
	}
	d.sync(at(4))
	if a := d.send("k7", 1, at(5)); a.Mode != api.ModeLease {
		t.Errorf("mode %s once leases were closed, want lease", a.Mode)
	}
}

// What an admission took comes back once, whole, and never what was counted elsewhere.
func TestReturn(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	id := d.lease("a", 10, 60_000, at(0))
	a := d.admit("a", 4, at(1), Admitted)
	d.Return(a.Lease, 4)
	if c := d.Counts(); c.Credits != 10 {
		t.Errorf("%d credits after the return, want 10", c.Credits)
	}
	d.Return(a.Lease, 4)
	d.Return(LeaseRef{}, 4)
	d.admit("a", 4, at(1), Admitted)
	_, round := d.sync(at(2))
	d.ack(round, id, 4, api.LeaseKeep)
	d.Return(a.Lease, 1)
	if c := d.Counts(); c.Credits != 6 {
		t.Errorf("%d credits, want 6: the control plane has counted 4", c.Credits)
	}
	d.admit("a", 7, at(3), NoLease)
}
