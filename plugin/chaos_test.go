//go:build !wasip1

package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// chaosRoutes are routes of every kind of price and mode, all of one key.
const chaosRoutes = `
    {"path": "/v1/document/strict", "mode": "strict", "scheme": "genrex", "cost": 2},
    {"path": "/v1/document/success", "scheme": "genrex", "cost": 5, "charge_on": "success"},
    {"path": "/v1/document/strict-success", "mode": "strict", "scheme": "genrex", "cost": 4, "charge_on": "success"},
    {"path": "/v1/document/from", "scheme": "genrex", "cost_from": {"header": "x-tollgate-charge", "max": 9}},
    {"path": "/v1/document/both", "scheme": "genrex", "cost_from": {"header": "x-tollgate-charge", "max": 7}, "charge_on": "success"},
    {"path": "/v1/document/free", "scheme": "genrex", "cost": 0},
`

var chaosPaths = []string{"create", "strict", "success", "strict-success", "from", "both", "free"}

// Clients that leave at any moment, requests of every price at the same time, a network that loses, repeats, delays and
// reorders, and leases that are always too small: no stream hangs, and what the filter says was charged is what the
// account has paid.
func TestChaosBalances(t *testing.T) {
	t.Parallel()
	plan := testenv.Jittered(150*time.Millisecond, testenv.Mix(
		testenv.Weighted{Weight: 12},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Repeat: 1}},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Lose: testenv.LoseRequest}},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Lose: testenv.LoseReply}},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Reset: testenv.ResetAfter}},
		testenv.Weighted{Weight: 1, Play: testenv.Play{Delay: 2 * time.Second}},
	))
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, seed))
			upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("x-tollgate-charge", fmt.Sprint(len(r.URL.Path)%11))
				w.WriteHeader([]int{200, 200, 404, 500}[random.IntN(4)])
			})
			o := testenv.Options{Workers: 3, Seed: seed, Profile: testenv.Strict,
				Upstream: &testenv.Script{Cluster: testenv.HandlerCluster(upstream), Plan: testenv.Jittered(100*time.Millisecond, testenv.Mix(
					testenv.Weighted{Weight: 8}, testenv.Weighted{Weight: 1, Play: testenv.Play{Reset: testenv.ResetAfter}}))}}
			g := newLeaseGate(t, controlplanetest.Options{LeaseMaxCredits: 25}, o, plan, 5_000,
				`{"prefix": "/v1/document/"`, chaosRoutes+`{"prefix": "/v1/document/"`)
			for range 80 {
				g.chaos(t, random)
			}
			g.Advance(booksClose)
			if n := g.Metric("tollgate.holds"); n != 0 {
				t.Errorf("%d holds are open", n)
			}
			if n := g.Metric("tollgate.dropped"); n != 0 {
				t.Errorf("%d used credits were closed uncounted", n)
			}
			g.closeBooks(t, g.Metric("tollgate.credits"))
		})
	}
}

// chaos sends a wave of requests, some of whose clients leave.
func (g *gate) chaos(t *testing.T, random *rand.Rand) {
	t.Helper()
	var sent []*testenv.Exchange
	for range 25 {
		sent = append(sent, g.Start(at("/v1/document/"+chaosPaths[random.IntN(len(chaosPaths))], g.document())))
	}
	for range 5 {
		g.Advance(time.Duration(random.IntN(60)) * time.Millisecond)
		sent[random.IntN(len(sent))].Reset()
	}
	for _, x := range sent {
		switch got := x.Wait(t); got.Status {
		case 0, 200, 402, 404, 500, 503:
		default:
			t.Errorf("status %d", got.Status)
		}
	}
	g.Advance(time.Duration(random.IntN(2_000)) * time.Millisecond)
}
