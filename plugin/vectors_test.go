//go:build !wasip1

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/plugin/access"
	"github.com/tollgate/tollgate/testenv"
)

// vectorConfig prices the routes of both pages at two credits.
const vectorConfig = `{
  "control_plane": {"cluster": "tollgate", "timeout_ms": 20000},
  "schemes": {"genrex": {"preset": "genrex"}, "vexrail": {"preset": "vexrail"}},
  "routes": [
    {"path": "/v1/chat/completions", "methods": ["POST"], "mode": "strict", "scheme": "vexrail", "cost": 2},
    {"prefix": "/v1/document/", "mode": "strict", "scheme": "genrex", "cost": 2},
    {"prefix": "/open/", "auth": "none"},
    {"path": "/healthz", "auth": "none"}
  ]
}`

const vectorCost = 2

// credentialNames are the credential headers of both schemes, in canonical form.
var credentialNames = []string{"authorization", "x-api-key", "x-publishable-key", "x-secret-key"}

// ring is a control plane with a key in every state that vectors name.
type ring struct {
	cp *controlplanetest.ControlPlane
	// keys are the texts by the names of the table; what is not made stands for itself.
	keys map[string]string
	// identity is what the upstream has to be told of the good key of each scheme.
	identity map[string]map[string]string
	// accounts are those of the good keys.
	accounts map[string]string
}

func newRing(t testing.TB) *ring {
	t.Helper()
	r := &ring{
		cp: controlplanetest.New(t), keys: map[string]string{},
		identity: map[string]map[string]string{}, accounts: map[string]string{},
	}
	r.addSecretKeys(t)
	r.addPairs(t)
	r.keys["genrex_unknown"] = "grx_sk_" + strings.Repeat("0", 48)
	r.keys["pk_unknown"], r.keys["sk_unknown"] = "pk_live_"+strings.Repeat("0", 32), "sk_live_"+strings.Repeat("0", 32)
	r.keys["genrex_wrong"], r.keys["sk_wrong"] = lastChanged(r.keys["genrex"]), lastChanged(r.keys["sk"])
	return r
}

func (r *ring) addSecretKeys(t testing.TB) {
	t.Helper()
	account := r.cp.MustAccount(t, "active", 1_000_000)
	good := r.cp.MustKey(t, account)
	r.keys["genrex"], r.accounts["genrex"] = good.Secret, account
	r.identity["genrex"] = map[string]string{
		access.HeaderAccount: account, access.HeaderKey: good.ID, access.HeaderProject: "", access.HeaderCost: fmt.Sprint(vectorCost),
	}
	revoked, inactive := r.cp.MustKey(t, account), r.cp.MustKey(t, account)
	r.cp.MustRevokeKey(t, revoked.ID)
	r.cp.MustSetKeyStatus(t, inactive.ID, "inactive")
	r.keys["genrex_revoked"], r.keys["genrex_inactive"] = revoked.Secret, inactive.Secret
	r.keys["genrex_expired"] = r.expired(t, map[string]any{"account_id": account, "scheme": "genrex", "name": "expired"}).Secret
	r.keys["genrex_restricted"] = r.restricted(t, r.cp.MustKeyOf(t, "genrex", account)).Secret
	for name, id := range map[string]string{
		"pending": r.cp.MustAccount(t, "pending", 100), "disabled": r.cp.MustAccount(t, "disabled", 100), "poor": r.cp.MustAccount(t, "active", 1),
	} {
		r.keys["genrex_"+name] = r.cp.MustKey(t, id).Secret
	}
}

