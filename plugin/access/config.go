package access

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/apikey/strictjson"
)

// ErrConfig is wrapped by every problem that ParseConfig reports.
var ErrConfig = strictjson.ErrInvalid

// Config is a filter configuration that has been read and found whole. It is immutable.
type Config struct {
	ControlPlane ControlPlane
	// Schemes are in the order of the configuration.
	Schemes []*Scheme
	// Routes are tried in order; the first match wins.
	Routes []*Route
	// Default serves requests that no route matches; nil refuses them.
	Default *Route
	// CreditsHeader: clients are shown what is left, approximately, in x-credits-remaining.
	CreditsHeader bool

	names *names
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
)

// Preflight is what happens to a CORS preflight on a route with a scheme. It is never charged.
type Preflight string

// The policies. PreflightDeny, the default, refuses it as a request without a credential.
const (
	PreflightDeny   Preflight = "deny"
	PreflightPass   Preflight = "pass"
	PreflightAnswer Preflight = "answer"
)

// Route is one entry of the price list.
type Route struct {
	// Label is the route's path or prefix as configured, or "default"; for logs and usage.
	Label string
	// Number tells the routes of a configuration apart: its index in Labels.
	Number int
	// Scheme is nil on a route with "auth": "none".
	Scheme *Scheme
	// Cost is the price of one request in credits, 0 to 2^53−1, or the most that it can be if CostHeader is set.
	Cost int64
	// CostText is Cost in decimal.
	CostText string
	// CostHeader is the response header, in lower case, in which the upstream says what the request costs; empty if the
	// price is fixed.
	CostHeader string
	// OnSuccess: only a request that the upstream answers with a status below 500 is charged for.
	OnSuccess bool
	// Mode is how credits are taken.
	Mode api.Mode
	// Shadow: the decision is made, counted and logged, and nothing is refused or charged: Cost is 0, and ShadowCost what it
	// would be, at most.
	Shadow     bool
	ShadowCost int64
	// FailOpen: a request that nobody can decide upon is let through and reported as unpaid.
	FailOpen  bool
	Preflight Preflight

	path    string
	prefix  bool
	methods []string
}

// Held reports whether what a request costs is known only once the upstream has answered.
func (r *Route) Held() bool { return r.OnSuccess || r.CostHeader != "" }

// Charge is what a request on r costs that the upstream answered: status is its HTTP status, and charge the value of
// CostHeader, which counts for Cost unless it is a decimal integer from 0 to Cost.
func (r *Route) Charge(status int, charge string) int64 {
	if r.OnSuccess && status >= 500 {
		return 0
	}
	if r.CostHeader == "" {
		return r.Cost
	}
	n, err := strconv.ParseUint(charge, 10, 64)
	if err != nil || n > uint64(r.Cost) {
		return r.Cost
	}
	return int64(n)
}

// ChargeUnanswered is what a request on r costs that the upstream did not answer: its client left, the upstream was
// reset, or the proxy answered by itself.
func (r *Route) ChargeUnanswered() int64 {
	if r.OnSuccess {
		return 0
	}
	return r.Cost
}

