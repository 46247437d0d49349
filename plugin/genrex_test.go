//go:build !wasip1

package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/testenv"
)

func TestAGoodKeyOpensTheGate(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newGate(t, o, nil)
		for _, credential := range []testenv.Header{bearer(g.key.Secret), xkey(g.key.Secret)} {
			want := passed
			want.UpstreamBody = `{"prompt": "Write about AI trends"}`
			want.Upstream = map[string]string{
				"authorization": "", "x-api-key": "", "x-tollgate-admin": "", "content-type": "application/json",
				"x-tollgate-account-id": g.account, "x-tollgate-key-id": g.key.ID, "x-tollgate-cost": "3",
			}
			want.FilterState = map[string]string{"wasm.tollgate": "decision=allow scheme=genrex account=" + g.account + " key=" + g.key.ID + " cost=3 mode=strict"}
			want.Metrics = map[string]int64{"tollgate.allowed": 1, "tollgate.callouts": 1, "tollgate.credits": 3}
			g.Check(t, document(credential, testenv.Header{"x-tollgate-account-id", "acct_spoofed"}, testenv.Header{"x-tollgate-admin", "yes"}), want)
		}
		g.checkWallet(t, 4, 6, 0)
	})
}

// What travels to the control plane is a digest; the secret is nowhere but in the client's request.
func TestTheSecretStaysInTheFilter(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, nil)
	got := g.Check(t, document(bearer(g.key.Secret)), passed)
	acquire, upstream := got.Callouts[0], got.Upstream
	seen := fmt.Sprint(acquire.Headers, string(acquire.Body), upstream.Headers, string(upstream.Body), upstream.Trailers,
		got.Headers, string(got.Body), got.FilterState, g.Logs(), g.cp.Logs())
	if !strings.Contains(seen, apikey.DigestOf(g.key.Secret).Hex()) {
		t.Error("the control plane did not get the key's digest")
	}
	if strings.Contains(seen, g.key.Secret[7:]) {
		t.Error("the secret was passed on, logged or kept")
	}
}

// Every row of the genrex table, with a real key in each state.
func TestGenrexRows(t *testing.T) {
	underEveryMode(t, func(t *testing.T, o testenv.Options, changes []string) {
		g := newGate(t, o, nil, changes...)
		key := g.key.Secret
		revoked, inactive := g.cp.MustKey(t, g.account), g.cp.MustKey(t, g.account)
		g.cp.MustRevokeKey(t, revoked.ID)
		g.cp.MustSetKeyStatus(t, inactive.ID, "inactive")
		of := func(status string, credits int64) testenv.Request {
			return document(bearer(g.cp.MustKey(t, g.cp.MustAccount(t, status, credits)).Secret))
		}
		g.Run(t, []testenv.Scenario{
			{Name: "two authorization headers", Request: document(bearer(key), bearer(key)), Want: invalidRequest},
			{Name: "both sources", Request: document(bearer(key), xkey(key)), Want: invalidRequest},
			{Name: "joined values", Request: document(xkey(key + "," + key)), Want: invalidRequest},
			{Name: "underscore twin", Request: document(testenv.Header{"x_api_key", key}), Want: invalidRequest},
			// Repeated and differing authorities, as a host that does not fold them would show them.
			{Name: "conflicting host", Request: document(bearer(key), testenv.Header{"host", "other.test"}), Want: invalidRequest},
			{Name: "no credential", Request: document(), Want: unauthenticated},
			{Name: "empty value", Request: document(xkey("")), Want: unauthenticated},
			{Name: "bearer alone", Request: document(testenv.Header{"authorization", "Bearer"}), Want: unauthenticated},
			{Name: "another scheme", Request: document(testenv.Header{"authorization", "Basic dXNlcjpwYXNz"}), Want: unauthenticated},
			{Name: "malformed", Request: document(bearer("grx_sk_your_api_key")), Want: invalidKey},
			{Name: "NUL in the key", Request: document(xkey(key[:54] + "\x00")), Want: invalidKey},
			{Name: "8 KiB", Request: document(xkey(strings.Repeat("\xff", 8192))), Want: invalidKey},
			{Name: "unknown", Request: document(bearer("grx_sk_" + strings.Repeat("0", 48))), Want: asked(invalidKey)},
			{Name: "wrong secret", Request: document(bearer(lastChanged(key))), Want: asked(invalidKey)},
			{Name: "revoked", Request: document(bearer(revoked.Secret)), Want: asked(because(invalidKey, apikey.InactiveKey))},
			{Name: "disabled key", Request: document(bearer(inactive.Secret)), Want: asked(because(invalidKey, apikey.InactiveKey))},
			{Name: "pending account", Request: of("pending", 100), Want: asked(accountDisabled)},
			{Name: "disabled account", Request: of("disabled", 100), Want: asked(accountDisabled)},
			{Name: "balance below the cost", Request: of("active", 2), Want: asked(insufficientCredits)},
		}...)
		g.checkWallet(t, 10, 0, 0)
		g.cp.Verify(t)
	})
}

