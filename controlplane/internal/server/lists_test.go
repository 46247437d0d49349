package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

type page struct {
	Data []struct {
		ID        string
		AccountID string `json:"account_id"`
	}
	HasMore    bool    `json:"has_more"`
	NextCursor *string `json:"next_cursor"`
}

// walk reads a list to its end in pages of limit and returns the ids.
func (f *fixture) walk(t *testing.T, path string, limit int, between func()) []string {
	t.Helper()
	var ids []string
	next := fmt.Sprintf("%s?limit=%d", path, limit)
	if strings.Contains(path, "?") {
		next = fmt.Sprintf("%s&limit=%d", path, limit)
	}
	for cursor := ""; ; {
		p := decode[page](t, send(t, f.ControlPlane, request{"GET", next + cursor, "", nil}), 200)
		for _, d := range p.Data {
			ids = append(ids, d.ID)
		}
		if p.HasMore != (p.NextCursor != nil) || p.HasMore && len(p.Data) != limit {
			t.Fatalf("has_more %v beside %d rows and cursor %v", p.HasMore, len(p.Data), p.NextCursor)
		}
		if !p.HasMore {
			return ids
		}
		between()
		cursor = "&cursor=" + *p.NextCursor
	}
}

// Pages cover what was there at the start, newest first, once each, while new rows arrive.
func TestListsPageThrough(t *testing.T) {
	f := newFixture(t)
	other := f.MustAccount(t, "pending", 0)
	f.MustKey(t, other)
	accounts, keys := []string{f.account, other}, []string{f.key.ID}
	for range 6 {
		accounts = append(accounts, f.MustAccount(t, "pending", 0))
		keys = append(keys, f.MustKey(t, f.account).ID)
	}
	slices.Reverse(accounts)
	slices.Reverse(keys)
	for _, limit := range []int{1, 3, 7, 8, 100} {
		want := f.walk(t, "/v1/accounts", 100, func() {})
		if got := f.walk(t, "/v1/accounts", limit, func() { f.MustAccount(t, "pending", 0) }); !slices.Equal(got, want) {
			t.Errorf("accounts by %d:\ngot  %v\nwant %v", limit, got, want)
		}
		if !slices.Equal(want[len(want)-len(accounts):], accounts) {
			t.Errorf("accounts:\ngot  %v\nwant %v last", want, accounts)
		}
		got := f.walk(t, f.fill("/v1/keys?account_id={account}"), limit, func() { f.MustKey(t, other) })
		if !slices.Equal(got, keys) {
			t.Errorf("keys by %d:\ngot  %v\nwant %v", limit, got, keys)
		}
	}
	if got := f.walk(t, "/v1/keys?account_id=acct_none", 10, nil); len(got) != 0 {
		t.Errorf("keys of no account: %v", got)
	}
}

func TestDefaultPageHolds20(t *testing.T) {
	f := newFixture(t)
	for range 20 {
		f.MustAccount(t, "pending", 0)
	}
	p := decode[page](t, send(t, f.ControlPlane, request{"GET", "/v1/accounts", "", nil}), 200)
	if len(p.Data) != 20 || !p.HasMore {
		t.Errorf("got %d rows, has_more %v; want 20 and more", len(p.Data), p.HasMore)
	}
}

func TestEmptyListIsAnArray(t *testing.T) {
	f := newFixture(t)
	a := send(t, f.ControlPlane, request{"GET", "/v1/keys?account_id=acct_none", "", nil})
	if want := `{"data":[],"has_more":false,"next_cursor":null}` + "\n"; a.body != want {
		t.Errorf("got %s, want %s", a.body, want)
	}
}

