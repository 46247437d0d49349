package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// foreign is a genrex secret that was made elsewhere: without a checksum.
func foreign(n int) string { return fmt.Sprintf("grx_sk_%048x", 0xfeed0000+n) }

type imported struct {
	Created, Existing int
	Keys              []struct{ ID, Result string }
}

func importOf(rows ...string) string { return `{"keys":[` + strings.Join(rows, ",") + `]}` }

// Keys come in by plaintext and by digest, work at once, and are there already the second time.
func TestImportKeys(t *testing.T) {
	f := newPairFixture(t)
	secret, byDigest := foreign(1), foreign(2)
	publishable, half := "pk_live_"+strings.Repeat("A", 32), "sk_live_"+strings.Repeat("B", 32)
	body := importOf(
		`{"secret":"`+secret+`","account_id":"{account}","scheme":"genrex","name":"old ci","environment":"staging","external_ref":"ext-7","metadata":{"team":"blue"},"expires_at":"2036-01-01T00:00:00Z","allowed_ips":["10.0.0.0/8"]}`,
		`{"digest":"`+apikey.DigestOf(byDigest).Hex()+`","last4":"0002","account_id":"{account}","scheme":"genrex","name":"by digest"}`,
		`{"secret":"`+half+`","publishable_key":"`+publishable+`","project_id":"{project}","scheme":"vexrail","name":"old pair"}`,
		`{"secret":"{secret}","account_id":"{account}","scheme":"genrex","name":"already there"}`,
	)
	body = strings.ReplaceAll(body, "{secret}", f.key.Secret)
	got := decode[imported](t, f.do(t, "POST", "/v1/keys/import", body), 200)
	if got.Created != 3 || got.Existing != 1 || len(got.Keys) != 4 || got.Keys[3].ID != f.key.ID || got.Keys[3].Result != "existing" || got.Keys[0].Result != "created" {
		t.Fatalf("imported %+v", got)
	}
	first := decode[key](t, f.do(t, "GET", "/v1/keys/"+got.Keys[0].ID, ""), 200)
	if first.Name != "old ci" || first.Last4 != secret[51:] || first.Prefix != "grx_sk_" || first.Environment != "staging" || first.ExternalRef == nil ||
		*first.ExternalRef != "ext-7" || first.Metadata["team"] != "blue" || first.ExpiresAt == nil || first.AllowedIPs[0] != "10.0.0.0/8" || first.Status != "active" {
		t.Errorf("the first is %+v", first)
	}
	if found := f.walk(t, "/v1/keys?external_ref=ext-7", 10, nil); len(found) != 1 || found[0] != first.ID {
		t.Errorf("found %v", found)
	}
	acquireOK(t, f, gateMessage(byDigest, "op-1", 1))
	acquireOK(t, f, messageOf("vexrail", "op-2", 1, publishable, half))
	again := decode[imported](t, f.do(t, "POST", "/v1/keys/import", body), 200)
	if again.Created != 0 || again.Existing != 4 || again.Keys[0].ID != got.Keys[0].ID {
		t.Errorf("imported again %+v", again)
	}
	// The same key by its digest is the same key.
	other := importOf(`{"digest":"` + apikey.DigestOf(secret).Hex() + `","account_id":"{account}","scheme":"genrex","name":"x"}`)
	if r := decode[imported](t, f.do(t, "POST", "/v1/keys/import", other), 200); r.Keys[0].ID != first.ID || r.Existing != 1 {
		t.Errorf("by digest: %+v", r)
	}
}

// A repeated import under an idempotency key answers as the first time, whether the keys come by secret or digest;
// another body is refused.
func TestImportReplay(t *testing.T) {
	f := newFixture(t)
	under := func(body string) answer {
		return send(t, f.ControlPlane, request{"POST", "/v1/keys/import", f.fill(body), http.Header{"Idempotency-Key": {"import-1"}}})
	}
	row := `{"secret":"` + foreign(1) + `","account_id":"{account}","scheme":"genrex","name":"a"}`
	first := under(importOf(row))
	again := under(importOf(strings.Replace(row, "{", `{"environment":"production",`, 1)))
	if first.status != 200 || again.status != 200 || first.body != again.body || again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("first %d %s, again %d %s", first.status, first.body, again.status, again.body)
	}
	if p := wholeProblem(t, under(importOf(strings.Replace(row, foreign(1), foreign(2), 1)))); p.Code != "idempotency_key_reused" {
		t.Errorf("another secret: %+v", p)
	}
}

