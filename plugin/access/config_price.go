package access

import (
	"strconv"
	"strings"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey/strictjson"
)

// priced are the fields that mean something on a route with a scheme alone.
var priced = []string{"cost", "cost_from", "charge_on", "mode", "failure_mode", "preflight", "shadow"}

func (r reader) credential(o *strictjson.Object, schemes map[string]*Scheme, route *Route) {
	name, hasScheme := o.Optional("scheme")
	auth, hasAuth := o.Optional("auth")
	if hasScheme == hasAuth {
		r.Problem(o.Field, `exactly one of "scheme" and "auth"`)
		return
	}
	if hasAuth {
		r.OneOf(o.Path("auth"), auth, "none")
		for _, field := range priced {
			if _, ok := o.Optional(field); ok {
				r.Problem(o.Path(field), "no "+field+` on a route with "auth": "none"`)
			}
		}
		return
	}
	s, ok := schemes[r.Text(o.Path("scheme"), name)]
	if !ok {
		r.Problem(o.Path("scheme"), "the name of a scheme in schemes")
	}
	route.Scheme = s
	r.policies(o, route)
	r.price(o, route)
	if v, ok := o.Optional("shadow"); ok && r.Bool(o.Path("shadow"), v) {
		route.overshadow()
	}
}

// overshadow makes r a route that charges and refuses nothing, whatever its price and its policies.
func (r *Route) overshadow() {
	r.Shadow, r.ShadowCost = true, r.Cost
	r.Cost, r.CostText = 0, "0"
	r.Mode, r.FailOpen = api.ModeLease, false
}

// price reads what a request costs, after the route's policies.
func (r reader) price(o *strictjson.Object, route *Route) {
	fixed, isFixed := o.Optional("cost")
	from, isFrom := o.Optional("cost_from")
	field := o.Path("cost")
	switch {
	case isFixed && isFrom:
		r.Problem(o.Path("cost_from"), "no cost_from beside cost")
		return
	case isFixed:
		route.Cost = r.Integer(field, fixed, 0, api.MaxCredits)
	case isFrom:
		field = o.Path("cost_from")
		r.costFrom(field, from, route)
	default:
		r.Problem(field, "an integer from 0 to 2^53-1, or cost_from in its place (required)")
		return
	}
	route.CostText = strconv.FormatInt(route.Cost, 10)
	if route.Scheme != nil && !route.Scheme.Balance && route.Cost > 0 {
		r.Problem(field, `cost 0, because the scheme has "balance": false`)
	}
}

// costFrom reads a price that the upstream tells. A debit that was captured at once cannot be made smaller: there is
// none under mode strict.
func (r reader) costFrom(field string, v strictjson.Value, route *Route) {
	o := r.Object(field, v, "header", "max")
	if name, ok := o.Required("header"); ok {
		route.CostHeader = r.Text(o.Path("header"), name)
		if !costHeader(route.CostHeader) {
			r.Problem(o.Path("header"), "the name of a response header that starts with x-, in lower case")
		}
	}
	if most, ok := o.Required("max"); ok {
		route.Cost = r.Integer(o.Path("max"), most, 1, api.MaxCredits)
	}
	if route.Mode == api.ModeStrict {
		r.Problem(field, `"mode": "lease", because strict takes the whole price at once`)
	}
}

// costHeader reports whether name is one that an upstream can set for Tollgate alone.
func costHeader(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; !tokenChar(c) || 'A' <= c && c <= 'Z' || c == '_' {
			return false
		}
	}
	return strings.HasPrefix(name, "x-") && len(name) <= 128
}

func (r reader) policies(o *strictjson.Object, route *Route) {
	if v, ok := o.Optional("mode"); ok {
		route.Mode = api.Mode(r.OneOf(o.Path("mode"), v, string(api.ModeLease), string(api.ModeStrict)))
	}
	if v, ok := o.Optional("charge_on"); ok {
		route.OnSuccess = r.OneOf(o.Path("charge_on"), v, "admit", "success") == "success"
	}
	if v, ok := o.Optional("failure_mode"); ok {
		route.FailOpen = r.OneOf(o.Path("failure_mode"), v, "deny", "allow") == "allow"
	}
	if v, ok := o.Optional("preflight"); ok {
		route.Preflight = Preflight(r.OneOf(o.Path("preflight"), v,
			string(PreflightDeny), string(PreflightPass), string(PreflightAnswer)))
	}
}
