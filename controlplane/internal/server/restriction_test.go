package server_test

import (
	"strings"
	"testing"
)

func TestBadRestrictions(t *testing.T) {
	f := newFixture(t)
	for body, location := range map[string]string{
		`"routes":[{"path":"/a"},{"path":"/a","prefix":"/b"}]`:        "body.routes[1]",
		`"routes":[{"path":"a/` + canary + `"}]`:                      "body.routes[0].path",
		`"routes":[{"prefix":"/a?b"}]`:                                "body.routes[0].prefix",
		`"routes":[{"path":"/a","methods":["GET","` + canary + `"]}]`: "body.routes[0].methods[1]",
		`"routes":[{"path":"/a","method":"GET"}]`:                     "body.routes[0].method",
		`"routes":["/a"]`: "body.routes[0]",
		`"routes":null`:   "body.routes",
		`"routes":[` + strings.Repeat(`{"path":"/a"},`, 16) + `{"path":"/a"}]`:                                        "body.routes",
		`"allowed_ips":["10.0.0.0/8","` + canary + `"]`:                                                               "body.allowed_ips[1]",
		`"allowed_ips":["10.0.0.1/8"]`:                                                                                "body.allowed_ips[0]",
		`"allowed_ips":[` + strings.Repeat(`"10.0.0.1",`, 32) + `"10.0.0.1"]`:                                         "body.allowed_ips",
		`"routes":[` + strings.TrimSuffix(strings.Repeat(`{"path":"/`+strings.Repeat("<", 127)+`"},`, 16), ",") + `]`: "body.routes",
	} {
		f.refuses(t, request{"PATCH", f.fill("/v1/keys/{key}"), `{` + body + `}`, nil}, 422, location)
		f.refuses(t, request{"POST", "/v1/keys", f.fill(`{"account_id":"{account}","scheme":"genrex","name":"n",` + body + `}`), nil}, 422, location)
	}
}
