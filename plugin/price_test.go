//go:build !wasip1

package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// The prices of the tests: a fixed one that is due on success alone, and two that the upstream tells.
const (
	onSuccess = `"charge_on": "success", "scheme": "genrex", "cost": 3`
	fromUp    = `"scheme": "genrex", "cost_from": {"header": "x-tollgate-charge", "max": 9}`
	fromBoth  = `"charge_on": "success", ` + fromUp
)

// says is an upstream that answers with a status and, if charge is not empty, says what it costs.
func says(status int, charge string) testenv.Cluster {
	return testenv.HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if charge != "" {
			w.Header().Set("x-tollgate-charge", charge)
		}
		w.WriteHeader(status)
	}))
}

// What a request costs follows from what the upstream answers, once. The header in which it says so is not for clients.
func TestPriceFromTheUpstream(t *testing.T) {
	tests := []struct {
		price, charge string
		status        int
		spent         int64
	}{
		{onSuccess, "", 200, 3}, {onSuccess, "", 404, 3}, {onSuccess, "", 500, 0}, {onSuccess, "", 503, 0},
		{fromUp, "0", 200, 0}, {fromUp, "4", 200, 4}, {fromUp, "9", 200, 9}, {fromUp, "10", 200, 9}, {fromUp, "-1", 200, 9},
		{fromUp, "", 200, 9}, {fromUp, "4", 500, 4}, {fromUp, "", 500, 9},
		{fromBoth, "4", 200, 4}, {fromBoth, "4", 500, 0}, {fromBoth, "", 200, 9}, {fromBoth, "0", 200, 0},
	}
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, %d %q", tt.price, tt.status, tt.charge), func(t *testing.T) {
				o.Upstream = says(tt.status, tt.charge)
				g := newLeaseGate(t, controlplanetest.Options{}, o, nil, 1_000, `"scheme": "genrex", "cost": 3`, tt.price)
				want := testenv.Want{Decision: testenv.Forwarded, Status: tt.status, Headers: map[string]string{"x-tollgate-charge": ""}}
				for range 3 {
					g.Check(t, g.document(), want)
				}
				g.Advance(200 * time.Millisecond)
				if n := g.Metric("tollgate.holds"); n != 0 {
					t.Errorf("%d holds are open", n)
				}
				g.closeBooks(t, 3*tt.spent)
			})
		}
	})
}

// Under strict, what was debited ahead of a failure is taken back whole.
func TestStrictOnSuccess(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		for status, spent := range map[int]int64{200: 3, 404: 3, 500: 0} {
			o.Upstream = says(status, "")
			g := newGate(t, o, nil, `"scheme": "genrex", "cost": 3`, onSuccess)
			g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: status, Callouts: askOnce})
			g.closeBooks(t, spent)
		}
	})
}

// However a stream ends without an answer of the upstream, its hold is settled once: for nothing where only success is
// charged for, and for all of it where the upstream was to say and did not.
func TestHoldsOfStreamsWithoutAnAnswer(t *testing.T) {
	endings := map[string]struct {
		upstream testenv.Play
		leave    bool
	}{
		"the client leaves":      {testenv.Play{Return: time.Second}, true},
		"the upstream is reset":  {testenv.Play{Reset: testenv.ResetAfter}, false},
		"the upstream is absent": {testenv.Play{Reset: testenv.ResetBefore}, false},
		"the route times out":    {testenv.Play{Lose: testenv.LoseReply}, false},
	}
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		for name, end := range endings {
			for price, spent := range map[string]int64{onSuccess: 0, fromUp: 9, fromBoth: 0} {
				t.Run(name+", "+price, func(t *testing.T) {
					o.Upstream = &testenv.Script{Cluster: says(200, "1"), Plan: testenv.Every(end.upstream)}
					g := newLeaseGate(t, controlplanetest.Options{}, o, nil, 1_000, `"scheme": "genrex", "cost": 3`, price)
					x := g.Start(g.document())
					g.Settle()
					if end.leave {
						x.Reset()
					}
					x.Wait(t)
					g.Advance(200 * time.Millisecond)
					if n := g.Metric("tollgate.holds"); n != 0 {
						t.Errorf("%d holds are open", n)
					}
					g.closeBooks(t, spent)
				})
			}
		}
	})
}

// What a later filter answers in the upstream's place is no success, whatever its status.
func TestAnotherFilterAnswers(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		for price, spent := range map[string]int64{onSuccess: 0, fromUp: 9, fromBoth: 0} {
			g := newLeaseGate(t, controlplanetest.Options{}, o, nil, 1_000, `"scheme": "genrex", "cost": 3`, price)
			later := g.plugin
			later.Name, later.RootID, later.VMID = "later", "later", "later"
			later.Configuration = []byte(`{"control_plane": {"cluster": "tollgate"}, "routes": []}`) // 404 for all
			g.Replace(g.plugin, later)
			g.Check(t, g.document(), testenv.Want{Decision: testenv.Answered, Status: 404})
			g.closeBooks(t, spent)
		}
	})
}

// A request that passes undecided on a route that charges for success alone is owed for only if it succeeds.
func TestFailOpenOnSuccess(t *testing.T) {
	t.Parallel()
	for status, owed := range map[int]int64{200: 3, 500: 0} {
		net := &cut{off: true}
		o := strict
		o.Upstream = says(status, "")
		g := newLeaseGate(t, controlplanetest.Options{}, o, net.plan, 10, `"scheme": "genrex", "cost": 3`, onSuccess+`, "failure_mode": "allow"`)
		g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: status})
		net.off = false
		g.Advance(settled)
		g.checkWallet(t, 10, 0, owed)
		g.cp.Verify(t)
	}
}
