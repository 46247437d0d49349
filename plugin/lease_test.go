//go:build !wasip1

package main

import (
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// leaseTTL is the control plane's default.
const leaseTTL = 10 * time.Second

// hot is a request that the filter answers by itself.
var hot = testenv.Want{Decision: testenv.Forwarded, Status: 200, Callouts: unasked}

// newLeaseGate is a gate whose routes take leases, with credits in all.
func newLeaseGate(t testing.TB, c controlplanetest.Options, o testenv.Options, plan testenv.Plan, credits int64, changes ...string) *gate {
	t.Helper()
	g := newGateOf(t, c, o, plan, append(changes, leasing...)...)
	if credits > 10 {
		g.cp.MustCredits(t, g.account, credits-10)
	}
	return g
}

// document asks for the gate's document, with its key.
func (g *gate) document() testenv.Request { return document(bearer(g.key.Secret)) }

// acquires are the acquires that were sent so far.
func (g *gate) acquires(t testing.TB) []api.AcquireRequest {
	t.Helper()
	var all []api.AcquireRequest
	for _, c := range g.Callouts() {
		if c.Header(":path") == api.AcquirePath {
			all = append(all, decode[api.AcquireRequest](t, c.Body))
		}
	}
	return all
}

// booksClose is longer than leases and their grace last.
const booksClose = 2 * time.Minute

// closeBooks waits until every lease is closed and reported, and holds that exactly spent credits were spent.
func (g *gate) closeBooks(t testing.TB, spent int64) {
	t.Helper()
	g.Advance(booksClose)
	g.cp.Clock.Advance(booksClose) // it hears of the time by calls alone
	g.cp.CloseExpired(t)
	g.Advance(settled)
	if w := g.cp.MustWallet(t, g.account); w.Reserved != 0 || w.Spent != spent || w.Available != w.Granted-spent || w.WrittenOff != 0 {
		t.Errorf("wallet %+v, want %d spent and nothing reserved", w, spent)
	}
	g.cp.Verify(t)
}

// A thousand requests on a live lease make no acquire, and each takes no time.
func TestHotRequestsAskNobody(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		c := controlplanetest.Options{LeaseTTL: 2 * time.Minute, LeaseMaxCredits: 1_000_000}
		g := newLeaseGate(t, c, o, nil, 100_000_000)
		for warm := 0; g.Metric("tollgate.reserved") < 3*2_000; warm++ {
			if warm > 10_000 {
				t.Fatalf("%d credits are leased after %d requests", g.Metric("tollgate.reserved"), warm)
			}
			g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
			g.Advance(20 * time.Millisecond)
		}
		g.Advance(time.Second)
		asked := len(g.acquires(t))
		want := hot
		want.Upstream = map[string]string{"authorization": "", "x-tollgate-account-id": g.account, "x-tollgate-key-id": g.key.ID, "x-tollgate-cost": "3"}
		want.FilterState = map[string]string{"wasm.tollgate": "decision=allow scheme=genrex account=" + g.account + " key=" + g.key.ID + " cost=3 mode=lease"}
		want.Metrics = map[string]int64{"tollgate.allowed": 1, "tollgate.credits": 3}
		for range 1_000 {
			g.Check(t, g.document(), want)
		}
		if n := len(g.acquires(t)) - asked; n != 0 {
			t.Errorf("%d acquires for 1,000 hot requests", n)
		}
		g.closeBooks(t, 3*g.Metric("tollgate.allowed"))
	})
}

// Under a steady rate leases are renewed before they run dry or out of time: once the rate is known, no request waits,
// although an acquire takes 100 ms.
func TestRenewalBeforeDry(t *testing.T) {
	t.Parallel()
	slow := testenv.OnPath(api.AcquirePath, testenv.Every(testenv.Play{Return: 100 * time.Millisecond}), nil)
	g := newLeaseGate(t, controlplanetest.Options{LeaseTTL: leaseTTL}, strict, slow, 1_000_000, `"cost": 3`, `"cost": 1`)
	for i := range 3_000 { // a minute at 50 a second
		got := g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
		if i > 500 && got.Took > 0 {
			t.Errorf("request %d waited %s", i, got.Took)
		}
		g.Advance(20*time.Millisecond - got.Took%(20*time.Millisecond))
	}
	if n := g.Metric("tollgate.acquires.renewal"); n < 6 || n > 60 {
		t.Errorf("%d renewals in a minute of leases of 10 s", n)
	}
	g.closeBooks(t, 3_000)
}

