package access

import (
	"errors"
	"strings"
	"testing"
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
		{"mode not built", replace(`"strict"`, `"lease"`), []string{`routes[2].mode: expected "strict"`}},
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
		c.Check([][2]string{{":method", "GET"}, {":path", "/"}, {":authority", "a"}})
	})
}
