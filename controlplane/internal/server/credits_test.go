package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

type credit struct {
	ID, Kind, Reason, Actor string
	AccountID               string `json:"account_id"`
	Amount, Available       int64
	IdempotencyKey          string    `json:"idempotency_key"`
	RefundedEntry           string    `json:"refunded_entry"`
	CreatedAt               time.Time `json:"created_at"`
}

type ledgerEntry struct {
	ID, Kind, Bucket, Reason, Actor string
	TransactionID                   string `json:"transaction_id"`
	IdempotencyKey                  string `json:"idempotency_key"`
	RefundedEntry                   string `json:"refunded_entry"`
	OpID                            string `json:"op_id"`
	Delta                           int64
}

func (f *fixture) entries(t *testing.T) []ledgerEntry {
	t.Helper()
	a := f.do(t, "GET", "/v1/accounts/{account}/entries?limit=100", "")
	return decode[struct{ Data []ledgerEntry }](t, a, 200).Data
}

func TestAdjustAndRefund(t *testing.T) {
	f := newFixture(t)
	acquireOK(t, f, gateMessage(f.key.Secret, "op-7", 30))
	spent := f.entries(t)[0]
	if spent.Bucket != "spent" {
		spent = f.entries(t)[1]
	}
	post := func(path, body, key string) answer {
		return send(t, f.ControlPlane, request{"POST", f.fill("/v1/accounts/{account}/credits/") + path, body, keyed(key)})
	}
	down := decode[credit](t, post("adjust", `{"amount":-70,"reason":"entered twice"}`, "a-1"), 201)
	want := credit{
		ID: down.ID, Kind: "adjustment", Reason: "entered twice", Actor: down.Actor, AccountID: f.account, Amount: -70,
		Available: 900, IdempotencyKey: "a-1", CreatedAt: f.Clock.Now(),
	}
	if down != want || !strings.HasPrefix(down.Actor, "token_") {
		t.Errorf("got %+v, want %+v", down, want)
	}
	refund := fmt.Sprintf(`{"amount":10,"reason":"it failed","entry_id":"%s"}`, spent.ID)
	first, again := post("refund", refund, "r-1"), post("refund", refund, "r-1")
	got := decode[credit](t, first, 201)
	if got.Kind != "refund" || got.Amount != 10 || got.Available != 910 || got.RefundedEntry != spent.ID || got.IdempotencyKey != "r-1" {
		t.Errorf("refund %+v", got)
	}
	if again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again %s, want %s", again.body, first.body)
	}
	if w := f.MustWallet(t, f.account); w.Granted != 930 || w.Available != 910 || w.Spent != 20 {
		t.Errorf("wallet %+v", w)
	}
	for _, e := range f.entries(t)[:2] {
		if e.TransactionID != got.ID || e.Reason != "it failed" || e.Actor != got.Actor || e.IdempotencyKey != "r-1" || e.RefundedEntry != spent.ID {
			t.Errorf("entry %+v of %+v", e, got)
		}
	}
	f.metric(t, `tollgate_credits_moved_total{kind="adjustment"} 70`, `tollgate_credits_moved_total{kind="refund"} 10`)

	f.conflict(t, "POST", "/v1/accounts/{account}/credits/adjust", `{"amount":-911,"reason":"r"}`, "insufficient_credits")
	f.conflict(t, "POST", "/v1/accounts/{account}/credits/adjust", `{"amount":9007199254740991,"reason":"r"}`, "balance_limit")
	f.conflict(t, "POST", "/v1/accounts/{account}/credits/refund", `{"amount":21,"reason":"r"}`, "insufficient_credits")
	f.conflict(t, "POST", "/v1/accounts/{account}/credits/refund", fmt.Sprintf(`{"amount":21,"reason":"r","entry_id":"%s"}`, spent.ID), "insufficient_credits")
	for _, tt := range []struct{ path, body, location string }{
		{"adjust", `{"amount":0,"reason":"r"}`, "body.amount"}, {"adjust", `{"amount":-9007199254740992,"reason":"r"}`, "body.amount"},
		{"adjust", `{"amount":9007199254740992,"reason":"r"}`, "body.amount"}, {"adjust", `{"amount":1}`, "body.reason"},
		{"adjust", `{"amount":1,"reason":""}`, "body.reason"}, {"adjust", `{"reason":"r"}`, "body.amount"},
		{"refund", `{"amount":0,"reason":"r"}`, "body.amount"}, {"refund", `{"amount":-1,"reason":"r"}`, "body.amount"},
		{"refund", `{"amount":1}`, "body.reason"}, {"refund", `{"amount":1,"reason":"r","entry_id":""}`, "body.entry_id"},
		{"refund", `{"amount":1,"reason":"r","entry_id":"` + canary + `"}`, "body.entry_id"},
		{"refund", `{"amount":1,"reason":"r","entry_id":"` + f.entries(t)[0].ID + `"}`, "body.entry_id"},
		{"refund", `{"amount":1,"reason":"r","entry_id":null}`, "body.entry_id"},
	} {
		f.refuses(t, request{"POST", f.fill("/v1/accounts/{account}/credits/") + tt.path, tt.body, nil}, 422, tt.location)
	}
	f.Verify(t)
}

