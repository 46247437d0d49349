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
	schemes, err := apikey.ParseSchemes([]byte(thirdSchemes))
	if err != nil {
		t.Fatal(err)
	}
	cp := controlplanetest.NewWithSchemes(t, schemes)
	o := gateOptions(cp.GateToken, testenv.HandlerCluster(cp.GateHandler()))
	o.PluginConfiguration = []byte(`{"control_plane": {"cluster": "tollgate", "timeout_ms": 30000}, "schemes": ` + thirdSchemes + `, "routes": [
	  {"path": "/acme", "scheme": "acme", "cost": 2}, {"path": "/duo", "scheme": "duo", "cost": 0}]}`)
	h := testenv.New(t, wasmPath, o)
	do := func(path string, headers ...testenv.Header) testenv.Response {
		return h.Do(t, testenv.Request{Path: path, Headers: headers})
	}
	check := func(got testenv.Response, status int, body, challenge string, callouts int) {
		t.Helper()
		if got.Status != status || !strings.Contains(string(got.Body), body) || header(got.Headers, "www-authenticate") != challenge || len(got.Callouts) != callouts {
			t.Errorf("%d %s, challenge %q, %d callouts; want %d %s, %q, %d", got.Status, got.Body, header(got.Headers, "www-authenticate"), len(got.Callouts),
				status, body, challenge, callouts)
		}
	}
	account := cp.MustAccount(t, "active", 3)
	key := cp.MustKeyOf(t, "acme", account)
	ours := func(secret string) testenv.Header { return testenv.Header{"x-acme-key", secret} }

	if got := do("/acme", ours(key.Secret)); got.Status != 200 || header(got.Upstream.Headers, "x-acme-key") != "" || header(got.Upstream.Headers, "x-tollgate-key-id") != key.ID {
		t.Errorf("a good key: %d %s", got.Status, got.Body)
	}
	check(do("/acme", ours(key.Secret)), 429, `"code":"quota","message":"No quota left"`, "", 1)
	check(do("/acme"), 401, `"code":"no_key"`, `AcmeKey realm="acme"`, 0)
	check(do("/acme", bearer(key.Secret)), 401, `"code":"no_key"`, `AcmeKey realm="acme"`, 0)
	// One wrong character breaks the checksum, and the control plane is not asked.
	wrong := key.Secret[:20] + string("AB"[strings.Count(key.Secret[20:21], "A")]) + key.Secret[21:]
	check(do("/acme", ours(wrong)), 401, `"code":"invalid_key"`, `AcmeKey realm="acme"`, 0)

	pair := cp.MustKeyOf(t, "duo", cp.MustProject(t, cp.MustAccount(t, "active", 0), "unverified"))
	if got := do("/duo", testenv.Header{"x-duo-id", pair.Publishable}, testenv.Header{"x-duo-key", pair.Secret}); got.Status != 200 {
		t.Errorf("a pair that needs neither domain nor balance: %d %s", got.Status, got.Body)
	}
	check(do("/duo", testenv.Header{"x-duo-id", pair.Publishable}), 401, `"code":"missing_credential"`, `ApiKey realm="api"`, 0)
}

// A scheme that the control plane does not know is nobody's fault but the operator's: undecided, not an invalid key.
func TestASchemeTheControlPlaneDoesNotKnow(t *testing.T) {
	t.Parallel()
	_, cp := newGate(t)
	key := cp.MustKey(t, cp.MustAccount(t, "active", 10))
	o := gateOptions(cp.GateToken, testenv.HandlerCluster(cp.GateHandler()))
	o.PluginConfiguration = []byte(strings.NewReplacer(`"genrex": {"preset"`, `"mine": {"preset"`, `"scheme": "genrex"`, `"scheme": "mine"`).Replace(testConfig))
	h := testenv.New(t, wasmPath, o)
	unavailable.check(t, h.Do(t, document(bearer(key.Secret))))
}
