package proxy

import (
	"net"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

// refusal is an answer that the connection manager gives before any filter exists.
type refusal struct {
	status int
	reason string
}

// Beyond these Envoy takes a Connection header for an attack.
const maxConnectionTokens = 9

// admit turns a request into the header list that filters see, or refuses it where Envoy's codec
// or connection manager would. Call it once for each request.
//
// Three refusals are stricter than Envoy's. An absolute-form target is answered 400, because
// net/http has dropped the Host header by then and a filter could not see that the two differ.
// A broken percent escape in the path and a repeated Host never get here: net/http answers 400.
func admit(r *http.Request, o *bootstrap.HTTPOptions) ([]testenv.Header, *refusal) {
	if ref := checkHead(r, o); ref != nil {
		return nil, ref
	}
	if ref := checkTarget(r); ref != nil {
		return nil, ref
	}
	path, reason := cleanPath(r.RequestURI, o)
	if reason != "" {
		return nil, &refusal{http.StatusBadRequest, reason}
	}
	if ref := checkNames(r.Header, o.Underscores); ref != nil {
		return nil, ref
	}
	if ref := checkUpgrade(r.Header); ref != nil {
		return nil, ref
	}
	if ref := checkConnection(r.Header["Connection"]); ref != nil {
		return nil, ref
	}
	headers := make([]testenv.Header, 0, len(r.Header)+12)
	headers = append(headers,
		testenv.Header{":method", r.Method},
		testenv.Header{":path", path},
		testenv.Header{":authority", r.Host},
		testenv.Header{":scheme", "http"},
	)
	headers = endToEnd(headers, r.Header)
	return edgeHeaders(headers, r, o), nil
}

// checkHead refuses what Envoy's HTTP/1 codec refuses before it looks at any header's meaning.
func checkHead(r *http.Request, o *bootstrap.HTTPOptions) *refusal {
	twice := framedTwice(r.Context())
	count := 1 + len(r.TransferEncoding) // net/http takes Host and Transfer-Encoding out
	for _, values := range r.Header {
		count += len(values)
	}
	switch {
	case count > o.MaxHeaders:
		return &refusal{http.StatusRequestHeaderFieldsTooLarge, "too many headers"}
	case twice:
		return &refusal{http.StatusBadRequest, "both Content-Length and Transfer-Encoding"}
	case r.Proto != "HTTP/1.1":
		return &refusal{http.StatusUpgradeRequired, "HTTP/1.1 required"}
	}
	return nil
}

func checkTarget(r *http.Request) *refusal {
	switch {
	case r.Method == http.MethodConnect:
		return &refusal{http.StatusForbidden, "CONNECT is not enabled"}
	case r.Host == "":
		return &refusal{http.StatusBadRequest, "empty Host"}
	case strings.HasPrefix(r.RequestURI, "/"):
		return nil
	case strings.Contains(r.RequestURI, "://"):
		return &refusal{http.StatusBadRequest, "absolute request target: send the path and a Host header"}
	}
	return &refusal{http.StatusNotFound, "request target is not a path"}
}

// checkNames applies the underscore action; DropHeader changes h.
func checkNames(h http.Header, action bootstrap.UnderscoreAction) *refusal {
	if action == bootstrap.AllowUnderscores {
		return nil
	}
	for name := range h {
		if !strings.Contains(name, "_") {
			continue
		}
		if action == bootstrap.RejectRequest {
			return &refusal{http.StatusBadRequest, "underscore in a header name"}
		}
		delete(h, name)
	}
	return nil
}

// checkUpgrade refuses what no upgrade_configs enables. An offer of h2c is optional to take up and
// is passed over, as Envoy does.
func checkUpgrade(h http.Header) *refusal {
	for _, v := range h["Upgrade"] {
		if v != "" && !strings.EqualFold(v, "h2c") {
			return &refusal{http.StatusForbidden, "protocol upgrades are not enabled"}
		}
	}
	return nil
}

// checkConnection refuses a Connection header that nominates headers in number, or any that say
// where the request comes from: their removal would disguise it.
func checkConnection(values []string) *refusal {
	count := 0
	for _, v := range values {
		for token := range strings.SplitSeq(v, ",") {
			if token == "" {
				continue
			}
			count++
			switch token = strings.ToLower(strings.TrimSpace(token)); {
			case token == "x-forwarded-for", token == "x-forwarded-host", token == "x-forwarded-proto",
				strings.HasPrefix(token, ":"):
				return &refusal{http.StatusBadRequest, "Connection nominates a header that is not the client's to remove"}
			}
		}
	}
	if count > maxConnectionTokens {
		return &refusal{http.StatusBadRequest, "too many tokens in Connection"}
	}
	return nil
}

// edgeHeaders sets what the connection manager says about the client. Unlike Envoy it strips every
// inbound x-envoy-* header also where the client counts as internal, and never adds one.
func edgeHeaders(headers []testenv.Header, r *http.Request, o *bootstrap.HTTPOptions) []testenv.Header {
	kept := headers[:0]
	var hasProto, hasID bool
	forwarded := ""
	for _, h := range headers {
		switch {
		case strings.HasPrefix(h[0], "x-envoy-"):
			continue
		case h[0] == "x-forwarded-for" && o.UseRemoteAddress:
			forwarded += h[1] + ","
			continue
		case o.UseRemoteAddress && (h[0] == "x-forwarded-proto" || h[0] == "x-request-id"):
			continue
		}
		hasProto = hasProto || h[0] == "x-forwarded-proto"
		hasID = hasID || h[0] == "x-request-id"
		kept = append(kept, h)
	}
	if o.UseRemoteAddress {
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
			kept = append(kept, testenv.Header{"x-forwarded-for", forwarded + host})
		}
	}
	if !hasProto {
		kept = append(kept, testenv.Header{"x-forwarded-proto", "http"})
	}
	if !hasID {
		kept = append(kept, testenv.Header{"x-request-id", uuid.NewString()})
	}
	return kept
}
