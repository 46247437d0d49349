package server_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/controlplane/internal/server"
)

// routePermissions is what every route of the API has to ask for. Whoever adds a route adds it here, and by a second
// thought makes sure that it is not open to more than it should be. What a permission means for each role is in the
// README's table.
var routePermissions = rows(`
GET /v1/accounts accounts.read
POST /v1/accounts accounts.write
GET /v1/accounts/{id} accounts.read
PATCH /v1/accounts/{id} accounts.write
POST /v1/accounts/{id}/close accounts.close
POST /v1/accounts/{id}/credits credits.top_up
POST /v1/accounts/{id}/credits/adjust credits.adjust
POST /v1/accounts/{id}/credits/refund credits.adjust
GET /v1/accounts/{id}/entries credits.read
GET /v1/accounts/{id}/statement credits.read
GET /v1/accounts/{id}/wallet credits.read
GET /v1/audit audit.read
POST /v1/backups backups.make
POST /v1/explain keys.explain
GET /v1/keys keys.read
POST /v1/keys keys.write
GET /v1/keys/{id} keys.read
PATCH /v1/keys/{id} keys.update
POST /v1/keys/import keys.import
POST /v1/keys/{id}/replace keys.write
POST /v1/keys/{id}/revoke keys.write
POST /v1/keys/{id}/rotate keys.write
GET /v1/projects projects.read
POST /v1/projects projects.write
GET /v1/projects/{id} projects.read
PATCH /v1/projects/{id} projects.write
GET /v1/projects/{id}/domain projects.read
POST /v1/projects/{id}/domain domains.write
POST /v1/projects/{id}/domain/attest domains.write
POST /v1/projects/{id}/domain/lapse domains.write
POST /v1/projects/{id}/domain/verify domains.write
GET /v1/status status.read
GET /v1/tokens tokens.manage
POST /v1/tokens tokens.manage
GET /v1/tokens/{id} tokens.manage
POST /v1/tokens/{id}/revoke tokens.manage
GET /v1/usage usage.read
`)

// rows reads lines of method, path and permission.
func rows(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fields := strings.Fields(line)
		all[fields[0]+" "+fields[1]] = fields[2]
	}
	return all
}

// may reports whether the README lets the role ask for the route.
func may(t *testing.T, permissions map[string][]string, r route, role string) bool {
	t.Helper()
	permission, ok := routePermissions[r.method+" "+r.path]
	if !ok {
		t.Fatalf("%s %s: nobody has said who may ask for it: add it to routePermissions", r.method, r.path)
	}
	return slices.Contains(permissions[permission], role)
}

func TestEveryRouteHasItsPermission(t *testing.T) {
	routes := routesOf(document(t, controlplanetest.New(t)).doc)
	permissions := server.READMEPermissions(t)
	for _, r := range routes {
		want := routePermissions[r.method+" "+r.path]
		if got := r.operation.Extensions["x-permission"]; got != want || want == "" {
			t.Errorf("%s %s asks for %v, want %q", r.method, r.path, got, want)
		}
		roles, _ := json.Marshal(permissions[want])
		if got, _ := json.Marshal(r.operation.Extensions["x-roles"]); string(got) != string(roles) {
			t.Errorf("%s %s is for %s, want %s", r.method, r.path, got, roles)
		}
	}
	if len(routes) != len(routePermissions) {
		t.Errorf("the document has %d routes, routePermissions %d", len(routes), len(routePermissions))
	}
}

