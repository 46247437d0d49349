package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
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

// Whoever fails too often is told when to come back, on both listeners together. A valid token works from the same address
// all the while, and one that is not allowed to do something has not failed.
func TestFailedAuthenticationIsHeldUp(t *testing.T) {
	f := newFixture(t)
	bad := http.Header{"Authorization": {"Bearer tg_owner_" + strings.Repeat("A", 43)}}
	none := http.Header{"Authorization": nil}
	at := func(root string, method, path string, header http.Header) answer {
		return exchange(t, newRequest(t, root, request{method, path, "", header}))
	}
	for i := range 30 {
		if a := send(t, f.ControlPlane, request{"GET", "/v1/accounts", "", []http.Header{bad, none}[i%2]}); a.status != http.StatusUnauthorized {
			t.Fatalf("failure %d: %d %s", i+1, a.status, a.body)
		}
	}
	for range 2 {
		for name, a := range map[string]answer{
			"unknown token":    send(t, f.ControlPlane, request{"GET", "/v1/accounts", "", bad}),
			"no token":         send(t, f.ControlPlane, request{"GET", "/v1/accounts", "", none}),
			"unknown to gates": at(f.GateURL, "POST", api.SyncPath, bad),
		} {
			if p := wholeProblem(t, a); a.status != http.StatusTooManyRequests || p.Code != "rate_limited" || a.header.Get("Retry-After") != "2" {
				t.Errorf("%s: got %d %v %s", name, a.status, a.header, a.body)
			}
		}
		if a := f.do(t, "GET", "/v1/accounts", ""); a.status != http.StatusOK {
			t.Errorf("a valid token: %d %s", a.status, a.body)
		}
		if status := f.knock(t, f.GateToken); status != http.StatusOK {
			t.Errorf("a valid gate token: %d", status)
		}
		if a := f.as(t, f.GateToken, "GET", "/v1/accounts", ""); a.status != http.StatusForbidden {
			t.Errorf("a gate token at the admin listener: %d %s", a.status, a.body)
		}
	}
	f.Clock.Advance(1500 * time.Millisecond)
	if a := send(t, f.ControlPlane, request{"GET", "/v1/accounts", "", bad}); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "1" {
		t.Errorf("too early: %d %v", a.status, a.header)
	}
	f.Clock.Advance(500 * time.Millisecond)
	if a := send(t, f.ControlPlane, request{"GET", "/v1/accounts", "", bad}); a.status != http.StatusUnauthorized {
		t.Errorf("in time: %d %s", a.status, a.body)
	}
	// What a client claims about its address makes it no other.
	liar := bad.Clone()
	liar.Set("X-Forwarded-For", "192.0.2.7")
	if a := send(t, f.ControlPlane, request{"GET", "/v1/accounts", "", liar}); a.status != http.StatusTooManyRequests {
		t.Errorf("with X-Forwarded-For: %d", a.status)
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

// However long a connection may rest, nobody keeps one by being refused.
func TestStrangersKeepNoConnection(t *testing.T) {
	f := newFixture(t)
	stays := func(root, path, token string) bool {
		req := newRequest(t, root, request{"GET", path, "", http.Header{"Authorization": {token}}})
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return !resp.Close
	}
	for _, root := range []string{f.AdminURL, f.GateURL} {
		for _, path := range []string{"/v1/accounts", "/nowhere", "/gate/v1/sync"} {
			if stays(root, path, "Bearer none") {
				t.Errorf("%s at %s: the connection stays open", path, root)
			}
		}
	}
	if !stays(f.AdminURL, "/v1/accounts", "Bearer "+f.AdminToken) || !stays(f.AdminURL, "/v1/accounts/none", "Bearer "+f.AdminToken) {
		t.Error("the connection of somebody with a token is closed")
	}
}
