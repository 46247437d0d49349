package access

import (
	"fmt"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
)

func TestOneFlightForEachCredential(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	a := d.send("a", 1, at(0))
	if b := d.Ask(d.tag("a"), 5, at(1)); b.Turn != Join || b.Flight != a.Flight {
		t.Errorf("second: %+v, want to join %+v", b, a.Flight)
	}
	if b := d.send("b", 1, at(1)); b.Flight == a.Flight {
		t.Error("two credentials share a flight")
	}
	if s := d.AskStrict(d.tag("a"), 1, at(1)); s.Turn != Send || s.Flight == a.Flight {
		t.Errorf("strict: %+v, want a flight of its own", s)
	}
	d.install(a.Flight, d.grant("a", 10, 1_000), at(2), Installed)
	d.install(a.Flight, d.grant("a", 10, 1_000), at(2), Ignored)
	d.Failed(a.Flight, at(2))
	d.install(Flight{}, d.grant("a", 10, 1_000), at(2), Ignored)
	d.install(Flight{place: 77}, d.grant("a", 10, 1_000), at(2), Ignored)
	if again := d.send("a", 1, at(3)); again.Flight == a.Flight {
		t.Error("a flight comes twice")
	}
}

// What is given up does not come back, whatever the control plane says of it later.
func TestLateReplyIsNotInstalled(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	a := d.send("a", 1, at(0))
	d.Failed(a.Flight, at(100))
	d.install(a.Flight, d.grant("a", 10, 1_000), at(101), Ignored)
	d.admit("a", 1, at(102), NoLease)
	if d.counts.Leases != 0 {
		t.Error("the late lease is kept")
	}
}

func TestFlightsAreBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{Flights: 2})
	d.send("a", 1, at(0))
	d.send("b", 1, at(0))
	if c := d.Ask(d.tag("c"), 1, at(0)); c.Turn != Decline || d.counts.OverBudget != 1 {
		t.Errorf("third: %+v, counts %+v; want it declined", c, d.counts)
	}
}

// Only answers that a key is unknown use the budget up.
func TestUnknownBudget(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{UnknownPerSecond: 10, UnknownBurst: 2})
	for i := range 20 {
		a := d.send("good", 1, at(0))
		if i == 0 {
			d.install(a.Flight, d.deny(api.InactiveKey, 0), at(0), Denied)
			continue
		}
		d.Failed(a.Flight, at(0))
	}
	for range 2 {
		a := d.send("bad", 1, at(0))
		d.install(a.Flight, d.deny(api.UnknownKey, 0), at(0), Denied)
	}
	if a := d.Ask(d.tag("bad"), 1, at(99)); a.Turn != Decline {
		t.Errorf("over the budget: %+v, want it declined", a)
	}
	a := d.send("bad", 1, at(100))
	d.install(a.Flight, d.deny(api.UnknownKey, 0), at(100), Denied)
	if a := d.AskStrict(d.tag("bad"), 1, at(150)); a.Turn != Decline {
		t.Errorf("strict over the budget: %+v, want it declined", a)
	}
	// The budget does not grow beyond the burst, however long nobody asked.
	for range 2 {
		a := d.send("bad", 1, at(100_000))
		d.install(a.Flight, d.deny(api.UnknownKey, 0), at(100_000), Denied)
	}
	if a := d.Ask(d.tag("bad"), 1, at(100_000)); a.Turn != Decline {
		t.Errorf("over the burst: %+v, want it declined", a)
	}
}

