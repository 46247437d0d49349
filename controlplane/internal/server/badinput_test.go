package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// canary stands where a careless client may put a secret: no answer may repeat it.
const canary = "grx_sk_c0ffee00c0ffee00c0ffee00c0ffee00c0ffee0012345678"

// writes are the routes that change something, each with a body that it takes. In their order all of them succeed.
var writes = []struct {
	method, path, body string
	// field is a string field of the body, none if there is none.
	field string
}{
	{"POST", "/v1/accounts", `{"name":"a","status":"active"}`, "name"},
	{"POST", "/v1/backups", `{}`, ""},
	{"PATCH", "/v1/accounts/{account}", `{"name":"b","status":"active"}`, "name"},
	{"POST", "/v1/accounts/{account}/credits", `{"amount":5,"reason":"r"}`, "reason"},
	{"POST", "/v1/accounts/{account}/credits/adjust", `{"amount":-5,"reason":"r"}`, "reason"},
	{"POST", "/v1/accounts/{account}/credits/refund", `{"amount":5,"reason":"r"}`, "reason"},
	{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"genrex","name":"k"}`, "name"},
	{"PATCH", "/v1/keys/{key}", `{"name":"k2","status":"active"}`, "name"},
	{"POST", "/v1/keys", `{"project_id":"{project}","scheme":"vexrail","name":"k"}`, "name"},
	{"POST", "/v1/keys/import", `{"keys":[{"digest":"` + strings.Repeat("0a", 32) + `","account_id":"{account}","scheme":"genrex","name":"k"}]}`, ""},
	{"POST", "/v1/keys/{key}/revoke", `{}`, ""},
	{"POST", "/v1/keys/{pair}/rotate", `{"overlap_seconds":1,"halves":"both"}`, "halves"},
	{"POST", "/v1/keys/{pair}/replace", `{}`, ""},
	{"POST", "/v1/explain", `{"key_id":"{key}","cost":1}`, "key_id"},
	{"POST", "/v1/projects", `{"account_id":"{account}","name":"p","domain":"new.example.com"}`, "name"},
	{"PATCH", "/v1/projects/{project}", `{"name":"p","domain":"new.example.com"}`, "name"},
	{"POST", "/v1/projects/{project}/domain/attest", `{"reason":"r"}`, "reason"},
	{"POST", "/v1/projects/{project}/domain/lapse", `{"reason":"r"}`, "reason"},
	{"POST", "/v1/tokens", `{"name":"t","role":"account","account_id":"{account}"}`, "name"},
	{"POST", "/v1/tokens/{token}/revoke", `{}`, ""},
	{"POST", "/v1/projects/{project}/domain", `{"method":"dns"}`, "method"},
	{"POST", "/v1/projects/{project}/domain/verify", `{}`, ""},
	{"POST", "/v1/accounts/{account}/close", `{"balance":"write_off","reason":"r"}`, "reason"},
}

// badBodies are wrong on every route. Each is made of the route's good body.
var badBodies = []struct {
	name     string
	body     func(good string) string
	status   int
	location string
}{
	{"no JSON", func(string) string { return canary }, 400, "body"},
	{"cut off", func(g string) string { return g[:len(g)-1] }, 400, "body"},
	{"bytes after the value", func(g string) string { return g + "x" }, 400, "body"},
	{"two values", func(g string) string { return g + g }, 400, "body"},
	{"comment", func(g string) string { return g + "//" + canary }, 400, "body"},
	{"invalid UTF-8", func(g string) string { return strings.Replace(g, "{", `{"`+"\xff"+`":1,`, 1) }, 400, "body"},
	{"byte order mark", func(g string) string { return "\ufeff" + g }, 400, "body"},
	{"blanks only", func(string) string { return " \n" }, 400, "body"},
	{"same field twice", func(g string) string { return strings.Replace(g, "{", `{"zz":1,"zz":2,`, 1) }, 400, "body.zz"},
	{"same field twice, deep", func(g string) string { return strings.Replace(g, "{", `{"zz":[{"y":1,"y":"`+canary+`"}],`, 1) }, 400, "body.zz[0].y"},
	{"same field twice, escaped", func(g string) string { return strings.Replace(g, "{", `{"zz":1,"\u007az":2,`, 1) }, 400, "body.zz"},
	{"half a surrogate pair", func(g string) string { return strings.Replace(g, "{", `{"zz":"\ud83d",`, 1) }, 400, "body"},
	{"nested too deep", func(string) string { return strings.Repeat("[", 100000) }, 400, "body"},
	{"very many values", func(string) string { return "[" + strings.Repeat("0,", 1<<18) + "0]" }, 413, "body"},
	{"unknown field", func(g string) string { return strings.Replace(g, "{", `{"zz":"`+canary+`",`, 1) }, 422, "body.zz"},
	{"secret as a field name", func(g string) string { return strings.Replace(g, "{", `{"`+canary+`":1,`, 1) }, 422, "body.…"},
	{"$schema", func(g string) string { return strings.Replace(g, "{", `{"$schema":"x",`, 1) }, 422, "body.…"},
	{"null", func(string) string { return "null" }, 422, "body"},
	{"array", func(g string) string { return "[" + g + "]" }, 422, "body"},
	{"string", func(string) string { return `"` + canary + `"` }, 422, "body"},
	{"number", func(string) string { return "12" }, 422, "body"},
}

func comma(good string) string { return strings.Replace(good, ",}", "}", 1) }

func TestBadBodiesOnEveryWrite(t *testing.T) {
	f := newPairFixture(t)
	for _, w := range writes {
		for _, b := range badBodies {
			t.Run(w.method+" "+w.path+" "+b.name, func(t *testing.T) {
				body := strings.TrimSpace(comma(b.body(f.fill(w.body))))
				if b.name == "blanks only" {
					body = " \n"
				}
				f.refuses(t, request{w.method, f.fill(w.path), body, nil}, b.status, b.location)
			})
		}
		if w.field == "" {
			continue
		}
		upper := strings.ToUpper(w.field[:1]) + w.field[1:]
		for name, value := range map[string]string{"number": "1", "null": "null", "object": `{"x":"` + canary + `"}`, "bool": "true", "control character": `"a\u0000` + canary + `"`, "too long": `"` + strings.Repeat("x", 501) + `"`, "too many bytes": `"` + strings.Repeat("🙂", 126) + `"`} {
			t.Run(w.method+" "+w.path+" "+w.field+" "+name, func(t *testing.T) {
				body := replaceField(f.fill(w.body), w.field, value)
				f.refuses(t, request{w.method, f.fill(w.path), body, nil}, 422, "body."+w.field)
			})
		}
		t.Run(w.method+" "+w.path+" wrong case", func(t *testing.T) {
			body := strings.Replace(f.fill(w.body), `"`+w.field+`"`, `"`+upper+`"`, 1)
			f.refuses(t, request{w.method, f.fill(w.path), body, nil}, 422, "body."+upper)
		})
	}
}

// A fault takes many times the room in an answer that it takes in the body.
func TestFaultsAreToldWithinBounds(t *testing.T) {
	f := newFixture(t)
	for path, body := range map[string]string{
		"/v1/keys":        `{"account_id":"a","scheme":"genrex","name":"k","routes":[` + strings.Repeat("0,", 30000) + `0]}`,
		"/v1/keys/import": `{"keys":[` + strings.Repeat("0,", 100000) + `0]}`,
	} {
		a := send(t, f.ControlPlane, request{"POST", path, body, nil})
		p := wholeProblem(t, a)
		if a.status != 422 || len(p.Errors) > 1000 || len(a.body) > 200000 || !strings.HasSuffix(p.Detail, " more") {
			t.Errorf("%s: got status %d and %d faults in %d bytes, want 422 and at most 1,000 in 200,000: %s", path, a.status, len(p.Errors), len(a.body), p.Detail)
		}
	}
}

// An offset can lead into years that JSON cannot write.
func TestTimesBeforeTheYearZero(t *testing.T) {
	f := newFixture(t)
	const at, query = "0000-01-01T00:00:00+23:59", "0000-01-01T00:00:00%2B23:59"
	for _, path := range []string{"/v1/accounts/{account}/statement?from=", "/v1/accounts/{account}/statement?to=", "/v1/usage?from=", "/v1/audit?since="} {
		_, last, _ := strings.Cut(path, "?")
		f.refuses(t, request{"GET", f.fill(path) + query, "", nil}, 422, "query."+strings.TrimSuffix(last, "="))
	}
	for path, body := range map[string]string{
		"/v1/keys": `{"account_id":"{account}","scheme":"genrex","name":"k","expires_at":"` + at + `"}`, "/v1/tokens": `{"name":"t","role":"viewer","expires_at":"` + at + `"}`,
	} {
		f.refuses(t, request{"POST", path, f.fill(body), http.Header{"Idempotency-Key": {path}}}, 422, "body.expires_at")
	}
	row := `{"keys":[{"digest":"` + strings.Repeat("0a", 32) + `","account_id":"{account}","scheme":"genrex","name":"k","expires_at":"` + at + `"}]}`
	f.refuses(t, request{"POST", "/v1/keys/import", f.fill(row), http.Header{"Idempotency-Key": {"import"}}}, 422, "body.keys[0].expires_at")
}

// What people write stays in clear, in the database too, so a secret that got there by mistake is refused.
func TestSecretsWhereTextIsExpected(t *testing.T) {
	f := newPairFixture(t)
	const token = "tg_operator_" + "AbC-_0123456789AbC-_0123456789AbC-_01234567"
	for _, secret := range []string{canary, "leaked: " + canary + ".", token} {
		for _, w := range writes {
			if w.field != "name" && w.field != "reason" {
				continue
			}
			f.refuses(t, request{w.method, f.fill(w.path), replaceField(f.fill(w.body), w.field, `"`+secret+`"`), nil}, 422, "body."+w.field)
		}
		f.refuses(t, request{"PATCH", f.fill("/v1/keys/{key}"), `{"metadata":{"note":"` + secret + `"}}`, nil}, 422, "body.metadata")
	}
	key := http.Header{"Idempotency-Key": {canary}}
	f.refuses(t, request{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":5}`, key}, 400, "header.Idempotency-Key")
	// The beginning of one, which the console shows, is none.
	send(t, f.ControlPlane, request{"PATCH", f.fill("/v1/keys/{key}"), `{"name":"` + canary[:20] + ` and tg_owner_x"}`, nil})
	if a := send(t, f.ControlPlane, request{"GET", f.fill("/v1/keys/{key}"), "", nil}); !strings.Contains(a.body, "tg_owner_x") {
		t.Errorf("not renamed: %s", a.body)
	}
}

// SQLite takes NUL for the end of a text, so that a search for it would find everything.
func TestQueriesWithControlCharacters(t *testing.T) {
	f := newFixture(t)
	for _, value := range []string{"%00", "a%0A", "%FF", "%C2%85"} {
		f.refuses(t, request{"GET", "/v1/keys?name=" + value, "", nil}, 422, "query.name")
	}
}

// replaceField sets a field of a flat object of strings, numbers and names.
func replaceField(body, field, value string) string {
	at := strings.Index(body, `"`+field+`":`) + len(field) + 3
	end := at + strings.IndexAny(body[at:], ",}")
	return body[:at] + value + body[end:]
}

// refuses sends a bad request and checks that the answer names the bad part, repeats no value, and that neither
// the wallet nor any account, project or key changed.
func (f *fixture) refuses(t *testing.T, r request, status int, location string) {
	t.Helper()
	before := f.state(t)
	a := send(t, f.ControlPlane, r)
	if a.status != status {
		t.Fatalf("got status %d, want %d: %s", a.status, status, a.body)
	}
	p := wholeProblem(t, a)
	found := false
	for _, e := range p.Errors {
		found = found || e.Location == location && e.Message != ""
	}
	if !found {
		t.Errorf("no error at %s: %s", location, a.body)
	}
	if strings.Contains(a.body, canary) || strings.Contains(a.body, "c0ffee") || strings.Contains(a.body, "json:") {
		t.Errorf("repeats the request or Go's own words: %s", a.body)
	}
	if after := f.state(t); after != before {
		t.Errorf("something changed:\nbefore %s\nafter  %s", before, after)
	}
}

// state is everything the admin API shows.
func (f *fixture) state(t *testing.T) string {
	t.Helper()
	var s strings.Builder
	for _, path := range []string{"/v1/accounts?limit=100", "/v1/keys?limit=100", "/v1/projects?limit=100", "/v1/tokens?limit=100", "/v1/accounts/{account}/entries?limit=100", "/v1/accounts/{account}/wallet"} {
		_, body := f.Admin(t, "GET", f.fill(path), nil)
		s.Write(body)
	}
	return s.String()
}

func TestBadAmounts(t *testing.T) {
	f := newFixture(t)
	for _, amount := range []string{
		"-1", "-9223372036854775808", "-9223372036854775809", "0", "-0", "1.5", "1.0", "1e3", "1E3", "1e-3", "1e400", "-1e400", "0.1e1",
		"9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551617",
		strings.Repeat("9", 400), `"5"`, `"` + canary + `"`, "null", "true", "[5]", `{"a":5}`,
	} {
		t.Run(fmt.Sprintf("%.30s", amount), func(t *testing.T) {
			f.refuses(t, request{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":` + amount + `}`, nil}, 422, "body.amount")
		})
	}
	for _, amount := range []string{"", "01", "+1", "0x10", ".5", "5.", "NaN", "1_000", "--1"} {
		t.Run("malformed "+amount, func(t *testing.T) {
			f.refuses(t, request{"POST", f.fill("/v1/accounts/{account}/credits"), `{"amount":` + amount + `}`, nil}, 400, "body")
		})
	}
	t.Run("missing", func(t *testing.T) {
		f.refuses(t, request{"POST", f.fill("/v1/accounts/{account}/credits"), `{"reason":"r"}`, nil}, 422, "body.amount")
	})
}

func TestBadValues(t *testing.T) {
	f := newPairFixture(t)
	for _, tt := range []struct {
		name string
		request
		status   int
		location string
	}{
		{"created disabled", request{"POST", "/v1/accounts", `{"name":"a","status":"disabled"}`, nil}, 422, "body.status"},
		{"status in another case", request{"POST", "/v1/accounts", `{"name":"a","status":"Active"}`, nil}, 422, "body.status"},
		{"status null", request{"POST", "/v1/accounts", `{"name":"a","status":null}`, nil}, 422, "body.status"},
		{"empty name", request{"POST", "/v1/accounts", `{"name":""}`, nil}, 422, "body.name"},
		{"no name", request{"POST", "/v1/accounts", `{}`, nil}, 422, "body.name"},
		{"C1 control in name", request{"POST", "/v1/accounts", `{"name":"a\u0085b"}`, nil}, 422, "body.name"},
		{"empty account patch", request{"PATCH", "/v1/accounts/{account}", `{}`, nil}, 422, "body"},
		{"unknown account status", request{"PATCH", "/v1/accounts/{account}", `{"status":"` + canary + `"}`, nil}, 422, "body.status"},
		{"empty key patch", request{"PATCH", "/v1/keys/{key}", `{}`, nil}, 422, "body"},
		{"revoked by patch", request{"PATCH", "/v1/keys/{key}", `{"status":"revoked"}`, nil}, 422, "body.status"},
		{"unknown scheme", request{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"` + canary + `","name":"n"}`, nil}, 422, "body.scheme"},
		{"key of nobody", request{"POST", "/v1/keys", `{"scheme":"genrex","name":"n"}`, nil}, 422, "body.account_id"},
		{"pair of nobody", request{"POST", "/v1/keys", `{"scheme":"vexrail","name":"n"}`, nil}, 422, "body.project_id"},
		{"pair of an account", request{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"vexrail","name":"n"}`, nil}, 422, "body.project_id"},
		{"pair of both", request{"POST", "/v1/keys", `{"account_id":"{account}","project_id":"{project}","scheme":"vexrail","name":"n"}`, nil}, 422, "body.account_id"},
		{"key of a project", request{"POST", "/v1/keys", `{"project_id":"{project}","scheme":"genrex","name":"n"}`, nil}, 422, "body.account_id"},
		{"key of both", request{"POST", "/v1/keys", `{"account_id":"{account}","project_id":"{project}","scheme":"genrex","name":"n"}`, nil}, 422, "body.project_id"},
		{"key of null", request{"POST", "/v1/keys", `{"account_id":null,"scheme":"genrex","name":"n"}`, nil}, 422, "body.account_id"},
		{"no scheme", request{"POST", "/v1/keys", `{"account_id":"{account}","name":"n"}`, nil}, 422, "body.scheme"},
		{"scheme in another case", request{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"Genrex","name":"n"}`, nil}, 422, "body.scheme"},
		{"unknown environment", request{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"genrex","name":"n","environment":"` + canary + `"}`, nil}, 422, "body.environment"},
		{"environment null", request{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"genrex","name":"n","environment":null}`, nil}, 422, "body.environment"},
		{"environment patched to nothing", request{"PATCH", "/v1/keys/{key}", `{"environment":null}`, nil}, 422, "body.environment"},
		{"environment patched", request{"PATCH", "/v1/keys/{key}", `{"environment":"test"}`, nil}, 422, "body.environment"},
		{"overlap negative", request{"POST", "/v1/keys/{key}/rotate", `{"overlap_seconds":-1}`, nil}, 422, "body.overlap_seconds"},
		{"overlap of more than 30 days", request{"POST", "/v1/keys/{key}/rotate", `{"overlap_seconds":2592001}`, nil}, 422, "body.overlap_seconds"},
		{"overlap beyond int64", request{"POST", "/v1/keys/{key}/rotate", `{"overlap_seconds":9223372036854775808}`, nil}, 422, "body.overlap_seconds"},
		{"overlap fraction", request{"POST", "/v1/keys/{key}/rotate", `{"overlap_seconds":0.5}`, nil}, 422, "body.overlap_seconds"},
		{"overlap text", request{"POST", "/v1/keys/{key}/rotate", `{"overlap_seconds":"` + canary + `"}`, nil}, 422, "body.overlap_seconds"},
		{"overlap null", request{"POST", "/v1/keys/{key}/rotate", `{"overlap_seconds":null}`, nil}, 422, "body.overlap_seconds"},
		{"unknown half", request{"POST", "/v1/keys/{pair}/rotate", `{"halves":"all"}`, nil}, 422, "body.halves"},
		{"publishable half of a secret key", request{"POST", "/v1/keys/{key}/rotate", `{"halves":"publishable"}`, nil}, 422, "body.halves"},
		{"both halves of a secret key", request{"POST", "/v1/keys/{key}/rotate", `{"halves":"both"}`, nil}, 422, "body.halves"},
		{"replacement with a field", request{"POST", "/v1/keys/{key}/replace", `{"name":"n"}`, nil}, 422, "body.name"},
		{"rotation under a bad key", request{"POST", "/v1/keys/{key}/rotate", `{}`, http.Header{"Idempotency-Key": {"é"}}}, 422, "header.Idempotency-Key"},
		{"replacement under two keys", request{"POST", "/v1/keys/{key}/replace", `{}`, http.Header{"Idempotency-Key": {"a", "b"}}}, 400, "header.Idempotency-Key"},
		{"project of nobody", request{"POST", "/v1/projects", `{"name":"p","domain":"a.example"}`, nil}, 422, "body.account_id"},
		{"project without domain", request{"POST", "/v1/projects", `{"account_id":"{account}","name":"p"}`, nil}, 422, "body.domain"},
		{"domain null", request{"POST", "/v1/projects", `{"account_id":"{account}","name":"p","domain":null}`, nil}, 422, "body.domain"},
		{"domain empty", request{"POST", "/v1/projects", `{"account_id":"{account}","name":"p","domain":""}`, nil}, 422, "body.domain"},
		{"domain of a secret", request{"POST", "/v1/projects", `{"account_id":"{account}","name":"p","domain":"` + canary + `"}`, nil}, 422, "body.domain"},
		{"domain that is a public suffix", request{"POST", "/v1/projects", `{"account_id":"{account}","name":"p","domain":"co.uk"}`, nil}, 422, "body.domain"},
		{"domain patched to an address", request{"PATCH", "/v1/projects/{project}", `{"domain":"192.0.2.1"}`, nil}, 422, "body.domain"},
		{"domain patched to null", request{"PATCH", "/v1/projects/{project}", `{"domain":null}`, nil}, 422, "body.domain"},
		{"empty project patch", request{"PATCH", "/v1/projects/{project}", `{}`, nil}, 422, "body"},
		{"domain status patched", request{"PATCH", "/v1/projects/{project}", `{"domain_status":"verified"}`, nil}, 422, "body.domain_status"},
		{"attested without reason", request{"POST", "/v1/projects/{project}/domain/attest", `{}`, nil}, 422, "body.reason"},
		{"attested with an empty reason", request{"POST", "/v1/projects/{project}/domain/attest", `{"reason":""}`, nil}, 422, "body.reason"},
		{"lapsed without reason", request{"POST", "/v1/projects/{project}/domain/lapse", `{}`, nil}, 422, "body.reason"},
		{"challenge by another method", request{"POST", "/v1/projects/{project}/domain", `{"method":"` + canary + `"}`, nil}, 422, "body.method"},
		{"challenge with a token", request{"POST", "/v1/projects/{project}/domain", `{"token":"` + canary + `"}`, nil}, 422, "body.token"},
		{"verified with a field", request{"POST", "/v1/projects/{project}/domain/verify", `{"force":true}`, nil}, 422, "body.force"},
		{"limit 0", request{"GET", "/v1/accounts?limit=0", "", nil}, 422, "query.limit"},
		{"limit 101", request{"GET", "/v1/keys?limit=101", "", nil}, 422, "query.limit"},
		{"limit text", request{"GET", "/v1/accounts?limit=" + canary, "", nil}, 422, "query.limit"},
		{"limit fraction", request{"GET", "/v1/accounts?limit=1.5", "", nil}, 422, "query.limit"},
		{"limit empty", request{"GET", "/v1/accounts?limit=", "", nil}, 422, "query.limit"},
		{"limit twice", request{"GET", "/v1/accounts?limit=1&limit=2", "", nil}, 422, "query.limit"},
		{"unknown parameter", request{"GET", "/v1/accounts?offset=1", "", nil}, 422, "query.offset"},
		{"parameter in another case", request{"GET", "/v1/accounts?Limit=1", "", nil}, 422, "query.Limit"},
		{"secret as a parameter", request{"GET", "/v1/accounts?" + canary + "=1", "", nil}, 422, "query.…"},
		{"parameter on a write", request{"POST", "/v1/accounts?dry_run=1", `{"name":"a"}`, nil}, 422, "query.dry_run"},
		{"broken escape", request{"GET", "/v1/accounts?limit=%zz", "", nil}, 400, "query"},
		{"semicolon", request{"GET", "/v1/accounts?limit=1;cursor=x", "", nil}, 400, "query"},
		{"cursor of nothing", request{"GET", "/v1/accounts?cursor=" + canary, "", nil}, 422, "query.cursor"},
		{"cursor not base64", request{"GET", "/v1/keys?cursor=!!", "", nil}, 422, "query.cursor"},
		{"cursor too long", request{"GET", "/v1/keys?cursor=" + strings.Repeat("A", 201), "", nil}, 422, "query.cursor"},
		{"key in another alphabet", request{"POST", "/v1/accounts/{account}/credits", `{"amount":1}`, http.Header{"Idempotency-Key": {"é"}}}, 422, "header.Idempotency-Key"},
		{"key too long", request{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"genrex","name":"n"}`, http.Header{"Idempotency-Key": {strings.Repeat("k", 201)}}}, 422, "header.Idempotency-Key"},
		{"key empty", request{"POST", "/v1/accounts/{account}/credits", `{"amount":1}`, http.Header{"Idempotency-Key": {""}}}, 400, "header.Idempotency-Key"},
		{"key twice", request{"POST", "/v1/accounts/{account}/credits", `{"amount":1}`, http.Header{"Idempotency-Key": {"a", "a"}}}, 400, "header.Idempotency-Key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.path, tt.body = f.fill(tt.path), f.fill(tt.body)
			f.refuses(t, tt.request, tt.status, tt.location)
		})
	}
}

func TestBodyAndTypeLimits(t *testing.T) {
	f := newFixture(t)
	padded := func(size int) string {
		good := `{"amount":1,"reason":"r"}`
		return good + strings.Repeat(" ", size-len(good))
	}
	path := f.fill("/v1/accounts/{account}/credits")
	kind := func(values ...string) http.Header { return http.Header{"Content-Type": values} }
	for _, tt := range []struct {
		name, body string
		header     http.Header
		status     int
		code       string
	}{
		{"1 MiB", padded(1 << 20), nil, 201, ""},
		{"1 MiB and a byte", padded(1<<20 + 1), nil, 413, "body_too_large"},
		{"form", `{"amount":1}`, kind("application/x-www-form-urlencoded"), 415, "unsupported_media_type"},
		{"text", `{"amount":1}`, kind("text/plain"), 415, "unsupported_media_type"},
		{"json of another kind", `{"amount":1}`, kind("application/merge-patch+json"), 415, "unsupported_media_type"},
		{"other charset", `{"amount":1}`, kind("application/json; charset=latin1"), 415, "unsupported_media_type"},
		{"no media type at all", `{"amount":1}`, kind(";;" + canary), 415, "unsupported_media_type"},
		{"two types", `{"amount":1}`, kind("application/json", "text/plain"), 415, "unsupported_media_type"},
		{"charset named", `{"amount":1}`, kind("Application/JSON; charset=UTF-8"), 201, ""},
		{"no type", `{"amount":1}`, http.Header{"Content-Type": nil}, 201, ""},
		{"other accept", `{"amount":1}`, http.Header{"Accept": {"text/html"}}, 201, ""},
		{"accept of huma's short name", `{"amount":1}`, http.Header{"Accept": {"json"}}, 201, ""},
		{"no body", "", nil, 400, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := f.MustWallet(t, f.account).Granted
			a := send(t, f.ControlPlane, request{"POST", path, tt.body, tt.header})
			if a.status != tt.status || !strings.Contains(a.body, tt.code) || strings.Contains(a.body, canary) {
				t.Errorf("got %d %s, want %d %s", a.status, a.body, tt.status, tt.code)
			}
			moved := f.MustWallet(t, f.account).Granted - before
			if (moved == 1) != (tt.status == 201) {
				t.Errorf("%d credits moved under status %d", moved, a.status)
			}
		})
	}
}

func TestUnknownRoutesAndMethods(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 404, ""}, {"GET", "/v1", 404, ""}, {"GET", "/v1/accounts/", 404, ""}, {"GET", "/v1/accounts/x/", 404, ""},
		{"GET", "/V1/accounts", 404, ""}, {"POST", "/v2/" + canary, 404, ""}, {"GET", "//v1/accounts", 404, ""},
		{"DELETE", "/v1/accounts", 405, "GET, POST"}, {"PUT", "/v1/accounts/x", 405, "GET, PATCH"},
		{"HEAD", "/v1/accounts", 405, ""}, {"BREW", "/v1/keys", 405, "GET, POST"}, {"GET", "/v1/keys/x/revoke", 405, "POST"},
		{"POST", "/openapi.json", 405, "GET"},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			req := newRequest(t, f.AdminURL, request{tt.method, tt.path, "", nil})
			a := exchange(t, req)
			if a.status != tt.status {
				t.Fatalf("got status %d, want %d: %s", a.status, tt.status, a.body)
			}
			if tt.method == "HEAD" {
				return
			}
			wholeProblem(t, a)
			allowed := strings.Split(a.header.Get("Allow"), ", ")
			for want := range strings.SplitSeq(tt.allow, ", ") {
				if !strings.Contains(strings.Join(allowed, " "), want) {
					t.Errorf("Allow %q lacks %s", allowed, want)
				}
			}
			if strings.Contains(a.body, canary) {
				t.Errorf("repeats the path: %s", a.body)
			}
		})
	}
}
