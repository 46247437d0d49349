//go:build !wasip1

package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/testenv"
)

// gatekeeper is a control plane that a test scripts: what it does with acquires is the test's business, syncs it
// hands over one by one and acknowledges as told.
type gatekeeper struct {
	acquire func(w http.ResponseWriter, r *http.Request, req api.AcquireRequest)
	syncs   chan report
}

// report is a sync that waits for its answer: the status, and with 200 the operations that are acknowledged.
type report struct {
	api.SyncRequest
	answer func(status int, acked ...string)
}

func newGatekeeper(acquire func(http.ResponseWriter, *http.Request, api.AcquireRequest)) *gatekeeper {
	return &gatekeeper{acquire: acquire, syncs: make(chan report)}
}

func (g *gatekeeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == api.AcquirePath {
		var req api.AcquireRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Validate() != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		g.acquire(w, r, req)
		return
	}
	var req api.SyncRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Validate() != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	done := make(chan struct{})
	g.syncs <- report{req, func(status int, acked ...string) {
		w.WriteHeader(status)
		if status == http.StatusOK {
			_ = json.NewEncoder(w).Encode(api.SyncReply{Acked: acked})
		}
		close(done)
	}}
	<-done
}

// next ticks the filter until it reports something.
func (g *gatekeeper) next(t *testing.T, h *testenv.Host) report {
	t.Helper()
	before := h.CalloutCount()
	for range 1000 {
		if h.Tick(); h.CalloutCount() > before {
			return <-g.syncs
		}
	}
	t.Fatal("the filter reports nothing")
	return report{}
}

// quiet fails t if the filter has anything to report.
func quiet(t *testing.T, h *testenv.Host) {
	t.Helper()
	before := h.CalloutCount()
	for range 50 {
		h.Tick()
	}
	if after := h.CalloutCount(); after != before {
		t.Errorf("%d more callouts, want none: %s", after-before, h.Callouts()[after-1].Body)
	}
}

func grant(w http.ResponseWriter, _ *http.Request, req api.AcquireRequest) {
	_ = json.NewEncoder(w).Encode(api.AcquireReply{OpID: req.OpID, Verdict: api.Granted,
		Lease: &api.Lease{Credits: req.Cost, Available: 41, Account: "acct_1", Key: "key_1"}})
}

func newScripted(t *testing.T, config string, g *gatekeeper) *testenv.Host {
	t.Helper()
	o := gateOptions("token", testenv.HandlerCluster(g))
	o.PluginConfiguration = []byte(config)
	return testenv.New(t, wasmPath, o)
}

// However the reply to a charged acquire is lost, the debit is taken back, and the report is repeated until it is
// acknowledged.
func TestLostRepliesAreVoided(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		acquire func(http.ResponseWriter, *http.Request, api.AcquireRequest)
	}{
		{"slow", func(_ http.ResponseWriter, r *http.Request, _ api.AcquireRequest) { <-r.Context().Done() }},
		{"reset after the commit", func(http.ResponseWriter, *http.Request, api.AcquireRequest) { panic(http.ErrAbortHandler) }},
		{"500 after the commit", func(w http.ResponseWriter, _ *http.Request, _ api.AcquireRequest) { w.WriteHeader(500) }},
		{"garbage after the commit", func(w http.ResponseWriter, _ *http.Request, _ api.AcquireRequest) { _, _ = w.Write([]byte("{")) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ops := make(chan string, 1)
			g := newGatekeeper(func(w http.ResponseWriter, r *http.Request, req api.AcquireRequest) {
				ops <- req.OpID
				tt.acquire(w, r, req)
			})
			h := newScripted(t, strings.Replace(testConfig, "30000", "50", 1), g)
			unavailable.check(t, h.Do(t, document(bearer(anyKey))))
			op := <-ops
			for _, answer := range []func(report){
				func(s report) { s.answer(http.StatusServiceUnavailable) },
				func(s report) { s.answer(http.StatusOK, "somebody-else's") },
				func(s report) { s.answer(http.StatusOK, op) },
			} {
				s := g.next(t, h)
				if !slices.Equal(s.Void, []string{op}) || len(s.Unpaid) != 0 {
					t.Errorf("report %+v, want to void %s", s.SyncRequest, op)
				}
				answer(s)
				settled(t, h)
			}
			quiet(t, h)
			if got := metric(t, h, "voids"); got != 1 {
				t.Errorf("voids = %d, want 1", got)
			}
		})
	}
}

// settled waits until no callout is under way: a stream that needs none passes the VM's lock after the callback.
func settled(t *testing.T, h *testenv.Host) {
	t.Helper()
	last := h.CalloutCount() - 1
	for h.Callouts()[last].Status == 0 {
		h.Do(t, testenv.Request{Path: "/healthz"})
	}
}

