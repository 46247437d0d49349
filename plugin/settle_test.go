//go:build !wasip1

package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/testenv"
)

// settled is long enough for a report to be refused twice and acknowledged then.
const settled = 5 * time.Second

// strict is the hardest host: what passes on it passes on the others.
var strict = testenv.Options{Profile: testenv.Strict}

// acquiring lets the acquires go as plays say, one after another, and then all; and reports as plan says.
func acquiring(plan testenv.Plan, plays ...testenv.Play) testenv.Plan {
	return testenv.OnPath(api.AcquirePath, testenv.Plays(plays...), plan)
}

// However the reply to an acquire is lost, a debit that was made is taken back, and the report is repeated until it is
// acknowledged.
func TestALostDebitComesBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		play  testenv.Play
		debit int64
	}{
		{"the request is lost", testenv.Play{Lose: testenv.LoseRequest}, 0},
		{"the reply is lost", testenv.Play{Lose: testenv.LoseReply}, 3},
		{"the reply is lost of a request that arrives three times", testenv.Play{Lose: testenv.LoseReply, Repeat: 2}, 3},
		{"the reply is slow", testenv.Play{Return: time.Second}, 3},
		{"the connection fails", testenv.Play{Reset: testenv.ResetBefore}, 0},
		{"the connection breaks", testenv.Play{Reset: testenv.ResetAfter}, 3},
		{"the reply is cut", testenv.Play{Body: testenv.Truncated(10)}, 3},
		{"500", answers(500, ""), 0},
		{"garbage", answers(200, "{"), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, strict, acquiring(testenv.Plays(answers(503, ""), answers(200, `{"acked":["somebody-else's"]}`)), tt.play))
			got := g.Check(t, document(bearer(g.key.Secret)), counting(unavailable, "voids"))
			g.checkWallet(t, 10-tt.debit, tt.debit, 0)
			op := decode[api.AcquireRequest](t, got.Callouts[0].Body).OpID
			for _, r := range g.settle(t, 3) {
				if diff := cmp.Diff([]string{op}, r.Void); diff != "" || len(r.Unpaid) != 0 {
					t.Errorf("report %+v, want to void %s", r, op)
				}
			}
			g.checkWallet(t, 10, 0, 0)
			g.Check(t, document(bearer(g.key.Secret)), passed)
			g.settle(t, 3)
			g.cp.Verify(t)
		})
	}
}

// An acquire that arrives after it was taken back charges nothing.
func TestALateAcquireAfterTheVoid(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, acquiring(nil, testenv.Play{Delay: 2 * settled}))
	late := g.Check(t, document(bearer(g.key.Secret)), counting(unavailable, "voids")).Callouts[0]
	g.settle(t, 1)
	g.settle(t, 1) // it has arrived meanwhile
	g.checkWallet(t, 10, 0, 0)
	// What it was told is what it would be told again.
	reply, err := testenv.HandlerCluster(g.cp.GateHandler()).Call(t.Context(), &testenv.CalloutRequest{Headers: late.Headers, Body: late.Body})
	if err != nil {
		t.Fatal(err)
	}
	if got := decode[api.AcquireReply](t, reply.Body).Verdict; got != api.Voided {
		t.Errorf("the late acquire is %s, want it voided", got)
	}
	g.cp.Verify(t)
}

func TestWhatNeedsNoVoid(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, acquiring(nil, testenv.Play{}, testenv.Play{}, testenv.Play{Lose: testenv.LoseReply}))
	poor := g.cp.MustKey(t, g.cp.MustAccount(t, "active", 2))
	g.Check(t, document(bearer(g.key.Secret)), passed)
	g.Check(t, document(bearer(poor.Secret)), asked(insufficientCredits))
	g.Check(t, at("/v1/free/x", document(bearer(g.key.Secret))), unavailable)
	g.settle(t, 0)
}

// A client that leaves while its acquire is under way gets its debit back, and the late reply changes nothing, neither
// for it nor for the streams of others.
func TestClientGoneIsVoided(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newGate(t, o, acquiring(testenv.Every(testenv.Play{Return: time.Second}), testenv.Play{Return: 300 * time.Millisecond}))
		x := g.Start(document(bearer(g.key.Secret)))
		g.Settle()
		g.checkWallet(t, 7, 3, 0)
		x.Reset()
		got := x.Wait(t)
		testenv.Want{Decision: testenv.Broken, Err: testenv.ErrStreamClosed,
			FilterState: map[string]string{"wasm.tollgate": "decision=pending scheme=genrex"}}.Check(t, got)
		g.Advance(200 * time.Millisecond) // the report is under way, the reply not yet there
		g.Check(t, document(bearer(g.key.Secret)), counting(passed, "allowed"))
		reports := g.settle(t, 1)
		if diff := cmp.Diff([]string{decode[api.AcquireRequest](t, got.Callouts[0].Body).OpID}, reports[0].Void); diff != "" {
			t.Errorf("voided: %s", diff)
		}
		g.checkWallet(t, 7, 3, 0)
		if abandoned, allowed := g.Metric("tollgate.abandoned"), g.Metric("tollgate.allowed"); abandoned != 1 || allowed != 1 {
			t.Errorf("%d abandoned, %d allowed, want one of each", abandoned, allowed)
		}
		g.cp.Verify(t)
	})
}

// On a route that fails open an undecided request is served and reported as unpaid; one that is decided is not. The
// ledger writes it off once, or has it paid if the debit was made after all.
func TestFailOpen(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                         string
		play                         testenv.Play
		available, spent, writtenOff int64
	}{
		{"never debited", testenv.Play{Lose: testenv.LoseRequest}, 10, 0, 3},
		{"refused", answers(503, ""), 10, 0, 3},
		{"debited after all", testenv.Play{Lose: testenv.LoseReply}, 7, 3, 0},
		{"debited before the connection broke", testenv.Play{Reset: testenv.ResetAfter}, 7, 3, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, strict, acquiring(nil, tt.play), `"cost": 3}`, `"cost": 3, "failure_mode": "allow"}`)
			want := counting(passed, "unpaid")
			want.Callouts = nil
			want.Upstream = map[string]string{"authorization": "", "x-tollgate-account-id": ""}
			want.FilterState = map[string]string{"wasm.tollgate": "decision=unpaid scheme=genrex cost=3"}
			got := g.Check(t, document(bearer(g.key.Secret), testenv.Header{"x-tollgate-account-id", "spoofed"}), want)
			acquire := decode[api.AcquireRequest](t, got.Callouts[0].Body)
			diff := cmp.Diff([]api.SyncRequest{{Gate: "edge-1", Boot: acquire.Boot, Unpaid: []api.Unpaid{
				{OpID: acquire.OpID, Scheme: "genrex", Digests: []string{apikey.DigestOf(g.key.Secret).Hex()}, Cost: 3}}}}, g.settle(t, 1))
			if diff != "" {
				t.Errorf("reported: %s", diff)
			}
			g.checkWallet(t, tt.available, tt.spent, tt.writtenOff)
			// What can be judged without the control plane still is.
			g.Check(t, document(bearer("nonsense")), invalidKey)
			g.Check(t, document(), unauthenticated)
			decided := counting(passed, "allowed")
			decided.Upstream = map[string]string{"x-tollgate-account-id": g.account}
			g.Check(t, document(bearer(g.key.Secret)), decided)
			g.settle(t, 1)
			g.cp.Verify(t)
		})
	}
}
