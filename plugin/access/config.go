package access

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate/tollgate/controlplane/api"
)

// ErrConfig is wrapped by every problem that ParseConfig reports.
var ErrConfig = errors.New("invalid filter configuration")

// Config is a filter configuration that has been read and found whole. It is immutable.
type Config struct {
	ControlPlane ControlPlane
	// Schemes are in the order of the configuration.
	Schemes []*Scheme
	// Routes are tried in order; the first match wins.
	Routes []*Route
	// Default serves requests that no route matches; nil refuses them.
	Default *Route

	credentialNames []string
}

// ControlPlane says how to reach the control plane's gate listener.
type ControlPlane struct {
	// Cluster is the name of the proxy's cluster for it.
	Cluster string
	// TokenEnv names the environment variable that holds the gate token.
	TokenEnv string
	// TimeoutMillis bounds a callout, 1 to 60,000 milliseconds.
	TimeoutMillis uint32
}

// Defaults and bounds of a configuration.
const (
	DefaultTokenEnv      = "TOLLGATE_GATE_TOKEN"
	DefaultTimeoutMillis = 500
	MaxTimeoutMillis     = 60_000
	MaxConfigBytes       = 1 << 20
)

// Route is one entry of the price list.
type Route struct {
	// Label is the route's path or prefix as configured, or "default"; for logs.
	Label string
	// Scheme is nil on a route with "auth": "none".
	Scheme *Scheme
	// Cost is the price of one request in credits, 0 to 2^53−1.
	Cost int64
	// Mode is how credits are taken.
	Mode api.Mode

	path     string
	prefix   bool
	methods  []string
	costText string
}

// ParseConfig reads the filter's JSON configuration. It is strict: an unknown, repeated, missing or misspelt
// field and a value of the wrong type or range are errors. Every problem is reported, joined, each naming the
// field by its path and saying what was expected, and wrapping ErrConfig. No value is echoed but names that
// the operator has to find again, so a secret pasted into the wrong field is not printed.
func ParseConfig(data []byte) (*Config, error) {
	if len(data) > MaxConfigBytes {
		return nil, &Problem{Field: "configuration", Want: "at most 1 MiB"}
	}
	root, err := parseJSON(data)
	if err != nil {
		return nil, err
	}
	r := &reader{}
	cfg := r.config(root)
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	return cfg, nil
}

func (r *reader) config(root value) *Config {
	o := r.object("configuration", root, "control_plane", "schemes", "routes", "default")
	cfg := &Config{ControlPlane: r.controlPlane(o)}
	byName := r.schemes(cfg, o)
	if v, ok := o.required("routes"); ok {
		for i, item := range r.array("routes", v) {
			cfg.Routes = append(cfg.Routes, r.route("routes["+strconv.Itoa(i)+"]", item, byName, true))
		}
	}
	if v, ok := o.optional("default"); ok {
		cfg.Default = r.route("default", v, byName, false)
	}
	for _, s := range cfg.Schemes {
		if s.Bearer {
			cfg.credentialNames = append(cfg.credentialNames, "authorization")
		}
		if s.Header != "" {
			cfg.credentialNames = append(cfg.credentialNames, s.Header)
		}
	}
	return cfg
}

func (r *reader) controlPlane(root *object) ControlPlane {
	cp := ControlPlane{TokenEnv: DefaultTokenEnv, TimeoutMillis: DefaultTimeoutMillis}
	v, ok := root.required("control_plane")
	if !ok {
		return cp
	}
	o := r.object("control_plane", v, "cluster", "token_env", "timeout_ms")
	if v, ok := o.required("cluster"); ok {
		cp.Cluster = r.text("control_plane.cluster", v)
	}
	if v, ok := o.optional("token_env"); ok {
		cp.TokenEnv = r.text("control_plane.token_env", v)
	}
	if v, ok := o.optional("timeout_ms"); ok {
		cp.TimeoutMillis = uint32(r.integer("control_plane.timeout_ms", v, 1, MaxTimeoutMillis))
	}
	return cp
}

