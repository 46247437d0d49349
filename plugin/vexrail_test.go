//go:build !wasip1

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// chat is the request of the vexrail page with the given headers.
func chat(headers ...testenv.Header) testenv.Request {
	return testenv.Request{
		Method: http.MethodPost, Path: "/v1/chat/completions", Host: "api.test",
		Headers: append([]testenv.Header{{"content-type", "application/json"}}, headers...),
		Body:    []byte(`{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello, world!"}]}`),
	}
}

func public(key string) testenv.Header  { return testenv.Header{"x-publishable-key", key} }
func private(key string) testenv.Header { return testenv.Header{"x-secret-key", key} }

func both(p controlplanetest.Pair) []testenv.Header {
	return []testenv.Header{public(p.Publishable), private(p.Secret)}
}

// checkOpenAI is denial.check for the OpenAI body shape.
func checkOpenAI(t *testing.T, got testenv.Response, status int, code, kind string) {
	t.Helper()
	if got.Status != status || !got.Local || got.Upstream != nil {
		t.Errorf("status %d (local %v), want the filter's own %d", got.Status, got.Local, status)
	}
	var body struct {
		Error map[string]any `json:"error"`
	}
	if err := json.Unmarshal(got.Body, &body); err != nil {
		t.Errorf("body %q: %v", got.Body, err)
	}
	message, _ := body.Error["message"].(string)
	param, hasParam := body.Error["param"]
	if body.Error["code"] != code || body.Error["type"] != kind || message == "" || param != nil || !hasParam || len(body.Error) != 4 {
		t.Errorf("error %v, want code %s of type %s", body.Error, code, kind)
	}
	challenge := ""
	if status == 401 {
		challenge = `ApiKey realm="vexrail"`
	}
	if header(got.Headers, "www-authenticate") != challenge || header(got.Headers, "cache-control") != "no-store" {
		t.Errorf("headers %v", got.Headers)
	}
}

func TestAGoodPairOpensTheGate(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	account := cp.MustAccount(t, "active", 10)
	project := cp.MustProject(t, account, "verified")
	pair := cp.MustPair(t, project)
	// OpenAI clients always send Authorization; a pair route ignores it.
	got := h.Do(t, chat(append(both(pair), testenv.Header{"authorization", "Bearer sk-openai"},
		testenv.Header{"x-conversation-id", "550e8400-e29b-41d4-a716-446655440000"})...))
	if got.Status != 200 || got.Upstream == nil {
		t.Fatalf("status %d, %s", got.Status, got.Body)
	}
	for _, want := range [][2]string{
		{"authorization", ""}, {"x-publishable-key", ""}, {"x-secret-key", ""},
		{"x-conversation-id", "550e8400-e29b-41d4-a716-446655440000"},
		{"x-tollgate-account-id", account}, {"x-tollgate-project-id", project}, {"x-tollgate-key-id", pair.ID}, {"x-tollgate-cost", "1"},
	} {
		if value := header(got.Upstream.Headers, want[0]); value != want[1] {
			t.Errorf("the upstream got %s %q, want %q", want[0], value, want[1])
		}
	}
	if got := wallet(t, cp, account); got != "available 9 spent 1" {
		t.Errorf("wallet: %s", got)
	}
	if metric(t, h, "conversations.passed") != 1 {
		t.Error("the conversation was not counted")
	}
}

