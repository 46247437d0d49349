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

// add takes one header. name is canonical (see canonicalName); raw is as it came.
func (c *credentials) add(name, raw, value string) {
	p, bearer := c.part(name)
	if p == nil {
		return
	}
	p.seen++
	p.bearer = bearer
	p.value = value
	p.twin = p.twin || strings.IndexByte(raw, '_') >= 0
}

// part returns the part that the header of that name carries, or nil, and whether it is the bearer source.
func (c *credentials) part(name string) (*part, bool) {
	s := c.scheme
	last := len(s.Formats()) - 1
	switch {
	case name == "":
		return nil, false
	case s.Bearer && name == "authorization":
		return &c.parts[last], true
	case name == s.SecretHeader:
		return &c.parts[last], false
	case name == s.PublishableHeader:
		return &c.parts[0], false
	}
	return nil, false
}

// key returns the parts of the one key that was offered, each in its format, or why there is none. All parts are
// judged for structure before any for presence, and for presence before any for syntax. The rules are numbered in
// research/reliability.md §3; statuses follow design.md §2.
func (c *credentials) key() (values [2]string, reason apikey.Reason) {
	formats := c.scheme.Formats()
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
	for i, f := range formats {
		text, ok := c.parts[i].text()
		if !ok || !f.Match(text) {
			return values, apikey.InvalidKey
		}
		values[i] = text
	}
	return values, ""
}

func (p *part) head() string { return p.value[:min(len(p.value), maxCredentialLen)] }

// present reports whether anything was offered: an empty value, Bearer with no token, and another authentication
// scheme are no credential of ours.
func (p *part) present() bool {
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
	if !p.bearer {
		return p.value, true
	}
	return strings.TrimLeft(p.value[len("bearer"):], " "), true
}

// canonicalName returns name in lower case with "_" read as "-", the way CGI-style upstreams fold names. Only ASCII
// is folded: Unicode's rules would make a Kelvin sign the k of a header that no upstream takes it for. Names that
// are canonical already, the common case, are returned as they are.
func canonicalName(name string) string {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c == '_' || 'A' <= c && c <= 'Z' {
			return fold(name)
		}
	}
	return name
}

func fold(name string) string {
	folded := []byte(name)
	for i, c := range folded {
		switch {
		case c == '_':
			folded[i] = '-'
		case 'A' <= c && c <= 'Z':
			folded[i] = c + 'a' - 'A'
		}
	}
	return string(folded)
}
