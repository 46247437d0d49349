package access

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
)

// Reports are cumulative, and repeated until counted.
func TestReports(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 10, 1_000, at(0))
	step := func(now Instant, want ...api.LeaseReport) Round {
		t.Helper()
		got, r := d.sync(now)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("reports (-want +got):\n%s", diff)
		}
		return r
	}
	step(at(0))
	d.admit("a", 3, at(1), Admitted)
	first := step(at(1), api.LeaseReport{Lease: "lease_1", Used: 3})
	d.admit("a", 2, at(2), Admitted)
	step(at(2), api.LeaseReport{Lease: "lease_1", Used: 5})
	d.ack(first, "lease_1", 3, api.LeaseKeep)
	second := step(at(3), api.LeaseReport{Lease: "lease_1", Used: 5})
	d.ack(second, "lease_1", 5, api.LeaseKeep)
	d.ack(first, "lease_1", 3, api.LeaseKeep) // late: nothing goes back
	d.ack(first, "lease_1", -1, api.LeaseKeep)
	step(at(4))
	d.ack(second, "lease_1", 99, api.LeaseKeep)
	d.ack(second, "lease_9", 5, api.LeaseDrop)
	d.ack(second, "", 5, api.LeaseDrop)
	d.ack(second, string(make([]byte, api.MaxIDLen+1)), 5, api.LeaseDrop)
	step(at(5))
	final := api.LeaseReport{Lease: "lease_1", Used: 5, Final: true}
	step(at(1_000), final)
	last := step(at(1_001), final)
	d.ack(last, "lease_1", 5, api.LeaseKeep)
	step(at(1_002), final)
	d.ack(second, "lease_1", 5, api.LeaseDrop) // of a sync that did not have the final report
	step(at(1_003), final)
	d.ack(last, "lease_1", 5, api.LeaseDrop)
	step(at(1_004))
	if c := d.Counts(); c != (Counts{}) {
		t.Errorf("counts %+v, want nothing left", c)
	}
}

// A report of a lease whose time is over is final, also if the sweep has not come by.
func TestReportAfterTheDeadline(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 10, 1_000, at(0))
	d.admit("a", 3, at(1), Admitted)
	got, _, _ := d.Reports(nil, 9, at(1_000))
	if diff := cmp.Diff([]api.LeaseReport{{Lease: "lease_1", Used: 3, Final: true}}, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	for action, want := range map[api.LeaseAction]Standing{
		api.LeaseKeep: Admitted, api.LeaseDrain: NoLease, api.LeaseDrop: NoLease, "dance": NoLease, "": NoLease,
	} {
		d := newDesk(t, Limits{})
		d.lease("a", 10, 1_000, at(0))
		d.admit("a", 3, at(1), Admitted)
		_, r := d.sync(at(1))
		d.admit("a", 1, at(2), Admitted)
		d.ack(r, "lease_1", 3, action)
		d.admit("a", 1, at(3), want)
		if want == Admitted {
			continue
		}
		// What was used since is not lost, also if the control plane has closed the lease.
		got, r := d.sync(at(4))
		if diff := cmp.Diff([]api.LeaseReport{{Lease: "lease_1", Used: 4, Final: true}}, got); diff != "" {
			t.Errorf("%q: reports (-want +got):\n%s", action, diff)
		}
		d.ack(r, "lease_1", 3, api.LeaseDrop)
		if c := d.Counts(); c != (Counts{Unsettled: 1}) {
			t.Errorf("%q: counts %+v, want one credit not counted", action, c)
		}
	}
}

// A lease that is dropped while something is held waits for it: a closed lease can still be charged.
func TestDroppedWhileHeld(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 10, 1_000, at(0))
	h := d.AdmitHeld(d.tag("a"), 4, at(0))
	d.admit("a", 1, at(0), Admitted)
	_, r := d.sync(at(0))
	d.ack(r, "lease_1", 1, api.LeaseDrop)
	if got, _ := d.sync(at(1)); len(got) != 0 {
		t.Errorf("reports %+v while held", got)
	}
	d.Settle(h.Hold, 4)
	got, r := d.sync(at(2))
	if diff := cmp.Diff([]api.LeaseReport{{Lease: "lease_1", Used: 5, Final: true}}, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	d.ack(r, "lease_1", 5, api.LeaseDrop)
	if c := d.Counts(); c != (Counts{}) {
		t.Errorf("counts %+v, want nothing left", c)
	}
}

// With more to report than fits, every lease has its turn before any has its second.
func TestReportsAreFair(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{Keys: 10})
	for i := range 10 {
		name := fmt.Sprint("k", i)
		d.lease(name, 10, 1_000, at(0))
		d.admit(name, 1, at(0), Admitted)
	}
	seen := map[string]int{}
	for _, want := range []struct {
		most, reports int
		more          bool
	}{{0, 0, false}, {4, 4, true}, {4, 4, true}, {0, 0, true}, {4, 2, false}, {0, 0, false}, {4, 4, true}, {6, 6, false}} {
		reports, _, more := d.Reports(nil, want.most, at(1))
		if len(reports) != want.reports || more != want.more {
			t.Fatalf("%d reports, more %t; want %+v", len(reports), more, want)
		}
		for _, r := range reports {
			seen[r.Lease]++
		}
	}
	for i := range 10 {
		if id := fmt.Sprint("lease_", i+1); seen[id] != 2 {
			t.Errorf("%s reported %d times of 2", id, seen[id])
		}
	}
	if reports, _, more := d.Reports(nil, 10, at(1)); len(reports) != 10 || more {
		t.Errorf("%d reports, more %t; want all ten", len(reports), more)
	}
}

// A reply that was overtaken by a later one's says nothing of changes; what it acknowledges counts.
func TestOvertakenSyncReply(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.cursor = 5
	d.lease("a", 10, 1_000, at(0))
	d.admit("a", 1, at(0), Admitted)
	_, first := d.sync(at(0))
	_, next := d.sync(at(1))
	d.Synced(next, &api.SyncReply{Epoch: 1})
	d.Synced(first, &api.SyncReply{Epoch: 1, Changes: []api.Change{{Seq: 6, Kind: api.ChangeAll}},
		Leases: []api.LeaseAck{{Lease: "lease_1", Used: 1, Action: api.LeaseKeep}}})
	d.admit("a", 0, at(2), Admitted)
	if reports, _ := d.sync(at(2)); len(reports) != 0 {
		t.Errorf("reports %+v, want them counted", reports)
	}
}
