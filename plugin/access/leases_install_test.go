package access

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
)

// The lease before is final at once, or when its holds are settled.
func TestReplacedLease(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 10, 1_000, at(0))
	h := d.AdmitHeld(d.tag("a"), 4, at(0))
	d.admit("a", 5, at(0), Admitted)
	d.lease("a", 10, 1_000, at(10))
	d.admit("a", 10, at(11), Admitted)
	reports, _ := d.sync(at(12))
	want := []api.LeaseReport{{Lease: "lease_1", Used: 5}, {Lease: "lease_2", Used: 10}}
	if diff := cmp.Diff(want, reports); diff != "" {
		t.Errorf("while held (-want +got):\n%s", diff)
	}
	d.Settle(h.Hold, 3)
	reports, _ = d.sync(at(13))
	want[0] = api.LeaseReport{Lease: "lease_1", Used: 8, Final: true}
	if diff := cmp.Diff(want, reports); diff != "" {
		t.Errorf("settled (-want +got):\n%s", diff)
	}
}

func TestBrokenReplies(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(r *api.AcquireReply){
		"more than was wanted":     func(r *api.AcquireReply) { r.Lease.Credits = 11 },
		"less than the cost":       func(r *api.AcquireReply) { r.Lease.Credits = 1 },
		"no credits":               func(r *api.AcquireReply) { r.Lease.Credits = 0; r.Lease.ID = "" },
		"negative":                 func(r *api.AcquireReply) { r.Lease.Credits = -1 },
		"more than there can be":   func(r *api.AcquireReply) { r.Lease.Credits = api.MaxCredits + 1 },
		"ttl 0":                    func(r *api.AcquireReply) { r.Lease.TTLMillis = 0 },
		"ttl too long":             func(r *api.AcquireReply) { r.Lease.TTLMillis = api.MaxTTLMillis + 1 },
		"no id":                    func(r *api.AcquireReply) { r.Lease.ID = "" },
		"id too long":              func(r *api.AcquireReply) { r.Lease.ID = string(make([]byte, api.MaxIDLen+1)) },
		"no account":               func(r *api.AcquireReply) { r.Lease.Account = "" },
		"no key":                   func(r *api.AcquireReply) { r.Lease.Key = "" },
		"no lease":                 func(r *api.AcquireReply) { r.Lease = nil },
		"a denial with a lease":    func(r *api.AcquireReply) { r.Verdict = api.InactiveKey },
		"a denial with credits":    func(r *api.AcquireReply) { r.Verdict = api.InsufficientCredits },
		"unknown verdict":          func(r *api.AcquireReply) { r.Verdict = "perhaps" },
		"voided":                   func(r *api.AcquireReply) { r.Verdict, r.Lease = api.Voided, nil },
		"negative cursor":          func(r *api.AcquireReply) { r.Cursor = -1 },
		"the id of a lease before": func(r *api.AcquireReply) { r.Lease.ID = "lease_1" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, Limits{})
			d.lease("b", 5, 1_000, at(0))
			a := d.send("a", 2, at(0))
			d.flights.all[a.Flight.place-1].want = 10
			r := d.grant("a", 10, 1_000)
			damage(r)
			d.install(a.Flight, r, at(1), Broken)
			d.admit("a", 0, at(2), NoLease)
			d.admit("b", 5, at(2), Admitted)
			d.admit("b", 1, at(2), NoLease)
			if c := d.Counts(); c.Leases != 1 || c.Identities != 0 || d.flights.leasing != 0 {
				t.Errorf("counts %+v, %d flights; want the first lease alone", c, d.flights.leasing)
			}
			d.send("a", 2, at(3))
		})
	}
}

func TestDenials(t *testing.T) {
	t.Parallel()
	for i, v := range deniedVerdicts {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, Limits{})
			d.lease("a", 10, 1_000_000, at(0))
			d.admit("a", 8, at(0), Admitted)
			a := d.send("a", 5, at(0))
			o := d.install(a.Flight, d.deny(v, 1_000), at(500), Denied)
			credits := i == int(noCredits)
			if o.Denial != v || !o.Refuses(5) || o.Refuses(4) == credits {
				t.Errorf("outcome %+v", o)
			}
			low, free, standing := d.admit("a", 2, at(501), d.standing(credits)), d.Admit(d.tag("a"), 0, at(501)), NoLease
			if credits {
				standing = Admitted
			}
			if !credits && low.Denial != v {
				t.Errorf("denial %s, want %s", low.Denial, v)
			}
			if credits != (free.Standing == standing) {
				t.Errorf("free request: standing %d", free.Standing)
			}
			if b := d.admit("a", 5, at(1_499), Refused); b.Denial != v {
				t.Errorf("denial %s, want %s", b.Denial, v)
			}
			if got, ok := d.Denied(d.tag("a"), 5, at(1_499)); !ok || got != v {
				t.Errorf("denied %s %t", got, ok)
			}
			d.admit("a", 5, at(1_500), NoLease)
			d.admit("a", 5, Instant{at(600).Mono, at(-10).Wall}, NoLease)
		})
	}
}