func (r *ring) addPairs(t testing.TB) {
	t.Helper()
	account := r.cp.MustAccount(t, "active", 1_000_000)
	project := r.cp.MustProject(t, account, "verified")
	put := func(suffix string, p controlplanetest.Pair) {
		r.keys["pk"+suffix], r.keys["sk"+suffix] = p.Publishable, p.Secret
	}
	good := r.cp.MustPair(t, project)
	put("", good)
	r.accounts["vexrail"] = account
	r.identity["vexrail"] = map[string]string{
		access.HeaderAccount: account, access.HeaderKey: good.ID, access.HeaderProject: project, access.HeaderCost: fmt.Sprint(vectorCost),
	}
	put("2", r.cp.MustPair(t, r.cp.MustProject(t, account, "verified")))
	revoked, inactive := r.cp.MustPair(t, project), r.cp.MustPair(t, project)
	r.cp.MustRevokeKey(t, revoked.ID)
	r.cp.MustSetKeyStatus(t, inactive.ID, "inactive")
	put("_revoked", revoked)
	put("_inactive", inactive)
	put("_expired", r.expired(t, map[string]any{"project_id": project, "scheme": "vexrail", "name": "expired"}))

	poor := r.cp.MustAccount(t, "active", 1)
	put("_restricted", r.restricted(t, r.cp.MustPair(t, project)))
	put("_poor", r.cp.MustPair(t, r.cp.MustProject(t, poor, "verified")))
	disabled := r.cp.MustAccount(t, "active", 100)
	put("_disabled", r.cp.MustPair(t, r.cp.MustProject(t, disabled, "verified")))
	r.cp.MustSetAccountStatus(t, disabled, "disabled")
	lapsed := r.cp.MustProject(t, account, "verified")
	put("_lapsed", r.cp.MustPair(t, lapsed))
	r.cp.MustLapse(t, lapsed)
}

// expired makes a key that ends, and waits for its end on the control plane's clock.
// restricted has a key be for other requests than those of the table.
func (r *ring) restricted(t testing.TB, p controlplanetest.Pair) controlplanetest.Pair {
	t.Helper()
	fields := map[string]any{"routes": []any{route("path", "/v2/elsewhere")}}
	if status, body := r.cp.Admin(t, "PATCH", "/v1/keys/"+p.ID, fields); status != 200 {
		t.Fatalf("restrict a key: %d %s", status, body)
	}
	return p
}

func (r *ring) expired(t testing.TB, body map[string]any) controlplanetest.Pair {
	t.Helper()
	end := r.cp.Clock.Now().Add(time.Second)
	body["expires_at"] = end
	status, answer := r.cp.Admin(t, "POST", "/v1/keys", body)
	var made struct {
		ID, Secret  string
		Publishable string `json:"publishable_key"`
	}
	if err := json.Unmarshal(answer, &made); err != nil || status != 201 {
		t.Fatalf("make a key that expires: %d %s %v", status, answer, err)
	}
	r.cp.Clock.Set(end)
	return controlplanetest.Pair{ID: made.ID, Publishable: made.Publishable, Secret: made.Secret}
}

func lastChanged(key string) string {
	last := byte('0')
	if key[len(key)-1] == last {
		last = '1'
	}
	return key[:len(key)-1] + string(last)
}

// decide is what package access decides on headers.
func decide(c *access.Config, headers [][2]string) access.Decision {
	var d access.Decision
	c.Check(&d, headers)
	return d
}

// Native: what package access decides from the headers alone.
func TestVectorsNatively(t *testing.T) {
	t.Parallel()
	config, err := access.ParseConfig([]byte(vectorConfig))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range readVectors(t, newRing(t).keys) {
		// A host shows repeated authorities either apart or joined.
		for _, hosts := range [][]string{v.Hosts, {strings.Join(v.Hosts, ",")}} {
			headers := [][2]string{{":method", v.Method}, {":path", v.Path}, {":scheme", "http"}}
			for _, host := range hosts {
				headers = append(headers, [2]string{":authority", host})
			}
			d := decide(config, append(headers, v.Headers...))
			got := answer{pass: d.Action != access.Refuse}
			if !got.pass {
				got = answer{Status: int(d.Denial.Status), Code: errorCode(d.Denial.Body)}
			}
			want := v.Want
			if v.Asks {
				want = answer{pass: true}
			}
			if got != want {
				t.Errorf("%s: %s, want %s", v.Name, got, want)
			}
		}
	}
}

