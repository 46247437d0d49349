package access

import (
	"strconv"

	"github.com/tollgate/tollgate/controlplane/api"
)

// Reason is why a request is refused. It names the row of the contract table and the filter's counter.
type Reason uint8

// The reasons, in the order in which they are checked. Each scheme maps each of its reasons to one denial.
const (
	// BadPath: the path reads differently to different normalisers, so no price can be given.
	BadPath Reason = iota
	// NoRoute: no route matches and there is no default.
	NoRoute
	// InvalidRequest: repeated or conflicting credential headers, repeated or differing Host.
	InvalidRequest
	// MissingCredential: none, an empty one, or one of another authentication scheme.
	MissingCredential
	// InvalidKey: malformed, unknown, or a wrong secret. The three are one answer, byte for byte.
	InvalidKey
	// InactiveKey: revoked, expired or disabled.
	InactiveKey
	// AccountNotActive: the account is pending or disabled.
	AccountNotActive
	// InsufficientCredits: the balance is below the route's cost.
	InsufficientCredits
	// Unavailable: nobody could decide.
	Unavailable

	reasonCount
)

// Reasons lists every reason.
func Reasons() []Reason {
	all := make([]Reason, reasonCount)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// String returns r in snake_case, as it stands in counters and filter state.
func (r Reason) String() string {
	switch r {
	case BadPath:
		return "bad_path"
	case NoRoute:
		return "no_route"
	case InvalidRequest:
		return "invalid_request"
	case MissingCredential:
		return "missing_credential"
	case InvalidKey:
		return "invalid_key"
	case InactiveKey:
		return "inactive_key"
	case AccountNotActive:
		return "account_not_active"
	case InsufficientCredits:
		return "insufficient_credits"
	case Unavailable:
		return "unavailable"
	}
	return "reason_" + strconv.Itoa(int(r))
}

// Denial is one refusal, ready to be sent. It is built once, when the configuration is read, and shared by
// every request: its slices must not be changed.
type Denial struct {
	Reason Reason
	// Status is the HTTP status, 400 to 599.
	Status uint32
	// Headers are the response headers.
	Headers [][2]string
	// Body is the JSON body.
	Body []byte
}

// newDenial builds a denial in genrex's published body shape. code and message are plain ASCII text of this
// program's own, so quoting them with strconv yields valid JSON.
func newDenial(reason Reason, status uint32, code, message string, headers ...[2]string) *Denial {
	d := &Denial{
		Reason: reason,
		Status: status,
		Body: []byte(`{"error":{"code":` + strconv.Quote(code) +
			`,"message":` + strconv.Quote(message) + `}}` + "\n"),
	}
	d.Headers = append(d.Headers, [2]string{"content-type", "application/json"}, [2]string{"cache-control", "no-store"})
	d.Headers = append(d.Headers, headers...)
	return d
}

// The refusals that no scheme owns, because no route was found.
var (
	badPath = newDenial(BadPath, 400, "INVALID_REQUEST",
		"The path has empty or dot segments, or escaped or backward slashes")
	noRoute      = newDenial(NoRoute, 404, "NOT_FOUND", "No route matches this path")
	badAuthority = newDenial(InvalidRequest, 400, "INVALID_REQUEST", "The Host header is repeated")
)

// Undecided refuses a request for which not even a route could be found, because the host gave no headers.
var Undecided = newDenial(Unavailable, 503, "SERVICE_UNAVAILABLE", "The service cannot check this request right now; try again",
	[2]string{"retry-after", retryAfterSeconds})

// retryAfterSeconds is what a client is told to wait when nobody could decide.
const retryAfterSeconds = "1"

// genrexDenials are the rows of the genrex contract. Messages are the published descriptions; the statuses
// 400 and 503, which the page does not list, are Tollgate's.
func genrexDenials() [reasonCount]*Denial {
	challenge := [2]string{"www-authenticate", `Bearer realm="genrex"`}
	invalid := [2]string{"www-authenticate", `Bearer realm="genrex", error="invalid_token"`}
	var t [reasonCount]*Denial
	for _, d := range []*Denial{
		newDenial(InvalidRequest, 400, "INVALID_REQUEST", "Credential or Host headers are repeated or conflict"),
		newDenial(MissingCredential, 401, "UNAUTHENTICATED", "Missing authentication credentials", challenge),
		newDenial(InvalidKey, 401, "INVALID_API_KEY", "API key is invalid or does not exist", invalid),
		newDenial(InactiveKey, 401, "INVALID_API_KEY", "API key is invalid or does not exist", invalid),
		newDenial(AccountNotActive, 403, "ACCOUNT_DISABLED", "Account is disabled"),
		newDenial(InsufficientCredits, 402, "INSUFFICIENT_CREDITS", "Account has insufficient credits"),
		newDenial(Unavailable, 503, "SERVICE_UNAVAILABLE", "The service cannot check this key right now; try again",
			[2]string{"retry-after", retryAfterSeconds}),
	} {
		t[d.Reason] = d
	}
	return t
}

// reasonOf maps a verdict that denies to its reason. A verdict that no configured scheme can get (a pair's, of
// a scheme without pairs) is one that nobody can decide upon.
func reasonOf(v api.Verdict) Reason {
	switch v {
	case api.UnknownKey:
		return InvalidKey
	case api.InactiveKey:
		return InactiveKey
	case api.AccountNotActive:
		return AccountNotActive
	case api.InsufficientCredits:
		return InsufficientCredits
	}
	return Unavailable
}