// Every kind of caller meets every route of the document. Requests that a role may make end in something other than 401
// and 403; all others end there, before anybody looks at the body.
func TestRolesOnEveryRoute(t *testing.T) {
	f := newFixture(t)
	permissions := server.READMEPermissions(t)
	callers := map[string]struct {
		authorization []string
		status        int
	}{
		"no token":    {nil, http.StatusUnauthorized},
		"no bearer":   {[]string{"Basic b3duZXI6"}, http.StatusUnauthorized},
		"unknown":     {[]string{"Bearer tg_owner_" + strings.Repeat("A", 43)}, http.StatusUnauthorized},
		"malformed":   {[]string{"Bearer \xff"}, http.StatusUnauthorized},
		"API key":     {[]string{"Bearer " + f.key.Secret}, http.StatusUnauthorized},
		"expired":     {[]string{"Bearer " + f.mustEndedToken(t, "expire")}, http.StatusUnauthorized},
		"revoked":     {[]string{"Bearer " + f.mustEndedToken(t, "revoke")}, http.StatusUnauthorized},
		"two headers": {[]string{"Bearer " + f.AdminToken, "Bearer " + f.AdminToken}, http.StatusBadRequest},
		"gate":        {[]string{"Bearer " + f.GateToken}, http.StatusForbidden},
		"account":     {[]string{"Bearer " + f.MustAccountToken(t, f.account)}, 0},
	}
	for _, role := range []string{"owner", "operator", "billing", "viewer"} {
		callers[role] = struct {
			authorization []string
			status        int
		}{[]string{"Bearer " + f.MustToken(t, role)}, 0}
	}
	for _, r := range routesOf(document(t, f.ControlPlane).doc) {
		for name, caller := range callers {
			want := caller.status
			if want == 0 && !may(t, permissions, r, name) {
				want = http.StatusForbidden
			}
			body := ""
			if r.method != http.MethodGet {
				if body = "{}"; want != 0 {
					body = "{"
				}
			}
			f.Clock.Advance(time.Minute)
			a := send(t, f.ControlPlane, request{
				method: r.method, path: strings.ReplaceAll(r.path, "{id}", "none"), body: body,
				header: http.Header{"Authorization": caller.authorization},
			})
			refused := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
			if want != 0 && a.status != want || want == 0 && refused {
				t.Errorf("%s %s by %s: got status %d, want %d (0: any but a refusal): %s", r.method, r.path, name, a.status, want, a.body)
			}
		}
	}
}

// mustEndedToken makes an owner's token that has come to its end in one of two ways.
func (f *fixture) mustEndedToken(t *testing.T, how string) string {
	t.Helper()
	ends := f.Clock.Now().Add(time.Hour).Format(time.RFC3339)
	made := decode[struct{ ID, Secret string }](t,
		f.do(t, "POST", "/v1/tokens", `{"name":"n","role":"owner","expires_at":"`+ends+`"}`), http.StatusCreated)
	if how == "revoke" {
		decode[any](t, f.do(t, "POST", "/v1/tokens/"+made.ID+"/revoke", ""), http.StatusOK)
	} else {
		f.Clock.Advance(time.Hour)
	}
	return made.Secret
}

// sample is a request that does what its route is for; {account} and the like stand for ids.
type sample struct{ method, path, body string }

var nouns = map[string]string{"accounts": "{account}", "keys": "{key}", "projects": "{project}", "tokens": "{token}"}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// samplesOf are requests for a route: of one that changes something those in writes, of another the path alone, and once
// with each id that its query takes.
func samplesOf(t *testing.T, r route) []sample {
	t.Helper()
	var samples []sample
	if r.method != http.MethodGet {
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(r.path, "{id}", `[^/]+`) + "$")
		for _, w := range writes {
			if w.method == r.method && pattern.MatchString(w.path) {
				samples = append(samples, sample{w.method, w.path, w.body})
			}
		}
		if samples == nil {
			t.Fatalf("%s %s: add a good request to writes", r.method, r.path)
		}
		return samples
	}
	path := strings.Replace(r.path, "{id}", nouns[strings.Split(r.path, "/")[2]], 1)
	samples = append(samples, sample{r.method, path, ""})
	for _, p := range r.operation.Parameters {
		if noun, ok := strings.CutSuffix(p.Value.Name, "_id"); ok && p.Value.In == openapi3.ParameterInQuery && nouns[noun+"s"] != "" {
			samples = append(samples, sample{r.method, path + "?" + p.Value.Name + "=" + nouns[noun+"s"], ""})
		}
	}
	return samples
}

