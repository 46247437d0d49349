package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/api"
)

// A VM in want makes the others give back what they do not use, but not its own credits for the same key.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	w.mustKey(w.account.ID, "second")
	a := w.lease("a", "1", 1, 400).Lease
	own := w.lease("b", "1", 1, 100).Lease
	ownOther := w.mustAcquire(leaseOf("b", "2", "second", 1, 50)).Lease
	left := w.mustWallet(w.account.ID).Available
	if got := w.report("a"); len(got) != 0 {
		t.Fatalf("drained too early: %v", got)
	}
	if got := w.lease("b", "3", left+1, left+1).Verdict; got != api.InsufficientCredits {
		t.Fatal(got)
	}
	if diff := cmp.Diff(map[string]api.LeaseAck{a.ID: {Lease: a.ID, Action: api.LeaseDrain}}, w.report("a")); diff != "" {
		t.Errorf("not reported (-want +got):\n%s", diff)
	}
	w.mustReport("a", a, 5, false, 5, api.LeaseDrain)
	w.mustReport("b", own, 1, false, 1, api.LeaseKeep)
	w.mustReport("b", ownOther, 1, false, 1, api.LeaseDrain)
	w.mustReport("a", a, 6, true, 6, api.LeaseDrop)
	if got := w.lease("b", "4", left+1, left+1).Verdict; got != api.Granted {
		t.Errorf("after the others gave back: %s", got)
	}
	if got := w.report("a"); len(got) != 0 {
		t.Errorf("drained after the end: %v", got)
	}
	w.verify()
}

// Near the end a VM that is still served has the others give back, too; and one that pays each request does.
func TestDrainBeforeTheEnd(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	a := w.lease("a", "1", 1, 1000).Lease
	w.mustAcquire(acquireOf("secret", "vm-strict", 497))
	if got := w.report("a"); len(got) != 0 {
		t.Fatalf("drained too early: %v", got)
	}
	if got := w.lease("b", "1", 1, 100); got.Verdict != api.Granted || got.Lease.Credits != 1 {
		t.Fatalf("%+v", got)
	}
	if got := w.report("a")[a.ID].Action; got != api.LeaseDrain {
		t.Errorf("not drained: %q", got)
	}
	w.mustReport("a", a, 500, true, 500, api.LeaseDrop)
	c := w.lease("c", "1", 1, 1).Lease
	if got := w.mustAcquire(acquireOf("secret", "vm-strict-2", 2)).Verdict; got != api.InsufficientCredits {
		t.Fatal(got)
	}
	if got := w.report("c")[c.ID].Action; got != api.LeaseDrain {
		t.Errorf("not drained for a strict acquire: %q", got)
	}
	w.verify()
}