// Requests that come while a key is asked for wait for the same answer.
func TestWaitersShareOneCallout(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newLeaseGate(t, controlplanetest.Options{}, o, testenv.Every(testenv.Play{Return: 50 * time.Millisecond}), 1_000)
		var sent []*testenv.Exchange
		for range 8 {
			sent = append(sent, g.Start(g.document()))
			g.Settle()
		}
		for _, x := range sent {
			testenv.Want{Decision: testenv.Forwarded, Status: 200}.Check(t, x.Wait(t))
		}
		if n := len(g.acquires(t)); n != 1 {
			t.Errorf("%d acquires for 8 requests of one key, want 1", n)
		}
		g.closeBooks(t, 24)
	})
}

// A lease that is too small for all that waited for it has the others ask again, and everybody is served.
func TestALeaseTooSmallForItsWaiters(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newLeaseGate(t, controlplanetest.Options{LeaseMaxCredits: 6}, o, testenv.Every(testenv.Play{Return: 10 * time.Millisecond}), 1_000)
		var sent []*testenv.Exchange
		for range 20 {
			sent = append(sent, g.Start(g.document()))
		}
		for _, x := range sent {
			testenv.Want{Decision: testenv.Forwarded, Status: 200}.Check(t, x.Wait(t))
		}
		g.closeBooks(t, 60)
	})
}

// The SDK drops the end of a callout whose stream is gone. Those that waited with it get the same operation's answer by
// the tick; if nobody waited, it is taken back.
func TestTheDispatcherLeaves(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newLeaseGate(t, controlplanetest.Options{}, o, testenv.Every(testenv.Play{Return: 200 * time.Millisecond}), 1_000)
		first := g.Start(g.document())
		g.Settle()
		second := g.Start(g.document())
		g.Settle()
		first.Reset()
		first.Wait(t)
		got := second.Wait(t)
		testenv.Want{Decision: testenv.Forwarded, Status: 200}.Check(t, got)
		if a := g.acquires(t); len(a) != 2 || a[0].OpID != a[1].OpID {
			t.Errorf("acquires %+v, want the same one twice", a)
		}
		if got.Took > 300*time.Millisecond {
			t.Errorf("the one who stayed waited %s", got.Took)
		}
		g.closeBooks(t, 3)
	})
}

// Denials are remembered for as long as the control plane says, and end early when what they are about changes.
func TestDenialsAreRemembered(t *testing.T) {
	t.Parallel()
	g := newLeaseGate(t, controlplanetest.Options{}, strict, nil, 10)
	unknown := document(bearer(anyKey))
	g.Check(t, unknown, asked(invalidKey))
	for range 100 {
		g.Check(t, unknown, invalidKey)
	}
	g.Advance(6 * time.Second)
	g.Check(t, unknown, asked(invalidKey))

	account := g.cp.MustAccount(t, "active", 2)
	poor := document(bearer(g.cp.MustKey(t, account).Secret))
	g.Check(t, poor, asked(insufficientCredits))
	g.Check(t, poor, insufficientCredits)
	g.cp.MustCredits(t, account, 100)
	g.Check(t, poor, insufficientCredits)
	g.Advance(1100 * time.Millisecond)
	g.Check(t, poor, passed)
	if n := g.Metric("tollgate.negative_hits"); n < 102 {
		t.Errorf("%d negative hits", n)
	}
	g.cp.Verify(t)
}

// Unknown keys have a budget of acquires, which known keys do not need.
func TestUnknownKeysHaveABudget(t *testing.T) {
	t.Parallel()
	// Nobody is let in by sending many keys, also where the route fails open.
	g := newLeaseGate(t, controlplanetest.Options{}, strict, nil, 1_000, `"cost": 3`, `"cost": 3, "failure_mode": "allow"`)
	g.Check(t, g.document(), passed)
	var sent []*testenv.Exchange
	for i := range 1_000 {
		key := []byte(anyKey)
		for at, n := len(key)-1, i; n > 0; at, n = at-1, n/10 {
			key[at] = byte('0' + n%10)
		}
		sent = append(sent, g.Start(document(bearer(string(key)))))
	}
	g.Settle()
	refused, undecided := 0, 0
	for _, x := range sent {
		switch got := x.Wait(t); got.Status {
		case 401:
			refused++
		case 503:
			undecided++
		}
	}
	if refused < 100 || refused > 400 || refused+undecided != 1_000 {
		t.Errorf("%d refused and %d undecided of 1,000 unknown keys", refused, undecided)
	}
	g.Check(t, g.document(), hot)
}
