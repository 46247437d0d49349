package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate/tollgate/testenv"
)

// hopByHop are the headers that belong to one connection. Host is not among them: it travels as
// :authority.
var hopByHop = map[string]bool{
	"connection":          true,
	"expect":              true,
	"http2-settings":      true,
	"keep-alive":          true,
	"proxy-authenticate":  true,
	"proxy-authorization": true,
	"proxy-connection":    true,
	"te":                  true,
	"trailer":             true,
	"transfer-encoding":   true,
	"upgrade":             true,
}

// endToEnd lists h in lower case, ordered by name and by value as received, without hop-by-hop
// headers and without those that the Connection header nominates. It is appended to dst.
func endToEnd(dst []testenv.Header, h http.Header) []testenv.Header {
	nominated := nominatedBy(h)
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		lower := strings.ToLower(name)
		if hopByHop[lower] || nominated[lower] {
			continue
		}
		for _, v := range h[name] {
			dst = append(dst, testenv.Header{lower, v})
		}
	}
	return dst
}

func nominatedBy(h http.Header) map[string]bool {
	values := h["Connection"]
	if len(values) == 0 {
		return nil
	}
	names := make(map[string]bool)
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			names[strings.ToLower(strings.TrimSpace(name))] = true
		}
	}
	return names
}

// trailerList is endToEnd for trailers, which no Connection header governs.
func trailerList(h http.Header) []testenv.Header {
	return endToEnd(nil, h)
}

// get returns the first value of name, which is in lower case.
func get(headers []testenv.Header, name string) (string, bool) {
	for _, h := range headers {
		if h[0] == name {
			return h[1], true
		}
	}
	return "", false
}

func value(headers []testenv.Header, name string) string {
	v, _ := get(headers, name)
	return v
}

// remove drops every value of name. It changes headers in place.
func remove(headers []testenv.Header, name string) []testenv.Header {
	return slices.DeleteFunc(headers, func(h testenv.Header) bool { return h[0] == name })
}

// copyHeaders writes headers into dst. Pseudo headers and what would take over the connection's
// framing stay behind, whoever set them.
func copyHeaders(dst http.Header, headers []testenv.Header) {
	for _, h := range headers {
		if strings.HasPrefix(h[0], ":") || hopByHop[h[0]] {
			continue
		}
		name := http.CanonicalHeaderKey(h[0])
		dst[name] = append(dst[name], h[1])
	}
}

// contentLength reads the declared length of a body; -1 if none or none that can be kept.
func contentLength(headers []testenv.Header) int64 {
	v, ok := get(headers, "content-length")
	if !ok {
		return -1
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// statusOf reads :status; fallback stands in where a filter left none that HTTP/1.1 can send.
func statusOf(headers []testenv.Header, fallback int) int {
	n, err := strconv.Atoi(value(headers, ":status"))
	if err != nil || n < 200 || n > 599 {
		return fallback
	}
	return n
}