// A credential that had a lease, or was paid for strictly, needs no budget.
func TestKnownKeysNeedNoBudget(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{UnknownPerSecond: 1, UnknownBurst: 2})
	d.lease("a", 1, 1_000, at(0))
	s := d.AskStrict(d.tag("s"), 1, at(0))
	d.install(s.Flight, &api.AcquireReply{OpID: "op", Verdict: api.Granted,
		Lease: &api.Lease{Credits: 1, Account: "acct_s", Key: "key_s"}}, at(0), Paid)
	for range 2 {
		b := d.send("bad", 1, at(0))
		d.install(b.Flight, d.deny(api.UnknownKey, 0), at(0), Denied)
	}
	if a := d.AskStrict(d.tag("s"), 1, at(0)); a.Turn != Send {
		t.Errorf("strict: %+v, want it sent", a)
	}
	if a := d.Ask(d.tag("a"), 1, at(0)); a.Turn != Send {
		t.Errorf("lease: %+v, want it sent", a)
	}
}

func TestWant(t *testing.T) {
	t.Parallel()
	const cost = 2
	for _, c := range []struct {
		name    string
		credits int64 // of the lease before, 0 for none; its ttl is 10 s
		used    int64
		ms      int64 // since then
		want    int64
	}{
		{"nothing known", 0, 0, 0, 20},
		{"fast: twice the last", 20, 20, 100, 40},
		{"no time at all", 20, 20, 0, 40},
		{"five quarters of a ttl's worth", 100, 60, 4_000, 188},
		{"slow: one request's worth", 100, 2, 60_000, 2},
		{"not used", 100, 0, 5_000, 2},
		{"no more than the bound", 900, 900, 1, 1_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, Limits{Slab: 1_000})
			if c.credits > 0 {
				d.lease("a", c.credits, 10_000, at(0))
			}
			for range c.used {
				d.admit("a", 1, at(0), Admitted)
			}
			if a := d.send("a", cost, at(c.ms)); a.Want != c.want || a.Mode != api.ModeLease {
				t.Errorf("want %d in mode %s, want %d", a.Want, a.Mode, c.want)
			}
		})
	}
	d := newDesk(t, Limits{Slab: 1_000})
	if a := d.send("b", api.MaxCredits, at(0)); a.Want != api.MaxCredits {
		t.Errorf("dearest: want %d", a.Want)
	}
	if a := d.send("c", 0, at(0)); a.Want != 0 {
		t.Errorf("free: want %d", a.Want)
	}
	if a := d.Ask(d.tag("d"), api.MaxCredits+1, at(0)); a.Turn != Decline {
		t.Errorf("impossible: %+v", a)
	}
}

// After a denial for want of credits one request's worth is asked for, and then twice as much each time.
func TestWantAtTheEndOfABalance(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 100, 10_000, at(0))
	for range 100 {
		d.admit("a", 1, at(1), Admitted)
	}
	a := d.send("a", 3, at(2))
	d.install(a.Flight, d.deny(api.InsufficientCredits, 0), at(2), Denied)
	for _, want := range []int64{3, 6, 12} {
		a := d.send("a", 3, at(3))
		if a.Want != want {
			t.Fatalf("want %d, want %d", a.Want, want)
		}
		d.install(a.Flight, d.grant("a", want, 10_000), at(3), Installed)
		for range want {
			d.admit("a", 1, at(3), Admitted)
		}
	}
}

