package access

import (
	"strings"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// maxCredentialLen bounds how much of a credential value is looked at; apikey.MaxSize leaves room for "Bearer ".
const maxCredentialLen = 256

// credentials finds the key of one request for one scheme. It is fed every header once and then asked.
type credentials struct {
	scheme *Scheme
	// parts are the key's parts in the order of Scheme.Formats.
	parts [2]part
}

// part is one secret of a key as it was offered.
type part struct {
	// seen counts the headers that can carry this part, empty and foreign ones included.
	seen int
	// twin: a header name that equals a credential header only if "_" is read as "-".
	twin   bool
	bearer bool
	value  string
}

// add takes one header.
func (c *credentials) add(m mark, value string) {
	s := c.scheme
	i, bearer := len(s.formats)-1, false
	switch m.name {
	case otherName:
		return
	case s.bearer:
		bearer = true
	case s.secret:
	case s.publishable:
		i = 0
	default:
		return
	}
	p := &c.parts[i]
	p.seen++
	p.bearer = bearer
	p.value = value
	p.twin = p.twin || m.twin
}

// key returns the parts of the one key that was offered, each in its format, or why there is none. All parts are
// judged for structure before any for presence, and for presence before any for syntax. The rules are numbered in
// research/reliability.md §3; statuses follow design.md §2.
func (c *credentials) key() (values [2]string, reason apikey.Reason) {
	formats := c.scheme.matchers
	for i := range formats {
		if p := &c.parts[i]; p.seen > 1 || p.twin || strings.IndexByte(p.head(), ',') >= 0 {
			return values, apikey.InvalidRequest
		}
	}
	for i := range formats {
		if !c.parts[i].present() {
			return values, apikey.MissingCredential
		}
	}
	for i := range formats {
		f := &formats[i]
		text, ok := c.parts[i].text()
		if !ok || !f.Match(text) {
			return values, apikey.InvalidKey
		}
		values[i] = text
	}
	return values, ""
}

func (p *part) head() string { return p.value[:min(len(p.value), maxCredentialLen)] }

// plainBearer is how nearly all bearer tokens begin.
const plainBearer = "Bearer "

// plain reports whether p begins as nearly all credentials do: a character of a token, behind "Bearer" and one space if it
// is a bearer token.
func (p *part) plain() bool {
	start := 0
	if p.bearer {
		if start = len(plainBearer); len(p.value) <= start || p.value[:start] != plainBearer {
			return false
		}
	}
	return len(p.value) > start && p.value[start] > ' '
}

// present reports whether anything was offered: an empty value, Bearer with no token, and another authentication
// scheme are no credential of ours.
func (p *part) present() bool {
	if p.plain() {
		return true
	}
	head := p.head()
	if p.bearer {
		end := 0
		for end < len(head) && tokenChar(head[end]) {
			end++
		}
		if !strings.EqualFold(head[:end], "bearer") {
			return false
		}
		head = head[end:]
	}
	return strings.Trim(head, " \t") != ""
}

// tokenChar reports whether c can stand in a token (RFC 9110 §5.6.2), such as the name of an authentication scheme.
func tokenChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// text returns what has to be a secret: the whole value, or what follows "Bearer" and 1*SP (RFC 6750 §2.1).
func (p *part) text() (string, bool) {
	if len(p.value) > maxCredentialLen {
		return "", false
	}
	switch {
	case !p.bearer:
		return p.value, true
	case p.plain():
		return p.value[len(plainBearer):], true
	}
	return strings.TrimLeft(p.value[len("bearer"):], " "), true
}
