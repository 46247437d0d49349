//go:build !wasip1

package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/testenv"
)

// A syntactically good key; none of the clusters below knows keys.
var anyKey = "grx_sk_" + strings.Repeat("a", 48)

type clusterFunc func(context.Context, *testenv.CalloutRequest) (*testenv.CalloutResponse, error)

func (f clusterFunc) Call(ctx context.Context, r *testenv.CalloutRequest) (*testenv.CalloutResponse, error) {
	return f(ctx, r)
}

func handler(f http.HandlerFunc) testenv.Cluster { return testenv.HandlerCluster(f) }

func reply(body string) testenv.Cluster {
	return handler(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
}

// However the control plane fails, the client gets 503 with Retry-After and the upstream gets nothing.
func TestControlPlaneFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		cluster testenv.Cluster
		failure string // the counter of callout failures that must move
	}{
		{"down", clusterFunc(func(context.Context, *testenv.CalloutRequest) (*testenv.CalloutResponse, error) {
			return nil, errors.New("connection refused")
		}), ""},
		{"slow", handler(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "timeout"},
		{"500", handler(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }), "status"},
		{"401 for a bad gate token", handler(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }), "unauthorized"},
		{"204", handler(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), "status"},
		{"empty", reply(""), "body"},
		{"garbage", reply("\xff\x00 not JSON"), "body"},
		{"another JSON", reply(`[]`), "body"},
		{"no fields", reply(`{}`), "body"},
		{"trailing bytes", reply(`{"op_id":"x","verdict":"unknown_key"} x`), "body"},
		{"reply to another operation", reply(`{"op_id":"other-1","verdict":"granted","lease":{"credits":3,"account":"acct_1","key":"key_1"}}`), "body"},
		{"oversized", reply(`{"x":"` + strings.Repeat("a", 10*api.MaxMessageBytes) + `"}`), "body"},
		{"deeply nested", reply(strings.Repeat("[", api.MaxMessageBytes-1)), "body"},
		{"cluster without hosts", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := gateOptions("token", tt.cluster)
			o.PluginConfiguration = []byte(strings.Replace(testConfig, "30000", "50", 1))
			h := testenv.New(t, wasmPath, o)
			unavailable.check(t, h.Do(t, document(bearer(anyKey))))
			if tt.failure != "" && metric(t, h, "callout_failures."+tt.failure) != 1 {
				t.Errorf("callout_failures.%s did not count", tt.failure)
			}
			if got := metric(t, h, "denied.unavailable"); got != 1 {
				t.Errorf("denied.unavailable = %d", got)
			}
		})
	}
}

func TestMissingCluster(t *testing.T) {
	t.Parallel()
	o := gateOptions("token", nil)
	o.Clusters = nil
	h := testenv.New(t, wasmPath, o)
	unavailable.check(t, h.Do(t, document(bearer(anyKey))))
	if got := metric(t, h, "callout_failures.not_sent"); got != 1 {
		t.Errorf("callout_failures.not_sent = %d", got)
	}
}

// A gate token that the control plane does not know must not open anything.
func TestWrongGateToken(t *testing.T) {
	t.Parallel()
	_, cp := newGate(t)
	key := cp.MustKey(t, cp.MustAccount(t, "active", 10))
	h := testenv.New(t, wasmPath, gateOptions("tg_gate_wrong", testenv.HandlerCluster(cp.GateHandler())))
	unavailable.check(t, h.Do(t, document(bearer(key.Secret))))
}

// The filter refuses to start on what it cannot work with, and says why.
func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	filter := compile(t, wasmPath)
	tests := []struct {
		name   string
		change func(*testenv.Options)
		want   []string
	}{
		{"no configuration", func(o *testenv.Options) { o.PluginConfiguration = nil }, []string{"configuration: expected one JSON object"}},
		{"unknown field", func(o *testenv.Options) {
			o.PluginConfiguration = []byte(strings.Replace(testConfig, "timeout_ms", "timeout", 1))
		}, []string{"control_plane.timeout"}},
		{"two faults", func(o *testenv.Options) {
			o.PluginConfiguration = []byte(strings.NewReplacer("30000", "0", `"cost": 3`, `"cost": 0.5`).Replace(testConfig))
		}, []string{"control_plane.timeout_ms", "routes[4].cost"}},
		{"no token", func(o *testenv.Options) { o.Env = nil }, []string{"TOLLGATE_GATE_TOKEN"}},
		{"token with a line break", func(o *testenv.Options) { o.Env = map[string]string{"TOLLGATE_GATE_TOKEN": "secret\r\nx: y"} }, []string{"TOLLGATE_GATE_TOKEN"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := gateOptions("token", nil)
			tt.change(&o)
			vm, err := filter.NewVM(t.Context(), o)
			if !errors.Is(err, testenv.ErrConfigurationRefused) {
				if err == nil {
					_ = vm.Close(t.Context())
				}
				t.Fatalf("NewVM = %v, want ErrConfigurationRefused", err)
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

// A client that leaves while its acquire is under way must not upset the streams of others.
func TestClientGoneWhilePaused(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	o := gateOptions("token", handler(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-answer
	}))
	vm, err := compile(t, wasmPath).NewVM(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := vm.NewStream(t.Context(), testenv.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.RequestHeaders(t.Context(), []testenv.Header{
			{":method", "POST"}, {":path", "/v1/document/create"}, {":authority", "api.test"}, bearer(anyKey)}, true)
		ended <- err
	}()
	<-asked
	if err := s.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, testenv.ErrStreamClosed) {
		t.Errorf("the paused step ended with %v, want ErrStreamClosed", err)
	}
	close(answer)
	if err := vm.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := vm.Dead(); err != nil {
		t.Errorf("the late reply killed the VM: %v", err)
	}
}
