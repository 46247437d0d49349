package access

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

const goodKey = "grx_sk_0123456789abcdef0123456789abcdef0123456789abcdef"

func request(path string, headers ...[2]string) [][2]string {
	return append([][2]string{{":authority", "api.test"}, {":method", "POST"}, {":path", path}}, headers...)
}

func TestCredentialRules(t *testing.T) {
	c := mustConfig(t, goodConfig)
	auth := func(v string) [2]string { return [2]string{"authorization", v} }
	xkey := func(v string) [2]string { return [2]string{"x-api-key", v} }
	const ask = apikey.Reason("ask")
	tests := []struct {
		name    string
		headers [][2]string
		want    apikey.Reason
	}{
		{"1 none", nil, apikey.MissingCredential},
		{"2 bearer", [][2]string{auth("Bearer " + goodKey)}, ask},
		{"2 scheme in any case", [][2]string{auth("bEARER " + goodKey)}, ask},
		{"2 several spaces", [][2]string{auth("Bearer    " + goodKey)}, ask},
		{"2 tab as separator", [][2]string{auth("Bearer\t" + goodKey)}, apikey.InvalidKey},
		{"3 x-api-key", [][2]string{xkey(goodKey)}, ask},
		{"3 bearer in x-api-key", [][2]string{xkey("Bearer " + goodKey)}, apikey.InvalidKey},
		{"3 header name in odd case", [][2]string{{"X-API-Key", goodKey}}, ask},
		{"4 two authorization", [][2]string{auth("Bearer " + goodKey), auth("Bearer " + goodKey)}, apikey.InvalidRequest},
		{"4 two x-api-key", [][2]string{xkey(goodKey), xkey(goodKey)}, apikey.InvalidRequest},
		{"5 joined values", [][2]string{xkey(goodKey + "," + goodKey)}, apikey.InvalidRequest},
		{"5 joined bearers", [][2]string{auth("Bearer " + goodKey + ", Bearer " + goodKey)}, apikey.InvalidRequest},
		{"5 precedes 17", [][2]string{auth(`Digest username="a", realm="b"`)}, apikey.InvalidRequest},
		{"6 both sources", [][2]string{auth("Bearer " + goodKey), xkey(goodKey)}, apikey.InvalidRequest},
		{"7 other schemes' headers are not judged", [][2]string{auth("Bearer " + goodKey), {"x-secret-key", "sk_live_x"}}, ask},
		{"11 empty", [][2]string{xkey("")}, apikey.MissingCredential},
		{"11 spaces", [][2]string{auth("  ")}, apikey.MissingCredential},
		{"11 empty counts for 6", [][2]string{auth(""), xkey(goodKey)}, apikey.InvalidRequest},
		{"12 bearer alone", [][2]string{auth("Bearer")}, apikey.MissingCredential},
		{"12 bearer and space", [][2]string{auth("Bearer ")}, apikey.MissingCredential},
		{"13 short", [][2]string{xkey(goodKey[:54])}, apikey.InvalidKey},
		{"13 long", [][2]string{xkey(goodKey + "0")}, apikey.InvalidKey},
		{"13 prefix", [][2]string{xkey("grx_pk_" + goodKey[7:])}, apikey.InvalidKey},
		{"13 upper-case hex", [][2]string{xkey(goodKey[:54] + "F")}, apikey.InvalidKey},
		{"13 upper-case prefix", [][2]string{xkey("GRX_SK_" + goodKey[7:])}, apikey.InvalidKey},
		{"13 percent-encoded", [][2]string{xkey("grx%5Fsk_" + goodKey[7:])}, apikey.InvalidKey},
		{"13 quoted", [][2]string{auth(`Bearer "` + goodKey + `"`)}, apikey.InvalidKey},
		{"14 space after", [][2]string{auth("Bearer " + goodKey + " ")}, apikey.InvalidKey},
		{"14 second token", [][2]string{auth("Bearer " + goodKey + " x")}, apikey.InvalidKey},
		{"14 tab after", [][2]string{xkey(goodKey + "\t")}, apikey.InvalidKey},
		{"15 NUL", [][2]string{xkey(goodKey[:54] + "\x00")}, apikey.InvalidKey},
		{"15 UTF-8", [][2]string{xkey(goodKey[:53] + "é")}, apikey.InvalidKey},
		{"15 NBSP", [][2]string{auth("Bearer\u00a0" + goodKey)}, apikey.InvalidKey},
		{"16 over 256 bytes", [][2]string{xkey(strings.Repeat("a", 257))}, apikey.InvalidKey},
		{"16 8 KiB", [][2]string{auth("Bearer " + strings.Repeat("a", 8192))}, apikey.InvalidKey},
		{"17 basic", [][2]string{auth("Basic dXNlcjpwYXNz")}, apikey.MissingCredential},
		{"17 a long ticket of another scheme", [][2]string{auth("Negotiate " + strings.Repeat("a", 8192))}, apikey.MissingCredential},
		{"17 raw key", [][2]string{auth(goodKey)}, apikey.MissingCredential},
		{"18 basic and x-api-key", [][2]string{auth("Basic dXNlcjpwYXNz"), xkey(goodKey)}, apikey.InvalidRequest},
		{"19 underscore twin alone", [][2]string{{"x_api_key", goodKey}}, apikey.InvalidRequest},
		{"19 underscore twin beside", [][2]string{xkey(goodKey), {"X_Api_Key", goodKey}}, apikey.InvalidRequest},
		{"23 two authorities", [][2]string{{":authority", "api.test"}, xkey(goodKey)}, apikey.InvalidRequest},
		{"23 differing host", [][2]string{{"host", "other.test"}, xkey(goodKey)}, apikey.InvalidRequest},
		{"23 same host", [][2]string{{"host", "api.test"}, xkey(goodKey)}, ask},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := check(c, request("/v1/document/create", tt.headers...))
			if tt.want == ask {
				if d.Action != Ask || d.Parts != [2]string{goodKey} || !slices.Equal(d.Digests(), []string{apikey.DigestOf(goodKey).Hex()}) {
					t.Errorf("Check = %+v, want to ask for the good key", d)
				}
				return
			}
			if d.Action != Refuse || d.Denial.Reason != tt.want {
				t.Errorf("Check = %+v, want a refusal for %s", d, tt.want)
			}
		})
	}
}

