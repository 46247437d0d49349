//go:build !wasip1

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/testenv"
)

func TestAGoodKeyOpensTheGate(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	account := cp.MustAccount(t, "active", 10)
	key := cp.MustKey(t, account)

	for i, credential := range []testenv.Header{bearer(key.Secret), xkey(key.Secret)} {
		got := h.Do(t, document(credential,
			testenv.Header{"x-tollgate-account-id", "acct_spoofed"}, testenv.Header{"x-tollgate-admin", "yes"}))
		if got.Status != 200 || got.Local || got.Upstream == nil {
			t.Fatalf("%s: status %d, %s", credential[0], got.Status, got.Body)
		}
		if want := `{"prompt": "Write about AI trends"}`; string(got.Upstream.Body) != want {
			t.Errorf("the upstream got body %q", got.Upstream.Body)
		}
		for _, want := range [][2]string{
			{"authorization", ""}, {"x-api-key", ""}, {"x-tollgate-admin", ""}, {"content-type", "application/json"},
			{"x-tollgate-account-id", account}, {"x-tollgate-key-id", key.ID}, {"x-tollgate-cost", "3"},
		} {
			if value := header(got.Upstream.Headers, want[0]); value != want[1] {
				t.Errorf("%s: the upstream got %s %q, want %q", credential[0], want[0], value, want[1])
			}
		}
		if state, want := got.FilterState["wasm.tollgate"],
			"decision=allow scheme=genrex account="+account+" key="+key.ID+" cost=3"; state != want {
			t.Errorf("filter state %q, want %q", state, want)
		}
		if want := int64(i + 1); metric(t, h, "allowed") != want || metric(t, h, "callouts") != want || metric(t, h, "credits") != 3*want {
			t.Errorf("after %d requests: allowed %d, callouts %d, credits %d", want, metric(t, h, "allowed"), metric(t, h, "callouts"), metric(t, h, "credits"))
		}
	}
	if got := wallet(t, cp, account); got != "available 4 spent 6" {
		t.Errorf("wallet: %s", got)
	}
}

// What travels to the control plane is a digest; the secret is nowhere but in the client's request.
func TestTheSecretStaysInTheFilter(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	key := cp.MustKey(t, cp.MustAccount(t, "active", 10))
	got := h.Do(t, document(bearer(key.Secret)))
	if len(got.Callouts) != 1 || !bytes.Contains(got.Callouts[0].Body, []byte(apikey.DigestOf(key.Secret).Hex())) {
		t.Fatalf("callouts %+v, want one acquire with the key's digest", got.Callouts)
	}
	var seen strings.Builder
	for _, c := range got.Callouts {
		seen.WriteString(strings.Join(flat(c.Headers), "\n") + string(c.Body))
	}
	seen.WriteString(strings.Join(flat(got.Upstream.Headers), "\n") + string(got.Body) + strings.Join(flat(got.Headers), "\n"))
	for name, state := range got.FilterState {
		seen.WriteString(name + state)
	}
	for _, line := range h.Logs() {
		seen.WriteString(line.Message)
	}
	seen.WriteString(cp.Logs())
	if strings.Contains(seen.String(), key.Secret[7:]) {
		t.Error("the secret was passed on, logged or kept")
	}
}

func flat(headers []testenv.Header) []string {
	var out []string
	for _, h := range headers {
		out = append(out, h[0]+": "+h[1])
	}
	return out
}