func TestWhatNeedsNoVoid(t *testing.T) {
	t.Parallel()
	g := newGatekeeper(func(w http.ResponseWriter, r *http.Request, req api.AcquireRequest) {
		switch {
		case req.Cost == 0:
			w.WriteHeader(500)
		case req.Digests[0] == apikey.DigestOf(anyKey).Hex():
			grant(w, r, req)
		default:
			_ = json.NewEncoder(w).Encode(api.AcquireReply{OpID: req.OpID, Verdict: api.InsufficientCredits})
		}
	})
	h := newScripted(t, testConfig, g)
	if got := h.Do(t, document(bearer(anyKey))); got.Status != 200 {
		t.Errorf("granted: %d", got.Status)
	}
	insufficientCredits.check(t, h.Do(t, document(bearer("grx_sk_"+strings.Repeat("b", 48)))))
	free := document(bearer(anyKey))
	free.Path = "/v1/free/x"
	unavailable.check(t, h.Do(t, free))
	quiet(t, h)
}

// A client that leaves while its acquire is under way gets its debit back, and the late reply changes nothing.
func TestClientGoneIsVoided(t *testing.T) {
	t.Parallel()
	asked, reply := make(chan string), make(chan struct{})
	g := newGatekeeper(func(w http.ResponseWriter, r *http.Request, req api.AcquireRequest) {
		asked <- req.OpID
		<-reply
		grant(w, r, req)
	})
	h := newScripted(t, testConfig, g)
	s, err := h.VM().NewStream(t.Context(), testenv.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.RequestHeaders(t.Context(), []testenv.Header{
			{":method", "POST"}, {":path", "/v1/document/create"}, {":authority", "api.test"}, bearer(anyKey)}, true)
		ended <- err
	}()
	op := <-asked
	if err := s.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, testenv.ErrStreamClosed) {
		t.Errorf("the paused step ended with %v, want ErrStreamClosed", err)
	}
	sent := g.next(t, h)
	if !slices.Equal(sent.Void, []string{op}) {
		t.Errorf("report %+v, want to void %s", sent.SyncRequest, op)
	}
	close(reply)
	sent.answer(http.StatusOK, op)
	settled(t, h)
	quiet(t, h)
	if got := string(s.FilterState()["wasm.tollgate"]); got != "decision=pending scheme=genrex" {
		t.Errorf("filter state %q", got)
	}
	if metric(t, h, "abandoned") != 1 || metric(t, h, "allowed") != 0 {
		t.Errorf("abandoned %d, allowed %d", metric(t, h, "abandoned"), metric(t, h, "allowed"))
	}
}

