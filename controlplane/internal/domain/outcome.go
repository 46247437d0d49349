package domain

import "errors"

// Outcome is what a check found.
type Outcome string

// The outcomes.
const (
	Verified Outcome = "verified"
	// NXDomain means that the name that was looked up does not exist: the record's under DNS, the domain's under HTTP.
	NXDomain Outcome = "nxdomain"
	// NoRecord means that the name exists without a TXT record, or under HTTP without an address.
	NoRecord Outcome = "no_record"
	// WrongValue means that there is an answer, to something else than this challenge.
	WrongValue Outcome = "wrong_value"
	// ResolversDisagree means that by one resolver the challenge is answered, and by too few others.
	ResolversDisagree Outcome = "resolvers_disagree"
	// DNSFailed means that a resolver refused or failed.
	DNSFailed Outcome = "dns_failed"
	Timeout   Outcome = "timeout"
	// RefusedAddress means that the domain, or what it redirects to, has only addresses that are not connected to.
	RefusedAddress Outcome = "refused_address"
	// Unreachable means that nothing accepts a connection, or that what does speaks no HTTP.
	Unreachable Outcome = "unreachable"
	// TLS means that the certificate is not valid for the name, or the handshake failed.
	TLS             Outcome = "tls"
	HTTPStatus      Outcome = "http_status"
	RedirectRefused Outcome = "redirect_refused"
	TooLarge        Outcome = "too_large"
	// ChallengeExpired means that nothing was looked for: the challenge is too old.
	ChallengeExpired Outcome = "challenge_expired"
)

// Conclusive reports whether an outcome other than Verified says something of the domain. The others may as well be the
// fault of this machine's own network.
func (o Outcome) Conclusive() bool {
	switch o {
	case Timeout, DNSFailed, Unreachable, ResolversDisagree:
		return false
	}
	return true
}

// finding is an outcome on its way through somebody else's code that knows only errors.
type finding struct{ outcome Outcome }

func (f finding) Error() string { return string(f.outcome) }

// found returns the outcome in err, or otherwise.
func found(err error, otherwise Outcome) Outcome {
	var f finding
	if errors.As(err, &f) {
		return f.outcome
	}
	return otherwise
}