// tenant is a second fixture on the same control plane: another active account, with a key and a pair.
func (f *fixture) tenant(t *testing.T) *fixture {
	t.Helper()
	other := *f
	other.account = f.MustAccount(t, "active", 1000)
	other.key, other.project = f.MustKey(t, other.account), f.MustProject(t, other.account, "verified")
	other.pair = f.MustPair(t, other.project)
	return &other
}

// An account's token does everything that it may with what is its account's, and finds nothing of another's: the answer is
// that for what is not there, nothing has changed, and no list shows it.
func TestAccountTokensKeepToTheirAccount(t *testing.T) {
	f := newPairFixture(t)
	permissions := server.READMEPermissions(t)
	other, none := f.tenant(t), *f
	none.account, none.key.ID, none.project, none.pair.ID = "acct_none", "key_none", "proj_none", "key_none"
	theirs := []string{other.account, other.key.ID, other.project, other.pair.ID}
	header := http.Header{"Authorization": {"Bearer " + f.MustAccountToken(t, f.account)}}
	ask := func(whose *fixture, s sample) answer {
		return send(t, f.ControlPlane, request{s.method, whose.fill(s.path), whose.fill(s.body), header})
	}
	checked := 0
	for _, r := range routesOf(document(t, f.ControlPlane).doc) {
		for _, s := range samplesOf(t, r) {
			name := s.method + " " + s.path + " " + s.body
			own := *f
			if s.method != http.MethodGet {
				// What the sample does may be done but once.
				own.key, own.pair = f.MustKey(t, f.account), f.MustPair(t, f.project)
			}
			before := other.estate(t)
			if !may(t, permissions, r, "account") {
				for _, whose := range []*fixture{&own, other, &none} {
					if a := ask(whose, s); a.status != http.StatusForbidden {
						t.Errorf("%s: got %d %s, want 403", name, a.status, a.body)
					}
				}
				continue
			}
			if a := ask(&own, s); a.status/100 != 2 || slices.ContainsFunc(theirs, func(id string) bool { return strings.Contains(a.body, id) }) {
				t.Errorf("%s: own: got %d %s", name, a.status, a.body)
			}
			if !placeholder.MatchString(s.path + s.body) {
				continue
			}
			checked++
			got, absent := ask(other, s), ask(&none, s)
			if other.estate(t) != before {
				t.Errorf("%s: what is another's has changed", name)
			}
			if got.status != http.StatusNotFound || anonymous(got) != anonymous(absent) {
				t.Errorf("%s: another's: got %d %s, want 404 %s", name, got.status, got.body, absent.body)
			}
		}
	}
	if checked < 15 {
		t.Errorf("%d requests name a resource: the test has lost some", checked)
	}
}

// Sums, which name nobody, are of what is the account's alone.
func TestAccountTokensSeeTheirUsageAlone(t *testing.T) {
	f := newPairFixture(t)
	f.reportUsage(t, 1)
	f.tenant(t).reportUsage(t, 2)
	token := f.MustAccountToken(t, f.account)
	for _, query := range []string{"", "?account_id={account}"} {
		got := decode[usagePage](t, f.as(t, token, "GET", "/v1/usage"+query, ""), http.StatusOK).Data
		if want := f.usage(t, "?account_id={account}").Data; len(got) != 1 || got[0].Requests != 12 || got[0] != want[0] {
			t.Errorf("%q: got %+v, want %+v", query, got, want)
		}
	}
	if all := f.usage(t, "").Data; all[0].Requests != 36 {
		t.Errorf("of all accounts: %+v", all)
	}
}

// estate is all that belongs to the fixture's account.
func (f *fixture) estate(t *testing.T) string {
	t.Helper()
	var s strings.Builder
	for _, path := range []string{
		"/v1/accounts/{account}", "/v1/accounts/{account}/wallet", "/v1/accounts/{account}/entries",
		"/v1/projects?limit=100&account_id={account}", "/v1/keys?limit=100&account_id={account}",
	} {
		s.WriteString(f.do(t, "GET", path, "").body)
	}
	return s.String()
}

// anonymous is a problem without the request's id.
func anonymous(a answer) string {
	return strings.ReplaceAll(a.body, a.header.Get("X-Request-Id"), "")
}
