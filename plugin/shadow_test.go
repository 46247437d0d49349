//go:build !wasip1

package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/testenv"
)

// shadowed are the changes that make testConfig's genrex route a shadow of one that costs 3.
var shadowed = []string{`"mode": "strict", "scheme": "genrex", "cost": 3`, `"scheme": "genrex", "cost": 3, "shadow": true`}

// would is a request on a shadow route that had been refused without it, for that reason.
func would(status int, reason apikey.Reason) testenv.Want {
	return testenv.Want{
		Decision: testenv.Forwarded, Status: 200,
		FilterState: map[string]string{"wasm.tollgate": fmt.Sprintf("decision=shadow would=deny status=%d reason=%s", status, reason)},
		Upstream: map[string]string{"authorization": "", "x-api-key": "", "x-tollgate-account-id": "", "x-tollgate-key-id": "",
			"x-tollgate-cost": ""},
		Metrics: map[string]int64{"tollgate.shadow.denied." + string(reason): 1, "tollgate.denied." + string(reason): 0,
			"tollgate.shadow.allowed": 0, "tollgate.allowed": 0, "tollgate.credits": 0},
	}
}

// A shadow route decides, counts and logs; it refuses nothing, charges nothing, and keeps keys from the upstream all the same.
func TestShadow(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newGate(t, o, nil, shadowed...)
		spoofed := testenv.Header{"x-tollgate-account-id", "acct_spoofed"}
		allowed := testenv.Want{
			Decision: testenv.Forwarded, Status: 200, UpstreamBody: `{"prompt": "Write about AI trends"}`,
			FilterState: map[string]string{"wasm.tollgate": "decision=shadow would=allow scheme=genrex account=" + g.account +
				" key=" + g.key.ID + " cost=0 mode=lease"},
			Upstream: map[string]string{"authorization": "", "x-tollgate-account-id": g.account, "x-tollgate-key-id": g.key.ID, "x-tollgate-cost": "0"},
			Metrics:  map[string]int64{"tollgate.shadow.allowed": 1, "tollgate.allowed": 0, "tollgate.credits": 0},
		}
		for range 20 { // four would be paid for
			g.Check(t, document(bearer(g.key.Secret), spoofed), allowed)
		}
		key := func(status string, credits int64) testenv.Header {
			return bearer(g.cp.MustKey(t, g.cp.MustAccount(t, status, credits)).Secret)
		}
		revoked := g.cp.MustKey(t, g.account)
		g.cp.MustRevokeKey(t, revoked.ID)
		for _, tt := range []struct {
			name    string
			headers []testenv.Header
			want    testenv.Want
		}{
			{"no key", nil, would(401, apikey.MissingCredential)},
			{"two keys", []testenv.Header{bearer(g.key.Secret), xkey(g.key.Secret)}, would(400, apikey.InvalidRequest)},
			{"malformed", []testenv.Header{bearer("grx_sk_x")}, would(401, apikey.InvalidKey)},
			{"unknown", []testenv.Header{bearer("grx_sk_" + fmt.Sprintf("%048d", 1))}, would(401, apikey.InvalidKey)},
			{"revoked", []testenv.Header{xkey(revoked.Secret)}, would(401, apikey.InactiveKey)},
			{"disabled", []testenv.Header{key("disabled", 10)}, would(403, apikey.AccountNotActive)},
			{"two credits for a price of three", []testenv.Header{key("active", 2)}, would(402, apikey.InsufficientCredits)},
		} {
			t.Run(tt.name, func(t *testing.T) {
				for range 2 { // by the control plane, and from memory
					g.Check(t, document(append([]testenv.Header{spoofed}, tt.headers...)...), tt.want)
				}
			})
		}
		// What has no route has no shadow.
		g.Check(t, at("/v1/document//create", document()), badPath)
		g.checkWallet(t, 10, 0, 0)
		g.cp.Verify(t)
	})
}

// Nobody can decide: the request passes, with what it would have come to, as late as a refusal had come.
func TestShadowWithoutControlPlane(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		lost := testenv.Every(testenv.Play{Lose: testenv.LoseRequest})
		g := newGate(t, o, lost, shadowed[0], shadowed[1]+`, "failure_mode": "allow"`)
		g.Check(t, document(bearer(g.key.Secret)), would(503, apikey.Unavailable))
		g.checkWallet(t, 10, 0, 0)
	})
}

// A price that the upstream tells is not charged either, and its header is kept from the client as ever.
func TestShadowOfAPriceThatTheUpstreamTells(t *testing.T) {
	t.Parallel()
	tells := testenv.HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("x-tollgate-charge", "2") }))
	g := newGate(t, testenv.Options{Upstream: tells}, nil, shadowed[0],
		`"scheme": "genrex", "cost_from": {"header": "x-tollgate-charge", "max": 3}, "charge_on": "success", "shadow": true`)
	g.Check(t, document(bearer(g.key.Secret)), testenv.Want{
		Decision: testenv.Forwarded, Status: 200, Headers: map[string]string{"x-tollgate-charge": ""},
		Metrics: map[string]int64{"tollgate.shadow.allowed": 1, "tollgate.credits": 0},
	})
	g.Advance(2 * time.Second)
	g.checkWallet(t, 10, 0, 0)
}