// Compiled: the filter as it is shipped, in both modes, on every host that shows repeated credentials apart or joins
// them, with a real control plane behind it.
func TestVectorsThroughTheFilter(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		for mode, config := range map[string]string{"strict": vectorConfig, "lease": strings.NewReplacer(leasing...).Replace(vectorConfig)} {
			for name, inline := range map[string][]string{"apart": nil, "joined": credentialNames} {
				t.Run(mode+", "+name, func(t *testing.T) {
					r := newRing(t)
					o.InlineHeaders = inline
					h := hostOf(t, r.cp, o, nil, testConfig, config)
					passes := map[string]int64{}
					for _, v := range readVectors(t, r.keys) {
						t.Run(v.Name, func(t *testing.T) { v.checkCompiled(t, r, h, mode == "strict") })
						if v.Want.pass {
							passes[v.Scheme]++
						}
					}
					h.Advance(settled)
					r.checkSpent(t, passes)
					r.cp.Verify(t)
				})
			}
		}
	})
}

// checkCompiled holds what comes of v. Strict says that every key is asked for each time.
func (v *vector) checkCompiled(t *testing.T, r *ring, h *testenv.Host, strict bool) {
	t.Helper()
	want := testenv.Want{Decision: testenv.Answered, Status: v.Want.Status, Callouts: unasked}
	if v.Want.pass {
		want = passed
	}
	if v.Asks {
		want = asked(want)
	}
	if !strict && (v.Asks || v.Want.pass) {
		want.Callouts = nil
	}
	got := h.Check(t, testenv.Request{
		Method: v.Method, Path: v.Path, Host: strings.Join(v.Hosts, ","), Headers: v.Headers, Body: []byte(v.Body), Trailers: v.Trailers,
	}, want)
	switch {
	case !v.Want.pass:
		checkRefusal(t, v.Want, got.Status, got.Body, got.Header)
	case got.Upstream != nil:
		v.checkUpstream(t, r, got.Upstream.Headers)
	}
}

// checkRefusal holds what every refusal of the filter has in common, and the row that is wanted.
func checkRefusal(t *testing.T, want answer, status int, body []byte, header func(name string) string) {
	t.Helper()
	if got := (answer{Status: status, Code: errorCode(body)}); got != want {
		t.Errorf("%s, want %s\n%s", got, want, body)
	}
	if header("content-type") != "application/json" || header("cache-control") != "no-store" {
		t.Errorf("content-type %q, cache-control %q", header("content-type"), header("cache-control"))
	}
	if (status == 401) != (header("www-authenticate") != "") {
		t.Errorf("www-authenticate %q with status %d", header("www-authenticate"), status)
	}
}

// checkUpstream holds what an upstream must get of a request that passed.
func (v *vector) checkUpstream(t *testing.T, r *ring, headers [][2]string) {
	t.Helper()
	identity, values := r.identity[v.Scheme], map[string][]string{}
	for _, h := range headers {
		values[h[0]] = append(values[h[0]], h[1])
		name := strings.Map(canonical, h[0])
		if slices.Contains(credentialNames, name) {
			t.Errorf("the upstream got %s", h[0])
		}
		if want, known := identity[name]; strings.HasPrefix(name, "x-tollgate-") && (!known || h[1] != want || h[0] != name) {
			t.Errorf("the upstream got %s %q", h[0], h[1])
		}
	}
	for _, wants := range []map[string]string{identity, v.Upstream} {
		for name, want := range wants {
			if got := strings.Join(values[name], "|"); got != want {
				t.Errorf("the upstream got %s %q, want %q", name, got, want)
			}
		}
	}
}

// canonical folds what servers fold in names: ASCII letters, and for some "_".
func canonical(c rune) rune {
	switch {
	case c == '_':
		return '-'
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return c
}

// checkSpent holds that passes cost what they should and refusals nothing.
func (r *ring) checkSpent(t *testing.T, passes map[string]int64) {
	t.Helper()
	for scheme, account := range r.accounts {
		if got, want := r.cp.MustWallet(t, account).Spent, passes[scheme]*vectorCost; got != want || want == 0 {
			t.Errorf("%s: %d credits spent, want %d for %d passes", scheme, got, want, passes[scheme])
		}
	}
}

// errorCode reads the code of an error body, "" if it is none.
func errorCode(body []byte) string {
	var e struct{ Error struct{ Code string } }
	_ = json.Unmarshal(body, &e)
	return e.Error.Code
}
