package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
)

// What no handler of ours sees is refused by RFC 9457 too, on every listener.
func TestEveryListenerRefusesByProblems(t *testing.T) {
	f := newFixture(t)
	long := strings.Repeat("x", 5<<20)
	for _, tt := range []struct {
		root string
		request
		token  string
		status int
		code   string
	}{
		{f.AdminURL, request{"GET", "/nothing", "", nil}, "", 404, "not_found"},
		{f.AdminURL, request{"DELETE", "/docs", "", nil}, "", 405, "method_not_allowed"},
		{f.AdminURL, request{"GET", "/v1/accounts", "", nil}, "", 401, "unauthenticated"},
		{f.AdminURL, request{"POST", "/v1/accounts", long, nil}, f.AdminToken, 413, "body_too_large"},
		{f.AdminURL, request{"POST", "/v1/accounts", "a=b", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}, f.AdminToken, 415, "unsupported_media_type"},
		{f.GateURL, request{"GET", "/nothing", "", nil}, "", 404, "not_found"},
		{f.GateURL, request{"GET", api.AcquirePath, "", nil}, "", 405, "method_not_allowed"},
		{f.GateURL, request{"POST", api.AcquirePath, "{}", nil}, "", 401, "unauthenticated"},
		{f.GateURL, request{"POST", api.AcquirePath, "{}", nil}, f.AdminToken, 403, "forbidden"},
		{f.GateURL, request{"POST", api.AcquirePath, long, nil}, f.GateToken, 413, "body_too_large"},
		{f.GateURL, request{"POST", api.AcquirePath, "a", http.Header{"Content-Type": {"text/plain"}}}, f.GateToken, 415, "unsupported_media_type"},
		{f.GateURL, request{"POST", api.SyncPath, "{", nil}, f.GateToken, 400, "invalid_request"},
		{f.OpsURL, request{"GET", "/nothing", "", nil}, "", 404, "not_found"},
		{f.OpsURL, request{"POST", "/metrics", "", nil}, "", 405, "method_not_allowed"},
		{f.OpsURL, request{"DELETE", "/healthz", "", nil}, "", 405, "method_not_allowed"},
	} {
		req := newRequest(t, tt.root, tt.request)
		if tt.token != "" {
			req.Header.Set("Authorization", "Bearer "+tt.token)
		}
		a := exchange(t, req)
		if a.status != tt.status || wholeProblem(t, a).Code != tt.code || (a.status == 405) != (a.header.Get("Allow") != "") {
			t.Errorf("%s %s: got %d %v %s, want %d %s", tt.method, tt.path, a.status, a.header, a.body, tt.status, tt.code)
		}
	}
}
