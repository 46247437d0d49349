package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

type shownAct struct {
	ID, Action string
	At         time.Time
	RequestID  *string `json:"request_id"`
	AccountID  *string `json:"account_id"`
	Reason     *string
	Actor      struct {
		ID, Name string
		Role     *string
	}
	Target        struct{ Kind, ID string }
	Before, After map[string]any
}

// acts reads the audit log to its end, a few at a time.
func (f *fixture) acts(t *testing.T, query string) []shownAct {
	t.Helper()
	var all []shownAct
	for cursor := ""; ; {
		page := decode[struct {
			Data       []shownAct
			NextCursor *string `json:"next_cursor"`
		}](t, f.do(t, "GET", "/v1/audit?limit=3"+query+cursor, ""), http.StatusOK)
		all = append(all, page.Data...)
		if page.NextCursor == nil {
			return all
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

// A story of changes by two people is found in the audit log: who, when, under which request, and from what to what.
func TestAuditTellsTheStory(t *testing.T) {
	f := newFixture(t)
	start := f.Clock.Now()
	made := decode[accessToken](t, f.do(t, "POST", "/v1/tokens", `{"name":"Bob","role":"operator"}`), http.StatusCreated)
	f.Clock.Advance(time.Minute)
	bob := http.Header{"Authorization": {"Bearer " + *made.Secret}, "X-Request-Id": {"bobs-request"}}
	for _, r := range []request{
		{"PATCH", f.fill("/v1/keys/{key}"), `{"status":"inactive"}`, bob},
		{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":5,"reason":"invoice 7"}`, bob},
		{"POST", f.fill("/v1/keys/{key}/revoke"), "", bob},
	} {
		if a := send(t, f.ControlPlane, r); a.status/100 != 2 {
			t.Fatalf("%s: %d %s", r.path, a.status, a.body)
		}
	}
	got := f.acts(t, "&actor="+made.ID)
	slices.Reverse(got)
	want := []struct{ action, kind, before, after string }{
		{"key.update", "key", "status:active", "status:inactive"},
		{"credit.top_up", "credit", "available:1000", "available:1005"},
		{"key.revoke", "key", "status:inactive", "status:revoked"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d acts: %+v", len(got), got)
	}
	for i, w := range want {
		a := got[i]
		if a.Action != w.action || a.Target.Kind != w.kind || !strings.Contains(fmt.Sprint(a.Before), w.before) || !strings.Contains(fmt.Sprint(a.After), w.after) {
			t.Errorf("got %+v, want %+v", a, w)
		}
		if a.Actor.Name != "Bob" || *a.Actor.Role != "operator" || *a.RequestID != "bobs-request" || *a.AccountID != f.account || !a.At.Equal(start.Add(time.Minute)) {
			t.Errorf("by whom and when: %+v", a)
		}
	}
	if r := got[1].Reason; r == nil || *r != "invoice 7" || got[0].Reason != nil {
		t.Errorf("reasons %v, %v", r, got[0].Reason)
	}
	for query, want := range map[string]string{
		"&target=" + f.key.ID:                                                         "key.revoke key.update key.create",
		"&account_id=" + f.account + "&action=credit.top_up":                          "credit.top_up credit.top_up",
		"&actor=local&action=token.create":                                            "token.create token.create",
		"&since=" + url.QueryEscape(start.Add(time.Minute).Format(time.RFC3339)):      "key.revoke credit.top_up key.update",
		"&actor=" + made.ID + "&until=" + url.QueryEscape(start.Format(time.RFC3339)): "",
	} {
		var got []string
		for _, a := range f.acts(t, query) {
			got = append(got, a.Action)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", query, got, want)
		}
	}
	for _, a := range f.acts(t, "&actor=local") {
		if a.Actor.Role != nil || a.RequestID != nil || a.Before != nil {
			t.Errorf("a command's act has a role, a request or a past: %+v", a)
		}
	}
}

// changeNothing are the routes of writes that do not.
var changeNothing = map[string]bool{"POST /v1/explain": true}

// Whatever is done by REST is in the audit log under its request's id, and no secret that it showed.
func TestEveryWriteIsAuditedWithoutItsSecrets(t *testing.T) {
	f := newPairFixture(t)
	secrets := []string{f.key.Secret, f.pair.Secret, f.pair.Publishable, f.AdminToken, f.GateToken}
	// There has to be something to refund.
	acquireOK(t, f, gateMessage(f.key.Secret, "op-1", 5))
	written := map[string]string{}
	for i, w := range writes {
		id := fmt.Sprintf("write-%d", i)
		a := send(t, f.ControlPlane, request{w.method, f.fill(w.path), f.fill(w.body), http.Header{"X-Request-Id": {id}}})
		if !changeNothing[w.method+" "+w.path] {
			written[id] = w.method + " " + w.path
		}
		if a.status/100 != 2 {
			t.Fatalf("%s %s: %d %s", w.method, w.path, a.status, a.body)
		}
		if made := decode[struct {
			Secret      *string
			Publishable *string `json:"publishable_key"`
		}](t, a, a.status); made.Secret != nil {
			secrets = append(secrets, *made.Secret)
			if made.Publishable != nil {
				secrets = append(secrets, *made.Publishable)
			}
		}
	}
	if len(secrets) < 10 {
		t.Fatalf("%d secrets: the test has lost some", len(secrets))
	}
	for _, a := range f.acts(t, "") {
		if a.RequestID != nil {
			delete(written, *a.RequestID)
		}
	}
	for _, name := range written {
		t.Errorf("%s: nothing in the audit log: its transaction does not call tx.audit", name)
	}
	log := f.do(t, "GET", "/v1/audit?limit=100", "").body
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the audit log holds %.8s…", secret)
		}
	}
}

func TestAuditQueries(t *testing.T) {
	f := newFixture(t)
	for query, location := range map[string]string{
		"since=yesterday": "query.since", "until=2026-01-02": "query.until", "since=2026-01-02T03:04:05": "query.since",
		"cursor=x": "query.cursor", "limit=0": "query.limit", "who=x": "query.who", "actor=a&actor=b": "query.actor",
	} {
		f.refuses(t, request{"GET", "/v1/audit?" + query, "", nil}, 422, location)
	}
}
