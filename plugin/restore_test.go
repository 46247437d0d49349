//go:build !wasip1

package main

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// counter reads one of the control plane's metrics.
func (g *gate) counter(t *testing.T, name string) int64 {
	t.Helper()
	resp, err := http.Get(g.cp.OpsURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no metric %s", name)
	}
	f, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(f)
}

const (
	creditsReserved = `tollgate_credits_moved_total{kind="reserve"}`
	leasesGranted   = `tollgate_leases_total{event="granted"}`
)

// serve sends requests of one credit each, pause apart, all of which are let through.
func (g *gate) serve(t *testing.T, requests int, pause time.Duration) {
	t.Helper()
	for range requests {
		g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
		g.Advance(pause)
	}
}

// A control plane is restored from a backup while two VMs hold leases that it does not know. They let go of them; until
// they all must have, leases hold one request's credits. What can be used beyond the restored balance is what leases
// held at the backup (with refund) and what was granted after it; not a credit more, however long traffic goes on.
func TestRestoreBetweenTwoPhases(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"refund", "charge"} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s, seed %d", policy, seed), func(t *testing.T) {
				t.Parallel()
				const granted = 2_000
				g := newLeaseGate(t, controlplanetest.Options{Unreported: policy}, testenv.Options{Workers: 2, Seed: seed, Profile: testenv.Strict},
					testenv.Jittered(20*time.Millisecond, nil), granted, `"cost": 3`, `"cost": 1`)
				g.serve(t, 200, 25*time.Millisecond)
				backup := g.cp.Backup(t)
				window, before := int64(0), g.counter(t, creditsReserved)
				if policy == "refund" {
					window = g.cp.MustWallet(t, g.account).Reserved
				}
				g.serve(t, 300, 25*time.Millisecond)
				window += g.counter(t, creditsReserved) - before

				g.cp.Restore(t, backup)
				g.serve(t, 100, 25*time.Millisecond)
				if n, credits := g.counter(t, leasesGranted), g.counter(t, creditsReserved); n == 0 || n != credits {
					t.Errorf("right after the restore %d leases of %d credits", n, credits)
				}
				lost := g.counter(t, "tollgate_lost_credits_total")
				if lost == 0 || lost > window {
					t.Errorf("%d credits lost of leases that are not known, of %d at most", lost, window)
				}
				g.Advance(time.Minute)
				g.cp.Clock.Advance(time.Minute)
				g.cp.CloseExpired(t)
				g.serve(t, 100, 25*time.Millisecond)
				if n, credits := g.counter(t, leasesGranted), g.counter(t, creditsReserved); credits < 2*n {
					t.Errorf("a minute later still %d leases of %d credits", n, credits)
				}
				used := int64(700 + g.drain(t, 3*time.Second))
				// Charged for, too, is what leases of the backup held and nobody reported to the restored one.
				if over := used - granted; over > window || over <= 0 && policy == "refund" {
					t.Errorf("%d credits used of %d, want at most %d beyond", used, granted, window)
				}
				g.closeBooks(t, granted)
			})
		}
	}
}