// A gate holds a lease of an account that is closed: it hears of it, what it has used is paid, and nothing is left.
func TestCloseAccount(t *testing.T) {
	f := newPairFixture(t)
	lease := f.lease(t, "b1", "1", f.key.Secret, 1, 100)
	f.conflict(t, "POST", "/v1/accounts/{account}/close", `{"balance":"refuse","reason":"over"}`, "balance_left")
	r := request{"POST", f.fill("/v1/accounts/{account}/close"), `{"balance":"write_off","reason":"over"}`, keyed("c")}
	first, again := send(t, f.ControlPlane, r), send(t, f.ControlPlane, r)
	type closed struct {
		Status      string
		ClosedAt    *time.Time `json:"closed_at"`
		CloseReason string     `json:"close_reason"`
	}
	got := decode[closed](t, first, 200)
	if got.Status != "closed" || got.ClosedAt == nil || !got.ClosedAt.Equal(f.Clock.Now()) || got.CloseReason != "over" {
		t.Errorf("closed %s", first.body)
	}
	if again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again %s, want %s", again.body, first.body)
	}
	if read := f.do(t, "GET", "/v1/accounts/{account}", ""); read.body != first.body {
		t.Errorf("read %s, want %s", read.body, first.body)
	}
	f.expect(t, "closed", "account_not_active", "genrex", f.key.Secret)
	f.expect(t, "closed", "account_not_active", "vexrail", f.pair.Publishable, f.pair.Secret)
	reply := f.sync(t, fmt.Sprintf(`{"gate":"edge-1","boot":"b1","leases":[{"lease":"%s","used":30,"final":true}],"cursor":%d}`, lease.Lease.ID, lease.Cursor))
	if len(reply.Changes) != 1 || reply.Changes[0].Kind != "account" || reply.Changes[0].ID != f.account {
		t.Errorf("told %+v", reply)
	}
	if w := f.MustWallet(t, f.account); w.Granted != 30 || w.Spent != 30 || w.Available != 0 || w.Reserved != 0 || w.WrittenOff != 0 {
		t.Errorf("wallet %+v", w)
	}
	for _, tt := range []struct{ method, path, body string }{
		{"PATCH", "/v1/accounts/{account}", `{"status":"active"}`}, {"PATCH", "/v1/accounts/{account}", `{"name":"n"}`},
		{"POST", "/v1/accounts/{account}/close", `{"balance":"write_off","reason":"r"}`},
		{"POST", "/v1/accounts/{account}/credits", `{"amount":1}`},
		{"POST", "/v1/accounts/{account}/credits/adjust", `{"amount":1,"reason":"r"}`},
		{"POST", "/v1/accounts/{account}/credits/refund", `{"amount":1,"reason":"r"}`},
		{"POST", "/v1/projects", `{"account_id":"{account}","name":"n","domain":"b.example"}`},
		{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"genrex","name":"n"}`},
		{"POST", "/v1/keys", `{"project_id":"{project}","scheme":"vexrail","name":"n"}`},
		{"PATCH", "/v1/projects/{project}", `{"name":"n"}`}, {"POST", "/v1/projects/{project}/domain/attest", `{"reason":"r"}`},
		{"POST", "/v1/projects/{project}/domain", `{"method":"dns"}`}, {"PATCH", "/v1/projects/{project}", `{"domain":"b.example"}`},
		{"PATCH", "/v1/keys/{key}", `{"name":"n"}`}, {"POST", "/v1/tokens", `{"name":"n","role":"account","account_id":"{account}"}`},
		{"POST", "/v1/keys/{key}/rotate", `{}`}, {"POST", "/v1/keys/{pair}/replace", `{}`},
	} {
		f.conflict(t, tt.method, tt.path, tt.body, "account_closed")
	}
	for body, location := range map[string]string{
		`{"balance":"keep","reason":"r"}`: "body.balance", `{"reason":"r"}`: "body.balance", `{"balance":"refuse"}`: "body.reason",
		`{"balance":"refuse","reason":""}`: "body.reason",
	} {
		f.refuses(t, request{"POST", f.fill("/v1/accounts/{account}/close"), body, nil}, 422, location)
	}
	f.Verify(t)
}
