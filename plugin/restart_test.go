//go:build !wasip1

package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// A control plane that is stopped after it has committed and before its reply arrives, again and again, is asked the same
// again, and loses and doubles nothing. Keys with a lease do not notice.
func TestRestartsBetweenCommitAndReply(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			down := false
			plan := func(testenv.Call) testenv.Play {
				if down {
					return testenv.Play{Reset: testenv.ResetAfter}
				}
				return testenv.Play{Return: 20 * time.Millisecond}
			}
			o := testenv.Options{Workers: 2, Seed: seed, Profile: testenv.Strict}
			g := newLeaseGate(t, controlplanetest.Options{}, o, plan, 100_000)
			served := int64(0)
			for range 40 {
				down = true
				for range 1 + random.IntN(60) {
					if got := g.Do(t, g.document()); got.Status == 200 {
						served++
					} else {
						unavailable.Check(t, got)
					}
					g.Advance(25 * time.Millisecond)
				}
				g.cp.Restart(t)
				down = false
				for range random.IntN(60) {
					g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
					served++
					g.Advance(25 * time.Millisecond)
				}
			}
			if served < 1_000 {
				t.Errorf("%d requests were served", served)
			}
			g.closeBooks(t, 3*served)
		})
	}
}
