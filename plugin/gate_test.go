//go:build !wasip1

// The tests of this folder run the compiled filter, build/tollgate.wasm, on testenv's host in front of a real
// control plane over a real database.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

const (
	wasmPath       = "../build/tollgate.wasm"
	unpatchedPath  = "../build/tollgate-unpatched.wasm"
	wasmLimitBytes = 4_000_000
)

const testConfig = `{
  "control_plane": {"cluster": "tollgate", "token_env": "TOLLGATE_GATE_TOKEN", "timeout_ms": 30000},
  "schemes": {"genrex": {"preset": "genrex"}, "vexrail": {"preset": "vexrail"}},
  "routes": [
    {"path": "/healthz", "auth": "none"},
    {"path": "/v1/chat/completions", "scheme": "vexrail", "cost": 1},
    {"path": "/v1/models", "scheme": "vexrail", "cost": 0},
    {"prefix": "/v1/free/", "scheme": "genrex", "cost": 0},
    {"prefix": "/v1/document/", "scheme": "genrex", "cost": 3}
  ]
}`

// gateOptions are a filter's options with its callouts answered by cluster.
func gateOptions(token string, cluster testenv.Cluster) testenv.Options {
	return testenv.Options{
		PluginName: "tollgate", RootID: "tollgate", VMID: "tollgate", NodeID: "edge-1",
		PluginConfiguration: []byte(testConfig),
		Env:                 map[string]string{"TOLLGATE_GATE_TOKEN": token},
		Clusters:            map[string]testenv.Cluster{"tollgate": cluster},
	}
}

// newGate is the compiled filter in front of a real control plane.
func newGate(t testing.TB) (*testenv.Host, *controlplanetest.ControlPlane) {
	t.Helper()
	cp := controlplanetest.New(t)
	return testenv.New(t, wasmPath, gateOptions(cp.GateToken, testenv.HandlerCluster(cp.GateHandler()))), cp
}

// document is the request of the genrex page with the given headers.
func document(headers ...testenv.Header) testenv.Request {
	return testenv.Request{
		Method: http.MethodPost, Path: "/v1/document/create", Host: "api.test",
		Headers: append([]testenv.Header{{"content-type", "application/json"}}, headers...),
		Body:    []byte(`{"prompt": "Write about AI trends"}`),
	}
}

func bearer(key string) testenv.Header { return testenv.Header{"authorization", "Bearer " + key} }
func xkey(key string) testenv.Header   { return testenv.Header{"x-api-key", key} }

// header returns the values of name, joined, and "" if there are none.
func header(headers []testenv.Header, name string) string {
	var values []string
	for _, h := range headers {
		if h[0] == name {
			values = append(values, h[1])
		}
	}
	return strings.Join(values, "|")
}

// denial is a published error row.
type denial struct {
	status        int
	code, message string
	// challenge is the WWW-Authenticate header, retryAfter the Retry-After header; empty for none.
	challenge, retryAfter string
}

var (
	invalidRequest      = denial{400, "INVALID_REQUEST", "Credential or Host headers are repeated or conflict", "", ""}
	unauthenticated     = denial{401, "UNAUTHENTICATED", "Missing authentication credentials", `Bearer realm="genrex"`, ""}
	invalidKey          = denial{401, "INVALID_API_KEY", "API key is invalid or does not exist", `Bearer realm="genrex", error="invalid_token"`, ""}
	accountDisabled     = denial{403, "ACCOUNT_DISABLED", "Account is disabled", "", ""}
	insufficientCredits = denial{402, "INSUFFICIENT_CREDITS", "Account has insufficient credits", "", ""}
	unavailable         = denial{503, "SERVICE_UNAVAILABLE", "The service cannot check this key right now; try again", "", "1"}
)

// check fails t unless got is d, whole, answered by the filter itself and never sent upstream.
func (d denial) check(t testing.TB, got testenv.Response) {
	t.Helper()
	if got.Status != d.status || !got.Local || got.Upstream != nil {
		t.Errorf("status %d (local %v, reached the upstream %v), want the filter's own %d", got.Status, got.Local, got.Upstream != nil, d.status)
	}
	var body struct {
		Error struct{ Code, Message string } `json:"error"`
	}
	if err := json.Unmarshal(got.Body, &body); err != nil {
		t.Errorf("body %q: %v", got.Body, err)
	}
	if body.Error.Code != d.code || body.Error.Message != d.message {
		t.Errorf("error %+v, want %s: %s", body.Error, d.code, d.message)
	}
	for _, h := range [][2]string{
		{"content-type", "application/json"}, {"cache-control", "no-store"},
		{"www-authenticate", d.challenge}, {"retry-after", d.retryAfter},
	} {
		if value := header(got.Headers, h[0]); value != h[1] {
			t.Errorf("%s: %q, want %q", h[0], value, h[1])
		}
	}
}

// metric returns a counter's value and fails t if the filter defines none of that name.
func metric(t testing.TB, h *testenv.Host, name string) int64 {
	t.Helper()
	return h.Metric("tollgate." + name)
}

// wallet says what an account has and has spent.
func wallet(t testing.TB, cp *controlplanetest.ControlPlane, account string) string {
	t.Helper()
	w := cp.MustWallet(t, account)
	return fmt.Sprintf("available %d spent %d", w.Available, w.Spent)
}
