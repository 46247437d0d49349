package server_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type balanceSet struct {
	Available, Reserved, Spent, Funding int64
	WrittenOff                          int64 `json:"written_off"`
}

func (b balanceSet) plus(d balanceSet) balanceSet {
	return balanceSet{b.Available + d.Available, b.Reserved + d.Reserved, b.Spent + d.Spent, b.Funding + d.Funding, b.WrittenOff + d.WrittenOff}
}

type movement struct {
	TransactionID    string `json:"transaction_id"`
	Kind             string
	Deltas, Balances balanceSet
	Reason, Actor    string
	IdempotencyKey   string    `json:"idempotency_key"`
	OpID             string    `json:"op_id"`
	CreatedAt        time.Time `json:"created_at"`
}

type statement struct {
	AccountID        string `json:"account_id"`
	From, To         *time.Time
	Closing, Opening balanceSet
	Data             []movement
	HasMore          bool    `json:"has_more"`
	NextCursor       *string `json:"next_cursor"`
}

func (f *fixture) statement(t *testing.T, query string) statement {
	t.Helper()
	return decode[statement](t, f.do(t, "GET", "/v1/accounts/{account}/statement"+query, ""), 200)
}

// csv returns the rows of a statement as CSV.
func (f *fixture) csv(t *testing.T, query string, header http.Header) [][]string {
	t.Helper()
	a := send(t, f.ControlPlane, request{"GET", f.fill("/v1/accounts/{account}/statement") + query, "", header})
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/csv;") || !strings.Contains(a.header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// moveAbout has a day of movements: the second half of it is the period that is returned.
func moveAbout(t *testing.T, f *fixture) (period string, opening, closing balanceSet) {
	t.Helper()
	balances := func() balanceSet {
		w := f.MustWallet(t, f.account)
		return balanceSet{w.Available, w.Reserved, w.Spent, -w.Granted, w.WrittenOff}
	}
	half := func(n int) {
		acquireOK(t, f, gateMessage(f.key.Secret, fmt.Sprintf("op-%d", n), 30))
		f.Clock.Advance(time.Minute)
		send(t, f.ControlPlane, request{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":50,"reason":"=HYPERLINK(\"http://x\",\"pay, now\")"}`, keyed(fmt.Sprintf("+k%d", n))})
		send(t, f.ControlPlane, request{"POST", f.fill("/v1/accounts/{account}/credits/refund"), `{"amount":10,"reason":" @it failed"}`, keyed(fmt.Sprintf("r%d", n))})
		f.lease(t, "b1", fmt.Sprintf("lease-%d", n), f.key.Secret, 1, 20)
		f.Clock.Advance(time.Minute)
	}
	half(1)
	opening = balances()
	from := f.Clock.Now()
	half(2)
	f.Clock.Advance(time.Second)
	closing, to := balances(), f.Clock.Now()
	half(3)
	return "?from=" + url.QueryEscape(from.Format(time.RFC3339)) + "&to=" + url.QueryEscape(to.Format(time.RFC3339)), opening, closing
}

func TestStatement(t *testing.T) {
	f := newFixture(t)
	period, opening, closing := moveAbout(t, f)
	whole := f.statement(t, period)
	if whole.Opening != opening || whole.Closing != closing || whole.HasMore || len(whole.Data) != 4 || whole.AccountID != f.account {
		t.Fatalf("got %+v, want from %+v to %+v", whole, opening, closing)
	}
	var paged []movement
	var last statement
	for cursor := ""; ; {
		last = f.statement(t, period+"&limit=1"+cursor)
		balance := last.Opening
		for _, m := range last.Data {
			balance = balance.plus(m.Deltas)
		}
		if balance != last.Closing {
			t.Errorf("%+v does not add up", last)
		}
		if paged = append(paged, last.Data...); !last.HasMore {
			break
		}
		f.MustCredits(t, f.account, 1)
		cursor = "&cursor=" + *last.NextCursor
	}
	if diff := cmp.Diff(whole.Data, paged); diff != "" || last.Opening != opening {
		t.Errorf("pages end at %+v (-whole +pages):\n%s", last.Opening, diff)
	}
	kinds := []string{"reserve", "refund", "top_up", "debit"}
	for i, m := range whole.Data {
		people := m.Kind == "refund" || m.Kind == "top_up"
		if m.Kind != kinds[i] || people != (m.IdempotencyKey != "" && m.Reason != "" && strings.HasPrefix(m.Actor, "token_")) || people == (m.OpID != "") {
			t.Errorf("movement %+v, want a %s", m, kinds[i])
		}
	}
	all := f.statement(t, "?limit=100")
	w := f.MustWallet(t, f.account)
	if all.Opening != (balanceSet{}) || all.Closing != (balanceSet{w.Available, w.Reserved, w.Spent, -w.Granted, w.WrittenOff}) || all.From != nil || all.To != nil {
		t.Errorf("whole statement %+v of %+v", all, w)
	}
}

func TestStatementAsCSV(t *testing.T) {
	f := newFixture(t)
	period, opening, closing := moveAbout(t, f)
	rows := f.csv(t, period+"&format=csv", nil)
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	number := func(row []string, name string) int64 {
		n, err := strconv.ParseInt(row[column[name]], 10, 64)
		if err != nil {
			t.Fatalf("%s of %v: %v", name, row, err)
		}
		return n
	}
	read := func(row []string, suffix string) balanceSet {
		return balanceSet{
			number(row, "available"+suffix), number(row, "reserved"+suffix), number(row, "spent"+suffix), number(row, "funding"+suffix),
			number(row, "written_off"+suffix),
		}
	}
	first, last := rows[1], rows[len(rows)-1]
	if first[column["kind"]] != "closing" || read(first, "") != closing || last[column["kind"]] != "opening" || read(last, "") != opening || len(rows) != 7 {
		t.Fatalf("%q, want %+v to %+v", rows, opening, closing)
	}
	balance := opening
	for i := len(rows) - 2; i > 1; i-- {
		if balance = balance.plus(read(rows[i], "_delta")); read(rows[i], "") != balance {
			t.Errorf("%q, want balances %+v", rows[i], balance)
		}
		for j, cell := range rows[i] {
			if strings.ContainsRune("=+@", rune((cell + "x")[0])) || strings.HasPrefix(cell, "-") && j < column["available_delta"] {
				t.Errorf("a spreadsheet would compute %q", cell)
			}
		}
	}
	if balance != closing {
		t.Errorf("adds up to %+v, want %+v", balance, closing)
	}
	if top := rows[4]; top[column["reason"]] != `'=HYPERLINK("http://x","pay, now")` || top[column["idempotency_key"]] != "'+k2" || top[column["actor"]] == "" {
		t.Errorf("top-up %q", top)
	}
	if refund := rows[3]; refund[column["reason"]] != "' @it failed" {
		t.Errorf("refund %q", refund)
	}
	if got := f.csv(t, period, http.Header{"Accept": {"text/csv, text/plain;q=0.5"}}); !cmp.Equal(got, rows) {
		t.Errorf("by Accept: %q", got)
	}
	for _, r := range []request{
		{"GET", f.fill("/v1/accounts/{account}/statement"), "", http.Header{"Accept": {"application/json, text/csv"}}},
		{"GET", f.fill("/v1/accounts/{account}/statement?format=json"), "", http.Header{"Accept": {"text/csv"}}},
	} {
		decode[statement](t, send(t, f.ControlPlane, r), 200)
	}
}

// A statement longer than what is in memory at a time is whole.
func TestLongStatementAsCSV(t *testing.T) {
	f := newFixture(t)
	const acquires = 1100
	for i := range acquires {
		acquireOK(t, f, gateMessage(f.key.Secret, fmt.Sprintf("op-%d", i), 1))
		if i == acquires/2 {
			f.MustCredits(t, f.account, 1000)
		}
	}
	rows := f.csv(t, "?format=csv", nil)
	w := f.MustWallet(t, f.account)
	if want := acquires + 2 + 3; len(rows) != want || rows[1][15] != strconv.FormatInt(w.Available, 10) || rows[len(rows)-1][15] != "0" {
		t.Errorf("%d rows, want %d, closing %q and opening %q of %+v", len(rows), want, rows[1], rows[len(rows)-1], w)
	}
	seen := map[string]bool{}
	for _, row := range rows[2 : len(rows)-1] {
		if seen[row[1]] {
			t.Fatalf("%s is there twice", row[1])
		}
		seen[row[1]] = true
	}
}

func TestBadStatements(t *testing.T) {
	f := newFixture(t)
	other := f.MustAccount(t, "active", 5)
	f.MustCredits(t, other, 5)
	f.MustCredits(t, f.account, 5)
	foreign := *decode[statement](t, send(t, f.ControlPlane, request{"GET", "/v1/accounts/" + other + "/statement?limit=1", "", nil}), 200).NextCursor
	own := *f.statement(t, "?limit=1").NextCursor
	for query, location := range map[string]string{
		"cursor=" + foreign: "query.cursor", "cursor=" + own + "&format=csv": "query.cursor", "cursor=" + own[:len(own)-4]: "query.cursor",
		"cursor=AAAA": "query.cursor", "format=xml": "query.format", "from=yesterday": "query.from", "limit=101": "query.limit",
		"from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": "query.to",
	} {
		f.refuses(t, request{"GET", f.fill("/v1/accounts/{account}/statement?" + query), "", nil}, 422, location)
	}
	for _, query := range []string{"", "?format=csv"} {
		a := send(t, f.ControlPlane, request{"GET", "/v1/accounts/acct_none/statement" + query, "", nil})
		if p := wholeProblem(t, a); a.status != 404 || p.Code != "not_found" {
			t.Errorf("of nobody: %d %s", a.status, a.body)
		}
	}
}