// Every row of the genrex table, with a real key in each state.
func TestGenrexRows(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	active := cp.MustAccount(t, "active", 100)
	good := cp.MustKey(t, active)
	revoked := cp.MustKey(t, active)
	cp.MustRevokeKey(t, revoked.ID)
	inactive := cp.MustKey(t, active)
	cp.MustSetKeyStatus(t, inactive.ID, "inactive")
	pending := cp.MustKey(t, cp.MustAccount(t, "pending", 100))
	disabled := cp.MustKey(t, cp.MustAccount(t, "disabled", 100))
	poor := cp.MustKey(t, cp.MustAccount(t, "active", 2))
	unknown := "grx_sk_" + strings.Repeat("0", 48)
	wrong := good.Secret[:54] + string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", good.Secret[54])+1)%16])

	tests := []struct {
		name     string
		headers  []testenv.Header
		want     denial
		callouts int
	}{
		{"two authorization headers", []testenv.Header{bearer(good.Secret), bearer(good.Secret)}, invalidRequest, 0},
		{"both sources", []testenv.Header{bearer(good.Secret), xkey(good.Secret)}, invalidRequest, 0},
		{"joined values", []testenv.Header{xkey(good.Secret + "," + good.Secret)}, invalidRequest, 0},
		{"underscore twin", []testenv.Header{{"x_api_key", good.Secret}}, invalidRequest, 0},
		{"no credential", nil, unauthenticated, 0},
		{"empty value", []testenv.Header{xkey("")}, unauthenticated, 0},
		{"bearer alone", []testenv.Header{{"authorization", "Bearer"}}, unauthenticated, 0},
		{"another scheme", []testenv.Header{{"authorization", "Basic dXNlcjpwYXNz"}}, unauthenticated, 0},
		{"malformed", []testenv.Header{bearer("grx_sk_your_api_key")}, invalidKey, 0},
		{"NUL in the key", []testenv.Header{xkey(good.Secret[:54] + "\x00")}, invalidKey, 0},
		{"8 KiB", []testenv.Header{xkey(strings.Repeat("\xff", 8192))}, invalidKey, 0},
		{"unknown", []testenv.Header{bearer(unknown)}, invalidKey, 1},
		{"wrong secret", []testenv.Header{bearer(wrong)}, invalidKey, 1},
		{"revoked", []testenv.Header{bearer(revoked.Secret)}, invalidKey, 1},
		{"disabled key", []testenv.Header{bearer(inactive.Secret)}, invalidKey, 1},
		{"pending account", []testenv.Header{bearer(pending.Secret)}, accountDisabled, 1},
		{"disabled account", []testenv.Header{bearer(disabled.Secret)}, accountDisabled, 1},
		{"balance below the cost", []testenv.Header{bearer(poor.Secret)}, insufficientCredits, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := h.Do(t, document(tt.headers...))
			tt.want.check(t, got)
			if len(got.Callouts) != tt.callouts {
				t.Errorf("%d callouts, want %d", len(got.Callouts), tt.callouts)
			}
			if state := got.FilterState["wasm.tollgate"]; !strings.HasPrefix(state, "decision=deny status=") {
				t.Errorf("filter state %q", state)
			}
		})
	}
	if got := wallet(t, cp, active); got != "available 100 spent 0" {
		t.Errorf("denials cost something: %s", got)
	}
}

// Whether a key is malformed, unknown, wrong, revoked or disabled must not be told apart.
func TestInvalidKeysGetTheSameBytes(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	revoked := cp.MustKey(t, cp.MustAccount(t, "active", 1))
	cp.MustRevokeKey(t, revoked.ID)
	malformed := h.Do(t, document(bearer("nonsense")))
	for name, key := range map[string]string{"unknown": "grx_sk_" + strings.Repeat("0", 48), "revoked": revoked.Secret} {
		got := h.Do(t, document(bearer(key)))
		if !bytes.Equal(got.Body, malformed.Body) || strings.Join(flat(got.Headers), "\n") != strings.Join(flat(malformed.Headers), "\n") {
			t.Errorf("%s: %v %s\nmalformed: %v %s", name, got.Headers, got.Body, malformed.Headers, malformed.Body)
		}
	}
}

func TestRoutesAndPrices(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	account := cp.MustAccount(t, "active", 3)
	key := cp.MustKey(t, account)
	penniless := cp.MustKey(t, cp.MustAccount(t, "active", 0))

	do := func(path string, headers ...testenv.Header) testenv.Response {
		r := document(headers...)
		r.Path = path
		return h.Do(t, r)
	}
	if got := do("/healthz", xkey(key.Secret), testenv.Header{"x-tollgate-cost", "0"}); got.Status != 200 ||
		header(got.Upstream.Headers, "x-api-key") != "" || header(got.Upstream.Headers, "x-tollgate-cost") != "" || len(got.Callouts) != 0 {
		t.Errorf("open route: %+v", got)
	}
	if got := do("/healthz", testenv.Header{"authorization", "Basic dXNlcjpwYXNz"}); header(got.Upstream.Headers, "authorization") != "Basic dXNlcjpwYXNz" {
		t.Errorf("open route: the upstream's own credential is gone: %v", got.Upstream.Headers)
	}
	if got := do("/v1/free/x", bearer(penniless.Secret)); got.Status != 200 || header(got.Upstream.Headers, "x-tollgate-cost") != "0" {
		t.Errorf("free route without credits: %d %s", got.Status, got.Body)
	}
	if got := do("/v1/other", bearer(key.Secret)); got.Status != 404 || !got.Local {
		t.Errorf("no route: %d", got.Status)
	}
	for _, path := range []string{"/v1/document/../free/x", "/v1//document/x", "/v1/document/%2e%2e/x", "/v1/document%2Fx", `/v1/document\x`} {
		if got := do(path, bearer(key.Secret)); got.Status != 400 || !got.Local {
			t.Errorf("%s: %d", path, got.Status)
		}
	}
	if got := do("/v1/d%6Fcument/x", bearer(key.Secret)); got.Status != 200 {
		t.Errorf("an escaped letter must not change the price: %d %s", got.Status, got.Body)
	}
	insufficientCredits.check(t, do("/v1/document/x", bearer(key.Secret)))
	if got := wallet(t, cp, account); got != "available 0 spent 3" {
		t.Errorf("wallet: %s", got)
	}
}

// Repeated and differing authorities, as a host that does not fold them would show them.
func TestConflictingHostIsRefused(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	key := cp.MustKey(t, cp.MustAccount(t, "active", 10))
	invalidRequest.check(t, h.Do(t, document(bearer(key.Secret), testenv.Header{"host", "other.test"})))
}
