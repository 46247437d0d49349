package server_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/server"
)

// seeds are those of requests that are generated in every run: a usual one, and each one that has ever found a fault.
var seeds = []uint64{1}

var extraSeed = flag.Uint64("generate", 0, "generate requests of this seed too")

// requestsPerRun are shared among the seeds.
const requestsPerRun = 10000

// Whatever a client sends, valid or broken, the server answers as it has said that it would: no fault of its own, every refusal
// whole and with a known code, no secret repeated, and the books in order afterwards.
func TestGeneratedRequests(t *testing.T) {
	all := slices.Clone(seeds)
	if *extraSeed != 0 {
		all = []uint64{*extraSeed}
	}
	for _, seed := range all {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { generate(t, seed, requestsPerRun/len(all)/slowed) })
	}
}

func generate(t *testing.T, seed uint64, requests int) {
	f := newPairFixture(t)
	codes := server.Codes()
	tokens := map[string]string{"owner": f.AdminToken, "gate": f.GateToken, "nobody": "", "unknown": "tg_owner_" + strings.Repeat("A", 43), "account": f.MustAccountToken(t, f.account)}
	for _, role := range []string{"operator", "billing", "viewer"} {
		tokens[role] = f.MustToken(t, role)
	}
	g := &generator{
		Rand: rand.New(rand.NewPCG(seed, 0)), routes: routesOf(document(t, f.ControlPlane).doc), ids: map[string][]string{}, reserved: map[string]bool{},
	}
	for _, id := range anID.FindAllString(f.do(t, "GET", "/v1/tokens?limit=100", "").body, -1) {
		g.reserved[id] = true
	}
	g.learn(answer{body: f.fill(`"{account}" "{project}" "{key}" "{pair}"`)})
	callers := []string{"owner", "owner", "owner", "owner", "owner", "owner", "owner", "operator", "operator", "billing", "viewer", "account", "gate", "nobody", "unknown"}
	statuses := map[int]int{}
	reached := map[string]int{}
	for i := range requests {
		if i%250 == 0 {
			// Something to refund, to rotate and to make pairs of, whatever has become of the rest.
			own := f.tenant(t)
			acquireOK(t, own, gateMessage(own.key.Secret, fmt.Sprint("spent-", i), 500))
			g.learn(answer{body: own.fill(`"{account}" "{project}" "{key}" "{pair}"`)})
			f.Clock.Advance(time.Minute)
		}
		r := g.request()
		role := callers[g.IntN(len(callers))]
		if _, set := r.header["Authorization"]; !set && tokens[role] != "" {
			r.header.Set("Authorization", "Bearer "+tokens[role])
		}
		a, ok := f.ask(r)
		if !ok {
			continue
		}
		statuses[a.status]++
		if a.status/100 == 2 {
			reached[r.route.operation.OperationID]++
			g.learn(a)
		}
		if wrong := f.misanswered(t, r, a, codes, tokens); wrong != "" || t.Failed() {
			t.Fatalf("request %d of seed %d by %s, broken in %q: %s\n%s %.300s\n%v\n%.600q\nanswer %d %v\n%.600s", i, seed, role, r.broken, wrong,
				r.method, r.target(), r.header, r.body, a.status, a.header, a.body)
		}
	}
	f.Verify(t)
	if logs := f.Logs(); strings.Contains(logs, "c0ffee") || strings.Contains(logs, tokens["owner"]) {
		t.Error("a secret is in the log")
	}
	t.Logf("statuses: %v", statuses)
	for _, r := range g.routes {
		if reached[r.operation.OperationID] == 0 && requests >= requestsPerRun/2 && !beyondReach[r.operation.OperationID] {
			t.Errorf("no request of %d did %s: the generator does not know what it takes", requests, r.operation.OperationID)
		}
	}
}

// beyondReach are the operations that take more than what a schema can say.
var beyondReach = map[string]bool{}

// ask sends the request as it is to the handler. ok is false for one that net/http itself would refuse.
func (f *fixture) ask(r *generated) (a answer, ok bool) {
	req, err := http.NewRequest(r.method, f.AdminURL+r.target(), bytes.NewReader(r.body))
	if err != nil {
		return answer{}, false
	}
	req.Header, req.RemoteAddr, req.RequestURI = r.header, fmt.Sprintf("192.0.2.%d:1234", len(r.target())%250), r.target()
	w := httptest.NewRecorder()
	f.AdminHandler().ServeHTTP(w, req)
	return answer{status: w.Code, header: w.Header(), body: w.Body.String()}, true
}

// misanswered says what is wrong with an answer, if anything is.
func (f *fixture) misanswered(t *testing.T, r *generated, a answer, codes []string, tokens map[string]string) string {
	t.Helper()
	for _, token := range tokens {
		if token != "" && strings.Contains(a.body, token) {
			return "repeats a token"
		}
	}
	if id := a.header.Get("X-Request-Id"); id == "" || a.header.Get("Cache-Control") != "no-store" {
		return "lacks X-Request-Id or Cache-Control: no-store"
	}
	if a.status >= 500 {
		return "a fault"
	}
	if a.status < 400 {
		if a.status/100 != 2 {
			return "neither done nor refused"
		}
	} else {
		if p := wholeProblem(t, a); !slices.Contains(codes, p.Code) {
			return "unknown code " + p.Code
		}
		if said := a.body + fmt.Sprint(a.header); strings.Contains(said, "c0ffee") || strings.Contains(said, "json:") || strings.Contains(said, "sql") {
			return "repeats the request, or Go's or SQL's own words"
		}
	}
	if req, err := http.NewRequest(r.method, f.AdminURL+r.target(), nil); err == nil && (a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed) {
		described(t, f.ControlPlane, req, a)
	}
	return ""
}

// What generated requests have found once stays mended.
func TestFoundByGeneratedRequests(t *testing.T) {
	f := newFixture(t)
	for _, id := range []string{canary, f.key.Secret, f.AdminToken} {
		a := send(t, f.ControlPlane, request{"GET", "/v1/accounts", "", http.Header{"X-Request-Id": {id}}})
		if a.header.Get("X-Request-Id") == id || strings.Contains(f.Logs(), id) {
			t.Error("a secret sent as the request's id is repeated")
		}
	}
	for _, kind := range []string{"text/plain", "application/json"} {
		if a := send(t, f.ControlPlane, request{"GET", "/v1/accounts", "{", http.Header{"Content-Type": {kind}}}); a.status != http.StatusOK {
			t.Errorf("a GET with a body of %s: got %d %s, which no operation describes", kind, a.status, a.body)
		}
	}
}