func (r *reader) schemes(cfg *Config, root *object) map[string]*Scheme {
	byName := map[string]*Scheme{}
	v, ok := root.optional("schemes")
	if !ok {
		return byName
	}
	for _, m := range r.object("schemes", v, anyField).members {
		field := "schemes." + m.name
		if m.name == "" || len(m.name) > api.MaxSchemeLen || strings.ContainsFunc(m.name, notNameRune) {
			r.problem("schemes", "names of 1 to 64 characters from a-z, 0-9, _ and -")
			continue
		}
		o := r.object(field, m.value, "preset")
		v, ok := o.required("preset")
		if !ok {
			continue
		}
		preset, ok := presets[r.text(field+".preset", v)]
		if !ok {
			r.problem(field+".preset", `the name of a preset: "genrex"`)
			continue
		}
		s := preset(m.name)
		byName[m.name] = s
		cfg.Schemes = append(cfg.Schemes, s)
	}
	return byName
}

func notNameRune(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-'
}

// route reads one route; matched says whether it has to say which requests it is for.
func (r *reader) route(field string, v value, schemes map[string]*Scheme, matched bool) *Route {
	fields := []string{"scheme", "auth", "cost", "mode"}
	if matched {
		fields = append(fields, "path", "prefix", "methods")
	}
	o := r.object(field, v, fields...)
	route := &Route{Label: "default", Mode: api.ModeStrict}
	if matched {
		r.match(field, o, route)
	}
	r.routeScheme(field, o, schemes, route)
	if v, ok := o.optional("mode"); ok && r.text(field+".mode", v) != string(api.ModeStrict) {
		r.problem(field+".mode", `"strict"`)
	}
	return route
}

func (r *reader) match(field string, o *object, route *Route) {
	path, hasPath := o.optional("path")
	prefix, hasPrefix := o.optional("prefix")
	switch {
	case hasPath == hasPrefix:
		r.problem(field, `exactly one of "path" and "prefix"`)
		return
	case hasPath:
		route.path = r.text(field+".path", path)
	default:
		route.prefix = true
		route.path = r.text(field+".prefix", prefix)
	}
	if clean, ok := routePath(route.path); !ok || clean != route.path {
		r.problem(field, "a path that starts with / and has no query, empty or dot segments, or escapes of unreserved characters")
	}
	route.Label = route.path
	if v, ok := o.optional("methods"); ok {
		items := r.array(field+".methods", v)
		if len(items) == 0 {
			r.problem(field+".methods", "at least one method")
		}
		for i, item := range items {
			name := field + ".methods[" + strconv.Itoa(i) + "]"
			method := r.text(name, item)
			if strings.ContainsFunc(method, func(c rune) bool { return c < 'A' || c > 'Z' }) {
				r.problem(name, "a method in upper-case letters")
			}
			route.methods = append(route.methods, method)
		}
	}
}

func (r *reader) routeScheme(field string, o *object, schemes map[string]*Scheme, route *Route) {
	name, hasScheme := o.optional("scheme")
	auth, hasAuth := o.optional("auth")
	cost, hasCost := o.optional("cost")
	if hasScheme == hasAuth {
		r.problem(field, `exactly one of "scheme" and "auth"`)
		return
	}
	if hasAuth {
		if r.text(field+".auth", auth) != "none" {
			r.problem(field+".auth", `"none"`)
		}
		if hasCost {
			r.problem(field+".cost", `no cost on a route with "auth": "none"`)
		}
		return
	}
	s, ok := schemes[r.text(field+".scheme", name)]
	if !ok {
		r.problem(field+".scheme", "the name of a scheme in schemes")
	}
	route.Scheme = s
	if !hasCost {
		r.problem(field+".cost", "an integer from 0 to 2^53-1 (required)")
		return
	}
	route.Cost = r.integer(field+".cost", cost, 0, api.MaxCredits)
	route.costText = strconv.FormatInt(route.Cost, 10)
}

// route returns the first route for method and path, or the default, or nil.
func (c *Config) route(method, path string) *Route {
	for _, r := range c.Routes {
		if r.path != path && (!r.prefix || !strings.HasPrefix(path, r.path)) {
			continue
		}
		if len(r.methods) == 0 || slices.Contains(r.methods, method) {
			return r
		}
	}
	return c.Default
}
