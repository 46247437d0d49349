package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// gateMessage is a good acquire of a genrex key. Its op_id is b1- and op.
func gateMessage(secret, op string, cost int64) string {
	return messageOf("genrex", op, cost, secret)
}

// messageOf is a good acquire in any scheme, with the digests of the halves.
func messageOf(scheme, op string, cost int64, halves ...string) string {
	req := api.AcquireRequest{
		Gate: "edge-1", Boot: "b1", OpID: "b1-" + op, Scheme: scheme, Cost: cost, Want: cost, Mode: api.ModeStrict,
	}
	for _, half := range halves {
		req.Digests = append(req.Digests, apikey.DigestOf(half).Hex())
	}
	b, err := json.Marshal(req)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// acquire posts a message to the gate listener with the gate's token.
func acquire(t *testing.T, f *fixture, body string, header http.Header) answer {
	t.Helper()
	req := newRequest(t, f.GateURL, request{"POST", api.AcquirePath, body, header})
	if _, ok := header["Authorization"]; !ok {
		req.Header.Set("Authorization", "Bearer "+f.GateToken)
	}
	return exchange(t, req)
}

func acquireOK(t *testing.T, f *fixture, body string) string {
	t.Helper()
	a := acquire(t, f, body, nil)
	if a.status != http.StatusOK {
		t.Fatalf("acquire: got status %d: %s", a.status, a.body)
	}
	return a.body
}

func TestAcquireVerdicts(t *testing.T) {
	f := newFixture(t)
	unknown, err := apikey.Genrex.Generate()
	if err != nil {
		t.Fatal(err)
	}
	keyOf := func(status string, credits int64) string {
		return f.MustKey(t, f.MustAccount(t, status, credits)).Secret
	}
	inactive, revoked := f.MustKey(t, f.account), f.MustKey(t, f.account)
	f.MustSetKeyStatus(t, inactive.ID, "inactive")
	f.MustRevokeKey(t, revoked.ID)
	for _, tt := range []struct {
		name, secret string
		cost         int64
		want         api.Verdict
	}{
		{"granted", f.key.Secret, 3, api.Granted},
		{"free", keyOf("active", 0), 0, api.Granted},
		{"to the last credit", keyOf("active", 3), 3, api.Granted},
		{"unknown", unknown.Reveal(), 3, api.UnknownKey},
		{"inactive", inactive.Secret, 3, api.InactiveKey},
		{"revoked", revoked.Secret, 3, api.InactiveKey},
		{"pending account", keyOf("pending", 9), 3, api.AccountNotActive},
		{"disabled account", keyOf("disabled", 9), 0, api.AccountNotActive},
		{"short by one", keyOf("active", 2), 3, api.InsufficientCredits},
	} {
		t.Run(tt.name, func(t *testing.T) {
			message := gateMessage(tt.secret, "op-"+strings.ReplaceAll(tt.name, " ", "-"), tt.cost)
			var req api.AcquireRequest
			if err := json.Unmarshal([]byte(message), &req); err != nil {
				t.Fatal(err)
			}
			a := acquire(t, f, message, nil)
			reply := decode[api.AcquireReply](t, a, 200)
			if err := reply.Validate(&req); err != nil {
				t.Fatal(err)
			}
			if reply.Verdict != tt.want {
				t.Errorf("got %s, want %s", reply.Verdict, tt.want)
			}
			if a.header.Get("Content-Type") != "application/json" || a.header.Get("X-Request-Id") == "" {
				t.Errorf("headers %v", a.header)
			}
			if again := acquire(t, f, message, nil); again.body != a.body {
				t.Errorf("repeated: got %s, want %s", again.body, a.body)
			}
		})
	}
	if w := f.MustWallet(t, f.account); w.Spent != 3 {
		t.Errorf("spent %d, want 3: only the grant, once", w.Spent)
	}
}

func TestOpIDOfAnotherRequestIsAConflict(t *testing.T) {
	f := newFixture(t)
	acquireOK(t, f, gateMessage(f.key.Secret, "op", 1))
	a := acquire(t, f, gateMessage(f.key.Secret, "op", 2), nil)
	if p := wholeProblem(t, a); a.status != http.StatusConflict || p.Code != "conflict" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if w := f.MustWallet(t, f.account); w.Spent != 1 {
		t.Errorf("spent %d, want 1", w.Spent)
	}
}

func TestBadGateMessages(t *testing.T) {
	f := newFixture(t)
	good := gateMessage(f.key.Secret, "op", 1)
	digest := apikey.DigestOf(f.key.Secret).Hex()
	set := func(field, value string) string {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(good), &m); err != nil {
			t.Fatal(err)
		}
		if value == "" {
			delete(m, field)
		} else {
			m[field] = json.RawMessage(value)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	raw := func(old, replacement string) string { return strings.Replace(good, old, replacement, 1) }
	tests := []struct {
		name, body string
		location   string
	}{
		{"no body", "", "body"},
		{"no JSON", digest, "body"},
		{"array", "[]", "body"},
		{"null", "null", "body"},
		{"bytes after the value", good + "x", "body"},
		{"unknown field", set("zz", "1"), "body.zz"},
		{"wrong case", raw(`"cost"`, `"Cost"`), "body.cost"},
		{"same field twice", raw(`{`, `{"cost":0,`), "body.cost"},
		{"same field twice in another case", raw(`{`, `{"COST":0,`), "body.COST"},
		{"cost fraction", set("cost", "1.5"), "body.cost"},
		{"cost exponent", raw(`"cost":1`, `"cost":1e0`), "body.cost"},
		{"cost huge", set("cost", "9007199254740993"), "body.cost"},
		{"cost beyond int64", raw(`"cost":1`, `"cost":99999999999999999999`), "body.cost"},
		{"cost negative", set("cost", "-1"), "body.cost"},
		{"cost text", set("cost", `"`+digest+`"`), "body.cost"},
		{"want more", set("want", "2"), "body.want"},
		{"unknown mode", set("mode", `"loan"`), "body.mode"},
		{"mode lease and want less", raw(`"want":1,"mode":"strict"`, `"want":0,"mode":"lease"`), "body.want"},
		{"mode lease and want huge", raw(`"want":1,"mode":"strict"`, `"want":9007199254740992,"mode":"lease"`), "body.want"},
		{"digests text", set("digests", `"`+digest+`"`), "body.digests"},
		{"no digest", set("digests", `[]`), "body.digests"},
		{"null digest", set("digests", `[null]`), "body.digests[0]"},
		{"three digests", set("digests", `["`+digest+`","`+digest+`","`+digest+`"]`), "body.digests"},
		{"a secret for a digest", set("digests", `["`+f.key.Secret+`"]`), "body.digests[0]"},
		{"upper-case digest", set("digests", `["`+strings.ToUpper(digest)+`"]`), "body.digests[0]"},
		{"empty op_id", set("op_id", `""`), "body.op_id"},
		{"op_id of another boot", set("op_id", `"b2-op"`), "body.op_id"},
		{"op_id without more", set("op_id", `"b1-"`), "body.op_id"},
		{"unknown scheme", set("scheme", `"`+canary[:30]+`"`), "body.scheme"},
		{"long op_id", set("op_id", `"`+"b1-"+strings.Repeat("x", api.MaxOpIDLen)+`"`), "body.op_id"},
		{"blank in gate", set("gate", `"a b"`), "body.gate"},
	}
	for _, field := range []string{"gate", "boot", "op_id", "scheme", "digests", "cost", "want", "mode"} {
		for name, value := range map[string]string{"without ": "", "null ": "null"} {
			tests = append(tests, struct{ name, body, location string }{name + field, set(field, value), "body." + field})
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := acquire(t, f, tt.body, nil)
			if a.status != http.StatusBadRequest || strings.Contains(a.body, digest) || strings.Contains(a.body, f.key.Secret) {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			p := wholeProblem(t, a)
			found := false
			for _, e := range p.Errors {
				found = found || e.Location == tt.location
			}
			if p.Code != "invalid_request" || !found {
				t.Errorf("no error at %s: %s", tt.location, a.body)
			}
		})
	}
	if w := f.MustWallet(t, f.account); w.Spent != 0 {
		t.Errorf("spent %d, want 0", w.Spent)
	}
}

func TestGateLimits(t *testing.T) {
	f := newFixture(t)
	good := gateMessage(f.key.Secret, "op", 1)
	padded := func(size int) string { return good + strings.Repeat(" ", size-len(good)) }
	for _, tt := range []struct {
		name, body string
		header     http.Header
		status     int
		code       string
	}{
		{"longest", padded(api.MaxMessageBytes), nil, 200, "granted"},
		{"too long", padded(api.MaxMessageBytes + 1), nil, 413, "body_too_large"},
		{"form", good, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 415, "unsupported_media_type"},
		{"no token", good, http.Header{"Authorization": nil}, 401, "unauthenticated"},
		{"unknown token", good, http.Header{"Authorization": {"Bearer tg_gate_x"}}, 401, "unauthenticated"},
		{"admin token", good, http.Header{"Authorization": {"Bearer " + f.AdminToken}}, 403, "forbidden"},
		{"two tokens", good, http.Header{"Authorization": {"Bearer " + f.GateToken, "Bearer " + f.GateToken}}, 400, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := acquire(t, f, tt.body, tt.header)
			if a.status != tt.status || !strings.Contains(a.body, `"`+tt.code+`"`) {
				t.Errorf("got %d %s, want %d %s", a.status, a.body, tt.status, tt.code)
			}
		})
	}
	for _, r := range []request{{"GET", api.AcquirePath, "", nil}, {"POST", "/gate/v1/acquire/", "{}", nil}, {"GET", api.SyncPath, "", nil}, {"GET", "/v1/accounts", "", nil}} {
		a := exchange(t, newRequest(t, f.GateURL, r))
		if p := wholeProblem(t, a); a.status != 404 && a.status != 405 {
			t.Errorf("%s %s: got %d %s", r.method, r.path, a.status, p.Code)
		}
	}
	a := exchange(t, newRequest(t, f.AdminURL, request{"POST", api.AcquirePath, good, nil}))
	if a.status != http.StatusNotFound {
		t.Errorf("acquire on the admin listener: got %d", a.status)
	}
}

// 64 clients share 1,000 credits: 1,000 requests are granted, no more and no fewer, and the rest is told so.
func TestConcurrentGatesSpendEveryCreditOnce(t *testing.T) {
	f := newFixture(t)
	const clients, each = 64, 20
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	t.Cleanup(client.CloseIdleConnections)
	var granted, short atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for n := range each {
				verdict, err := acquireVia(client, f, gateMessage(f.key.Secret, fmt.Sprintf("op-%d-%d", i, n), 1))
				switch {
				case err != nil:
					t.Error(err)
				case verdict == api.Granted:
					granted.Add(1)
				case verdict == api.InsufficientCredits:
					short.Add(1)
				default:
					t.Errorf("verdict %s", verdict)
				}
			}
		})
	}
	wg.Wait()
	if granted.Load() != 1000 || short.Load() != clients*each-1000 {
		t.Errorf("%d granted and %d short, want 1000 and %d", granted.Load(), short.Load(), clients*each-1000)
	}
	if w := f.MustWallet(t, f.account); w.Available != 0 || w.Spent != 1000 {
		t.Errorf("wallet %+v", w)
	}
	metrics := exchange(t, newRequest(t, f.OpsURL, request{method: "GET", path: "/metrics"})).body
	for _, line := range []string{
		`tollgate_acquires_total{mode="strict",verdict="granted"} 1000`,
		fmt.Sprintf(`tollgate_acquires_total{mode="strict",verdict="insufficient_credits"} %d`, clients*each-1000),
		`tollgate_acquires_total{mode="lease",verdict="unknown_key"} 0`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
}

func acquireVia(client *http.Client, f *fixture, message string) (api.Verdict, error) {
	req, err := http.NewRequest("POST", f.GateURL+api.AcquirePath, strings.NewReader(message))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+f.GateToken)
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var reply api.AcquireReply
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		return "", fmt.Errorf("status %d: %w", resp.StatusCode, err)
	}
	return reply.Verdict, nil
}
