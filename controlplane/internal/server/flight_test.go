package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// While a request under an idempotency key is being answered, the same one is told to wait, and another one that it is
// another one. Other callers and other keys do not notice.
func TestRequestsInFlight(t *testing.T) {
	s, st, _ := newServer(t)
	owner, err := IssueToken(t.Context(), st, store.NewToken{Name: "o", Role: store.RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(key, body string) (*httptest.ResponseRecorder, Problem) {
		r := httptest.NewRequest("POST", "/v1/accounts", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+owner.Reveal())
		r.Header.Set("Idempotency-Key", key)
		w := httptest.NewRecorder()
		s.Admin().ServeHTTP(w, r)
		var p Problem
		_ = json.Unmarshal(w.Body.Bytes(), &p)
		return w, p
	}
	in := &IdempotencyInput{Key: "k"}
	tokens, _, err := st.Tokens(t.Context(), store.TokenFilter{}, store.Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, first := s.flights.follow(context.WithValue(t.Context(), callerKey, tokens[0]))
	if _, err := in.idempotent(ctx, "POST /v1/accounts", createAccountBody{Name: "a", Status: "pending"}); err != nil {
		t.Fatal(err)
	}
	if w, p := ask("k", `{"name":"a"}`); w.Code != http.StatusConflict || p.Code != codeIdempotencyInFlight || w.Header().Get("Retry-After") != "1" {
		t.Errorf("the same: got %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w, p := ask("k", `{"name":"b"}`); w.Code != http.StatusUnprocessableEntity || p.Code != codeIdempotencyKeyReused {
		t.Errorf("another: got %d %s", w.Code, w.Body)
	}
	if w, _ := ask("other", `{"name":"a"}`); w.Code != http.StatusCreated {
		t.Errorf("another key: got %d %s", w.Code, w.Body)
	}
	first.end()
	if w, _ := ask("k", `{"name":"b"}`); w.Code != http.StatusCreated {
		t.Errorf("after a failure: got %d %s", w.Code, w.Body)
	}
	if len(s.flights.hashes) != 0 {
		t.Errorf("%d flights have not ended", len(s.flights.hashes))
	}
}