func TestCursorOfAnotherListIsRefused(t *testing.T) {
	f := newFixture(t)
	f.MustAccount(t, "pending", 0)
	p := decode[page](t, send(t, f.ControlPlane, request{"GET", "/v1/accounts?limit=1", "", nil}), 200)
	f.refuses(t, request{"GET", "/v1/keys?cursor=" + *p.NextCursor, "", nil}, 422, "query.cursor")
	f.refuses(t, request{"GET", f.fill("/v1/accounts/{account}/entries?cursor=") + *p.NextCursor, "", nil}, 422, "query.cursor")
	other := f.MustAccount(t, "active", 5)
	p = decode[page](t, send(t, f.ControlPlane, request{"GET", "/v1/accounts/" + other + "/entries?limit=1", "", nil}), 200)
	f.refuses(t, request{"GET", f.fill("/v1/accounts/{account}/entries?cursor=") + *p.NextCursor, "", nil}, 422, "query.cursor")
}

func TestEntriesTellWhoMovedWhat(t *testing.T) {
	f := newFixture(t)
	send(t, f.ControlPlane, request{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":5,"reason":"gift"}`, nil})
	acquireOK(t, f, gateMessage(f.key.Secret, "op-7", 3))
	type entry struct {
		TransactionID               string `json:"transaction_id"`
		Kind, Bucket, Reason, Actor string
		KeyID                       string `json:"key_id"`
		OpID                        string `json:"op_id"`
		Delta                       int64
	}
	got := decode[struct{ Data []entry }](t, send(t, f.ControlPlane, request{"GET", f.fill("/v1/accounts/{account}/entries"), "", nil}), 200).Data
	if len(got) != 6 {
		t.Fatalf("got %d entries, want two for each of two top-ups and a debit: %+v", len(got), got)
	}
	sums := map[string]int64{}
	for _, e := range got {
		sums[e.TransactionID] += e.Delta
		switch e.Kind {
		case "debit":
			if e.KeyID != f.key.ID || e.OpID != "b1-op-7" || e.Actor != "" {
				t.Errorf("debit %+v lacks its key and op_id", e)
			}
		case "top_up":
			if !strings.HasPrefix(e.Actor, "token_") || e.KeyID != "" {
				t.Errorf("top-up %+v lacks its actor", e)
			}
		}
	}
	if len(sums) != 3 {
		t.Errorf("%d transactions, want 3", len(sums))
	}
	for id, sum := range sums {
		if sum != 0 {
			t.Errorf("transaction %s sums to %d", id, sum)
		}
	}
	if w := f.MustWallet(t, f.account); w.Granted != 1005 || w.Available != 1002 || w.Spent != 3 || w.Reserved != 0 || w.WrittenOff != 0 {
		t.Errorf("wallet %+v", w)
	}
}

func TestCreditsAnswer(t *testing.T) {
	f := newFixture(t)
	type credit struct {
		ID, Reason        string
		AccountID         string `json:"account_id"`
		Amount, Available int64
		CreatedAt         time.Time `json:"created_at"`
	}
	a := send(t, f.ControlPlane, request{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":5,"reason":"gift"}`, nil})
	got := decode[credit](t, a, 201)
	want := credit{ID: got.ID, Reason: "gift", AccountID: f.account, Amount: 5, Available: 1005, CreatedAt: f.Clock.Now()}
	if got != want || !strings.HasPrefix(got.ID, "txn_") {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestBalanceLimit(t *testing.T) {
	f := newFixture(t)
	path := f.fill("/v1/accounts/{account}/credits")
	a := send(t, f.ControlPlane, request{"POST", path, `{"amount":9007199254740991}`, nil})
	if p := wholeProblem(t, a); a.status != 409 || p.Code != "balance_limit" {
		t.Errorf("above the limit: got %d %s", a.status, a.body)
	}
	a = send(t, f.ControlPlane, request{"POST", path, `{"amount":9007199254739991}`, nil})
	if a.status != 201 || !strings.Contains(a.body, `"available":9007199254740991,`) {
		t.Errorf("up to the limit: got %d %s", a.status, a.body)
	}
}
