//go:build !wasip1

package main

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// A syntactically good key that nobody knows.
var anyKey = "grx_sk_" + strings.Repeat("a", 48)

// answers is a call that somebody else answers in the control plane's place.
func answers(status int, body string) testenv.Play {
	return testenv.Play{Answer: &testenv.CalloutResponse{Headers: []testenv.Header{{":status", strconv.Itoa(status)}}, Body: []byte(body)}}
}

// However the control plane fails, the client gets 503 with Retry-After and the upstream gets nothing; and once it is
// back, so is the service.
func TestControlPlaneFaults(t *testing.T) {
	tests := []struct {
		name    string
		play    testenv.Play
		failure string // the counter of callout failures that must move
	}{
		{"down", testenv.Play{Reset: testenv.ResetBefore}, "status"},
		{"request lost", testenv.Play{Lose: testenv.LoseRequest}, "timeout"},
		{"slow", testenv.Play{Return: time.Second}, "timeout"},
		{"reset", testenv.Play{Reset: testenv.ResetAfter}, "reset"},
		{"500", answers(500, ""), "status"},
		{"401 for a bad gate token", answers(401, ""), "unauthorized"},
		{"429 for a bad gate token, too often", answers(429, ""), "unauthorized"},
		{"204", answers(204, ""), "status"},
		{"empty", answers(200, ""), "body"},
		{"garbage", answers(200, "\xff\x00 not JSON"), "body"},
		{"another JSON", answers(200, `[]`), "body"},
		{"no fields", answers(200, `{}`), "body"},
		{"trailing bytes", answers(200, `{"op_id":"x","verdict":"unknown_key"} x`), "body"},
		{"reply to another operation", answers(200, `{"op_id":"other-1","verdict":"granted","lease":{"credits":3,"account":"acct_1","key":"key_1"}}`), "body"},
		{"cut", testenv.Play{Body: testenv.Truncated(10)}, "body"},
		{"oversized", testenv.Play{Body: testenv.Oversized(10 * api.MaxMessageBytes)}, "body"},
		{"deeply nested", answers(200, strings.Repeat("[", api.MaxMessageBytes-1)), "body"},
	}
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		var plays []testenv.Play
		for _, tt := range tests {
			plays = append(plays, tt.play)
		}
		g := newGate(t, o, acquiring(nil, plays...))
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				g.Check(t, document(bearer(g.key.Secret)), counting(unavailable, "callout_failures."+tt.failure, "denied.unavailable"))
			})
		}
		g.Advance(settled)
		g.Check(t, document(bearer(g.key.Secret)), passed)
		g.checkWallet(t, 7, 3, 0)
	})
}

func TestClusterThatCannotBeSentTo(t *testing.T) {
	t.Parallel()
	for name, clusters := range map[string]map[string]testenv.Cluster{"no such cluster": nil, "no hosts": {"tollgate": nil}} {
		t.Run(name, func(t *testing.T) {
			h := testenv.New(t, testenv.Options{Clusters: clusters}, tollgate(t, wasmPath, "token"))
			h.Check(t, document(bearer(anyKey)), counting(unavailable, "callout_failures.not_sent", "denied.unavailable"))
		})
	}
}

// A gate token that the control plane does not know must not open anything.
func TestWrongGateToken(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.New(t)
	key := cp.MustKey(t, cp.MustAccount(t, "active", 10))
	cp.GateToken = "tg_gate_wrong"
	hostOf(t, cp, testenv.Options{}, nil).Check(t, document(bearer(key.Secret)), counting(unavailable, "callout_failures.unauthorized"))
}

// A control plane that gives no decisions is told once in ten seconds, not once a request; a wrong gate token is named
// as such.
func TestCalloutFailuresAreLoggedSparingly(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, testenv.Every(answers(401, "")))
	const warning = "gave no decision: unauthorized; is the gate token in TOLLGATE_GATE_TOKEN right?"
	loud, still := counting(unavailable, "callout_failures.unauthorized"), counting(unavailable, "callout_failures.unauthorized")
	loud.Logs, still.LogsNot = []string{warning}, []string{warning}
	free := at("/v1/free/x", document(bearer(g.key.Secret)))
	for _, want := range []testenv.Want{loud, still, still, still, still} {
		g.Check(t, free, want)
	}
	g.Advance(10 * time.Second)
	g.Check(t, free, loud)
}

// The log says of every kind of failure what to look at.
func TestCalloutFailuresSayWhatToLookAt(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.New(t)
	key := cp.MustKey(t, cp.MustAccount(t, "active", 10))
	for name, tt := range map[string]struct {
		plan    testenv.Plan
		changes []string
		want    string
	}{
		"not_sent": {nil, []string{`"cluster": "tollgate"`, `"cluster": "tolgate"`}, "has the proxy a cluster of this name, with hosts?"},
		"timeout":  {testenv.Every(testenv.Play{Lose: testenv.LoseReply}), nil, "no answer within 500 ms"},
		"status":   {testenv.Every(answers(503, "")), nil, "the status is not 200"},
		"body":     {testenv.Every(answers(200, "<html>")), nil, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			want := counting(unavailable, "callout_failures."+name)
			want.Logs = []string{"(cluster ", ") gave no decision: " + name + "; ", tt.want}
			hostOf(t, cp, testenv.Options{}, tt.plan, tt.changes...).Check(t, document(bearer(key.Secret)), want)
		})
	}
}

// The filter refuses to start on what it cannot work with, and says why.
func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, token string
		changes     []string // to testConfig
		want        []string
	}{
		{"no configuration", "token", []string{testConfig, ""}, []string{"configuration: expected one JSON object"}},
		{"unknown field", "token", []string{"timeout_ms", "timeout"}, []string{"control_plane.timeout"}},
		{"two faults", "token", []string{"500", "0", `"cost": 3`, `"cost": 0.5`}, []string{"control_plane.timeout_ms", "routes[4].cost"}},
		{"no token", "", nil, []string{"TOLLGATE_GATE_TOKEN"}},
		{"token with a line break", "secret\r\nx: y", nil, []string{"TOLLGATE_GATE_TOKEN"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := tollgate(t, wasmPath, tt.token, tt.changes...)
			if tt.token == "" {
				p.Env = nil
			}
			w, err := testenv.NewWorker(t.Context(), testenv.WorkerOptions{}, p)
			if !errors.Is(err, testenv.ErrConfigurationRefused) {
				if err == nil {
					_ = w.Close(t.Context())
				}
				t.Fatalf("NewWorker = %v, want ErrConfigurationRefused", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q prints the token", err)
			}
		})
	}
}