// Every row of the vexrail table, with a real pair in each state.
func TestVexrailRows(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	active := cp.MustAccount(t, "active", 100)
	project := cp.MustProject(t, active, "verified")
	good, other, revoked, inactive := cp.MustPair(t, project), cp.MustPair(t, project), cp.MustPair(t, project), cp.MustPair(t, project)
	cp.MustRevokeKey(t, revoked.ID)
	cp.MustSetKeyStatus(t, inactive.ID, "inactive")
	lapsedProject := cp.MustProject(t, active, "verified")
	lapsed := cp.MustPair(t, lapsedProject)
	cp.MustLapse(t, lapsedProject)
	poor := cp.MustPair(t, cp.MustProject(t, cp.MustAccount(t, "active", 0), "verified"))
	offAccount := cp.MustAccount(t, "active", 100)
	off := cp.MustPair(t, cp.MustProject(t, offAccount, "verified"))
	cp.MustSetAccountStatus(t, offAccount, "disabled")

	const invalidType = "invalid_request_error"
	tests := []struct {
		name         string
		headers      []testenv.Header
		status       int
		code, errTyp string
		callouts     int
	}{
		{"publishable key twice", append(both(good), public(good.Publishable)), 400, "invalid_request", invalidType, 0},
		{"joined secrets", []testenv.Header{public(good.Publishable), private(good.Secret + "," + good.Secret)}, 400, "invalid_request", invalidType, 0},
		{"underscore twin", []testenv.Header{public(good.Publishable), {"x_secret_key", good.Secret}}, 400, "invalid_request", invalidType, 0},
		{"nothing", nil, 401, "missing_api_key", invalidType, 0},
		{"publishable half alone", both(good)[:1], 401, "missing_api_key", invalidType, 0},
		{"secret half alone", both(good)[1:], 401, "missing_api_key", invalidType, 0},
		{"empty half", []testenv.Header{public(""), private(good.Secret)}, 401, "missing_api_key", invalidType, 0},
		{"malformed", []testenv.Header{public("pk_live_abc123..."), private("sk_live_xyz789...")}, 401, "invalid_api_key", invalidType, 0},
		{"swapped", []testenv.Header{public(good.Secret), private(good.Publishable)}, 401, "invalid_api_key", invalidType, 0},
		{"unknown secret", []testenv.Header{public(good.Publishable), private("sk_live_" + strings.Repeat("0", 32))}, 401, "invalid_api_key", invalidType, 1},
		{"unknown publishable", []testenv.Header{public("pk_live_" + strings.Repeat("0", 32)), private(good.Secret)}, 401, "invalid_api_key", invalidType, 1},
		{"mismatch", []testenv.Header{public(good.Publishable), private(other.Secret)}, 401, "key_pair_mismatch", invalidType, 1},
		{"revoked", both(revoked), 401, "inactive_api_key", invalidType, 1},
		{"inactive", both(inactive), 401, "inactive_api_key", invalidType, 1},
		{"account off", both(off), 403, "account_not_active", "permission_error", 1},
		{"domain lapsed", both(lapsed), 403, "domain_not_verified", "permission_error", 1},
		{"no credits", both(poor), 403, "insufficient_credits", "insufficient_quota", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := h.Do(t, chat(tt.headers...))
			checkOpenAI(t, got, tt.status, tt.code, tt.errTyp)
			if len(got.Callouts) != tt.callouts {
				t.Errorf("%d callouts, want %d", len(got.Callouts), tt.callouts)
			}
		})
	}
	if got := wallet(t, cp, active); got != "available 100 spent 0" {
		t.Errorf("denials cost something: %s", got)
	}
	cp.Verify(t)
}

// A positive balance is asked for on routes that cost something alone.
func TestVexrailFreeRoute(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	pair := cp.MustPair(t, cp.MustProject(t, cp.MustAccount(t, "active", 0), "verified"))
	r := chat(both(pair)...)
	r.Path = "/v1/models"
	if got := h.Do(t, r); got.Status != 200 {
		t.Errorf("free route without credits: %d %s", got.Status, got.Body)
	}
}

