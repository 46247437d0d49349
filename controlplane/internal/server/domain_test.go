package server_test

import (
	"strings"
	"testing"
)

// What an admin writes is kept as DNS knows it, at both places that take a domain; what nobody could prove to hold is
// refused there. Package domain has every case.
func TestDomainsAsWritten(t *testing.T) {
	f := newFixture(t)
	f.project = f.MustProject(t, f.account, "unverified")
	for in, want := range map[string]string{
		"Bücher.Example": "xn--bcher-kva.example", "example.com.": "example.com", "APP.example.com": "app.example.com",
	} {
		made := decode[project](t, f.do(t, "POST", "/v1/projects", `{"account_id":"{account}","name":"n","domain":"`+in+`"}`), 201)
		changed := decode[project](t, f.do(t, "PATCH", "/v1/projects/{project}", `{"domain":"`+in+`"}`), 200)
		if made.Domain != want || changed.Domain != want {
			t.Errorf("%s: kept as %s and %s, want %s", in, made.Domain, changed.Domain, want)
		}
	}
	for _, in := range []string{"co.uk", "localhost", "example.com:443", "*.example.com", "http://example.com", "127.1", strings.Repeat("a", 64) + ".com"} {
		f.refuses(t, request{"POST", "/v1/projects", f.fill(`{"account_id":"{account}","name":"n","domain":"` + in + `"}`), nil}, 422, "body.domain")
		f.refuses(t, request{"PATCH", f.fill("/v1/projects/{project}"), `{"domain":"` + in + `"}`, nil}, 422, "body.domain")
	}
}