// On a route that fails open an undecided request is served and reported as unpaid; one that is decided is not.
func TestFailOpen(t *testing.T) {
	t.Parallel()
	config := strings.Replace(testConfig, `"cost": 3}`, `"cost": 3, "failure_mode": "allow"}`, 1)
	var op string
	up := false
	g := newGatekeeper(func(w http.ResponseWriter, r *http.Request, req api.AcquireRequest) {
		if op = req.OpID; up {
			grant(w, r, req)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	h := newScripted(t, config, g)
	got := h.Do(t, document(bearer(anyKey), testenv.Header{"x-tollgate-account-id", "spoofed"}))
	if got.Status != 200 || got.Upstream == nil || header(got.Upstream.Headers, "authorization") != "" || header(got.Upstream.Headers, "x-tollgate-account-id") != "" {
		t.Fatalf("undecided on a route that fails open: %d, upstream %+v", got.Status, got.Upstream)
	}
	if state := got.FilterState["wasm.tollgate"]; state != "decision=unpaid scheme=genrex cost=3" {
		t.Errorf("filter state %q", state)
	}
	sent := g.next(t, h)
	want := api.Unpaid{OpID: op, Scheme: "genrex", Digests: []string{apikey.DigestOf(anyKey).Hex()}, Cost: 3}
	if len(sent.Void) != 0 || len(sent.Unpaid) != 1 || sent.Unpaid[0].OpID != want.OpID ||
		sent.Unpaid[0].Scheme != want.Scheme || !slices.Equal(sent.Unpaid[0].Digests, want.Digests) || sent.Unpaid[0].Cost != want.Cost {
		t.Errorf("report %+v, want unpaid %+v", sent.SyncRequest, want)
	}
	sent.answer(http.StatusOK, op)
	settled(t, h)

	// What can be judged without the control plane still is.
	invalidKey.check(t, h.Do(t, document(bearer("nonsense"))))
	unauthenticated.check(t, h.Do(t, document()))
	up = true
	if got := h.Do(t, document(bearer(anyKey))); got.Status != 200 || header(got.Upstream.Headers, "x-tollgate-account-id") != "acct_1" {
		t.Errorf("decided: %d", got.Status)
	}
	quiet(t, h)
	if metric(t, h, "unpaid") != 1 || metric(t, h, "allowed") != 1 {
		t.Errorf("unpaid %d, allowed %d, want 1 and 1", metric(t, h, "unpaid"), metric(t, h, "allowed"))
	}
}

func TestCreditsHeader(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		testConfig: "",
		strings.Replace(testConfig, `{`, `{"credits_header": true, `, 1): "41",
	} {
		h := newScripted(t, config, newGatekeeper(grant))
		if got := h.Do(t, document(bearer(anyKey))); header(got.Headers, "x-credits-remaining") != want {
			t.Errorf("x-credits-remaining: %q, want %q", header(got.Headers, "x-credits-remaining"), want)
		}
		if got := h.Do(t, document()); header(got.Headers, "x-credits-remaining") != "" {
			t.Error("a refusal shows remaining credits")
		}
	}
}

// No key and no identity header goes upstream in trailers either.
func TestTrailers(t *testing.T) {
	t.Parallel()
	h := newScripted(t, testConfig, newGatekeeper(grant))
	trailers := []testenv.Header{{"x-api-key", anyKey}, {"authorization", "Basic dXNlcjpwYXNz"}, {"x-tollgate-account-id", "spoofed"}, {"x-checksum", "1"}}
	for path, want := range map[string]int{"/v1/document/create": 1, "/healthz": 2} {
		r := document(bearer(anyKey))
		r.Path, r.Trailers = path, trailers
		got := h.Do(t, r)
		if got.Upstream == nil || len(got.Upstream.Trailers) != want || header(got.Upstream.Trailers, "x-checksum") != "1" {
			t.Errorf("%s: upstream %+v, want %d trailers", path, got.Upstream, want)
		}
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	config := strings.Replace(testConfig, `{"prefix": "/v1/document/"`, `{"path": "/v1/answer", "methods": ["POST"], "scheme": "genrex", "cost": 1, "preflight": "answer"},
    {"path": "/v1/pass", "methods": ["POST"], "scheme": "genrex", "cost": 1, "preflight": "pass"},
    {"path": "/v1/deny", "methods": ["POST", "OPTIONS"], "scheme": "genrex", "cost": 1},
    {"prefix": "/v1/document/"`, 1)
	h := newScripted(t, config, newGatekeeper(func(http.ResponseWriter, *http.Request, api.AcquireRequest) { t.Error("a preflight was charged") }))
	do := func(path string, headers ...testenv.Header) testenv.Response {
		return h.Do(t, testenv.Request{Method: http.MethodOptions, Path: path, Headers: append([]testenv.Header{
			{"origin", "https://app.test"}, {"access-control-request-method", "POST"}}, headers...)})
	}
	answer := do("/v1/answer", testenv.Header{"access-control-request-headers", "authorization, content-type"})
	if answer.Status != 204 || !answer.Local || header(answer.Headers, "access-control-allow-origin") != "*" ||
		header(answer.Headers, "access-control-allow-methods") != "POST" ||
		header(answer.Headers, "access-control-allow-headers") != "authorization, content-type" {
		t.Errorf("answer: %d %v", answer.Status, answer.Headers)
	}
	if odd := do("/v1/answer", testenv.Header{"access-control-request-headers", "x\x01y"}); header(odd.Headers, "access-control-allow-headers") != "" {
		t.Error("a header list that is none was repeated")
	}
	if pass := do("/v1/pass", xkey(anyKey), testenv.Header{"x-tollgate-cost", "0"}); pass.Status != 200 || pass.Upstream == nil ||
		header(pass.Upstream.Headers, "x-api-key") != "" || header(pass.Upstream.Headers, "x-tollgate-cost") != "" {
		t.Errorf("pass: %d %+v", pass.Status, pass.Upstream)
	}
	unauthenticated.check(t, do("/v1/deny"))
	unauthenticated.check(t, do("/v1/deny", bearer(anyKey)))
	// Asking for a method that costs less must not open a route for OPTIONS.
	plain := h.Do(t, testenv.Request{Method: http.MethodOptions, Path: "/v1/pass", Headers: []testenv.Header{{"access-control-request-method", "POST"}}})
	if plain.Status != 404 {
		t.Errorf("OPTIONS without Origin is no preflight: %d", plain.Status)
	}
	if got := metric(t, h, "preflights"); got != 2 {
		t.Errorf("preflights = %d, want 2", got)
	}
}

// A control plane that gives no decisions is told once in ten seconds of ticks, not once a request; a wrong gate
// token is named as such.
func TestCalloutFailuresAreLoggedSparingly(t *testing.T) {
	t.Parallel()
	h := newScripted(t, testConfig, newGatekeeper(func(w http.ResponseWriter, _ *http.Request, _ api.AcquireRequest) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	free := document(bearer(anyKey))
	free.Path = "/v1/free/x"
	warnings := func() (n int) {
		for _, l := range h.Logs() {
			if strings.Contains(l.Message, "gave no decision: unauthorized; is the gate token in TOLLGATE_GATE_TOKEN right?") {
				n++
			}
		}
		return n
	}
	for range 5 {
		unavailable.check(t, h.Do(t, free))
	}
	if got := warnings(); got != 1 {
		t.Errorf("%d warnings for 5 requests, want 1", got)
	}
	for range 100 {
		h.Tick()
	}
	unavailable.check(t, h.Do(t, free))
	if got := warnings(); got != 2 {
		t.Errorf("%d warnings ten seconds later, want 2", got)
	}
	if got := metric(t, h, "callout_failures.unauthorized"); got != 6 {
		t.Errorf("callout_failures.unauthorized = %d, want 6", got)
	}
}
