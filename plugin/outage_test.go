//go:build !wasip1

package main

import (
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// syncPeriod is how often a filter that holds leases hears news, tick included.
const syncPeriod = 1100 * time.Millisecond

// cut is a network that a test can cut.
type cut struct{ off bool }

func (c *cut) plan(testenv.Call) testenv.Play {
	if c.off {
		return testenv.Play{Lose: testenv.LoseRequest}
	}
	return testenv.Play{Return: 50 * time.Millisecond}
}

// warm sends requests for a while, so that the gate holds leases as for a steady rate.
func (g *gate) warm(t testing.TB) (served int64) {
	t.Helper()
	for range 300 {
		g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
		g.Advance(20 * time.Millisecond)
		served++
	}
	return served
}

// lastServed sends requests until they are refused for good, and returns how long after the beginning the last one was
// served, and the last answer.
func (g *gate) lastServed(t testing.TB, within time.Duration) (last time.Duration, refused testenv.Response, served int64) {
	t.Helper()
	start := g.Clock().Monotonic()
	for g.Clock().Monotonic() < start+within {
		if got := g.Do(t, g.document()); got.Status == 200 {
			served++
			last = g.Clock().Monotonic() - start - got.Took
		} else {
			refused = got
		}
		g.Advance(20 * time.Millisecond)
	}
	return last, refused, served
}

// A revoked key, a disabled account and a lapsed domain stop within one sync and its round trip.
func TestRevocationReachesLeases(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		tests := []struct {
			name   string
			revoke func(*gate)
			want   testenv.Want
		}{
			{"key revoked", func(g *gate) { g.cp.MustRevokeKey(t, g.key.ID) }, because(invalidKey, "inactive_key")},
			{"key disabled", func(g *gate) { g.cp.MustSetKeyStatus(t, g.key.ID, "inactive") }, because(invalidKey, "inactive_key")},
			{"account disabled", func(g *gate) { g.cp.MustSetAccountStatus(t, g.account, "disabled") }, accountDisabled},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				g := newLeaseGate(t, controlplanetest.Options{}, o, (&cut{}).plan, 100_000)
				served := g.warm(t)
				tt.revoke(g)
				last, refused, more := g.lastServed(t, 5*time.Second)
				if last > syncPeriod+100*time.Millisecond {
					t.Errorf("served %s after it was revoked", last)
				}
				want := tt.want
				want.Callouts = nil
				want.Check(t, refused)
				g.closeBooks(t, 3*(served+more))
			})
		}
	})
}

// It is the sync that tells, also where no acquire gets through that would be told so too.
func TestRevocationBySyncAlone(t *testing.T) {
	t.Parallel()
	acquires := &cut{}
	plan := testenv.OnPath(api.AcquirePath, acquires.plan, (&cut{}).plan)
	g := newLeaseGate(t, controlplanetest.Options{LeaseMaxCredits: 10_000}, strict, plan, 100_000, `"cost": 3`, `"cost": 1`)
	served := g.warm(t) + g.warm(t) + g.warm(t)
	acquires.off = true
	g.cp.MustRevokeKey(t, g.key.ID)
	last, refused, more := g.lastServed(t, 4*time.Second)
	if last > syncPeriod+100*time.Millisecond {
		t.Errorf("served %s after it was revoked", last)
	}
	unavailable.Check(t, refused)
	acquires.off = false
	g.closeBooks(t, served+more)
}

// With the control plane cut off, a revoked key lives no longer than the lease's ttl.
func TestRevocationBehindACut(t *testing.T) {
	t.Parallel()
	net := &cut{}
	g := newLeaseGate(t, controlplanetest.Options{}, strict, net.plan, 100_000)
	served := g.warm(t)
	net.off = true
	g.cp.MustRevokeKey(t, g.key.ID)
	last, refused, more := g.lastServed(t, 2*leaseTTL)
	if last > leaseTTL || more == 0 {
		t.Errorf("served for %s after the cut, %d times", last, more)
	}
	unavailable.Check(t, refused)
	net.off = false
	g.closeBooks(t, 3*(served+more))
}

// A control plane that is away for half a ttl is not missed by keys with a lease, and nothing is lost or doubled.
func TestHalfATTLWithoutAControlPlane(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		net := &cut{}
		// The price is one credit, so that the lease lasts for the outage at this rate.
		g := newLeaseGate(t, controlplanetest.Options{LeaseMaxCredits: 10_000}, o, net.plan, 1_000_000, `"cost": 3`, `"cost": 1`)
		served := g.warm(t) + g.warm(t) + g.warm(t) // leases grow as the rate becomes known
		for range 6 {
			for i := range 500 {
				net.off = i < 245 // 4.9 s
				g.Check(t, g.document(), hot)
				g.Advance(20 * time.Millisecond)
				served++
			}
			for range 37 { // another moment in the life of a lease
				g.Check(t, g.document(), hot)
				g.Advance(20 * time.Millisecond)
				served++
			}
		}
		g.closeBooks(t, served)
	})
}

// A clock that steps, and a machine that sleeps, cost at most an acquire: no lease is used at a time of which a clock
// says that it is over, or was not yet.
func TestClocksStep(t *testing.T) {
	steps := map[string]func(*gate){
		"an hour forward": func(g *gate) { g.Clock().StepWall(time.Hour) },
		"an hour back":    func(g *gate) { g.Clock().StepWall(-time.Hour) },
		"asleep":          func(g *gate) { g.Clock().Suspend(time.Hour); g.cp.Clock.Advance(time.Hour) },
	}
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		for name, step := range steps {
			t.Run(name, func(t *testing.T) {
				// The control plane's clock does not step with the proxy's.
				g := newLeaseGate(t, controlplanetest.Options{}, o, nil, 100_000)
				served := g.warm(t)
				step(g)
				got := g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
				if n := len(got.Callouts); n != 1 {
					t.Errorf("%d callouts for the first request after the step, want one acquire", n)
				}
				served += 1 + g.warm(t)
				g.closeBooks(t, 3*served)
			})
		}
	})
}