func (d *desk) standing(credits bool) Standing {
	if credits {
		return Admitted
	}
	return Refused
}

func TestDenialIsNotRememberedUnasked(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	a := d.send("a", 5, at(0))
	d.install(a.Flight, d.deny(api.UnknownKey, 0), at(1), Denied)
	d.admit("a", 5, at(1), NoLease)
}

// A denial for want of credits brings an identity, which serves what is free; a balance of less than the cost may yet do
// for a lower cost.
func TestInsufficientWithIdentity(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	a := d.send("a", 5, at(0))
	r := d.grant("a", 0, 10_000)
	r.Verdict, r.RetryMillis = api.InsufficientCredits, 1_000
	d.install(a.Flight, r, at(0), Denied)
	d.admit("a", 0, at(1), Admitted)
	d.admit("a", 4, at(1), NoLease)
	if n := d.admit("a", 5, at(1), Refused); n.Lease == (LeaseRef{}) || n.Denial != api.InsufficientCredits {
		t.Errorf("admission %+v, want to know who it is", n)
	}
	d.change(1, api.ChangeCredits, "acct_b")
	d.admit("a", 5, at(1), Refused)
	d.change(2, api.ChangeCredits, "acct_a")
	d.admit("a", 5, at(1), NoLease)
	d.admit("a", 0, at(1), Admitted)
}

// A flood of denials displaces denials, and no lease.
func TestDenialsAreBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{Keys: 2, UnknownBurst: 1_000})
	d.lease("a", 10, 1_000, at(0))
	for i := range 100 {
		name := fmt.Sprint("k", i)
		f := d.send(name, 1, at(0))
		d.install(f.Flight, d.deny(api.UnknownKey, 1_000), at(0), Denied)
		d.admit(name, 1, at(1), Refused)
	}
	d.admit("k0", 1, at(1), NoLease)
	d.admit("a", 1, at(1), Admitted)
	if d.counts.DenialHits != 100 || d.counts.Evicted != 0 {
		t.Errorf("counts %+v", d.counts)
	}
}

// A strict denial says nothing of changes: it takes into account what was known when it was asked for.
func TestStrictDenial(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.change(7, api.ChangeKey, "key_b")
	a := d.AskStrict(d.tag("a"), 1, at(0))
	r := &api.AcquireReply{OpID: "op", Verdict: api.UnknownKey, RetryMillis: 5_000}
	d.install(a.Flight, r, at(0), Denied)
	if v, ok := d.Denied(d.tag("a"), 1, at(1)); !ok || v != api.UnknownKey {
		t.Errorf("denied %s %t", v, ok)
	}
	d.change(8, api.ChangeKey, "key_b")
	if v, ok := d.Denied(d.tag("a"), 1, at(1)); ok {
		t.Errorf("denied %s after a change that may concern it", v)
	}
	b := d.AskStrict(d.tag("b"), 1, at(0))
	d.change(9, api.ChangeAccount, "acct_z")
	d.install(b.Flight, r, at(0), Outdated)
}

// A grant ends a denial that is still remembered.
func TestGrantEndsDenial(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	a := d.send("a", 1, at(0))
	d.install(a.Flight, d.deny(api.DomainNotVerified, 60_000), at(0), Denied)
	d.lease("a", 2, 1_000, at(1))
	d.admit("a", 2, at(2), Admitted)
	d.admit("a", 2, at(2), NoLease)
}

func TestChangesStopLeases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind api.ChangeKind
		id   string
		stop bool
	}{
		{api.ChangeKey, "key_a", true},
		{api.ChangeKey, "key_b", false},
		{api.ChangeKey, "acct_a", false},
		{api.ChangeProject, "proj_a", true},
		{api.ChangeProject, "key_a", false},
		{api.ChangeAccount, "acct_a", true},
		{api.ChangeAccount, "proj_a", false},
		{api.ChangeCredits, "acct_a", false},
		{api.ChangeAll, "", true},
		{"weather", "key_b", true},
		{api.ChangeKey, "", true},
	} {
		t.Run(string(c.kind)+" "+c.id, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, Limits{})
			d.cursor = 10
			d.lease("a", 10, 10_000, at(0))
			d.change(10, c.kind, c.id)
			if !c.stop || c.kind == api.ChangeKey && c.id != "" {
				d.admit("a", 1, at(1), Admitted) // the lease takes change 10 into account
			}
			d.change(11, c.kind, c.id)
			want := Admitted
			if c.stop {
				want = NoLease
			}
			d.admit("a", 1, at(1), want)
			if d.Cursor() != 11 {
				t.Errorf("cursor %d, want 11", d.Cursor())
			}
		})
	}
}

