//go:build !wasip1

package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// Credits of one account that eight VMs draw on, and how many requests come at a time.
const (
	poolCredits = 10_000
	poolWave    = 1_000
)

// drain sends waves of requests until one is refused for want of credits and none are left, and returns how many were
// admitted.
func (g *gate) drain(t *testing.T, pause time.Duration) (admitted int) {
	t.Helper()
	for range 200 {
		var sent []*testenv.Exchange
		for range poolWave {
			sent = append(sent, g.Start(g.document()))
		}
		served, refused := 0, false
		for _, x := range sent {
			switch got := x.Wait(t); got.Status {
			case 200:
				served++
			case 402:
				refused = true
			default:
				t.Fatalf("status %d", got.Status)
			}
		}
		admitted += served
		g.Advance(pause)
		if w := g.cp.MustWallet(t, g.account); refused && served == 0 && w.Available == 0 && w.Reserved == 0 {
			return admitted
		}
	}
	t.Fatalf("after 200 waves %d were admitted and the wallet is %+v", admitted, g.cp.MustWallet(t, g.account))
	return 0
}

// Eight VMs admit exactly as many requests as there are credits, whether each is asked for or the VMs hold leases. Leases
// are drained as the balance nears zero: the last credit is found, wherever it lies.
func TestEightVMsAtTheLastCredit(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		modes := map[string][]string{"lease": leasing}
		if seed == 0 {
			modes["strict"] = nil
		}
		for mode, changes := range modes {
			t.Run(fmt.Sprintf("%s, seed %d", mode, seed), func(t *testing.T) {
				t.Parallel()
				g := newGateOf(t, controlplanetest.Options{Unreported: "charge"}, testenv.Options{Workers: 8, Seed: seed, Profile: testenv.Strict},
					testenv.Jittered(20*time.Millisecond, nil), append([]string{`"cost": 3`, `"cost": 1`}, changes...)...)
				g.cp.MustCredits(t, g.account, poolCredits-10)
				if n := g.drain(t, 3*time.Second); n != poolCredits {
					t.Errorf("%d requests were admitted on %d credits", n, poolCredits)
				}
				g.closeBooks(t, poolCredits)
			})
		}
	}
}

// Two gates share the last credits of an account just so. One of them holds them all and does not use them: they are
// asked back for the other.
func TestTwoGatesAtTheLastCredit(t *testing.T) {
	t.Parallel()
	g := newLeaseGate(t, controlplanetest.Options{}, strict, nil, 100, `"cost": 3`, `"cost": 1`)
	other := &gate{cp: g.cp, account: g.account, key: g.key}
	another := strict
	another.Seed = 1 // random numbers of its own, and so another boot
	other.Host = hostOf(t, g.cp, another, nil, append([]string{`"cost": 3`, `"cost": 1`}, leasing...)...)
	admitted := 0
	for _, one := range []*gate{g, other, g, other} {
		for range 20 {
			one.Check(t, one.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
			admitted++
		}
	}
	for step, refusals := 0, 0; refusals < 10; step++ {
		one := []*gate{g, other}[step%2]
		switch got := one.Do(t, one.document()); got.Status {
		case 200:
			admitted++
			refusals = 0
		case 402:
			refusals++
		default:
			t.Fatalf("status %d", got.Status)
		}
		g.Advance(3 * time.Second)
		other.Advance(3 * time.Second)
	}
	if admitted != 100 {
		t.Errorf("%d requests were admitted on 100 credits", admitted)
	}
	other.Advance(booksClose)
	g.closeBooks(t, 100)
}
