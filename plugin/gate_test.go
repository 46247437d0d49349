//go:build !wasip1

// The tests of this folder run the compiled filter, build/tollgate.wasm, on testenv's host in front of a real
// control plane over a real database.
package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

const (
	wasmPath       = "../build/tollgate.wasm"
	unpatchedPath  = "../build/tollgate-unpatched.wasm"
	wasmLimitBytes = 4_000_000
)

// testConfig takes every price by an acquire of its own; leasing changes that.
const testConfig = `{
  "control_plane": {"cluster": "tollgate", "token_env": "TOLLGATE_GATE_TOKEN", "timeout_ms": 500},
  "schemes": {"genrex": {"preset": "genrex"}, "vexrail": {"preset": "vexrail"}},
  "routes": [
    {"path": "/healthz", "auth": "none"},
    {"path": "/v1/chat/completions", "mode": "strict", "scheme": "vexrail", "cost": 1},
    {"path": "/v1/models", "mode": "strict", "scheme": "vexrail", "cost": 0},
    {"prefix": "/v1/free/", "mode": "strict", "scheme": "genrex", "cost": 0},
    {"prefix": "/v1/document/", "mode": "strict", "scheme": "genrex", "cost": 3}
  ]
}`

// leasing are the changes that make testConfig's routes as they are by default.
var leasing = []string{`"mode": "strict", `, ""}

// tollgate is a compiled filter with testConfig, changed by pairs of text to replace.
func tollgate(t testing.TB, path, token string, changes ...string) testenv.Plugin {
	t.Helper()
	return testenv.Plugin{
		Filter: testenv.Load(t, path), Name: "tollgate", RootID: "tollgate", VMID: "tollgate",
		Configuration: []byte(strings.NewReplacer(changes...).Replace(testConfig)),
		Env:           map[string]string{"TOLLGATE_GATE_TOKEN": token},
	}
}

// hostOf runs the filter in front of cp, whose clock goes as the host's monotonic one does. Calls between the two go as plan says; nil delivers them.
func hostOf(t testing.TB, cp *controlplanetest.ControlPlane, o testenv.Options, plan testenv.Plan, changes ...string) *testenv.Host {
	t.Helper()
	return hostBehind(t, cp, cp.GateHandler(), o, plan, changes...)
}

// hostBehind is hostOf with somebody between the two, who is gate for the filter.
func hostBehind(t testing.TB, cp *controlplanetest.ControlPlane, gate http.Handler, o testenv.Options, plan testenv.Plan, changes ...string) *testenv.Host {
	t.Helper()
	clock := testenv.NewClock(cp.Clock.Now())
	last := clock.Monotonic()
	o.Clock, o.Node = clock, testenv.Node{ID: "edge-1"}
	o.Clusters = map[string]testenv.Cluster{"tollgate": &testenv.Script{Plan: plan, Cluster: testenv.HandlerCluster(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cp.Clock.Advance(clock.Monotonic() - last)
			last = clock.Monotonic()
			gate.ServeHTTP(w, r)
		}))}}
	return testenv.New(t, o, tollgate(t, wasmPath, cp.GateToken, changes...))
}

// gate is the filter in front of a control plane that knows one account with 10 credits, a key and a pair of it.
type gate struct {
	*testenv.Host
	cp               *controlplanetest.ControlPlane
	account, project string
	key              controlplanetest.Key
	pair             controlplanetest.Pair
	// plugin is the filter that the host began with.
	plugin testenv.Plugin
}

func newGate(t testing.TB, o testenv.Options, plan testenv.Plan, changes ...string) *gate {
	t.Helper()
	return newGateOf(t, controlplanetest.Options{}, o, plan, changes...)
}

