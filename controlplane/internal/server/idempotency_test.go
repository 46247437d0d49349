package server_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func keyed(k string) http.Header { return http.Header{"Idempotency-Key": {k}} }

func TestCreditsAreReplayed(t *testing.T) {
	f := newFixture(t)
	path := f.fill("/v1/accounts/{account}/credits")
	first := send(t, f.ControlPlane, request{"POST", path, `{"amount":7,"reason":"r"}`, keyed("k1")})
	f.MustCredits(t, f.account, 1)
	again := send(t, f.ControlPlane, request{"POST", path, ` { "reason" : "\u0072", "amount":7}`, keyed("k1")})
	if first.status != 201 || again.status != 201 || first.body != again.body {
		t.Errorf("first %d %s\nagain %d %s", first.status, first.body, again.status, again.body)
	}
	if first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("Idempotency-Replayed: first %q, again %q", first.header.Get("Idempotency-Replayed"), again.header.Get("Idempotency-Replayed"))
	}
	if w := f.MustWallet(t, f.account); w.Granted != 1008 {
		t.Errorf("granted %d, want 1008", w.Granted)
	}
}

func TestIdempotencyKeyIsBoundToItsRequest(t *testing.T) {
	f := newFixture(t)
	other := f.MustAccount(t, "active", 0)
	send(t, f.ControlPlane, request{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":7}`, keyed("k")})
	for _, r := range []request{
		{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":8}`, keyed("k")},
		{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":7,"reason":"x"}`, keyed("k")},
		{"POST", "/v1/accounts/" + other + "/credits", `{"amount":7}`, keyed("k")},
		{"POST", "/v1/keys", f.fill(`{"account_id":"{account}","scheme":"genrex","name":"n"}`), keyed("k")},
	} {
		before := f.state(t)
		a := send(t, f.ControlPlane, r)
		if p := wholeProblem(t, a); a.status != 422 || p.Code != "idempotency_key_reused" {
			t.Errorf("%s %s: got %d %s", r.path, r.body, a.status, a.body)
		}
		if f.state(t) != before {
			t.Errorf("%s %s: something changed", r.path, r.body)
		}
	}
	// The key belongs to its caller: another one's is another key.
	h := keyed("k")
	h.Set("Authorization", "Bearer "+f.MustToken(t, "operator"))
	if a := send(t, f.ControlPlane, request{"POST", "/v1/accounts/" + other + "/credits", `{"amount":9}`, h}); a.status != 201 {
		t.Errorf("another caller: got %d %s", a.status, a.body)
	}
}

func TestKeyCreationIsReplayedWithoutItsSecret(t *testing.T) {
	f := newFixture(t)
	r := request{"POST", "/v1/keys", f.fill(`{"account_id":"{account}","scheme":"genrex","name":"n"}`), keyed("k")}
	first := decode[key](t, send(t, f.ControlPlane, r), 201)
	a := send(t, f.ControlPlane, r)
	again := decode[key](t, a, 201)
	if first.Secret == nil || again.Secret != nil || !strings.Contains(a.body, `"secret":null`) {
		t.Error("want the secret in the first reply and null in the second")
	}
	if again.ID != first.ID || again.Last4 != first.Last4 || a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("replayed as %s %s, want %s %s", again.ID, again.Last4, first.ID, first.Last4)
	}
}

// Many clients that send one request at once get one effect: one of them is answered by it, secret and all, and every other
// as by a repetition, or that it has to wait. Whoever asks again then is answered as by a repetition.
func TestIdempotencyUnderRace(t *testing.T) {
	f := newPairFixture(t)
	checked := 0
	for _, r := range routesOf(document(t, f.ControlPlane).doc) {
		if !r.takes("Idempotency-Key") {
			if r.operation.Responses.Status(http.StatusCreated) != nil && !repeatedFreely[r.path] {
				t.Errorf("%s %s makes something and does not take Idempotency-Key", r.method, r.path)
			}
			continue
		}
		for i, s := range samplesOf(t, r) {
			own := f.tenant(t)
			// So that there is something to refund.
			acquireOK(t, own, gateMessage(own.key.Secret, fmt.Sprintf("race-%d", checked), 10))
			f.raced(t, request{s.method, own.fill(s.path), own.fill(s.body), keyed(fmt.Sprintf("%s-%s-%d", r.method, r.operation.OperationID, i))})
			checked++
		}
	}
	if checked < 11 {
		t.Errorf("%d operations: the test has lost some", checked)
	}
}

// repeatedFreely are the operations that do what they are asked for as often as they are asked: a second challenge takes the
// place of the first, and a second backup is one more.
var repeatedFreely = map[string]bool{"/v1/projects/{id}/domain": true, "/v1/backups": true}

func (f *fixture) raced(t *testing.T, r request) {
	t.Helper()
	const clients = 12
	answers := make([]answer, clients)
	var wg sync.WaitGroup
	for i := range answers {
		req := newRequest(t, f.AdminURL, r)
		req.Header.Set("Authorization", "Bearer "+f.AdminToken)
		wg.Go(func() { answers[i] = exchange(t, req) })
	}
	wg.Wait()
	last := send(t, f.ControlPlane, r)
	if last.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s: after all got %d %s", r.path, last.status, last.body)
	}
	done := 0
	for _, a := range answers {
		switch {
		case a.status == http.StatusConflict && wholeProblem(t, a).Code == "idempotency_key_in_flight" && a.header.Get("Retry-After") != "":
		case a.status != last.status:
			t.Errorf("%s: got %d %s, want %d", r.path, a.status, a.body, last.status)
		case a.header.Get("Idempotency-Replayed") == "":
			if done++; hidden.ReplaceAllString(a.body, `"secret":null`) != last.body {
				t.Errorf("%s: done %s\nreplayed %s", r.path, a.body, last.body)
			}
		case a.body != last.body:
			t.Errorf("%s: replayed as %s and as %s", r.path, a.body, last.body)
		}
	}
	if done != 1 {
		t.Errorf("%s: done %d times", r.path, done)
	}
}

// hidden is what only the answer that made a secret shows.
var hidden = regexp.MustCompile(`"secret":"[^"]+"`)