// A queue asks for what all of it costs, whatever is known of the credential, but not for more than the bound.
func TestRaise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cost, waiting, want int64 }{
		{2, 0, 20}, {2, 2, 20}, {2, 20, 20}, {2, 21, 21}, {2, 300, 300}, {2, 1_001, 1_000}, {2_000, 4_000, 2_000}, {0, 5, 0},
	} {
		d := newDesk(t, Limits{Slab: 1_000})
		a := d.send("a", c.cost, at(0))
		if want := d.Raise(a.Flight, c.waiting); want != c.want {
			t.Errorf("cost %d of %d: %d, want %d", c.cost, c.waiting, want, c.want)
		}
		d.install(a.Flight, d.grant("a", c.want, 1_000), at(1), Installed)
		if want := d.Raise(a.Flight, 1); want != 0 {
			t.Errorf("a flight that has landed: %d", want)
		}
	}
	d := newDesk(t, Limits{})
	if want := d.Raise(d.AskStrict(d.tag("a"), 2, at(0)).Flight, 300); want != 2 {
		t.Errorf("strict: %d, want 2", want)
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 10, 10_000, at(0))
	for used := int64(1); used <= 4; used++ {
		if a := d.admit("a", 1, at(1), Admitted); a.Renew {
			t.Fatalf("renewal due at %d of 10", used)
		}
	}
	if a := d.admit("a", 1, at(2), Admitted); !a.Renew {
		t.Fatal("no renewal due at 5 of 10")
	}
	r := d.Renew(d.tag("a"), 1, at(2))
	if r.Turn != Send || r.Mode != api.ModeLease {
		t.Fatalf("renewal %+v", r)
	}
	if a := d.admit("a", 1, at(3), Admitted); a.Renew {
		t.Error("a second renewal due while one is under way")
	}
	if again := d.Renew(d.tag("a"), 1, at(3)); again.Turn != Decline {
		t.Errorf("second renewal %+v", again)
	}
	d.Failed(r.Flight, at(10))
	if a := d.admit("a", 1, at(11), Admitted); a.Renew {
		t.Error("renewal due at once after one failed")
	}
	if a := d.admit("a", 1, at(10+200), Admitted); !a.Renew {
		t.Error("no renewal due 200 ms after one failed")
	}
	if n := d.Renew(d.tag("nobody"), 1, at(0)); n.Turn != Decline {
		t.Errorf("renewal of nothing %+v", n)
	}
}

// The wait after failures doubles to 800 ms, and is at least half of that.
func TestRenewBackoff(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 1_000, 3_600_000, at(0))
	for range 700 {
		d.admit("a", 1, at(0), Admitted)
	}
	now := int64(10)
	for _, longest := range []int64{200, 400, 800, 800} {
		r := d.Renew(d.tag("a"), 1, at(now))
		d.Failed(r.Flight, at(now))
		if a := d.admit("a", 1, at(now+longest/2-1), Admitted); a.Renew {
			t.Errorf("after %d ms of %d: due", longest/2-1, longest)
		}
		now += longest
		if a := d.admit("a", 1, at(now), Admitted); !a.Renew {
			t.Errorf("after %d ms: not due", longest)
		}
	}
}

func TestRenewByAge(t *testing.T) {
	t.Parallel()
	early, late := 0, 0
	d := newDesk(t, Limits{Keys: 300})
	for i := range 300 {
		name := fmt.Sprint("k", i)
		d.lease(name, 1_000_000, 10_000, at(0))
		if a := d.admit(name, 1, at(2_499), Admitted); a.Renew {
			t.Fatal("renewal due before a quarter of the ttl")
		}
		if a := d.admit(name, 1, at(3_125), Admitted); a.Renew {
			early++
		} else {
			late++
		}
		if a := d.admit(name, 1, at(3_750), Admitted); !a.Renew {
			t.Fatal("no renewal due at three eighths of the ttl")
		}
	}
	if early < 100 || late < 100 {
		t.Errorf("%d due at the middle of the range, %d not; want them spread", early, late)
	}
}

// A free request renews an identity, a paid one a lease: neither would bring what the other needs.
func TestRenewByKind(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{})
	d.lease("a", 10, 10_000, at(0))
	if a := d.admit("a", 0, at(9_000), Admitted); a.Renew {
		t.Error("a free request renews credits")
	}
	d.lease("b", 0, 10_000, at(0))
	if a := d.admit("b", 0, at(9_000), Admitted); !a.Renew {
		t.Error("a free request does not renew an identity")
	}
	// One request's worth at a time, for which a renewal would come too early as well as too late.
	d.lease("c", 1, 10_000, at(0))
	if a := d.admit("c", 1, at(1), Admitted); a.Renew {
		t.Error("a lease of one request is renewed ahead")
	}
}
