package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
)

func TestAdminAuthorization(t *testing.T) {
	cp := controlplanetest.New(t)
	const plain, invalid = `Bearer realm="tollgate"`, `Bearer realm="tollgate", error="invalid_token"`
	good := "Bearer " + cp.AdminToken
	for _, tt := range []struct {
		name          string
		authorization []string
		status        int
		challenge     string
	}{
		{"good", []string{good}, 200, ""},
		{"scheme in lower case", []string{"bearer " + cp.AdminToken}, 200, ""},
		{"missing", nil, 401, plain},
		{"empty", []string{""}, 401, plain},
		{"scheme alone", []string{"Bearer"}, 401, plain},
		{"scheme and blank", []string{"Bearer "}, 401, plain},
		{"basic", []string{"Basic YTpi"}, 401, plain},
		{"token alone", []string{cp.AdminToken}, 401, plain},
		{"unknown", []string{"Bearer tg_owner_" + strings.Repeat("A", 43)}, 401, invalid},
		{"cut off", []string{good[:len(good)-1]}, 401, invalid},
		{"with a tail", []string{good + " x"}, 401, invalid},
		{"two blanks", []string{"Bearer  " + cp.AdminToken}, 401, invalid},
		{"in another case", []string{"Bearer " + strings.ToUpper(cp.AdminToken)}, 401, invalid},
		{"very long", []string{"Bearer " + strings.Repeat("a", 10000)}, 401, invalid},
		{"bytes", []string{"Bearer \x80\xff"}, 401, invalid},
		{"twice", []string{good, good}, 400, ""},
		{"good and bad", []string{good, "Bearer x"}, 400, ""},
		{"gate", []string{"Bearer " + cp.GateToken}, 403, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := send(t, cp, request{"GET", "/v1/accounts", "", http.Header{"Authorization": tt.authorization}})
			if a.status != tt.status || a.header.Get("WWW-Authenticate") != tt.challenge {
				t.Errorf("got %d %q, want %d %q: %s", a.status, a.header.Get("WWW-Authenticate"), tt.status, tt.challenge, a.body)
			}
		})
	}
}

// Who may not write learns that before the body is read.
func TestAuthorizationComesBeforeTheBody(t *testing.T) {
	cp := controlplanetest.New(t)
	a := send(t, cp, request{"POST", "/v1/accounts", "{", http.Header{"Authorization": {"Bearer " + cp.MustToken(t, "viewer")}}})
	if a.status != http.StatusForbidden {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestRequestID(t *testing.T) {
	cp := controlplanetest.New(t)
	for _, tt := range []struct {
		name string
		sent []string
		kept bool
	}{
		{"own", []string{"Az09._-"}, true},
		{"64 characters", []string{strings.Repeat("a", 64)}, true},
		{"65 characters", []string{strings.Repeat("a", 65)}, false},
		{"empty", []string{""}, false},
		{"blank", []string{"a b"}, false},
		{"log injection", []string{`a" level=ERROR`}, false},
		{"beyond ASCII", []string{"é"}, false},
		{"two", []string{"a", "b"}, false},
		{"none", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := map[string]bool{}
			for range 2 {
				got := send(t, cp, request{"GET", "/v1/none", "", http.Header{"X-Request-Id": tt.sent}}).header.Values("X-Request-Id")
				if len(got) != 1 || tt.kept && got[0] != tt.sent[0] {
					t.Fatalf("got %q", got)
				}
				seen[got[0]] = true
			}
			if !tt.kept && len(seen) != 2 {
				t.Errorf("two requests share the id %v", seen)
			}
		})
	}
}

func TestOpsPages(t *testing.T) {
	cp := controlplanetest.New(t)
	send(t, cp, request{"GET", "/v1/accounts", "", nil})
	for _, tt := range []struct {
		path   string
		status int
		body   string
	}{
		{"/healthz", 200, "ok"},
		{"/readyz", 200, "ready"},
		{"/metrics", 200, `tollgate_http_requests_total{listener="admin",status="200"} 1`},
		{"/metrics", 200, `tollgate_http_request_duration_seconds_count{listener="admin"} 1`},
		{"/v1/accounts", 404, "not_found"},
	} {
		a := exchange(t, newRequest(t, cp.OpsURL, request{method: "GET", path: tt.path}))
		if a.status != tt.status || !strings.Contains(a.body, tt.body) {
			t.Errorf("GET %s: got %d %s, want %d %s", tt.path, a.status, a.body, tt.status, tt.body)
		}
	}
}