// Whether a key is malformed, unknown, wrong, revoked or disabled must not be told apart.
func TestInvalidKeysGetTheSameBytes(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, nil)
	g.cp.MustRevokeKey(t, g.key.ID)
	malformed := g.Do(t, document(bearer("nonsense")))
	for name, key := range map[string]string{"unknown": "grx_sk_" + strings.Repeat("0", 48), "revoked": g.key.Secret} {
		got := g.Do(t, document(bearer(key)))
		if diff := cmp.Diff(malformed.Headers, got.Headers); diff != "" || !bytes.Equal(got.Body, malformed.Body) {
			t.Errorf("%s: %s, malformed: %s, headers:\n%s", name, got.Body, malformed.Body, diff)
		}
	}
}

func TestRoutesAndPrices(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, nil)
	key := bearer(g.key.Secret)
	penniless := bearer(g.cp.MustKey(t, g.cp.MustAccount(t, "active", 0)).Secret)
	open := testenv.Want{Decision: testenv.Forwarded, Status: 200, Callouts: unasked}
	with := func(w testenv.Want, upstream ...string) testenv.Want {
		w.Upstream = map[string]string{}
		for i := 0; i < len(upstream); i += 2 {
			w.Upstream[upstream[i]] = upstream[i+1]
		}
		return w
	}
	g.Run(t, []testenv.Scenario{
		{Name: "an open route takes no key upstream", Request: at("/healthz", document(xkey(g.key.Secret), testenv.Header{"x-tollgate-cost", "0"})),
			Want: with(open, "x-api-key", "", "x-tollgate-cost", "")},
		{Name: "an open route leaves the upstream its own credential", Request: at("/healthz", document(testenv.Header{"authorization", "Basic dXNlcjpwYXNz"})),
			Want: with(open, "authorization", "Basic dXNlcjpwYXNz")},
		{Name: "free without credits", Request: at("/v1/free/x", document(penniless)), Want: with(passed, "x-tollgate-cost", "0")},
		{Name: "no credits", Request: at("/v1/document/x", document(penniless)), Want: asked(insufficientCredits)},
		{Name: "no route", Request: at("/v1/other", document(key)), Want: noRoute},
		{Name: "dot segment", Request: at("/v1/document/../free/x", document(key)), Want: badPath},
		{Name: "empty segment", Request: at("/v1//document/x", document(key)), Want: badPath},
		{Name: "escaped dots", Request: at("/v1/document/%2e%2e/x", document(key)), Want: badPath},
		{Name: "escaped slash", Request: at("/v1/document%2Fx", document(key)), Want: badPath},
		{Name: "backslash", Request: at(`/v1/document\x`, document(key)), Want: badPath},
		{Name: "an escaped letter does not change the price", Request: at("/v1/d%6Fcument/x", document(key)), Want: with(passed, "x-tollgate-cost", "3")},
	}...)
	g.checkWallet(t, 7, 3, 0)
}
