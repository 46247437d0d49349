//go:build !wasip1

package main

import (
	"context"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// lossy is a network between the filter and a real control plane that treats acquires as told and delivers
// everything else.
type lossy struct {
	inner   testenv.Cluster
	acquire func(deliver func() (*testenv.CalloutResponse, error)) (*testenv.CalloutResponse, error)
}

func (l *lossy) Call(ctx context.Context, r *testenv.CalloutRequest) (*testenv.CalloutResponse, error) {
	deliver := func() (*testenv.CalloutResponse, error) { return l.inner.Call(context.WithoutCancel(ctx), r) }
	for _, h := range r.Headers {
		if h == (testenv.Header{":path", api.AcquirePath}) && l.acquire != nil {
			return l.acquire(deliver)
		}
	}
	return deliver()
}

// newLossy is newGate behind a lossy network; changes are pairs of text to replace in the configuration.
func newLossy(t *testing.T, changes ...string) (*testenv.Host, *controlplanetest.ControlPlane, *lossy) {
	t.Helper()
	cp := controlplanetest.New(t)
	network := &lossy{inner: testenv.HandlerCluster(cp.GateHandler())}
	o := gateOptions(cp.GateToken, network)
	o.PluginConfiguration = []byte(strings.NewReplacer(changes...).Replace(testConfig))
	return testenv.New(t, wasmPath, o), cp, network
}

// reported ticks until the filter has sent a sync and heard the answer.
func reported(t *testing.T, h *testenv.Host) {
	t.Helper()
	for before := h.CalloutCount(); h.CalloutCount() == before; {
		h.Tick()
	}
	settled(t, h)
}

// Against a real ledger: a debit whose answer was lost comes back, whichever way it was lost.
func TestALostDebitComesBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		after func() (*testenv.CalloutResponse, error) // what the filter hears once the debit is durable
	}{
		{"the timeout passes", func() (*testenv.CalloutResponse, error) { return nil, context.DeadlineExceeded }},
		{"the connection is reset", func() (*testenv.CalloutResponse, error) { return nil, testenv.ErrReset }},
		{"the reply is cut", func() (*testenv.CalloutResponse, error) {
			return &testenv.CalloutResponse{Headers: []testenv.Header{{":status", "200"}}, Body: []byte(`{"op_id":"`)}, nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, cp, network := newLossy(t)
			account := cp.MustAccount(t, "active", 10)
			key := cp.MustKey(t, account)
			network.acquire = func(deliver func() (*testenv.CalloutResponse, error)) (*testenv.CalloutResponse, error) {
				if _, err := deliver(); err != nil {
					t.Error(err)
				}
				return tt.after()
			}
			unavailable.check(t, h.Do(t, document(bearer(key.Secret))))
			if got := wallet(t, cp, account); got != "available 7 spent 3" {
				t.Fatalf("the debit was not made: %s", got)
			}
			reported(t, h)
			if got := wallet(t, cp, account); got != "available 10 spent 0" {
				t.Errorf("after the void: %s", got)
			}
			network.acquire = nil
			if got := h.Do(t, document(bearer(key.Secret))); got.Status != 200 {
				t.Errorf("the next request: %d %s", got.Status, got.Body)
			}
			quiet(t, h)
			cp.Verify(t)
		})
	}
}

// An acquire that arrives after it was taken back charges nothing.
func TestALateAcquireAfterTheVoid(t *testing.T) {
	t.Parallel()
	h, cp, network := newLossy(t)
	account := cp.MustAccount(t, "active", 10)
	key := cp.MustKey(t, account)
	late := make(chan func() (*testenv.CalloutResponse, error), 1)
	network.acquire = func(deliver func() (*testenv.CalloutResponse, error)) (*testenv.CalloutResponse, error) {
		late <- deliver
		return nil, context.DeadlineExceeded
	}
	unavailable.check(t, h.Do(t, document(bearer(key.Secret))))
	reported(t, h)
	response, err := (<-late)()
	if err != nil || !strings.Contains(string(response.Body), `"verdict":"voided"`) {
		t.Errorf("the late acquire: %s, %v; want it voided", response.Body, err)
	}
	if got := wallet(t, cp, account); got != "available 10 spent 0" {
		t.Errorf("wallet: %s", got)
	}
	cp.Verify(t)
}

// On a route that fails open, what was served undecided is written off once, or paid if the debit was made after all.
func TestUnpaidRequestsAreInTheLedger(t *testing.T) {
	t.Parallel()
	for _, debited := range []bool{false, true} {
		h, cp, network := newLossy(t, `"cost": 3}`, `"cost": 3, "failure_mode": "allow"}`)
		account := cp.MustAccount(t, "active", 10)
		key := cp.MustKey(t, account)
		network.acquire = func(deliver func() (*testenv.CalloutResponse, error)) (*testenv.CalloutResponse, error) {
			if debited {
				if _, err := deliver(); err != nil {
					t.Error(err)
				}
			}
			return nil, testenv.ErrReset
		}
		if got := h.Do(t, document(bearer(key.Secret))); got.Status != 200 {
			t.Fatalf("undecided: %d", got.Status)
		}
		reported(t, h)
		quiet(t, h)
		w := cp.MustWallet(t, account)
		if want := (map[bool][3]int64{false: {10, 0, 3}, true: {7, 3, 0}})[debited]; [3]int64{w.Available, w.Spent, w.WrittenOff} != want {
			t.Errorf("debited %v: wallet %+v, want available, spent, written off %v", debited, w, want)
		}
		cp.Verify(t)
	}
}
