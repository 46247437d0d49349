//go:build !wasip1

package main

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/testenv"
)

// How many requests go through the compiled filter, without and with a control plane, and through wasmproxy.
const (
	canaryRequests   = 10_000
	canaryUndecided  = 300
	canaryOverSocket = 600
	canaryWorkers    = 4
	canaryTogether   = 20 // requests that are under way at the same time
)

// hunt looks for three kinds of secret, each where it may not stand.
type hunt struct {
	// secrets may stand nowhere; digests of them, which open a gate to whoever has a gate token, only in what the
	// filter asks the control plane; tokens only in the header that authenticates.
	secrets, digests, tokens *canaries
}

func newHunt(r *ring, m *canaryMix) *hunt {
	h := &hunt{newCanaries(), newCanaries(), newCanaries()}
	add := func(name, key string) {
		prefix := "grx_sk_"
		if !strings.HasPrefix(key, prefix) {
			prefix = "sk_live_"
		}
		h.secrets.add(name, key, prefix)
		digest := apikey.DigestOf(key)
		h.digests.addRaw("the digest of "+name, digest[:])
	}
	for name, key := range m.states {
		add(name, key)
	}
	for _, list := range m.madeUp {
		for _, key := range list {
			add("a key of nobody", key)
		}
	}
	h.tokens.add("the gate token", r.cp.GateToken, "")
	h.tokens.add("the admin token", r.cp.AdminToken, "")
	return h
}

func (h *hunt) all() []*canaries { return []*canaries{h.secrets, h.digests, h.tokens} }

func (h *hunt) check(t testing.TB, place, text string) {
	t.Helper()
	for _, c := range h.all() {
		c.check(t, place, text)
	}
}

func (h *hunt) checkHeaders(t testing.TB, place string, headers [][2]string) {
	t.Helper()
	for _, c := range h.all() {
		c.checkHeaders(t, place, headers)
	}
}

// checkResponse looks at everything that came of one request.
func (h *hunt) checkResponse(t testing.TB, got testenv.Response) {
	t.Helper()
	h.check(t, "a response's body", string(got.Body))
	h.checkHeaders(t, "a response", got.Headers)
	for name, state := range got.FilterState {
		h.check(t, "filter state "+name, state)
	}
	if got.Upstream != nil {
		h.checkHeaders(t, "the upstream's request", got.Upstream.Headers)
		h.checkHeaders(t, "the upstream's trailers", got.Upstream.Trailers)
	}
}

// checkFilter looks at what the filter logged, counts and sent by itself.
func (h *hunt) checkFilter(t testing.TB, host *testenv.Host) {
	t.Helper()
	for _, line := range host.Logs() {
		h.check(t, "the filter's log", line.Message)
	}
	for _, m := range host.Metrics().Snapshot() {
		h.check(t, "the name of a metric", m.Name)
	}
	for _, c := range host.Callouts() {
		h.secrets.checkHeaders(t, "a callout", c.Headers)
		h.secrets.check(t, "a callout's body", string(c.Body))
		h.tokens.check(t, "a callout's body", string(c.Body))
	}
}

// checkControlPlane looks at the log, the metrics and every file of the database.
func (h *hunt) checkControlPlane(t testing.TB, r *ring) {
	t.Helper()
	h.check(t, "the control plane's log", r.cp.Logs())
	h.check(t, "the control plane's metrics", httpGet(t, r.cp.OpsURL+"/metrics"))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		data, err := os.ReadFile(r.cp.DBPath + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 0 {
			t.Errorf("the database's file%s is empty: nothing was searched", suffix)
		}
		h.check(t, "the database's file"+suffix, string(data))
	}
}

func httpGet(t testing.TB, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v", url, response.Status, err)
	}
	return string(text)
}

