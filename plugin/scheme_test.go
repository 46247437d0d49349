//go:build !wasip1

package main

import (
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// thirdSchemes are two schemes that no preset has, in the one JSON shape that filter and control plane read.
const thirdSchemes = `{
  "acme": {
    "type": "secret_key",
    "secret": {"prefix": "acme-", "length": 40, "alphabet": "ABCDEFGHJKMNPQRSTVWXYZ23456789"},
    "secret_header": "x-acme-key", "require_checksum": true,
    "errors": {"style": "code", "challenge": "AcmeKey", "realm": "acme", "rows": {
      "missing_credential": {"status": 401, "code": "no_key", "message": "Send x-acme-key"},
      "insufficient_credits": {"status": 429, "code": "quota", "message": "No quota left"}
    }}
  },
  "duo": {
    "type": "key_pair",
    "publishable": {"prefix": "duo_id_", "length": 24, "alphabet": "hex"},
    "secret": {"prefix": "duo_key_", "length": 60, "alphabet": "hex"},
    "publishable_header": "x-duo-id", "secret_header": "x-duo-key",
    "domain_verified": false, "balance": false
  }
}`

func TestAThirdSchemeNeedsNoCode(t *testing.T) {
	t.Parallel()
	for mode, changes := range map[string][]string{"strict": nil, "lease": leasing} {
		t.Run(mode, func(t *testing.T) { testThirdScheme(t, changes) })
	}
}

func testThirdScheme(t *testing.T, changes []string) {
	t.Helper()
	schemes, err := apikey.ParseSchemes([]byte(thirdSchemes))
	if err != nil {
		t.Fatal(err)
	}
	cp := controlplanetest.NewWithSchemes(t, schemes)
	config := strings.NewReplacer(changes...).Replace(`{"control_plane": {"cluster": "tollgate"}, "schemes": ` + thirdSchemes + `, "routes": [
	  {"path": "/acme", "mode": "strict", "scheme": "acme", "cost": 2}, {"path": "/duo", "scheme": "duo", "cost": 0}]}`)
	h := hostOf(t, cp, testenv.Options{}, nil, testConfig, config)
	key := cp.MustKeyOf(t, "acme", cp.MustAccount(t, "active", 3))
	pair := cp.MustKeyOf(t, "duo", cp.MustProject(t, cp.MustAccount(t, "active", 0), "unverified"))
	acme := func(secret string) testenv.Request {
		return at("/acme", document(testenv.Header{"x-acme-key", secret}))
	}
	refuse := func(status int, body, challenge string, callouts []string) testenv.Want {
		return testenv.Want{Decision: testenv.Answered, Status: status, BodyHas: []string{body}, Callouts: callouts,
			Headers: map[string]string{"www-authenticate": challenge}}
	}
	good := passed
	good.Upstream = map[string]string{"x-acme-key": "", "x-tollgate-key-id": key.ID}
	// One wrong character breaks the checksum, and the control plane is not asked.
	wrong := key.Secret[:20] + string("AB"[strings.Count(key.Secret[20:21], "A")]) + key.Secret[21:]
	h.Run(t, []testenv.Scenario{
		{Name: "a good key", Request: acme(key.Secret), Want: good},
		{Name: "no quota", Request: acme(key.Secret), Want: refuse(429, `"code":"quota","message":"No quota left"`, "", askOnce)},
		{Name: "no key", Request: at("/acme", document()), Want: refuse(401, `"code":"no_key"`, `AcmeKey realm="acme"`, unasked)},
		{Name: "another header", Request: at("/acme", document(bearer(key.Secret))), Want: refuse(401, `"code":"no_key"`, `AcmeKey realm="acme"`, unasked)},
		{Name: "wrong checksum", Request: acme(wrong), Want: refuse(401, `"code":"invalid_key"`, `AcmeKey realm="acme"`, unasked)},
		{Name: "a pair that needs neither domain nor balance",
			Request: at("/duo", document(testenv.Header{"x-duo-id", pair.Publishable}, testenv.Header{"x-duo-key", pair.Secret})), Want: passed},
		{Name: "half a pair", Request: at("/duo", document(testenv.Header{"x-duo-id", pair.Publishable})),
			Want: refuse(401, `"code":"missing_credential"`, `ApiKey realm="api"`, unasked)},
	}...)
}

// A scheme that the control plane does not know is nobody's fault but the operator's: undecided, not an invalid key.
func TestASchemeTheControlPlaneDoesNotKnow(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, nil, `"genrex": {"preset"`, `"mine": {"preset"`, `"scheme": "genrex"`, `"scheme": "mine"`)
	g.Check(t, document(bearer(g.key.Secret)), unavailable)
}