// check is what c decides on headers.
func check(c *Config, headers [][2]string) Decision {
	var d Decision
	c.Check(&d, headers)
	return d
}

// A decision that is used again knows nothing of the request before, and costs no memory.
func TestADecisionIsUsedAgain(t *testing.T) {
	c := mustConfig(t, goodConfig)
	good := request("/v1/document/create", [2]string{"x-api-key", goodKey}, [2]string{"x-tollgate-cost", "0"}, [2]string{"accept", "*/*"})
	var d Decision
	for _, headers := range [][][2]string{good, request("//"), good, request("/healthz"), request("/v1/document/x"), good} {
		c.Check(&d, headers)
		if diff := cmp.Diff(check(c, headers), d, cmp.AllowUnexported(Route{}), cmpopts.IgnoreUnexported(Decision{}), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b *Scheme) bool { return a == b })); diff != "" {
			t.Fatalf("a fresh decision and this one differ (-fresh +again):\n%s", diff)
		}
	}
	if n := testing.AllocsPerRun(100, func() { c.Check(&d, good) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// However a path is escaped, it is one path with one price.
func TestEverySpellingOfAPathIsOneRoute(t *testing.T) {
	c := mustConfig(t, strings.Replace(goodConfig, `"prefix": "/v1/document/"`, `"path": "/v1/a b:c/é~{x}"`, 1))
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for _, r := range []byte("/v1/a b:c/é~{x}") {
			if r != '/' && rapid.Bool().Draw(t, "escape") {
				fmt.Fprintf(&b, rapid.SampledFrom([]string{"%%%02x", "%%%02X"}).Draw(t, "case"), r)
			} else {
				b.WriteByte(r)
			}
		}
		d := check(c, [][2]string{{":method", "POST"}, {":path", b.String()}, {":authority", "a"}})
		if d.Route != c.Routes[2] {
			t.Fatalf("%q is not on the route: %+v", b.String(), d)
		}
	})
}