// A reply that left before a change of its key, and arrives after it, brings nothing; one that left after it does.
func TestOvertakenReply(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind api.ChangeKind
		id   string
		deny bool
		want Result
	}{
		{api.ChangeKey, "key_a", false, Outdated},
		{api.ChangeProject, "proj_a", false, Outdated},
		{api.ChangeAccount, "acct_a", false, Outdated},
		{api.ChangeAll, "", false, Outdated},
		{api.ChangeKey, "key_b", false, Installed},
		{api.ChangeCredits, "acct_a", false, Installed},
		{api.ChangeKey, "key_b", true, Outdated},
		{api.ChangeCredits, "acct_b", true, Outdated},
	} {
		t.Run(string(c.kind)+" "+c.id, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, Limits{})
			d.cursor = 5
			d.lease("b", 1, 10_000, at(0))
			a, l := d.send("a", 1, at(0)), d.send("l", 1, at(0))
			var r *api.AcquireReply
			if c.deny {
				r = d.deny(api.InsufficientCredits, 1_000)
			} else {
				r = d.grant("a", 10, 1_000)
			}
			d.change(6, c.kind, c.id)
			d.install(a.Flight, r, at(1), c.want)
			if c.want == Outdated {
				d.admit("a", 1, at(2), NoLease)
			}
			d.cursor = 6
			d.install(l.Flight, d.grant("l", 10, 1_000), at(1), Installed)
		})
	}
}

// More changes than are remembered may have concerned anybody.
func TestManyChangesOvertakeAnyReply(t *testing.T) {
	t.Parallel()
	for extra, want := range map[int64]Result{0: Installed, 1: Outdated} {
		d := newDesk(t, Limits{})
		d.cursor = 1
		d.lease("b", 1, 10_000, at(0))
		a := d.send("a", 1, at(0))
		r := d.grant("a", 10, 1_000)
		for seq := range recentChanges + extra {
			d.change(seq+2, api.ChangeKey, "key_z")
		}
		d.install(a.Flight, r, at(1), want)
	}
}

// Numbers that do not rise are not understood: everything may have changed.
func TestDisorderedChanges(t *testing.T) {
	t.Parallel()
	for _, seqs := range [][]int64{{0}, {-1}, {7, 7}, {7, 6}} {
		d := newDesk(t, Limits{})
		d.lease("a", 10, 10_000, at(0))
		_, r := d.sync(at(0))
		var changes []api.Change
		for _, s := range seqs {
			changes = append(changes, api.Change{Seq: s, Kind: api.ChangeKey, ID: "key_z"})
		}
		d.Synced(r, &api.SyncReply{Changes: changes})
		d.admit("a", 1, at(1), NoLease)
	}
}

func TestEpochs(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.cursor = 50
	d.lease("a", 10, 10_000, at(0))
	x := d.send("x", 1, at(0))
	d.install(x.Flight, d.deny(api.UnknownKey, 10_000), at(0), Denied)
	old, late := d.send("old", 1, at(0)), d.grant("old", 10, 10_000)
	bad := d.send("bad", 1, at(0))
	d.epoch, d.cursor = 2, 3
	d.lease("b", 10, 10_000, at(1))
	d.admit("a", 1, at(2), NoLease)
	d.admit("x", 1, at(2), NoLease)
	d.admit("b", 1, at(2), Admitted)
	if d.Epoch() != 2 || d.Cursor() != 3 {
		t.Errorf("epoch %d, cursor %d; want 2 and 3", d.Epoch(), d.Cursor())
	}
	d.install(old.Flight, late, at(3), Outdated)
	d.epoch = 1
	d.install(bad.Flight, d.deny(api.UnknownKey, 10_000), at(3), Outdated)
	d.change(60, api.ChangeAll, "") // of epoch 1: says nothing
	d.admit("b", 1, at(4), Admitted)
	d.epoch = 2
	d.change(4, api.ChangeKey, "key_b")
	d.admit("b", 1, at(5), NoLease)
	d.lease("c", 10, 10_000, at(5))
	_, r := d.sync(at(5))
	d.Synced(r, &api.SyncReply{Epoch: 3})
	d.admit("c", 1, at(6), NoLease)
}
