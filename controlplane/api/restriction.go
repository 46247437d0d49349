package api

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// RestrictionVersion is the newest kind of Restriction that this package knows. A gate says by AcquireRequest.Judges which
// it knows, so that no older one lets through what it cannot judge.
const RestrictionVersion = 1

// Bounds of a Restriction. A rule's path is bounded in bytes; MaxRestrictionBytes is of its JSON.
const (
	MaxRouteRules       = 16
	MaxRulePathLen      = 128
	MaxRuleMethods      = 8
	MaxMethodLen        = 16
	MaxAllowedIPs       = 32
	MaxRestrictionBytes = 8 << 10
)

// MaxPathLen is how much of a request's path, in bytes, a gate has to send to have it judged: more than any rule has.
const MaxPathLen = 2 * MaxRulePathLen

// Restriction says which requests a key may be used for: those of one of Routes, from one of AllowedIPs. An empty list
// lets everything pass.
type Restriction struct {
	Routes []RouteRule `json:"routes,omitempty"`
	// AllowedIPs are networks, as "192.0.2.0/24" or "2001:db8::/32", or single addresses. One of IPv4 holds for the
	// addresses that map it into IPv6, too, and one of IPv6 for no address of IPv4.
	AllowedIPs []string `json:"allowed_ips,omitempty"`
}

// RouteRule lets requests pass whose path, decoded and without its query, is Path or starts with Prefix, and whose method
// is one of Methods, if there are any.
type RouteRule struct {
	Path    string   `json:"path,omitempty"`
	Prefix  string   `json:"prefix,omitempty"`
	Methods []string `json:"methods,omitempty"`
}

// Validate reports every part of r that is out of its documented range, joined, each naming the field. It repeats no value.
func (r *Restriction) Validate() error {
	var p problems
	if len(r.Routes) > MaxRouteRules {
		p.add("routes", fmt.Sprintf("at most %d entries", MaxRouteRules))
	}
	if len(r.AllowedIPs) > MaxAllowedIPs {
		p.add("allowed_ips", fmt.Sprintf("at most %d entries", MaxAllowedIPs))
	}
	if len(p) > 0 {
		return errors.Join(p...)
	}
	for i := range r.Routes {
		r.Routes[i].check(&p, fmt.Sprintf("routes[%d]", i))
	}
	for i, text := range r.AllowedIPs {
		if _, ok := parseNetwork(text); !ok {
			p.add(fmt.Sprintf("allowed_ips[%d]", i), "an address, or a network as 192.0.2.0/24 with nothing set beyond its prefix")
		}
	}
	return errors.Join(p...)
}

func (r *RouteRule) check(p *problems, field string) {
	switch {
	case (r.Path == "") == (r.Prefix == ""):
		p.add(field, `exactly one of "path" and "prefix"`)
	case r.Path != "" && !rulePath(r.Path):
		p.add(field+".path", rulePathForm)
	case r.Prefix != "" && !rulePath(r.Prefix):
		p.add(field+".prefix", rulePathForm)
	}
	if len(r.Methods) > MaxRuleMethods {
		p.add(field+".methods", fmt.Sprintf("at most %d entries", MaxRuleMethods))
		return
	}
	for i, m := range r.Methods {
		if m == "" || len(m) > MaxMethodLen || strings.ContainsFunc(m, func(c rune) bool { return c < 'A' || c > 'Z' }) {
			p.add(fmt.Sprintf("%s.methods[%d]", field, i), fmt.Sprintf("a method of 1 to %d upper-case letters", MaxMethodLen))
		}
	}
}

var rulePathForm = fmt.Sprintf("1 to %d bytes that start with /, without a query, escapes, empty or dot segments", MaxRulePathLen)

// rulePath reports whether a request can have this path.
func rulePath(s string) bool {
	if len(s) > MaxRulePathLen || s[0] != '/' || !utf8.ValidString(s) {
		return false
	}
	// What a gate cannot decode reads as U+FFFD in its messages.
	if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || strings.ContainsRune("?#%\\\ufffd", c) }) {
		return false
	}
	segments := strings.Split(s[1:], "/")
	for i, segment := range segments {
		if segment == "." || segment == ".." || segment == "" && i < len(segments)-1 {
			return false
		}
	}
	return true
}

// Empty reports whether r lets every request pass.
func (r *Restriction) Empty() bool { return r == nil || len(r.Routes) == 0 && len(r.AllowedIPs) == 0 }

// Rules are a Restriction made ready to judge by. They are immutable.
type Rules struct {
	routes   []RouteRule
	networks []network
}

// Rules returns the rules of r, which is valid.
func (r *Restriction) Rules() *Rules {
	rules := &Rules{routes: slices.Clone(r.Routes), networks: make([]network, len(r.AllowedIPs))}
	for i, text := range r.AllowedIPs {
		rules.networks[i], _ = parseNetwork(text) // one that is not valid holds for nobody
	}
	return rules
}

// AsksAddress reports whether the client's address matters.
func (r *Rules) AsksAddress() bool { return len(r.networks) > 0 }

// AllowsRoute judges a request's method and its path, decoded and without its query.
func (r *Rules) AllowsRoute(method, path string) bool {
	if len(r.routes) == 0 {
		return true
	}
	for i := range r.routes {
		rule := &r.routes[i]
		if rule.Prefix != "" && !strings.HasPrefix(path, rule.Prefix) || rule.Prefix == "" && path != rule.Path {
			continue
		}
		if len(rule.Methods) == 0 || slices.Contains(rule.Methods, method) {
			return true
		}
	}
	return false
}

// AllowsAddress judges the client's address, as "192.0.2.7", "192.0.2.7:443" or "[2001:db8::7]:443". One that cannot be
// read is allowed only where every address is.
func (r *Rules) AllowsAddress(address string) bool {
	if len(r.networks) == 0 {
		return true
	}
	a, ok := parseAddress(hostOf(address))
	if !ok {
		return false
	}
	for i := range r.networks {
		if r.networks[i].holds(a) {
			return true
		}
	}
	return false
}
