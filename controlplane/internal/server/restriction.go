package server

import (
	"errors"
	"net/http"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// routeRule is one of the routes that a key may be used for. Package api has the bounds that no schema tells.
type routeRule struct {
	Path    string   `json:"path,omitempty" doc:"The request's path, decoded and without its query."`
	Prefix  string   `json:"prefix,omitempty" doc:"What that path starts with; exactly one of the two is given."`
	Methods []string `json:"methods,omitempty" nullable:"false" maxItems:"8" doc:"Only these methods; without it every method."`
}

// restrictionOf is for the fields of a body that say where a key may be used.
func restrictionOf(routes []routeRule, ips []string) (store.Restriction, error) {
	out, err := store.NewRestriction(api.Restriction{Routes: ruleList(routes), AllowedIPs: ips})
	if err != nil {
		return "", unprocessable(err)
	}
	return out, nil
}

func ruleList(routes []routeRule) []api.RouteRule {
	rules := make([]api.RouteRule, len(routes))
	for i, rule := range routes {
		rules[i] = api.RouteRule(rule)
	}
	return rules
}

// unprocessable lists what an api.ErrInvalid has joined, each problem under its field of the body.
func unprocessable(err error) error {
	var p *Problem
	if !errors.Is(err, api.ErrInvalid) || !errors.As(malformedMessage(err), &p) {
		return err
	}
	p.Status, p.Title = http.StatusUnprocessableEntity, http.StatusText(http.StatusUnprocessableEntity)
	return p
}

// showRestriction are the fields of a reply.
func showRestriction(r store.Restriction) (routes []routeRule, ips []string) {
	routes, ips = []routeRule{}, []string{}
	v := r.Value()
	if v == nil {
		return routes, ips
	}
	for _, rule := range v.Routes {
		routes = append(routes, routeRule(rule))
	}
	return routes, append(ips, v.AllowedIPs...)
}
