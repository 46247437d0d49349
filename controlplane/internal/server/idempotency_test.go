package server_test

import (
	"net/http"
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

// Many clients that send one request at once get one effect, and one of them the secret.
func TestIdempotencyUnderRace(t *testing.T) {
	f := newFixture(t)
	const clients = 16
	race := func(r request) []answer {
		answers := make([]answer, clients)
		var wg sync.WaitGroup
		for i := range answers {
			req := newRequest(t, f.AdminURL, r)
			req.Header.Set("Authorization", "Bearer "+f.AdminToken)
			wg.Go(func() { answers[i] = exchange(t, req) })
		}
		wg.Wait()
		return answers
	}
	credits := race(request{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":7}`, keyed("c")})
	for _, a := range credits {
		if a.status != 201 || a.body != credits[0].body {
			t.Errorf("got %d %s, want 201 %s", a.status, a.body, credits[0].body)
		}
	}
	if w := f.MustWallet(t, f.account); w.Granted != 1007 {
		t.Errorf("granted %d, want 1007", w.Granted)
	}
	for _, tt := range []struct {
		request
		status int
	}{
		{request{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"genrex","name":"n"}`, keyed("k")}, 201},
		{request{"POST", "/v1/keys/{key}/rotate", `{}`, keyed("r")}, 200},
		{request{"POST", "/v1/keys/{key}/replace", `{}`, keyed("p")}, 201},
	} {
		tt.path, tt.body = f.fill(tt.path), f.fill(tt.body)
		secrets, ids := 0, map[string]bool{}
		for _, a := range race(tt.request) {
			k := decode[key](t, a, tt.status)
			ids[k.ID] = true
			if k.Secret != nil {
				secrets++
			}
		}
		if secrets != 1 || len(ids) != 1 {
			t.Errorf("%s: %d secrets and %d ids, want one of each", tt.path, secrets, len(ids))
		}
	}
}
