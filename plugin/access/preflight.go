package access

import (
	"strings"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// The headers of a CORS preflight and of its answer (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
const (
	origin         = "origin"
	requestMethod  = "access-control-request-method"
	requestHeaders = "access-control-request-headers"
)

// preflightMaxAge is how many seconds a browser may remember an answer; Chromium's own limit is two hours.
const preflightMaxAge = "600"

// preflight decides on a CORS preflight: OPTIONS with Origin and Access-Control-Request-Method. It is routed by
// the method that the browser asks for, and passed or answered only where that route's policy says so; on any other
// route with a scheme it is refused as a request without a credential, whatever it carries, so that no preflight is
// ever charged. On a route without a scheme it is the upstream's business.
//
// It reports whether the request is a preflight that is decided with this, and writes d only then.
func (c *Config) preflight(d *Decision, t *target, path string, headers [][2]string) bool {
	if !t.authorityOK {
		return false
	}
	method, hasMethod := d.only(headers, requestMethodName)
	_, hasOrigin := d.only(headers, originName)
	if !hasMethod || !hasOrigin {
		return false
	}
	route := c.route(method, path)
	if route == nil || route.Scheme == nil || route.Preflight == PreflightDeny {
		// Asking for a method that is free must not open the route of OPTIONS.
		own := c.route(t.method, path)
		if own == nil || own.Scheme == nil {
			return false
		}
		d.Route, d.Denial = own, own.Scheme.Denial(apikey.MissingCredential)
		return true
	}
	d.Route = route
	if route.Preflight == PreflightAnswer {
		d.Action = Answer
		d.Answer = d.answerPreflight(route, method, headers)
		return true
	}
	d.Action = Pass
	for _, m := range d.marks {
		if m.private {
			d.Edits.remove(headers[m.header][0])
		}
	}
	return true
}

// answerPreflight allows what was asked for. A wildcard origin is right here: keys travel in headers that a page
// has to set itself, never in cookies, so no origin is trusted more than another.
func (d *Decision) answerPreflight(route *Route, method string, headers [][2]string) [][2]string {
	methods := method
	if len(route.methods) > 0 {
		methods = strings.Join(route.methods, ", ")
	}
	answer := [][2]string{
		{"access-control-allow-origin", "*"},
		{"access-control-allow-methods", methods},
		{"access-control-max-age", preflightMaxAge},
		{"vary", "access-control-request-headers, access-control-request-method"},
	}
	if asked, ok := d.only(headers, requestHeadersName); ok && tokenList(asked) {
		answer = append(answer, [2]string{"access-control-allow-headers", asked})
	}
	return answer
}

// only returns the value of a header that is there exactly once and is a token list.
func (d *Decision) only(headers [][2]string, name nameID) (string, bool) {
	n, value := 0, ""
	for _, m := range d.marks {
		if m.name == name {
			n++
			value = headers[m.header][1]
		}
	}
	return value, n == 1 && value != "" && (name == originName || tokenList(value))
}

// tokenList reports whether s has only the characters of tokens, commas and spaces, so that it
// can be repeated in a response header.
func tokenList(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !tokenChar(c) && c != ',' && c != ' ' {
			return false
		}
	}
	return len(s) <= 4096
}
