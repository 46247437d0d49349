package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tollgate/tollgate/controlplane/api"
)

// listQueries are the queries by which lists are read under writes, beside none. They keep nothing out that a write changes.
var listQueries = map[string][]string{
	"/v1/keys":                    {"account_id={account}", "scheme=genrex", "name=shelf"},
	"/v1/projects":                {"account_id={account}"},
	"/v1/tokens":                  {"account_id={account}"},
	"/v1/audit":                   {"account_id={account}", "action=key.update"},
	"/v1/usage":                   {"group_by=conversation", "group_by=hour,key,conversation", "group_by=day,route,account,project,conversation"},
	"/v1/accounts/{id}/statement": {"from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z"},
}

// Whatever is inserted and changed while somebody pages through a list, nothing that was there at the start is missed, and
// nothing comes twice.
func TestListsUnderWrites(t *testing.T) {
	f := newPairFixture(t)
	shelf := f.stock(t)
	lists := 0
	for _, r := range routesOf(document(t, f.ControlPlane).doc) {
		if r.operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, "cursor") == nil {
			continue
		}
		lists++
		path := f.fill(strings.Replace(r.path, "{id}", "{account}", 1))
		for _, query := range append([]string{""}, listQueries[r.path]...) {
			for _, limit := range []int{1, 2, 3} {
				read := func(limit int, last string, between func()) []string {
					return f.rows(t, path+"?"+f.fill(query), limit, last, between)
				}
				start := read(12, "", nil)
				if len(start) < 2 && !(r.path == "/v1/usage" && query == "") {
					t.Errorf("%s?%s: %d rows are too few to page through", path, query, len(start))
				}
				stop := f.disturb(shelf)
				seen := map[string]int{}
				for _, row := range read(limit, start[len(start)-1], shelf.wait) {
					if seen[row]++; seen[row] > 1 {
						t.Errorf("%s?%s by %d: %s comes twice", path, query, limit, row)
					}
				}
				stop()
				for _, row := range start {
					if seen[row] == 0 {
						t.Errorf("%s?%s by %d: %s was there at the start and is missed", path, query, limit, row)
					}
				}
			}
		}
	}
	if lists < 8 {
		t.Errorf("%d lists: the test has lost some", lists)
	}
	if len(shelf.faults) > 0 || shelf.done < 300 {
		t.Errorf("%d writes, of which were refused: %q", shelf.done, shelf.faults)
	}
}

// rows reads a list up to this last row, or a page without one, and returns what tells each row from the others: its id, or
// what it is summed by.
func (f *fixture) rows(t *testing.T, path string, limit int, last string, between func()) []string {
	t.Helper()
	var rows []string
	for cursor := ""; ; {
		p := decode[struct {
			Data       []map[string]any
			HasMore    bool    `json:"has_more"`
			NextCursor *string `json:"next_cursor"`
		}](t, send(t, f.ControlPlane, request{"GET", fmt.Sprintf("%s&limit=%d%s", path, limit, cursor), "", nil}), 200)
		for _, row := range p.Data {
			id, ok := row["id"].(string)
			if !ok {
				id, ok = row["transaction_id"].(string)
			}
			if !ok {
				delete(row, "requests")
				delete(row, "credits")
				delete(row, "refused")
				by, _ := json.Marshal(row)
				id = string(by)
			}
			rows = append(rows, id)
		}
		if len(rows) > 500 {
			t.Fatalf("%s by %d has no end: %q", path, limit, rows[480:])
		}
		if !p.HasMore || last == "" || slices.Contains(rows, last) {
			return rows
		}
		between()
		cursor = "&cursor=" + url.QueryEscape(*p.NextCursor)
	}
}

// shelf is what is changed while lists are read.
type shelf struct {
	accounts, keys, projects, tokens []string
	ticks                            chan struct{}
	// seq numbers reports and operations.
	seq, done int
	faults    []string
}

// wait returns once more has been written.
func (s *shelf) wait() { <-s.ticks }

