package access

import (
	"strconv"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// The reasons to refuse that no scheme has a row for, because no route was found.
const (
	// BadPath: the path reads differently to different normalisers, so no price can be given.
	BadPath apikey.Reason = "bad_path"
	// NoRoute: no route matches and there is no default.
	NoRoute apikey.Reason = "no_route"
)

// Reasons lists every reason that a Denial can have.
func Reasons() []apikey.Reason {
	return append([]apikey.Reason{BadPath, NoRoute}, apikey.Reasons...)
}

// Denial is one refusal, ready to be sent. It is built once, when the configuration is read, and shared by
// every request: its slices must not be changed.
type Denial struct {
	Reason apikey.Reason
	// Status is the HTTP status, 400 to 599.
	Status uint32
	// Headers are the response headers.
	Headers [][2]string
	// Body is the JSON body.
	Body []byte
}

// newDenial builds a denial. Codes and messages are checked to be visible ASCII without quotes and backslashes,
// so quoting them with strconv yields valid JSON.
func newDenial(reason apikey.Reason, style apikey.Style, row apikey.Row, headers ...[2]string) *Denial {
	code, message := strconv.Quote(row.Code), strconv.Quote(row.Message)
	body := `{"error":{"code":` + code + `,"message":` + message + `}}`
	if style == apikey.StyleOpenAI {
		body = `{"error":{"message":` + message + `,"type":` + strconv.Quote(openAIType(reason, row.Status)) +
			`,"param":null,"code":` + code + `}}`
	}
	d := &Denial{Reason: reason, Status: uint32(row.Status), Body: []byte(body + "\n")}
	d.Headers = append(d.Headers, [2]string{"content-type", "application/json"}, [2]string{"cache-control", "no-store"})
	d.Headers = append(d.Headers, headers...)
	return d
}

// openAIType is the "type" by which OpenAI's client libraries sort errors.
func openAIType(reason apikey.Reason, status int) string {
	switch {
	case reason == apikey.InsufficientCredits:
		return "insufficient_quota"
	case status >= 500:
		return "server_error"
	case status == 403:
		return "permission_error"
	}
	return "invalid_request_error"
}

// The refusals that no scheme owns.
var (
	badPath = newDenial(BadPath, apikey.StyleCode, apikey.Row{Status: 400, Code: "INVALID_REQUEST",
		Message: "The path has empty or dot segments, or escaped or backward slashes"})
	noRoute = newDenial(NoRoute, apikey.StyleCode, apikey.Row{Status: 404, Code: "NOT_FOUND",
		Message: "No route matches this path"})
	badAuthority = newDenial(apikey.InvalidRequest, apikey.StyleCode, apikey.Row{Status: 400, Code: "INVALID_REQUEST",
		Message: "The Host header is repeated"})
)

// Undecided refuses a request for which not even a route could be found, because the host gave no headers.
var Undecided = newDenial(apikey.Unavailable, apikey.StyleCode, apikey.Row{Status: 503, Code: "SERVICE_UNAVAILABLE",
	Message: "The service cannot check this request right now; try again"}, retryAfter)

// retryAfter tells a client how many seconds to wait when nobody could decide.
var retryAfter = [2]string{"retry-after", "1"}

// denialsOf builds a scheme's error table.
func denialsOf(e *apikey.Errors) map[apikey.Reason]*Denial {
	table := make(map[apikey.Reason]*Denial, len(apikey.Reasons))
	for _, reason := range apikey.Reasons {
		row := e.Rows[reason]
		var headers [][2]string
		if row.Status == 401 {
			headers = append(headers, [2]string{"www-authenticate", challenge(e, reason)})
		}
		if reason == apikey.Unavailable {
			headers = append(headers, retryAfter)
		}
		table[reason] = newDenial(reason, e.Style, row, headers...)
	}
	return table
}

// challenge is the value of WWW-Authenticate. A request without a credential gets no error attribute
// (RFC 6750 §3.1).
func challenge(e *apikey.Errors, reason apikey.Reason) string {
	text := e.Challenge + ` realm="` + e.Realm + `"`
	if e.Challenge == "Bearer" && reason != apikey.MissingCredential {
		text += `, error="invalid_token"`
	}
	return text
}

// reasonOf maps a verdict that denies to its reason. Whatever is no such verdict leaves the request undecided.
func reasonOf(v api.Verdict) apikey.Reason {
	switch v {
	case api.UnknownKey:
		return apikey.InvalidKey
	case api.KeyPairMismatch:
		return apikey.KeyPairMismatch
	case api.InactiveKey:
		return apikey.InactiveKey
	case api.AccountNotActive:
		return apikey.AccountNotActive
	case api.DomainNotVerified:
		return apikey.DomainNotVerified
	case api.KeyRestricted:
		return apikey.KeyRestricted
	case api.InsufficientCredits:
		return apikey.InsufficientCredits
	}
	return apikey.Unavailable
}
