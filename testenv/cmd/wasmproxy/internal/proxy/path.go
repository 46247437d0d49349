package proxy

import (
	"strings"
	"unicode/utf8"

	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

// cleanPath applies the connection manager's path options in Envoy's order: fragment, escaped
// slashes, dot segments, slashes. reason is why the request must be refused, or empty.
func cleanPath(target string, o *bootstrap.HTTPOptions) (clean, reason string) {
	if strings.Contains(target, "#") {
		return "", "path with a fragment"
	}
	path, query := target, ""
	if i := strings.IndexByte(target, '?'); i >= 0 {
		path, query = target[:i], target[i:]
	}
	if o.RejectEscapedSlashes && hasEscapedSlash(path) {
		return "", "escaped slash in the path"
	}
	if o.NormalizePath {
		var ok bool
		if path, ok = canonicalPath(path); !ok {
			return "", "path that cannot be normalised"
		}
	}
	if o.MergeSlashes {
		path = mergeSlashes(path)
	}
	return path + query, ""
}

// hasEscapedSlash finds the escapes of both slashes, in either case.
func hasEscapedSlash(path string) bool {
	for i := 0; i+2 < len(path); i++ {
		if path[i] != '%' {
			continue
		}
		if c, ok := unescape(path[i:]); ok && (c == '/' || c == '\\') {
			return true
		}
	}
	return false
}

func mergeSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] == '/' && len(out) > 0 && out[len(out)-1] == '/' {
			continue
		}
		out = append(out, path[i])
	}
	return string(out)
}

// canonicalPath does what the URL library inside Envoy 1.33 does to a path: dot segments, written
// plainly or escaped, are resolved; a backslash is a slash; escapes of unreserved characters are
// undone and bytes that need escaping are escaped; a broken escape stays. It fails on an escaped
// NUL and on bytes that are not UTF-8.
func canonicalPath(path string) (string, bool) {
	if isCanonical(path) {
		return path, true
	}
	out := make([]byte, 0, len(path)+8)
	if path == "" || !isSlash(path[0]) {
		out = append(out, '/')
	}
	for i := 0; i < len(path); {
		if n := dotLength(path[i:]); n > 0 {
			used, kind := classifyDot(path[i:], n, out)
			switch kind {
			case literalDot:
				out = append(out, '.')
			case parentSegment:
				out = dropSegment(out)
			}
			i += used
			continue
		}
		var used int
		var ok bool
		if out, used, ok = appendCanonical(out, path[i:]); !ok {
			return "", false
		}
		i += used
	}
	return string(out), true
}

// isCanonical spares the common path its copy. It may say no to a path that is canonical.
func isCanonical(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		if c := path[i]; c == '.' || !(isUnreserved(c) || c == '/') {
			return false
		}
	}
	return true
}

type dotKind int

const (
	literalDot dotKind = iota
	currentSegment
	parentSegment
)

// classifyDot says what the dot of n bytes at the start of s is, and how much of s it takes: a dot
// makes a segment only between slashes.
func classifyDot(s string, n int, out []byte) (used int, kind dotKind) {
	if len(out) == 0 || out[len(out)-1] != '/' {
		return n, literalDot
	}
	if end, ok := segmentEnd(s, n); ok {
		return end, currentSegment
	}
	if second := dotLength(s[n:]); second > 0 {
		if end, ok := segmentEnd(s, n+second); ok {
			return end, parentSegment
		}
	}
	return n, literalDot
}

// segmentEnd reports whether a segment ends at i, and where the next one begins.
func segmentEnd(s string, i int) (next int, ok bool) {
	if i == len(s) {
		return i, true
	}
	return i + 1, isSlash(s[i])
}

// dropSegment removes the last segment of out, which ends with a slash. The first slash stays.
func dropSegment(out []byte) []byte {
	i := len(out) - 1
	if i == 0 {
		return out
	}
	for i--; i > 0 && out[i] != '/'; i-- {
	}
	return out[:i+1]
}

// appendCanonical appends the canonical form of what s begins with and says how long that was.
func appendCanonical(out []byte, s string) (appended []byte, used int, ok bool) {
	switch c := s[0]; {
	case c == '\\':
		return append(out, '/'), 1, true
	case c == '%':
		return appendEscape(out, s)
	case c >= utf8.RuneSelf:
		_, size := utf8.DecodeRuneInString(s)
		if size == 1 {
			return out, 0, false
		}
		for _, b := range []byte(s[:size]) {
			out = appendEscaped(out, b)
		}
		return out, size, true
	case c <= ' ' || c == 0x7f || strings.IndexByte("\"<>?^`{|}", c) >= 0:
		return appendEscaped(out, c), 1, c != 0
	default:
		return append(out, c), 1, true
	}
}

func appendEscape(out []byte, s string) (appended []byte, used int, ok bool) {
	c, valid := unescape(s)
	switch {
	case !valid:
		return append(out, '%'), 1, true
	case c == 0:
		return out, 0, false
	case isUnreserved(c):
		return append(out, c), 3, true
	}
	return append(out, s[:3]...), 3, true
}

func appendEscaped(out []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(out, '%', digits[c>>4], digits[c&15])
}

// dotLength is the length of the dot that s begins with, plain or escaped; 0 if there is none.
func dotLength(s string) int {
	if s != "" && s[0] == '.' {
		return 1
	}
	if c, ok := unescape(s); ok && c == '.' {
		return 3
	}
	return 0
}

// unescape decodes the percent escape that s begins with.
func unescape(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, ok1 := hexValue(s[1])
	lo, ok2 := hexValue(s[2])
	return hi<<4 | lo, ok1 && ok2
}

func hexValue(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
