package server

import (
	"net/http"
	"strings"
)

// The lengths that DNS allows (RFC 1035 §2.3.4), in bytes.
const (
	maxDomain = 253
	maxLabel  = 63
)

// readDomain returns the domain name in text in lower case. It takes what DNS calls a host name of at least two
// labels, in ASCII; the error names body.domain and what was expected.
func readDomain(text string) (string, error) {
	if expected := domainFault(text); expected != "" {
		return "", badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.domain", expected)
	}
	return strings.ToLower(text), nil
}

// domainFault says what was expected in the place of domain, or nothing if it is good. What people mean by the
// commonest slips is told before the rule that they break.
func domainFault(domain string) string {
	switch {
	case strings.ContainsFunc(domain, func(c rune) bool { return c > 0x7f }):
		return "expected ASCII; give the A-label form (xn--…) of an international domain"
	case domain == "" || len(domain) > maxDomain:
		return "expected a domain name of 1 to 253 characters"
	case strings.ContainsAny(domain, "/@?#"):
		return "expected a domain name alone, without scheme, user and path"
	case strings.ContainsAny(domain, ":["):
		return "expected a domain name, without port, and no IP address"
	case strings.Contains(domain, "*"):
		return "expected one domain name, without wildcard"
	case strings.HasSuffix(domain, "."):
		return "expected a domain name without a final dot"
	}
	labels := strings.Split(domain, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return "expected labels of 1 to 63 letters, digits and inner hyphens, separated by dots"
		}
	}
	if len(labels) < 2 {
		return "expected at least two labels, such as example.com"
	}
	if isNumber(labels[len(labels)-1]) {
		return "expected a domain name, not an IP address"
	}
	return ""
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-'
	})
}

// isNumber reports whether the last label makes programs read the whole name as an IPv4 address, of which they
// take decimal and hexadecimal forms with fewer than four parts too.
func isNumber(label string) bool {
	label, hex := strings.CutPrefix(strings.ToLower(label), "0x")
	if hex {
		return strings.Trim(label, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}