// ParseConfig reads the filter's JSON configuration. It is strict: an unknown, repeated, missing or misspelt
// field and a value of the wrong type or range are errors. Every problem is reported, joined, each naming the
// field by its path and saying what was expected, and wrapping ErrConfig. No value is echoed, so a secret pasted
// into the wrong field is not printed.
func ParseConfig(data []byte) (*Config, error) {
	root, err := strictjson.Parse(data)
	if err != nil {
		return nil, err
	}
	r := reader{&strictjson.Reader{}}
	cfg := r.config(root)
	if err := r.Err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// reader reads the parts of a configuration.
type reader struct {
	*strictjson.Reader
}

func (r reader) config(root strictjson.Value) *Config {
	o := r.Object(strictjson.Root, root, "control_plane", "schemes", "routes", "default", "credits_header")
	cfg := &Config{ControlPlane: r.controlPlane(o), names: newNames()}
	byName := r.schemes(cfg, o)
	if v, ok := o.Required("routes"); ok {
		for i, item := range r.Array("routes", v) {
			cfg.Routes = append(cfg.Routes, r.route(strictjson.Index("routes", i), item, byName, true))
		}
	}
	if v, ok := o.Optional("default"); ok {
		cfg.Default = r.route("default", v, byName, false)
	}
	if v, ok := o.Optional("credits_header"); ok {
		cfg.CreditsHeader = r.Bool("credits_header", v)
	}
	for i, route := range cfg.all() {
		route.Number = i
	}
	return cfg
}

func (r reader) controlPlane(root *strictjson.Object) ControlPlane {
	cp := ControlPlane{TokenEnv: DefaultTokenEnv, TimeoutMillis: DefaultTimeoutMillis}
	v, ok := root.Required("control_plane")
	if !ok {
		return cp
	}
	o := r.Object("control_plane", v, "cluster", "token_env", "timeout_ms")
	if v, ok := o.Required("cluster"); ok {
		cp.Cluster = r.Text(o.Path("cluster"), v)
	}
	if v, ok := o.Optional("token_env"); ok {
		cp.TokenEnv = r.Text(o.Path("token_env"), v)
		if strings.Contains(cp.TokenEnv, "=") {
			r.Problem(o.Path("token_env"), "the name of an environment variable")
		}
	}
	if v, ok := o.Optional("timeout_ms"); ok {
		cp.TimeoutMillis = uint32(r.Integer(o.Path("timeout_ms"), v, 1, MaxTimeoutMillis))
	}
	return cp
}

func (r reader) schemes(cfg *Config, root *strictjson.Object) map[string]*Scheme {
	byName := map[string]*Scheme{}
	v, ok := root.Optional("schemes")
	if !ok {
		return byName
	}
	for _, s := range apikey.ReadSchemes(r.Reader, "schemes", v) {
		byName[s.Name] = newScheme(s, len(cfg.Schemes), cfg.names)
		cfg.Schemes = append(cfg.Schemes, byName[s.Name])
	}
	return byName
}

// route reads one route; matched says whether it has to say which requests it is for.
func (r reader) route(field string, v strictjson.Value, schemes map[string]*Scheme, matched bool) *Route {
	fields := append([]string{"scheme", "auth"}, priced...)
	if matched {
		fields = append(fields, "path", "prefix", "methods")
	}
	o := r.Object(field, v, fields...)
	route := &Route{Label: "default", Mode: api.ModeLease, Preflight: PreflightDeny}
	if matched {
		r.match(o, route)
	}
	r.credential(o, schemes, route)
	return route
}

func (r reader) match(o *strictjson.Object, route *Route) {
	path, hasPath := o.Optional("path")
	prefix, hasPrefix := o.Optional("prefix")
	switch {
	case hasPath == hasPrefix:
		r.Problem(o.Field, `exactly one of "path" and "prefix"`)
		return
	case hasPath:
		route.path = r.Text(o.Path("path"), path)
	default:
		route.prefix = true
		route.path = r.Text(o.Path("prefix"), prefix)
	}
	clean, ok := routePath(route.path)
	if !ok || strings.ContainsAny(route.path, "?%") {
		r.Problem(o.Field, "a path that starts with /, without a query, escapes, empty or dot segments; write é or a space as it is")
	}
	route.path = clean
	route.Label = route.path
	if v, ok := o.Optional("methods"); ok {
		route.methods = r.methods(o.Path("methods"), v)
	}
}

func (r reader) methods(field string, v strictjson.Value) []string {
	var methods []string
	for i, item := range r.Array(field, v) {
		method := r.Text(strictjson.Index(field, i), item)
		if strings.ContainsFunc(method, func(c rune) bool { return c < 'A' || c > 'Z' }) {
			r.Problem(strictjson.Index(field, i), "a method in upper-case letters")
		}
		methods = append(methods, method)
	}
	if len(methods) == 0 {
		r.Problem(field, "at least one method")
	}
	return methods
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

// all are the routes by number: those of Routes, and the default one.
func (c *Config) all() []*Route {
	if c.Default == nil {
		return c.Routes
	}
	return append(slices.Clip(c.Routes), c.Default)
}

// Labels are the labels of the routes by number.
func (c *Config) Labels() []string {
	var labels []string
	for _, r := range c.all() {
		labels = append(labels, r.Label)
	}
	return labels
}