// stock fills every list.
func (f *fixture) stock(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{ticks: make(chan struct{})}
	id := func(a answer) string { return decode[struct{ ID string }](t, a, 201).ID }
	for i := range 6 {
		s.accounts = append(s.accounts, id(f.do(t, "POST", "/v1/accounts", `{"name":"a"}`)))
		s.keys = append(s.keys, id(f.do(t, "POST", "/v1/keys", `{"account_id":"{account}","scheme":"genrex","name":"shelf"}`)))
		s.projects = append(s.projects, f.MustProject(t, f.account, "verified"))
		s.tokens = append(s.tokens, id(f.do(t, "POST", "/v1/tokens", `{"name":"t","role":"account","account_id":"{account}"}`)))
		f.do(t, "PATCH", "/v1/keys/"+s.keys[i], fmt.Sprintf(`{"environment":"staging","name":"shelf %d"}`, i))
		f.MustCredits(t, f.account, 10)
		s.seq++
		f.sync(t, f.report(s.seq, fmt.Sprint("c", i)))
		if i == 3 {
			f.Clock.Advance(time.Hour)
		}
	}
	return s
}

// report is a gate's report of one conversation, which is there already or new.
func (f *fixture) report(seq int, conversation string) string {
	return f.fill(fmt.Sprintf(`{"gate":"edge-1","boot":"b1","usage":{"seq":%d,"rows":[
		{"key":"{pair}","route":"/v1/chat","conversation":"%s","requests":3,"credits":2},
		{"key":"{key}","route":"/v1/chat","conversation":"%s","requests":1,"credits":1}]}}`, seq, conversation, conversation))
}

// disturb writes, two changes to each page that is read, until the function that it returns is called. The changes are of
// every kind: rows are inserted into each list, and those that are there are renamed, revoked, attested and moved by.
func (f *fixture) disturb(s *shelf) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			for range 2 {
				f.write(s)
			}
			select {
			case s.ticks <- struct{}{}:
			case <-end:
				return
			}
		}
	})
	return func() { close(end); wg.Wait() }
}

func (f *fixture) write(s *shelf) {
	s.done++
	s.seq++
	n := s.done / 12
	of := func(ids []string) string { return ids[n%len(ids)] }
	changes := []request{
		{"POST", "/v1/accounts", `{"name":"new"}`, nil},
		{"PATCH", "/v1/accounts/" + of(s.accounts), fmt.Sprintf(`{"name":"n%d"}`, n), nil},
		{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"genrex","name":"shelf, new"}`, nil},
		{"PATCH", "/v1/keys/" + of(s.keys[1:]), fmt.Sprintf(`{"name":"shelf %d"}`, n), nil},
		{"POST", "/v1/keys/" + s.keys[0] + "/revoke", `{}`, nil},
		{"POST", "/v1/projects", `{"account_id":"{account}","name":"p","domain":"a.example.com"}`, nil},
		{"POST", "/v1/projects/" + of(s.projects) + "/domain/attest", `{"reason":"r"}`, nil},
		{"POST", "/v1/tokens", `{"name":"t","role":"account","account_id":"{account}"}`, nil},
		{"POST", "/v1/tokens/" + of(s.tokens) + "/revoke", `{}`, nil},
		{"POST", "/v1/accounts/{account}/credits", `{"amount":3}`, nil},
		{"POST", api.AcquirePath, gateMessage(f.key.Secret, fmt.Sprint("w", s.seq), 1), nil},
		{"POST", api.SyncPath, f.report(s.seq, fmt.Sprint("c", []int{n, -n}[n%2])), nil},
	}
	change := changes[s.done%len(changes)]
	root, token := f.AdminURL, f.AdminToken
	if change.path == api.AcquirePath || change.path == api.SyncPath {
		root, token = f.GateURL, f.GateToken
	}
	req, err := http.NewRequest(change.method, root+f.fill(change.path), strings.NewReader(f.fill(change.body)))
	if err != nil {
		s.faults = append(s.faults, err.Error())
		return
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.faults = append(s.faults, err.Error())
		return
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode/100 != 2 && !slices.Contains(s.faults, string(body)) {
		s.faults = append(s.faults, string(body))
	}
}
