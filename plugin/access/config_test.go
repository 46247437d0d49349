package access

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
)

const goodConfig = `{
  "control_plane": {"cluster": "tollgate", "token_env": "TOKEN", "timeout_ms": 250},
  "schemes": {"genrex": {"preset": "genrex"}},
  "routes": [
    {"path": "/healthz", "auth": "none"},
    {"path": "/v1/document/free", "methods": ["GET", "POST"], "scheme": "genrex", "cost": 0},
    {"prefix": "/v1/document/", "scheme": "genrex", "cost": 3, "mode": "strict"}
  ]
}`

func mustConfig(t testing.TB, text string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParseConfig(t *testing.T) {
	c := mustConfig(t, goodConfig)
	if got, want := c.ControlPlane, (ControlPlane{Cluster: "tollgate", TokenEnv: "TOKEN", TimeoutMillis: 250}); got != want {
		t.Errorf("control plane = %+v, want %+v", got, want)
	}
	if len(c.Routes) != 3 || c.Routes[2].Cost != 3 || c.Routes[2].Scheme.Name != "genrex" || c.Default != nil {
		t.Errorf("routes = %+v, default = %+v", c.Routes, c.Default)
	}
}

func TestParseConfigDefaults(t *testing.T) {
	c := mustConfig(t, `{"control_plane":{"cluster":"cp"},"routes":[],"default":{"auth":"none"}}`)
	if got, want := c.ControlPlane, (ControlPlane{Cluster: "cp", TokenEnv: "TOLLGATE_GATE_TOKEN", TimeoutMillis: 500}); got != want {
		t.Errorf("control plane = %+v, want %+v", got, want)
	}
	if c.Default == nil || c.Default.Scheme != nil {
		t.Errorf("default = %+v, want an open route", c.Default)
	}
}

func TestParsePrices(t *testing.T) {
	c := mustConfig(t, strings.Replace(goodConfig, `"cost": 3, "mode": "strict"`,
		`"cost_from": {"header": "x-tollgate-charge", "max": 9}, "charge_on": "success"`, 1))
	if r := c.Routes[1]; r.Mode != api.ModeLease || r.Held() || r.Charge(500, "7") != 0 || r.ChargeUnanswered() != 0 {
		t.Errorf("free route: %+v", r)
	}
	success := c.Routes[2]
	admit := *success
	admit.OnSuccess = false
	tests := []struct {
		status         int
		charge         string
		success, admit int64
	}{
		{200, "0", 0, 0}, {200, "4", 4, 4}, {499, "9", 9, 9}, {200, "10", 9, 9}, {200, "-1", 9, 9}, {200, "", 9, 9},
		{200, "4.0", 9, 9}, {200, " 4", 9, 9}, {200, "99999999999999999999", 9, 9}, {200, "4,4", 9, 9},
		{500, "4", 0, 4}, {503, "", 0, 9},
	}
	for _, tt := range tests {
		if s, a := success.Charge(tt.status, tt.charge), admit.Charge(tt.status, tt.charge); s != tt.success || a != tt.admit {
			t.Errorf("status %d, charge %q: %d on success and %d on admission, want %d and %d", tt.status, tt.charge, s, a, tt.success, tt.admit)
		}
	}
	if s, a := success.ChargeUnanswered(), admit.ChargeUnanswered(); s != 0 || a != 9 {
		t.Errorf("unanswered: %d on success and %d on admission, want 0 and 9", s, a)
	}
	if diff := cmp.Diff([]string{"/healthz", "/v1/document/free", "/v1/document/"}, c.Labels()); diff != "" || success.Number != 2 {
		t.Errorf("labels: %s; the third has number %d", diff, success.Number)
	}
}

// Envoy renders a Struct's numbers from doubles: from 10^15 on in scientific notation.
func TestParseConfigTakesNumbersAsEnvoyRendersThem(t *testing.T) {
	c := mustConfig(t, strings.Replace(goodConfig, `"cost": 3`, `"cost": 1e+15`, 1))
	if got := c.Routes[2].Cost; got != 1_000_000_000_000_000 {
		t.Errorf("cost = %d", got)
	}
	c = mustConfig(t, strings.Replace(goodConfig, `"cost": 3`, `"cost": 1.5e+15`, 1))
	if got := c.Routes[2].Cost; got != 1_500_000_000_000_000 {
		t.Errorf("cost = %d", got)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(goodConfig, old) {
			t.Fatalf("the good configuration has no %q", old)
		}
		return strings.Replace(goodConfig, old, new, 1)
	}
	tests := []struct {
		name, config string
		want         []string // each has to stand in the error
	}{
		{"empty", "", []string{"configuration: expected one JSON object"}},
		{"not JSON", "{", []string{"malformed after byte 1"}},
		{"not an object", "[]", []string{"configuration: expected an object"}},
		{"trailing bytes", goodConfig + "x", []string{"malformed after byte"}},
		{"second value", goodConfig + "{}", []string{"malformed after byte"}},
		{"unknown field", replace(`"timeout_ms"`, `"timeout"`), []string{"control_plane.timeout: expected no such field"}},
		{"misspelt case", replace(`"cluster"`, `"Cluster"`), []string{`control_plane."Cluster"`, "control_plane.cluster: expected a value (required)"}},
		{"repeated field", replace(`"cost": 3`, `"cost": 3, "cost": 4`), []string{"routes[2].cost: expected the field once"}},
		{"no control plane", `{"routes":[]}`, []string{"control_plane: expected a value (required)"}},
		{"no routes", `{"control_plane":{"cluster":"a"}}`, []string{"routes: expected a value (required)"}},
		{"wrong type", replace(`"tollgate"`, `7`), []string{"control_plane.cluster: expected a non-empty string"}},
		{"null", replace(`"tollgate"`, `null`), []string{"control_plane.cluster: expected a non-empty string"}},
		{"timeout zero", replace(`250`, `0`), []string{"control_plane.timeout_ms: expected an integer from 1 to 60000"}},
		{"timeout too long", replace(`250`, `60001`), []string{"control_plane.timeout_ms"}},
		{"negative cost", replace(`"cost": 3`, `"cost": -1`), []string{"routes[2].cost: expected an integer from 0 to 2^53-1"}},
		{"fractional cost", replace(`"cost": 3`, `"cost": 1.5`), []string{"routes[2].cost"}},
		{"cost above 2^53-1", replace(`"cost": 3`, `"cost": 9007199254740992`), []string{"routes[2].cost"}},
		{"cost that rounds to zero", replace(`"cost": 3`, `"cost": 1e-400`), []string{"routes[2].cost"}},
		{"cost with a point", replace(`"cost": 3`, `"cost": 3.0`), []string{"routes[2].cost"}},
		{"huge cost", replace(`"cost": 3`, `"cost": 1e400`), []string{"routes[2].cost"}},
		{"cost as text", replace(`"cost": 3`, `"cost": "3"`), []string{"routes[2].cost"}},
		{"no cost", replace(`"cost": 3, `, ``), []string{"routes[2].cost", "required"}},
		{"cost on an open route", replace(`"auth": "none"`, `"auth": "none", "cost": 1`), []string{"routes[0].cost: expected no cost on a route"}},
		{"scheme and auth", replace(`"auth": "none"`, `"auth": "none", "scheme": "genrex"`), []string{`routes[0]: expected exactly one of "scheme" and "auth"`}},
		{"neither scheme nor auth", replace(`, "auth": "none"`, ``), []string{`routes[0]: expected exactly one of "scheme" and "auth"`}},
		{"auth other than none", replace(`"none"`, `"basic"`), []string{`routes[0].auth: expected "none"`}},
		{"unknown scheme", replace(`"scheme": "genrex", "cost": 3`, `"scheme": "other", "cost": 3`), []string{"routes[2].scheme"}},
		{"unknown preset", replace(`"preset": "genrex"`, `"preset": "other"`), []string{"schemes.genrex.preset"}},
		{"scheme name", replace(`"genrex": {`, `"gen rex": {`), []string{"schemes: expected names"}},
		{"path and prefix", replace(`"path": "/healthz"`, `"path": "/healthz", "prefix": "/"`), []string{`routes[0]: expected exactly one of "path" and "prefix"`}},
		{"neither path nor prefix", replace(`"path": "/healthz", `, ``), []string{`routes[0]: expected exactly one of "path" and "prefix"`}},
		{"path with dots", replace(`"/healthz"`, `"/a/../healthz"`), []string{"routes[0]: expected a path"}},
		{"path with query", replace(`"/healthz"`, `"/healthz?x"`), []string{"routes[0]: expected a path"}},
		{"path with an escape", replace(`"/healthz"`, `"/a%20b"`), []string{"routes[0]: expected a path"}},
		{"variable with =", replace(`"TOKEN"`, `"A=B"`), []string{"control_plane.token_env: expected the name"}},
		{"relative path", replace(`"/healthz"`, `"healthz"`), []string{"routes[0]: expected a path"}},
		{"lower-case method", replace(`"GET"`, `"get"`), []string{"routes[1].methods[0]"}},
		{"no methods", replace(`["GET", "POST"]`, `[]`), []string{"routes[1].methods: expected at least one"}},
		{"unknown mode", replace(`"strict"`, `"loose"`), []string{`routes[2].mode: expected one of "lease", "strict"`}},
		{"charge_on", replace(`"cost": 3`, `"cost": 3, "charge_on": "failure"`), []string{`routes[2].charge_on: expected one of "admit", "success"`}},
		{"charge_on on an open route", replace(`"auth": "none"`, `"auth": "none", "charge_on": "success"`), []string{"routes[0].charge_on: expected no charge_on on a route"}},
		{"shadow on an open route", replace(`"auth": "none"`, `"auth": "none", "shadow": true`), []string{"routes[0].shadow: expected no shadow on a route"}},
		{"shadow of text", replace(`"cost": 3`, `"cost": 3, "shadow": "yes"`), []string{"routes[2].shadow: expected true or false"}},
		{"cost_from beside cost", replace(`"cost": 3, "mode": "strict"`, `"cost": 3, "cost_from": {"header": "x-a", "max": 3}`), []string{"routes[2].cost_from: expected no cost_from beside cost"}},
		{"cost_from under strict", replace(`"cost": 3`, `"cost_from": {"header": "x-a", "max": 3}`), []string{`routes[2].cost_from: expected "mode": "lease"`}},
		{"cost_from without max", replace(`"cost": 3, "mode": "strict"`, `"cost_from": {"header": "x-a"}`), []string{"routes[2].cost_from.max: expected a value (required)"}},
		{"cost_from without header", replace(`"cost": 3, "mode": "strict"`, `"cost_from": {"max": 1}`), []string{"routes[2].cost_from.header: expected a value (required)"}},
		{"cost_from of 0", replace(`"cost": 3, "mode": "strict"`, `"cost_from": {"header": "x-a", "max": 0}`), []string{"routes[2].cost_from.max: expected an integer from 1 to 2^53-1"}},
		{"cost_from another's header", replace(`"cost": 3, "mode": "strict"`, `"cost_from": {"header": ":status", "max": 1}`), []string{"routes[2].cost_from.header: expected the name of a response header"}},
		{"cost_from in upper case", replace(`"cost": 3, "mode": "strict"`, `"cost_from": {"header": "x-A", "max": 1}`), []string{"routes[2].cost_from.header: expected the name of a response header"}},
		{"several problems at once", replace(`250`, `0`)[:len(goodConfig)-4] + `, "x": 1}`,
			[]string{"control_plane.timeout_ms", "x: expected no such field"}},
		{"deep nesting", `{"control_plane":` + strings.Repeat(`[`, 1000) + strings.Repeat(`]`, 1000) + `}`, []string{"at most 16 levels"}},
		{"over 1 MiB", `{"x":"` + strings.Repeat("a", 1<<20) + `"}`, []string{"at most 1 MiB"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseConfig([]byte(tt.config))
			if !errors.Is(err, ErrConfig) {
				t.Fatalf("ParseConfig = %v, want an ErrConfig", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

// An operator may paste a token where the name of a variable belongs.
func TestParseConfigEchoesNoValue(t *testing.T) {
	const secret = "tg_gate_do-not-print-me"
	asField := strings.Replace(goodConfig, `"timeout_ms"`, `"grx_sk_0123456789abcdef0123456789abcdef0123456789abcdef"`, 1)
	if _, err := ParseConfig([]byte(asField)); err == nil || strings.Contains(err.Error(), "abcdef0123456789abcdef") {
		t.Errorf("a key pasted as a field name is printed, or taken: %v", err)
	}
	for _, field := range []string{`"tollgate"`, `250`, `"strict"`, `"none"`, `"/healthz"`, `"GET"`, `"preset": "genrex"`} {
		to := `"` + secret + "\x01" + `"`
		if strings.HasPrefix(field, `"preset"`) {
			to = `"preset": ` + to
		}
		to = strings.ReplaceAll(to, "\x01", ``)
		_, err := ParseConfig([]byte(strings.Replace(goodConfig, field, to, 1)))
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s replaced: the error prints the value: %v", field, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte(`{"control_plane":{"cluster":"c"},"routes":[{"prefix":"/","auth":"none"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
		if err != nil {
			if !errors.Is(err, ErrConfig) {
				t.Fatalf("error %v is no ErrConfig", err)
			}
			return
		}
		check(c, [][2]string{{":method", "GET"}, {":path", "/"}, {":authority", "a"}})
	})
}