func newGateOf(t testing.TB, c controlplanetest.Options, o testenv.Options, plan testenv.Plan, changes ...string) *gate {
	t.Helper()
	cp := controlplanetest.NewWith(t, c)
	g := &gate{cp: cp, account: cp.MustAccount(t, "active", 10)}
	g.key, g.project = cp.MustKey(t, g.account), cp.MustProject(t, g.account, "verified")
	g.pair = cp.MustPair(t, g.project)
	g.Host = hostOf(t, cp, o, plan, changes...)
	g.plugin = tollgate(t, wasmPath, cp.GateToken, changes...)
	return g
}

// underEveryProfile runs test on each host that the filter has to live with.
func underEveryProfile(t *testing.T, test func(t *testing.T, o testenv.Options)) {
	t.Parallel()
	for _, p := range testenv.Profiles() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			test(t, testenv.Options{Profile: p})
		})
	}
}

// underEveryMode is underEveryProfile, with the changes for each mode of taking credits.
func underEveryMode(t *testing.T, test func(t *testing.T, o testenv.Options, changes []string)) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		for mode, changes := range map[string][]string{"strict": nil, "lease": leasing} {
			t.Run(mode, func(t *testing.T) { test(t, o, changes) })
		}
	})
}

// document is the request of the genrex page with the given headers, chat that of the vexrail page.
func document(headers ...testenv.Header) testenv.Request {
	return post("/v1/document/create", `{"prompt": "Write about AI trends"}`, headers)
}

func chat(headers ...testenv.Header) testenv.Request {
	return post("/v1/chat/completions", `{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello, world!"}]}`, headers)
}

func post(path, body string, headers []testenv.Header) testenv.Request {
	return testenv.Request{
		Method: http.MethodPost, Path: path, Host: "api.test",
		Headers: append([]testenv.Header{{"content-type", "application/json"}}, headers...), Body: []byte(body),
	}
}

func at(path string, r testenv.Request) testenv.Request {
	r.Path = path
	return r
}

func bearer(key string) testenv.Header  { return testenv.Header{"authorization", "Bearer " + key} }
func xkey(key string) testenv.Header    { return testenv.Header{"x-api-key", key} }
func public(key string) testenv.Header  { return testenv.Header{"x-publishable-key", key} }
func private(key string) testenv.Header { return testenv.Header{"x-secret-key", key} }

func both(p controlplanetest.Pair, more ...testenv.Header) []testenv.Header {
	return append([]testenv.Header{public(p.Publishable), private(p.Secret)}, more...)
}

// checkWallet says what the gate's account must have left, have spent and have been let off.
func (g *gate) checkWallet(t testing.TB, available, spent, writtenOff int64) {
	t.Helper()
	if w := g.cp.MustWallet(t, g.account); w.Available != available || w.Spent != spent || w.WrittenOff != writtenOff {
		t.Errorf("wallet %+v, want %d available, %d spent, %d written off", w, available, spent, writtenOff)
	}
}

// syncs are the syncs that the filter has sent.
func (g *gate) syncs(t testing.TB) []api.SyncRequest {
	t.Helper()
	var all []api.SyncRequest
	for _, c := range g.Callouts() {
		if c.Header(":path") == api.SyncPath {
			all = append(all, decode[api.SyncRequest](t, c.Body))
		}
	}
	return all
}

// reports are what the filter has reported of operations.
func (g *gate) reports(t testing.TB) []api.SyncRequest {
	t.Helper()
	var all []api.SyncRequest
	for _, r := range g.syncs(t) {
		if len(r.Void)+len(r.Unpaid) > 0 {
			all = append(all, api.SyncRequest{Gate: r.Gate, Boot: r.Boot, Void: r.Void, Unpaid: r.Unpaid})
		}
	}
	return all
}

// settle lets enough time pass for every report to be repeated, and holds that operations were reported n times in all.
func (g *gate) settle(t testing.TB, n int) []api.SyncRequest {
	t.Helper()
	g.Advance(settled)
	reports := g.reports(t)
	if len(reports) != n {
		t.Fatalf("%d reports, want %d: %+v", len(reports), n, reports)
	}
	return reports
}

func decode[T any](t testing.TB, text []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}