// All bad rows are named, by index and field, those that only the database knows of too, and nothing is made.
func TestImportNamesEveryBadRow(t *testing.T) {
	f := newPairFixture(t)
	other := f.MustKey(t, f.MustAccount(t, "active", 0))
	row := func(fields string) string {
		return `{"account_id":"{account}","scheme":"genrex","name":"n",` + fields + `}`
	}
	digest := apikey.DigestOf("x").Hex()
	rows := []struct{ row, field string }{
		{row(`"secret":"` + foreign(0) + `"`), ""},
		{row(`"secret":"` + canary + `0"`), ".secret"},
		{row(`"secret":"` + foreign(1) + `","digest":"` + digest + `"`), ".secret"},
		{row(`"digest":"` + strings.ToUpper(digest) + `"`), ".digest"},
		{row(`"digest":"` + digest + `","last4":"12345"`), ".last4"},
		{row(`"metadata":{}`), ".secret"},
		{row(`"secret":"` + other.Secret + `"`), ".secret"},
		{row(`"digest":"` + apikey.DigestOf(other.Secret).Hex() + `"`), ".digest"},
		{row(`"secret":"` + foreign(0) + `"`), ".secret"},
		{`{"account_id":"acct_none","scheme":"genrex","name":"n","secret":"` + foreign(2) + `"}`, ".account_id"},
		{`{"project_id":"{project}","scheme":"genrex","name":"n","secret":"` + foreign(3) + `"}`, ".account_id"},
		{`{"account_id":"{account}","scheme":"` + canary + `","name":"n","secret":"` + foreign(4) + `"}`, ".scheme"},
		{`{"account_id":"{account}","scheme":"genrex","name":"","secret":"` + foreign(5) + `"}`, ".name"},
		{row(`"environment":"test","secret":"` + foreign(6) + `"`), ".environment"},
		{row(`"expires_at":"2001-01-01T00:00:00Z","secret":"` + foreign(7) + `"`), ".expires_at"},
		{row(`"metadata":{"a b":"x"},"secret":"` + foreign(8) + `"`), ".metadata"},
		{row(`"allowed_ips":["10.0.0.0/8","x"],"secret":"` + foreign(9) + `"`), ".allowed_ips[1]"},
		{row(`"routes":[{"path":"x"}],"secret":"` + foreign(10) + `"`), ".routes[0].path"},
		{`{"project_id":"{project}","scheme":"vexrail","name":"n","secret":"sk_live_` + strings.Repeat("A", 32) + `"}`, ".publishable_key"},
		{row(`"external_ref":"` + canary + `","secret":"` + canary + `"`), ""},
		{row(`"metadata":{"old":"` + canary + `"},"digest":"` + digest + `"`), ""},
		{strings.Replace(row(`"secret":"`+foreign(11)+`"`), `"n"`, `"key `+foreign(11)+`"`, 1), ""},
		{row(`"last4":"1234","secret":"` + foreign(12) + `"`), ".last4"},
	}
	var texts []string
	for _, r := range rows {
		texts = append(texts, r.row)
	}
	before := f.state(t)
	p := wholeProblem(t, f.do(t, "POST", "/v1/keys/import", importOf(texts...)))
	found := map[string]bool{}
	for _, e := range p.Errors {
		found[e.Location] = true
	}
	for i, r := range rows[1:] {
		if at := fmt.Sprintf("body.keys[%d]%s", i+1, r.field); !found[at] {
			t.Errorf("nothing is said of %s", at)
		}
	}
	// One of the bad rows has two errors.
	if len(p.Errors) != len(rows) || p.Status != 422 || p.Code != "invalid_request" {
		t.Errorf("%d errors in %d rows: %+v", len(p.Errors), len(rows), p)
	}
	if f.state(t) != before {
		t.Error("something was imported")
	}
	for body, location := range map[string]string{
		`{"keys":[]}`: "body.keys", `{}`: "body.keys", importOf(`{"name":1}`): "body.keys[0].name", importOf(row(`"x":1`)): "body.keys[0].x", importOf(`null`): "body.keys[0]",
		importOf(strings.Repeat(`{"scheme":"s","name":"n"},`, 1000) + `{"scheme":"s","name":"n"}`): "body.keys",
	} {
		f.refuses(t, request{"POST", "/v1/keys/import", f.fill(body), nil}, 422, location)
	}
}