// No header of any bytes may panic, and only the good key may be asked for.
func FuzzCheck(f *testing.F) {
	c := mustConfig(f, goodConfig)
	f.Add("/v1/document/x", "authorization", "Bearer "+goodKey, "x-api-key", "")
	f.Add("/v1/document/%2e%2e/x", "x_api_key", goodKey, ":authority", "a")
	f.Fuzz(func(t *testing.T, path, n1, v1, n2, v2 string) {
		d := check(c, request(path, [2]string{n1, v1}, [2]string{n2, v2}))
		switch d.Action {
		case Ask:
			if !strings.Contains(v1, "grx_sk_") && !strings.Contains(v2, "grx_sk_") {
				t.Fatalf("asks for a key that was not offered: %+v", d)
			}
		case Refuse:
			if d.Denial == nil {
				t.Fatal("a refusal without a denial")
			}
		}
	})
}

func TestEditsOnARouteWithAScheme(t *testing.T) {
	c := mustConfig(t, goodConfig)
	d := check(c, request("/v1/document/create",
		[2]string{"x-api-key", goodKey}, [2]string{"accept", "*/*"},
		[2]string{"x-tollgate-key-id", "spoofed"}, [2]string{"X_Tollgate_Cost", "0"}))
	if d.Action != Ask {
		t.Fatalf("Check = %+v", d)
	}
	if diff := cmp.Diff([]string{"x-api-key", "x-tollgate-key-id", "X_Tollgate_Cost"}, d.Edits.Remove); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}

func TestEditsOnAnOpenRoute(t *testing.T) {
	c := mustConfig(t, goodConfig)
	d := check(c, request("/healthz",
		[2]string{"authorization", "Basic dXNlcjpwYXNz"}, [2]string{"authorization", "Bearer " + goodKey},
		[2]string{"x-api-key", "somebody-else's"}, [2]string{"x-tollgate-account-id", "spoofed"}))
	want := Edits{
		Remove: []string{"authorization", "x-tollgate-account-id"},
		Add:    [][2]string{{"authorization", "Basic dXNlcjpwYXNz"}},
	}
	if diff := cmp.Diff(want, d.Edits); d.Action != Pass || diff != "" {
		t.Errorf("action %d, edits (-want +got):\n%s", d.Action, diff)
	}
}

func TestRefusals(t *testing.T) {
	c := mustConfig(t, goodConfig)
	tests := []struct {
		verdict api.Verdict
		status  uint32
		code    string
	}{
		{"", 503, "SERVICE_UNAVAILABLE"},
		{"maybe", 503, "SERVICE_UNAVAILABLE"},
		{api.UnknownKey, 401, "INVALID_API_KEY"},
		{api.InactiveKey, 401, "INVALID_API_KEY"},
		{api.AccountNotActive, 403, "ACCOUNT_DISABLED"},
		{api.InsufficientCredits, 402, "INSUFFICIENT_CREDITS"},
		{api.Voided, 503, "SERVICE_UNAVAILABLE"},
	}
	for _, tt := range tests {
		if d := c.Routes[2].Denial(tt.verdict); d.Status != tt.status || !strings.Contains(string(d.Body), `"code":"`+tt.code+`"`) {
			t.Errorf("%q: %+v (%s)", tt.verdict, d, d.Body)
		}
	}
	open := mustConfig(t, strings.Replace(goodConfig, `"cost": 3`, `"cost": 3, "failure_mode": "allow"`, 1))
	if closed, open := c.Routes[2].Undecided(), open.Routes[2].Undecided(); closed.Status != 503 || open != nil {
		t.Errorf("undecided: %+v where it is refused, %+v where it passes", closed, open)
	}
}

