package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// syncMessage is a sync of boot b1 with an array of op_ids to void and operations that were served unpaid.
func syncMessage(void string, unpaid ...string) string {
	return `{"gate":"edge-1","boot":"b1","void":` + void + `,"unpaid":[` + strings.Join(unpaid, ",") + `]}`
}

// unpaidOp is an operation b1-op of a genrex key that cost two credits.
func unpaidOp(op, secret string) string {
	return fmt.Sprintf(`{"op_id":"b1-%s","scheme":"genrex","digests":["%s"],"cost":2}`, op, apikey.DigestOf(secret).Hex())
}

// postSync posts a message to the gate listener with the gate's token.
func postSync(t *testing.T, f *fixture, body string, header http.Header) answer {
	t.Helper()
	req := newRequest(t, f.GateURL, request{"POST", api.SyncPath, body, header})
	if _, ok := header["Authorization"]; !ok {
		req.Header.Set("Authorization", "Bearer "+f.GateToken)
	}
	return exchange(t, req)
}

func syncOK(t *testing.T, f *fixture, body string) string {
	t.Helper()
	a := postSync(t, f, body, nil)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("sync: got status %d %v: %s", a.status, a.header, a.body)
	}
	return a.body
}

func acked(t *testing.T, f *fixture, body string) []string {
	t.Helper()
	var reply api.SyncReply
	if err := json.Unmarshal([]byte(syncOK(t, f, body)), &reply); err != nil {
		t.Fatal(err)
	}
	slices.Sort(reply.Acked)
	return reply.Acked
}

func verdictOf(t *testing.T, body string) api.Verdict {
	t.Helper()
	return decode[api.AcquireReply](t, answer{status: 200, body: body}, 200).Verdict
}

// What a gate takes back is paid back once, and what it takes back in advance is never debited.
func TestSyncVoids(t *testing.T) {
	f := newFixture(t)
	message := gateMessage(f.key.Secret, "made", 5)
	acquireOK(t, f, message)
	if w := f.MustWallet(t, f.account); w.Spent != 5 {
		t.Fatalf("wallet %+v before the void", w)
	}
	for range 3 {
		if got, want := acked(t, f, syncMessage(`["b1-made","b1-late"]`)), []string{"b1-late", "b1-made"}; !slices.Equal(got, want) {
			t.Fatalf("acked %q, want %q", got, want)
		}
		if w := f.MustWallet(t, f.account); w.Spent != 0 || w.Available != 1000 || w.Granted != 1000 || w.WrittenOff != 0 {
			t.Errorf("wallet %+v", w)
		}
	}
	for _, late := range []string{message, gateMessage(f.key.Secret, "late", 3)} {
		if got := verdictOf(t, acquireOK(t, f, late)); got != api.Voided {
			t.Errorf("acquire after its void: got %s", got)
		}
	}
	if w := f.MustWallet(t, f.account); w.Spent != 0 || w.Available != 1000 {
		t.Errorf("wallet %+v", w)
	}
	kinds := f.entryKinds(t)
	if want := []string{"debit available -5", "debit spent 5", "top_up available 1000", "top_up funding -1000", "void available 5", "void spent -5"}; !slices.Equal(kinds, want) {
		t.Errorf("entries:\ngot  %q\nwant %q", kinds, want)
	}
	f.Verify(t)
	f.metric(t, `tollgate_syncs_total 3`, `tollgate_sync_operations_total{kind="void"} 6`, `tollgate_sync_operations_total{kind="unpaid"} 0`,
		`tollgate_acquires_total{mode="strict",verdict="voided"} 2`)
}

// What was served undecided is written off once if nobody paid, and an acquire that comes late pays no more.
func TestSyncWritesOff(t *testing.T) {
	f := newFixture(t)
	acquireOK(t, f, gateMessage(f.key.Secret, "paid", 2))
	body := syncMessage(`[]`, unpaidOp("paid", f.key.Secret), unpaidOp("lost", f.key.Secret), unpaidOp("stranger", canary))
	for range 2 {
		if got, want := acked(t, f, body), []string{"b1-lost", "b1-paid", "b1-stranger"}; !slices.Equal(got, want) {
			t.Fatalf("acked %q, want %q", got, want)
		}
		if w := f.MustWallet(t, f.account); w.Spent != 2 || w.Available != 998 || w.WrittenOff != 2 {
			t.Errorf("wallet %+v", w)
		}
	}
	if got := verdictOf(t, acquireOK(t, f, gateMessage(f.key.Secret, "lost", 2))); got != api.Voided {
		t.Errorf("acquire after its write-off: got %s", got)
	}
	if w := f.MustWallet(t, f.account); w.Spent != 2 || w.WrittenOff != 2 {
		t.Errorf("wallet %+v", w)
	}
	kinds := f.entryKinds(t)
	if want := []string{"debit available -2", "debit spent 2", "top_up available 1000", "top_up funding -1000", "unpaid written_off 2"}; !slices.Equal(kinds, want) {
		t.Errorf("entries:\ngot  %q\nwant %q", kinds, want)
	}
	f.Verify(t)
	f.metric(t, `tollgate_syncs_total 2`, `tollgate_sync_operations_total{kind="unpaid"} 6`)
}