// A VM that dies, and a plugin that ends, take at most what they had not reported with them. Under refund the account
// pays for no more than was served, under charge for no less.
func TestUnreportedUsage(t *testing.T) {
	end := map[string]func(*gate){
		"the VM dies":     func(g *gate) { g.Kill(1) },
		"the plugin ends": func(g *gate) { g.Replace(g.plugin) },
	}
	for name, stop := range end {
		for _, policy := range []string{"refund", "charge"} {
			t.Run(name+", "+policy, func(t *testing.T) {
				t.Parallel()
				o := strict
				g := newLeaseGate(t, controlplanetest.Options{Unreported: policy}, o, nil, 100_000)
				served := 3 * g.warm(t)
				stop(g)
				// What was served since the last sync is 50 requests at most.
				g.Advance(booksClose)
				g.cp.Clock.Advance(booksClose)
				g.cp.CloseExpired(t)
				w := g.cp.MustWallet(t, g.account)
				if lost := served - w.Spent; policy == "refund" && (lost < 0 || lost > 3*51) {
					t.Errorf("%d credits served, %d spent: lost more than what was not reported, or charged too much", served, w.Spent)
				}
				if policy == "charge" && (w.Spent < served || w.Spent > served+3_000) {
					t.Errorf("%d credits served, %d spent: less, or more than a lease above", served, w.Spent)
				}
				if w.Reserved != 0 {
					t.Errorf("%d credits are still reserved", w.Reserved)
				}
				g.cp.Verify(t)
			})
		}
	}
}

// A VM that is cut off until its leases are closed reports all the same once it is heard: nothing is lost of what it had
// not reported, whichever policy had taken or given it back.
func TestReportsAfterTheClose(t *testing.T) {
	for _, policy := range []string{"refund", "charge"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			net := &cut{}
			g := newLeaseGate(t, controlplanetest.Options{Unreported: policy}, strict, net.plan, 100_000)
			served := g.warm(t)
			net.off = true
			for range 20 {
				g.Check(t, g.document(), hot)
				served++
			}
			g.Advance(booksClose)
			g.cp.Clock.Advance(booksClose)
			g.cp.CloseExpired(t)
			w := g.cp.MustWallet(t, g.account)
			if w.Reserved != 0 || (policy == "refund") != (w.Spent < 3*served) || (policy == "charge") != (w.Spent > 3*served) {
				t.Errorf("closed unheard: wallet %+v with %d served", w, 3*served)
			}
			net.off = false
			g.closeBooks(t, 3*served)
		})
	}
}

// What was refunded and spent by another gate before the late report came is written off, and no more: the balance does
// not go below zero.
func TestALateReportOfSpentCredits(t *testing.T) {
	t.Parallel()
	const credits = 200
	net := &cut{}
	g := newLeaseGate(t, controlplanetest.Options{}, strict, net.plan, credits, `"cost": 3`, `"cost": 1`)
	other := &gate{cp: g.cp, account: g.account, key: g.key}
	another := strict
	another.Seed = 1 // random numbers of its own, and so another boot
	other.Host = hostOf(t, g.cp, another, nil, append([]string{`"cost": 3`, `"cost": 1`}, leasing...)...)
	g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
	net.off = true
	served := int64(1)
	for g.Do(t, g.document()).Status == 200 {
		served++
	}
	g.Advance(booksClose)
	g.cp.Clock.Advance(booksClose)
	g.cp.CloseExpired(t)
	for other.Do(t, other.document()).Status == 200 {
		served++
	}
	other.Advance(booksClose)
	g.checkWallet(t, 0, credits, 0)
	net.off = false
	g.Advance(booksClose)
	if served <= credits {
		t.Errorf("%d were served on %d credits: nothing was used twice", served, credits)
	}
	if w := g.cp.MustWallet(t, g.account); w.Available != 0 || w.Reserved != 0 || w.Spent != credits || w.WrittenOff != served-credits {
		t.Errorf("wallet %+v, want all %d spent and %d written off", w, credits, served-credits)
	}
	g.cp.Verify(t)
}

// Whatever is lost, repeated, reordered or late, what is served is what is paid for in the end.
func TestLeasesOverABadNetwork(t *testing.T) {
	t.Parallel()
	bad := testenv.Jittered(100*time.Millisecond, testenv.Mix(
		testenv.Weighted{Weight: 6},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Repeat: 2}},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Lose: testenv.LoseRequest}},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Lose: testenv.LoseReply}},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Reset: testenv.ResetAfter}},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Body: testenv.Truncated(20)}},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Delay: time.Second}},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Delay: time.Minute}}, // after the lease is closed
	))
	for seed := range uint64(4) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			g := newLeaseGate(t, controlplanetest.Options{}, testenv.Options{Workers: 2, Seed: seed, Profile: testenv.Strict}, bad, 100_000)
			served := int64(0)
			for range 600 {
				switch got := g.Do(t, g.document()); got.Status {
				case 200:
					served++
				case 503:
				default:
					t.Fatalf("status %d", got.Status)
				}
				g.Advance(50 * time.Millisecond)
			}
			if served < 400 {
				t.Errorf("%d of 600 served", served)
			}
			g.Advance(booksClose)
			g.closeBooks(t, 3*served)
		})
	}
}