// A client must not learn from the answer whether a key exists.
func TestMalformedAndUnknownKeysLookTheSame(t *testing.T) {
	c := mustConfig(t, goodConfig)
	malformed := check(c, request("/v1/document/create", [2]string{"x-api-key", "nonsense"}))
	if diff := cmp.Diff(malformed.Denial, malformed.Route.Denial(api.UnknownKey)); diff != "" {
		t.Errorf("the answers differ:\n%s", diff)
	}
}

func TestRoutes(t *testing.T) {
	c := mustConfig(t, strings.Replace(goodConfig, `{"prefix"`,
		`{"path": "/v1/document/a:b", "scheme": "genrex", "cost": 50}, {"path": "/v1/document/é", "scheme": "genrex", "cost": 50}, {"prefix"`, 1))
	tests := []struct {
		method, target, want string // the route's label, or the refusal's reason
	}{
		{"GET", "/healthz", "/healthz"},
		{"GET", "/healthz?x=/../y", "/healthz"},
		{"GET", "/healthz/", "no_route"},
		{"POST", "/v1/document/free", "/v1/document/free"},
		{"DELETE", "/v1/document/free", "/v1/document/"},
		{"POST", "/v1/document/", "/v1/document/"},
		{"POST", "/v1/d%6fcument/create", "/v1/document/"},
		{"POST", "/v1/document/a%20b", "/v1/document/"},
		{"POST", "/v1/document/a:b", "/v1/document/a:b"},
		{"POST", "/v1/document/a%3Ab", "/v1/document/a:b"},
		{"POST", "/v1/document/%61%3ab", "/v1/document/a:b"},
		{"POST", "/v1/%64ocument/%C3%A9", "/v1/document/é"},
		{"POST", "/v1/document/a;b", "/v1/document/"},
		{"POST", "/v1/document", "no_route"},
		{"POST", "/V1/document/", "no_route"},
		{"POST", "/v1//document/", "bad_path"},
		{"POST", "//v1/document/", "bad_path"},
		{"POST", "/v1/./document/", "bad_path"},
		{"POST", "/v1/document/..", "bad_path"},
		{"POST", "/v1/document/%2e%2E/x", "bad_path"},
		{"POST", "/v1/document/.%2e", "bad_path"},
		{"POST", "/v1/document/..;/x", "bad_path"},
		{"POST", "/v1/document/.%2e%3Bx=1/x", "bad_path"},
		{"POST", "/v1/document/;/x", "bad_path"},
		{"POST", "/v1/document/a%2fb", "bad_path"},
		{"POST", "/v1/document/a%5Cb", "bad_path"},
		{"POST", `/v1/document/a\b`, "bad_path"},
		{"POST", "/v1/document/a\x00b", "bad_path"},
		{"POST", "/v1/document/a%00b", "bad_path"},
		{"POST", "/v1/document/a%zz", "bad_path"},
		{"POST", "/v1/document/a%2", "bad_path"},
		{"POST", "/v1/document/a#b", "bad_path"},
		{"POST", "", "bad_path"},
		{"OPTIONS", "*", "bad_path"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			d := check(c, [][2]string{{":method", tt.method}, {":path", tt.target}, {":authority", "a"}})
			got := ""
			if d.Route != nil {
				got = d.Route.Label
			} else {
				got = string(d.Denial.Reason)
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestEverySchemeHasADenialForEveryReason(t *testing.T) {
	for _, preset := range apikey.Presets() {
		s := newScheme(preset, 0, newNames())
		for _, r := range apikey.Reasons {
			if d := s.Denial(r); d == nil || d.Reason != r || d.Status < 400 || !json.Valid(d.Body) {
				t.Errorf("%s: denial for %s is %+v", s.Name, r, d)
			}
		}
	}
}
