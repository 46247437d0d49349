package access

import "strings"

// maxCredentialLen bounds how much of a credential value is looked at. The longest key of any preset is a
// quarter of it.
const maxCredentialLen = 256

// credentials finds the key of one request for one scheme. It is fed every header once and then asked.
type credentials struct {
	scheme *Scheme
	// seen counts the scheme's credential headers, empty and foreign ones included.
	seen int
	// twin: a header name that equals a credential header only if "_" is read as "-".
	twin   bool
	bearer bool
	value  string
}

// add takes one header. name is canonical (see canonicalName); raw is as it came.
func (c *credentials) add(name, raw, value string) {
	isBearer := c.scheme.Bearer && name == "authorization"
	if !isBearer && (c.scheme.Header == "" || name != c.scheme.Header) {
		return
	}
	c.seen++
	c.bearer = isBearer
	c.value = value
	if strings.IndexByte(raw, '_') >= 0 && strings.IndexByte(name, '_') < 0 {
		c.twin = true
	}
}

// key returns the one key that was offered, in the scheme's format, or the reason to refuse. The rules are
// numbered in research/reliability.md §3; statuses follow design.md §2.
func (c *credentials) key() (string, Reason, bool) {
	if c.seen == 0 {
		return "", MissingCredential, false
	}
	if c.seen > 1 || c.twin {
		return "", InvalidRequest, false
	}
	head := c.value[:min(len(c.value), maxCredentialLen)]
	if strings.IndexByte(head, ',') >= 0 {
		return "", InvalidRequest, false
	}
	if strings.Trim(head, " \t") == "" {
		return "", MissingCredential, false
	}
	if len(c.value) > maxCredentialLen {
		return "", InvalidKey, false
	}
	if !c.bearer {
		return c.match(c.value)
	}
	return c.bearerToken()
}

// bearerToken reads auth-scheme 1*SP token (RFC 6750 §2.1). Another scheme, or Bearer with no token, is no
// credential of ours.
func (c *credentials) bearerToken() (string, Reason, bool) {
	end := strings.IndexAny(c.value, " \t")
	if end < 0 || !strings.EqualFold(c.value[:end], "bearer") {
		return "", MissingCredential, false
	}
	rest := c.value[end:]
	if strings.Trim(rest, " \t") == "" {
		return "", MissingCredential, false
	}
	return c.match(strings.TrimLeft(rest, " "))
}

func (c *credentials) match(s string) (string, Reason, bool) {
	if !c.scheme.Format.Match(s) {
		return "", InvalidKey, false
	}
	return s, 0, true
}

// canonicalName returns name in lower case with "_" read as "-", the way CGI-style upstreams fold names.
// Names that are canonical already, the common case, are returned as they are.
func canonicalName(name string) string {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c == '_' || 'A' <= c && c <= 'Z' {
			return strings.ReplaceAll(strings.ToLower(name), "_", "-")
		}
	}
	return name
}