func TestConversationID(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	pair := cp.MustPair(t, cp.MustProject(t, cp.MustAccount(t, "active", 100), "verified"))
	long := strings.Repeat("c", 128)
	tests := []struct {
		name    string
		headers []testenv.Header
		want    string
	}{
		{"128 characters", []testenv.Header{{"x-conversation-id", long}}, long},
		{"129 characters", []testenv.Header{{"x-conversation-id", long + "c"}}, ""},
		{"a space", []testenv.Header{{"x-conversation-id", "a b"}}, ""},
		{"UTF-8", []testenv.Header{{"x-conversation-id", "é"}}, ""},
		{"empty", []testenv.Header{{"x-conversation-id", ""}}, ""},
		{"twice", []testenv.Header{{"x-conversation-id", "a"}, {"x-conversation-id", "a"}}, ""},
		{"underscores", []testenv.Header{{"x_conversation_id", "a"}}, ""},
	}
	for _, tt := range tests {
		got := h.Do(t, chat(append(both(pair), tt.headers...)...))
		if got.Status != 200 || got.Upstream == nil {
			t.Errorf("%s: refused with %d", tt.name, got.Status)
			continue
		}
		if value := header(got.Upstream.Headers, "x-conversation-id") + header(got.Upstream.Headers, "x_conversation_id"); value != tt.want {
			t.Errorf("%s: the upstream got %q, want %q", tt.name, value, tt.want)
		}
	}
	if metric(t, h, "conversations.removed") != int64(len(tests)-1) {
		t.Errorf("conversations.removed = %d", metric(t, h, "conversations.removed"))
	}
}

// An expired key stops at its time, and a rotated one works in both forms until the overlap ends.
func TestExpiryAndRotationUnderTraffic(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	account := cp.MustAccount(t, "active", 1000)
	pair := cp.MustPair(t, cp.MustProject(t, account, "verified"))
	status, body := cp.Admin(t, http.MethodPost, "/v1/keys/"+pair.ID+"/rotate", map[string]any{"overlap_seconds": 60})
	var rotated struct{ ID, Secret string }
	if err := json.Unmarshal(body, &rotated); err != nil || status >= 300 || rotated.ID != pair.ID {
		t.Fatalf("rotate: %d %s", status, body)
	}
	renewed := controlplanetest.Pair{ID: pair.ID, Publishable: pair.Publishable, Secret: rotated.Secret}
	for _, p := range []controlplanetest.Pair{pair, renewed} {
		if got := h.Do(t, chat(both(p)...)); got.Status != 200 || header(got.Upstream.Headers, "x-tollgate-key-id") != pair.ID {
			t.Errorf("within the overlap: %d %s", got.Status, got.Body)
		}
	}
	cp.Clock.Advance(61 * time.Second)
	checkOpenAI(t, h.Do(t, chat(both(pair)...)), 401, "inactive_api_key", "invalid_request_error")
	if got := h.Do(t, chat(both(renewed)...)); got.Status != 200 {
		t.Errorf("the new secret after the overlap: %d %s", got.Status, got.Body)
	}
	expires := cp.Clock.Now().Add(time.Minute).Format(time.RFC3339)
	if status, body := cp.Admin(t, http.MethodPatch, "/v1/keys/"+pair.ID, map[string]any{"expires_at": expires}); status != 200 {
		t.Fatalf("set expiry: %d %s", status, body)
	}
	if got := h.Do(t, chat(both(renewed)...)); got.Status != 200 {
		t.Errorf("before the expiry: %d %s", got.Status, got.Body)
	}
	cp.Clock.Advance(61 * time.Second)
	checkOpenAI(t, h.Do(t, chat(both(renewed)...)), 401, "inactive_api_key", "invalid_request_error")
	cp.Verify(t)
}

// A compromised key is replaced in one call: the old one stops at once.
func TestReplace(t *testing.T) {
	t.Parallel()
	h, cp := newGate(t)
	key := cp.MustKey(t, cp.MustAccount(t, "active", 10))
	status, body := cp.Admin(t, http.MethodPost, "/v1/keys/"+key.ID+"/replace", map[string]any{})
	var next controlplanetest.Key
	if err := json.Unmarshal(body, &next); err != nil || status != 201 || next.ID == key.ID {
		t.Fatalf("replace: %d %s", status, body)
	}
	invalidKey.check(t, h.Do(t, document(bearer(key.Secret))))
	if got := h.Do(t, document(bearer(next.Secret))); got.Status != 200 {
		t.Errorf("the new key: %d %s", got.Status, got.Body)
	}
}
