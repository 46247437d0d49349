package access

import (
	"fmt"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
)

// limited leases credits to a key that may be used at path alone.
func (d *desk) limited(name, path string, credits int64, now Instant) {
	d.t.Helper()
	a := d.send(name, 1, now)
	d.flights.all[a.Flight.place-1].want = credits
	r := d.grant(name, credits, 10_000)
	r.Lease.Restriction = &api.Restriction{Routes: []api.RouteRule{{Path: path}}}
	d.install(a.Flight, r, now, Installed)
}

func (d *desk) checkRestriction(a Admission, path string) {
	d.t.Helper()
	if (a.Restriction == 0) != (path == "") || path != "" && (!d.Rules(a.Restriction).AllowsRoute("GET", path) || d.Rules(a.Restriction).AllowsRoute("GET", path+"x")) {
		d.t.Errorf("restriction %d, want %q alone", a.Restriction, path)
	}
}

// A restriction is told with every outcome that tells of a lease, also where its credits are not enough.
func TestRestrictionOfALease(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.limited("a", "/a", 3, at(0))
	d.lease("b", 3, 10_000, at(0))
	d.checkRestriction(d.admit("a", 2, at(1), Admitted), "/a")
	d.checkRestriction(d.admit("a", 2, at(1), NoLease), "/a")
	d.checkRestriction(d.admit("b", 1, at(1), Admitted), "")
	d.checkRestriction(d.admit("c", 1, at(1), NoLease), "")
	// One that comes without credits is told with the denial, and remembered with it.
	a := d.send("d", 2, at(1))
	r := d.deny(api.InsufficientCredits, 1_000)
	r.Lease = &api.Lease{TTLMillis: 10_000, Account: "acct_d", Key: "key_d", Restriction: &api.Restriction{Routes: []api.RouteRule{{Path: "/d"}}}}
	o := d.install(a.Flight, r, at(2), Denied)
	d.checkRestriction(Admission{Restriction: o.Restriction}, "/d")
	d.checkRestriction(d.admit("d", 2, at(3), Refused), "/d")
}

// Equal restrictions are kept once, and go with the last lease that has them: a change, a renewal, the end of its time.
func TestRestrictionsAreShared(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{Keys: 8, Restrictions: 3})
	kept := func(want int) {
		t.Helper()
		n := 0
		for i := range 3 - d.restrictions.free.free {
			if d.restrictions.all.at(int32(i)).rules != nil {
				n++
			}
		}
		if n != want || 3-d.restrictions.free.free != want {
			t.Errorf("%d restrictions are kept and %d are free, want %d kept", n, d.restrictions.free.free, want)
		}
	}
	for i := range 5 {
		d.limited(fmt.Sprint("k", i), "/same", 3, at(0))
	}
	kept(1)
	d.limited("other", "/other", 3, at(1))
	kept(2)
	d.change(1, api.ChangeKey, "key_other")
	kept(1)
	d.admit("other", 1, at(7), NoLease)
	for i := range 5 {
		d.admit(fmt.Sprint("k", i), 1, at(20_000), NoLease)
	}
	kept(0)
}

// With no room left, the restriction that nobody was judged by lately goes, and its leases with it: none is forgotten.
func TestRestrictionsMakeRoom(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{Keys: 8, Restrictions: 2})
	d.limited("a", "/a", 3, at(0))
	d.limited("b", "/b", 3, at(0))
	d.limited("c", "/c", 3, at(0))
	live := 0
	for _, name := range []string{"a", "b", "c"} {
		a := d.Admit(d.tag(name), 1, at(1))
		if a.Standing == Admitted {
			live++
			d.checkRestriction(a, "/"+name)
		}
	}
	if live != 2 {
		t.Errorf("%d leases are live, want 2", live)
	}
	d.checkRestriction(d.admit("c", 1, at(1), Admitted), "/c")
}

// A strict acquire that was refused for its own request says nothing of others.
func TestKeyRestrictedIsAboutOneRequest(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.limited("a", "/a", 3, at(0))
	asked := d.AskStrict(d.tag("a"), 1, at(1))
	if o := d.install(asked.Flight, d.deny(api.KeyRestricted, 0), at(2), Denied); !o.Refuses(1) {
		t.Error("the one who asked is not refused")
	}
	d.admit("a", 1, at(3), Admitted)
	if v, ok := d.Denied(d.tag("a"), 1, at(3)); ok {
		t.Errorf("%s is remembered", v)
	}
}

func TestJudgingAllocatesNothing(t *testing.T) {
	d := newDesk(t, Limits{})
	d.limited("a", "/v1/doc", 1_000_000, at(0))
	now, tag := at(1), d.tag("a")
	if n := testing.AllocsPerRun(200, func() {
		a := d.AdmitHeld(tag, 1, now)
		d.Rules(a.Restriction).AllowsRoute("GET", Path("/v1/doc?q=1"))
		d.Settle(a.Hold, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