// sendAll runs n requests of m through host and returns how many got which status.
func (h *hunt) sendAll(t *testing.T, host *testenv.Host, m *canaryMix, n int) map[int]int {
	t.Helper()
	statuses := map[int]int{}
	for range n / canaryTogether {
		var sent []*testenv.Exchange
		for range canaryTogether {
			sent = append(sent, host.Start(m.request()))
		}
		for _, x := range sent {
			got := x.Wait(t)
			h.checkResponse(t, got)
			statuses[got.Status]++
		}
	}
	return statuses
}

// Wherever a client puts a secret, and whatever becomes of the request, the secret stays between the client and
// the filter.
func TestCanaryThroughTheFilter(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	m := newCanaryMix(1, r.keys)
	h := newHunt(r, m)
	workers := testenv.Options{Workers: canaryWorkers, Profile: testenv.Strict}
	host := hostOf(t, r.cp, workers, nil, testConfig, vectorConfig)
	statuses := h.sendAll(t, host, m, canaryRequests)
	for _, status := range []int{200, 400, 401, 402, 403, 404} {
		if statuses[status] < canaryRequests/200 {
			t.Errorf("statuses %v: hardly any %d", statuses, status)
		}
	}
	h.checkFilter(t, host)

	// With nobody to decide: refused on the one route, let through and reported on the other.
	trusting := strings.Replace(vectorConfig, `"vexrail", "cost"`, `"vexrail", "failure_mode": "allow", "cost"`, 1)
	down := hostOf(t, r.cp, workers, testenv.Every(testenv.Play{Reset: testenv.ResetBefore}), testConfig, trusting)
	undecided := h.sendAll(t, down, m, canaryUndecided)
	if undecided[200] == 0 || undecided[503] == 0 {
		t.Errorf("statuses %v without a control plane", undecided)
	}
	down.Advance(settled)
	h.checkFilter(t, down)
	h.checkControlPlane(t, r)
	t.Logf("statuses %v and %v; searched %d bytes for %d pieces", statuses, undecided, h.secrets.bytes, len(h.secrets.pieces)+len(h.digests.pieces))
}

// The same over sockets, with the proxy's access log and statistics.
func TestCanaryThroughTheProxy(t *testing.T) {
	t.Parallel()
	r, upstream := newRing(t), newRecorder(t)
	m := newCanaryMix(2, r.keys)
	h := newHunt(r, m)
	proxy := startProxy(t, proxyOptions{
		gateAddress: hostPort(r.cp.GateURL), upstreamAddress: hostPort(upstream.URL),
		gateToken: r.cp.GateToken, filter: []byte(vectorConfig), underscores: "ALLOW",
	})
	statuses := map[int]int{}
	for range canaryOverSocket {
		q := m.request()
		v := vector{Method: q.Method, Path: q.Path, Hosts: []string{q.Host}, Headers: q.Headers, Trailers: q.Trailers, Body: string(q.Body)}
		response, body := exchangeRaw(t, proxy.address, v.wire("canary"))
		statuses[response.StatusCode]++
		h.check(t, "a response's body", string(body))
		h.checkHeaders(t, "a response", pairs(response.Header))
	}
	for _, q := range upstream.of("canary") {
		h.checkHeaders(t, "the upstream's request", pairs(q.Header))
		h.checkHeaders(t, "the upstream's trailers", pairs(q.Trailer))
	}
	// A request that breaks off in its trailers has reached the upstream and is answered 400 all the same.
	if n := len(upstream.of("canary")); n < statuses[200] || n == 0 {
		t.Errorf("statuses %v, and the upstream was reached %d times", statuses, n)
	}
	h.check(t, "the proxy's statistics", httpGet(t, "http://"+proxy.stats+"/stats/prometheus"))
	proxy.stop(t)
	if lines := strings.Count(proxy.output(t), "tollgate=decision="); lines < canaryOverSocket/2 {
		t.Errorf("the access log has %d decisions for %d requests", lines, canaryOverSocket)
	}
	h.check(t, "the proxy's log", proxy.output(t))
	h.checkControlPlane(t, r)
	t.Logf("statuses %v; searched %d bytes", statuses, h.secrets.bytes)
}