// A thousand keys with much about them fit one import; what is beyond any is refused unread.
func TestImportBodyLimit(t *testing.T) {
	f := newFixture(t)
	rows := make([]string, 1000)
	for i := range rows {
		rows[i] = fmt.Sprintf(`{"secret":%q,"account_id":"{account}","scheme":"genrex","name":%q,"metadata":{"a":%[3]q,"b":%[3]q}}`, foreign(i), strings.Repeat("n", 200), strings.Repeat("v", 200))
	}
	if got := decode[imported](t, f.do(t, "POST", "/v1/keys/import", importOf(rows...)), 200); got.Created != 1000 {
		t.Errorf("created %d", got.Created)
	}
	if a := f.do(t, "POST", "/v1/keys/import", `{"keys":"`+strings.Repeat("x", 4<<20)+`"}`); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("beyond the limit: %d", a.status)
	}
}

// An imported plaintext, right or wrong, is in no answer, log, metric, row or byte of the database, and neither is what
// gates send in its place.
func TestImportedSecretsAreNowhere(t *testing.T) {
	f := newPairFixture(t)
	secrets := []string{foreign(1), foreign(2), foreign(3), foreign(4), "sk_live_" + strings.Repeat("Zz9", 10) + "xy"}
	row := func(secret, more string) string {
		return `{"account_id":"{account}","scheme":"genrex","name":"n","secret":"` + secret + `"` + more + `}`
	}
	var seen strings.Builder
	for _, body := range []string{
		importOf(row(secrets[0], "")),
		importOf(row(secrets[0], "")),
		importOf(row(secrets[1], ""), row(secrets[1], "")),
		importOf(row(secrets[2]+"0", ""), row(secrets[2], `,"name2":"`+secrets[2]+`"`)),
		importOf(row(secrets[3], `,"external_ref":"`+secrets[3]+`"`)),
		importOf(row(secrets[3], `,"metadata":{"`+secrets[3]+`":"`+secrets[3]+`"}`)),
		importOf(`{"project_id":"{project}","scheme":"vexrail","name":"p","secret":"` + secrets[4] + `","publishable_key":"` + secrets[4] + `"}`),
		importOf(`{"project_id":"{project}","scheme":"vexrail","name":"p","secret":"` + secrets[4] + `","publishable_key":"pk_live_` + strings.Repeat("0", 32) + `"}`),
		`{"keys":[{"secret":"` + secrets[3] + `"`,
		`{"keys":"` + secrets[3] + `"}`,
	} {
		a := send(t, f.ControlPlane, request{"POST", "/v1/keys/import", f.fill(body), http.Header{"Idempotency-Key": {fmt.Sprint("k", seen.Len())}}})
		seen.WriteString(a.body)
	}
	for _, path := range []string{"/v1/keys", "/v1/audit"} {
		seen.WriteString(f.do(t, "GET", path, "").body)
	}
	seen.WriteString(exchange(t, newRequest(t, f.OpsURL, request{method: "GET", path: "/metrics"})).body)
	noSecret(t, "an answer", []byte(seen.String()), secrets)
	noSecret(t, "the log", []byte(f.Logs()), secrets)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(f.DBPath + suffix)
		if err != nil {
			t.Fatal(err)
		}
		noSecret(t, "the database", b, secrets)
		for _, s := range secrets {
			if digest := apikey.DigestOf(s); strings.Contains(string(b), string(digest[:])) || strings.Contains(string(b), digest.Hex()) {
				t.Errorf("the database holds what a gate sends")
			}
		}
	}
	var list struct{ Data []key }
	if err := json.Unmarshal([]byte(f.do(t, "GET", "/v1/keys", "").body), &list); err != nil || len(list.Data) != 4 {
		t.Errorf("%d keys, %v; want the fixture's two and two imported", len(list.Data), err)
	}
}
