//go:build !wasip1

package main

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/testenv"
)

func TestCreditsHeader(t *testing.T) {
	t.Parallel()
	for remaining, changes := range map[string][]string{"": nil, "7": {`"schemes"`, `"credits_header": true, "schemes"`}} {
		g := newGate(t, testenv.Options{}, nil, changes...)
		want, refused := passed, unauthenticated
		want.Headers = map[string]string{"x-credits-remaining": remaining}
		g.Check(t, document(bearer(g.key.Secret)), want)
		refused.Headers = map[string]string{"x-credits-remaining": ""}
		g.Check(t, document(), refused)
	}
}

// No key and no identity header goes upstream in trailers either.
func TestTrailers(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newGate(t, o, nil)
		basic, checksum := testenv.Header{"authorization", "Basic dXNlcjpwYXNz"}, testenv.Header{"x-checksum", "1"}
		for path, want := range map[string][]testenv.Header{"/v1/document/create": {checksum}, "/healthz": {basic, checksum}} {
			r := at(path, document(bearer(g.key.Secret)))
			r.Trailers = []testenv.Header{xkey(g.key.Secret), basic, {"x-tollgate-account-id", "spoofed"}, checksum}
			got := g.Check(t, r, testenv.Want{Decision: testenv.Forwarded, Status: 200, UpstreamBody: string(r.Body)})
			if got.Upstream == nil {
				continue
			}
			if diff := cmp.Diff(want, got.Upstream.Trailers); diff != "" {
				t.Errorf("%s: trailers at the upstream: %s", path, diff)
			}
		}
	})
}

func TestPreflight(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newGate(t, o, nil, `{"prefix": "/v1/document/"`, `{"path": "/v1/answer", "methods": ["POST"], "scheme": "genrex", "cost": 1, "preflight": "answer"},
    {"path": "/v1/pass", "methods": ["POST"], "scheme": "genrex", "cost": 1, "preflight": "pass"},
    {"path": "/v1/deny", "methods": ["POST", "OPTIONS"], "scheme": "genrex", "cost": 1},
    {"prefix": "/v1/document/"`)
		preflight := func(path string, headers ...testenv.Header) testenv.Request {
			return testenv.Request{Method: http.MethodOptions, Path: path, Headers: append([]testenv.Header{
				{"origin", "https://app.test"}, {"access-control-request-method", "POST"}}, headers...)}
		}
		asking := func(headers string) testenv.Request {
			return preflight("/v1/answer", testenv.Header{"access-control-request-headers", headers})
		}
		answer := func(headers string) testenv.Want {
			return counting(testenv.Want{Decision: testenv.Answered, Status: 204, Callouts: unasked, Headers: map[string]string{
				"access-control-allow-origin": "*", "access-control-allow-methods": "POST", "access-control-allow-headers": headers}}, "preflights")
		}
		plain := preflight("/v1/pass")
		plain.Headers = plain.Headers[1:]
		g.Run(t, []testenv.Scenario{
			{Name: "answer", Request: asking("authorization, content-type"), Want: answer("authorization, content-type")},
			{Name: "a header list that is none is not repeated", Request: asking("x\x01y"), Want: answer("")},
			{Name: "pass", Request: preflight("/v1/pass", xkey(g.key.Secret), testenv.Header{"x-tollgate-cost", "0"}), Want: testenv.Want{
				Decision: testenv.Forwarded, Status: 200, Callouts: unasked, Upstream: map[string]string{"x-api-key": "", "x-tollgate-cost": ""}}},
			{Name: "deny", Request: preflight("/v1/deny"), Want: unauthenticated},
			{Name: "deny with a key", Request: preflight("/v1/deny", bearer(g.key.Secret)), Want: unauthenticated},
			// Asking for a method that costs less must not open a route for OPTIONS.
			{Name: "OPTIONS without Origin is no preflight", Request: plain, Want: noRoute},
		}...)
		g.checkWallet(t, 10, 0, 0)
	})
}
