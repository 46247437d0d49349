//go:build !wasip1

package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/tollgate/tollgate/testenv"
)

// The credits of one account that the requests of several workers draw on, and how many requests come at a time.
const (
	sharedCredits = 1_000
	waveRequests  = 200
	wavesAtMost   = 50
	// waveSettles is longer than any debit takes to come back whose reports are lost, again and again.
	waveSettles = time.Minute
)

// Whatever the network does to the calls of four workers, and in whatever order they arrive, one account's credits are
// spent to the last and none twice: exactly as many requests are admitted as there were credits.
func TestEveryCreditAdmitsOneRequest(t *testing.T) {
	t.Parallel()
	plans := map[string]testenv.Plan{
		"reordered": testenv.Jittered(100*time.Millisecond, nil),
		"lossy": testenv.Jittered(100*time.Millisecond, testenv.Mix(
			testenv.Weighted{Weight: 14},
			testenv.Weighted{Weight: 1, Play: testenv.Play{Repeat: 2}},
			testenv.Weighted{Weight: 1, Play: testenv.Play{Lose: testenv.LoseRequest}},
			testenv.Weighted{Weight: 1, Play: testenv.Play{Lose: testenv.LoseReply}},
			testenv.Weighted{Weight: 1, Play: testenv.Play{Reset: testenv.ResetAfter}},
			testenv.Weighted{Weight: 1, Play: testenv.Play{Body: testenv.Truncated(20)}},
			testenv.Weighted{Weight: 1, Play: testenv.Play{Delay: time.Second}},
		)),
	}
	for name, plan := range plans {
		for run := range uint64(4) {
			mode, changes, seed := "strict", []string(nil), run/2
			if run%2 == 1 {
				mode, changes = "lease", leasing
			}
			t.Run(fmt.Sprintf("%s, %s, seed %d", name, mode, seed), func(t *testing.T) {
				t.Parallel()
				g := newGate(t, testenv.Options{Workers: 4, Seed: seed, Profile: testenv.Strict}, plan,
					append([]string{`"cost": 3`, `"cost": 1`}, changes...)...)
				g.cp.MustCredits(t, g.account, sharedCredits-10)
				admitted, turnedAway := 0, false
				for wave := 0; !turnedAway && wave < wavesAtMost; wave++ {
					n, refused := g.wave(t)
					admitted += n
					g.Advance(waveSettles) // what was lost is there for the next wave
					w := g.cp.MustWallet(t, g.account)
					turnedAway = refused && w.Available+w.Reserved == 0
				}
				if admitted != sharedCredits || !turnedAway {
					t.Errorf("%d requests were admitted, and then others refused: %v; want %d", admitted, turnedAway, sharedCredits)
				}
				if got := g.Metric("tollgate.allowed"); got != sharedCredits {
					t.Errorf("the workers count %d admitted, want %d", got, sharedCredits)
				}
				g.checkWallet(t, 0, sharedCredits, 0)
				g.cp.Verify(t)
			})
		}
	}
}

// wave sends requests that are all under way at the same time. It returns how many were admitted, and whether any was
// refused for want of credits.
func (g *gate) wave(t *testing.T) (admitted int, refused bool) {
	t.Helper()
	broke := insufficientCredits
	broke.Callouts = nil // the control plane said so, to this request or to another
	var sent []*testenv.Exchange
	for range waveRequests {
		sent = append(sent, g.Start(document(bearer(g.key.Secret))))
	}
	for _, x := range sent {
		switch got := x.Wait(t); {
		case got.Status == 200 && got.Upstream != nil:
			admitted++
		case got.Status == 402:
			broke.Check(t, got)
			refused = true
		default:
			unavailable.Check(t, got)
		}
	}
	return admitted, refused
}