// entryKinds lists the account's entries as kind, bucket and delta, sorted.
func (f *fixture) entryKinds(t *testing.T) []string {
	t.Helper()
	entries := decode[struct {
		Data []struct {
			Kind, Bucket string
			Delta        int64
		}
	}](t, f.do(t, "GET", "/v1/accounts/{account}/entries", ""), 200).Data
	var kinds []string
	for _, e := range entries {
		kinds = append(kinds, fmt.Sprintf("%s %s %d", e.Kind, e.Bucket, e.Delta))
	}
	slices.Sort(kinds)
	return kinds
}

func (f *fixture) metric(t *testing.T, lines ...string) {
	t.Helper()
	metrics := exchange(t, newRequest(t, f.OpsURL, request{method: "GET", path: "/metrics"})).body
	for _, line := range lines {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
}

// A gate may leave out what it has nothing of, and a scheme that is unknown here holds up nothing.
func TestSyncForms(t *testing.T) {
	f := newFixture(t)
	strange := strings.Replace(unpaidOp("x", f.key.Secret), "genrex", "elsewhere", 1)
	for _, tt := range []struct {
		name, body string
		want       []string
	}{
		{"nothing", `{"gate":"g","boot":"b1"}`, nil},
		{"empty", syncMessage(`[]`), nil},
		{"void alone", `{"gate":"g","boot":"b1","void":["b1-1"]}`, []string{"b1-1"}},
		{"unpaid alone", `{"gate":"g","boot":"b1","unpaid":[` + unpaidOp("2", f.key.Secret) + `]}`, []string{"b1-2"}},
		{"unknown scheme", syncMessage(`["b1-3"]`, strange), []string{"b1-3", "b1-x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := syncOK(t, f, tt.body)
			if strings.Contains(body, "null") {
				t.Errorf("acked is no array: %s", body)
			}
			if got := acked(t, f, tt.body); !slices.Equal(got, tt.want) {
				t.Errorf("acked %q, want %q", got, tt.want)
			}
		})
	}
}

// The most that a gate may report fits into one message.
func TestLongestSync(t *testing.T) {
	f := newFixture(t)
	var unpaid []string
	for i := range api.MaxSyncOps {
		op := fmt.Sprintf("%0*d", api.MaxOpIDLen-len("b1-"), i)
		digest := apikey.DigestOf(op).Hex()
		unpaid = append(unpaid, fmt.Sprintf(`{"op_id":"b1-%s","scheme":"%s","digests":["%s","%s"],"cost":%d}`,
			op, strings.Repeat("s", api.MaxSchemeLen), digest, digest, int64(api.MaxCredits)))
	}
	body := syncMessage(`[]`, unpaid...)
	if len(body) > api.MaxSyncBytes {
		t.Fatalf("%d bytes, more than %d", len(body), api.MaxSyncBytes)
	}
	if got := acked(t, f, body+strings.Repeat(" ", api.MaxSyncBytes-len(body))); len(got) != api.MaxSyncOps {
		t.Errorf("acked %d, want %d", len(got), api.MaxSyncOps)
	}
	for name, tt := range map[string]struct {
		body     string
		status   int
		location string
	}{
		"a byte more":       {body + strings.Repeat(" ", api.MaxSyncBytes-len(body)+1), 413, ""},
		"an operation more": {syncMessage(`["b1-1"]`, unpaid...), 400, "body.void, unpaid"},
	} {
		a := postSync(t, f, tt.body, nil)
		if p := wholeProblem(t, a); a.status != tt.status || tt.location != "" && p.Errors[0].Location != tt.location {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
}

func TestBadSyncs(t *testing.T) {
	f := newFixture(t)
	good := unpaidOp("1", f.key.Secret)
	digest := apikey.DigestOf(f.key.Secret).Hex()
	acquireOK(t, f, gateMessage(f.key.Secret, "1", 1))
	swap := func(old, replacement string) string {
		return syncMessage(`["b1-1"]`, good, strings.Replace(good, old, replacement, 1))
	}
	for _, tt := range []struct{ name, body, location string }{
		{"no body", "", "body"},
		{"array", "[]", "body"},
		{"null", "null", "body"},
		{"no boot", `{"gate":"g"}`, "body.boot"},
		{"no gate", `{"boot":"b1"}`, "body.gate"},
		{"null boot", `{"gate":"g","boot":null}`, "body.boot"},
		{"blank in gate", `{"gate":"a b","boot":"b1"}`, "body.gate"},
		{"unknown field", `{"gate":"g","boot":"b1","zz":1}`, "body.zz"},
		{"wrong case", `{"gate":"g","boot":"b1","Void":[]}`, "body.Void"},
		{"same field twice", `{"gate":"g","boot":"b1","void":[],"void":[]}`, "body.void"},
		{"void null", syncMessage(`null`), "body.void"},
		{"void text", syncMessage(`"b1-1"`), "body.void"},
		{"void of a null", syncMessage(`["b1-1",null]`), "body.void[1]"},
		{"void of a number", syncMessage(`[1]`), "body.void[0]"},
		{"void of another boot", syncMessage(`["b1-1","b2-1"]`), "body.void[1]"},
		{"void of nothing", syncMessage(`["b1-"]`), "body.void[0]"},
		{"void of a longer boot", syncMessage(`["b11-1"]`), "body.void[0]"},
		{"unpaid null", `{"gate":"g","boot":"b1","unpaid":null}`, "body.unpaid"},
		{"unpaid of a null", syncMessage(`["b1-1"]`, "null"), "body.unpaid[0]"},
		{"unpaid of a text", syncMessage(`["b1-1"]`, `"b1-1"`), "body.unpaid[0]"},
		{"unpaid of nothing", syncMessage(`["b1-1"]`, `{}`), "body.unpaid[0].cost"},
		{"unpaid of another boot", swap("b1-1", "b2-1"), "body.unpaid[1].op_id"},
		{"unpaid without cost", swap(`,"cost":2`, ``), "body.unpaid[1].cost"},
		{"unpaid cost negative", swap(`"cost":2`, `"cost":-2`), "body.unpaid[1].cost"},
		{"unpaid cost fraction", swap(`"cost":2`, `"cost":2.0`), "body.unpaid[1].cost"},
		{"unpaid cost beyond int64", swap(`"cost":2`, `"cost":9223372036854775808`), "body.unpaid[1].cost"},
		{"unpaid cost text", swap(`"cost":2`, `"cost":"`+digest+`"`), "body.unpaid[1].cost"},
		{"unpaid wrong case", swap(`"scheme"`, `"Scheme"`), "body.unpaid[1].Scheme"},
		{"unpaid scheme empty", swap(`"genrex"`, `""`), "body.unpaid[1].scheme"},
		{"unpaid unknown field", swap(`"cost":2`, `"cost":2,"zz":1`), "body.unpaid[1].zz"},
		{"unpaid digests object", swap(`["`+digest+`"]`, `{"a":"`+digest+`"}`), "body.unpaid[1].digests"},
		{"unpaid digest of a secret", swap(digest, f.key.Secret), "body.unpaid[1].digests[0]"},
		{"unpaid without digest", swap(`"`+digest+`"`, ``), "body.unpaid[1].digests"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := postSync(t, f, tt.body, nil)
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
	// Refused as a whole: the good part of a bad message has no effect either.
	if w := f.MustWallet(t, f.account); w.Spent != 1 || w.WrittenOff != 0 {
		t.Errorf("wallet %+v", w)
	}
	a := postSync(t, f, syncMessage(`[`+strings.Repeat("1,", 30_000)+`1]`), nil)
	if p := wholeProblem(t, a); a.status != 400 || len(p.Errors) != 32 {
		t.Errorf("30,001 faults: got %d with %d errors", a.status, len(p.Errors))
	}
}

func TestSyncNeedsAGatesToken(t *testing.T) {
	f := newFixture(t)
	good := syncMessage(`["b1-1"]`)
	for _, tt := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"no token", http.Header{"Authorization": nil}, 401},
		{"admin token", http.Header{"Authorization": {"Bearer " + f.AdminToken}}, 403},
		{"form", http.Header{"Content-Type": {"text/plain"}}, 415},
	} {
		if a := postSync(t, f, good, tt.header); a.status != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, a.status, a.body, tt.status)
		}
	}
	a := exchange(t, newRequest(t, f.AdminURL, request{"POST", api.SyncPath, good, nil}))
	if a.status != http.StatusNotFound {
		t.Errorf("sync on the admin listener: got %d", a.status)
	}
}
