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

// explanations say of each outcome, in the order of their documentation, what it means for whoever wants to be verified.
var explanations = []struct {
	outcome Outcome
	text    string
}{
	{Verified, "the answer is there"},
	{NXDomain, "the name does not exist in DNS: under dns that of the record, under http the domain's"},
	{NoRecord, "the name exists, but has no TXT record, or under http no address"},
	{WrongValue, "there is a record or a file, but with something else than what was asked for"},
	{ResolversDisagree, "one resolver sees the answer and too few others do; a new record may take a while"},
	{DNSFailed, "a resolver refused or failed"},
	{Timeout, "no answer within 5 seconds"},
	{RefusedAddress, "the domain points to addresses that are not of the public internet; nothing was sent there"},
	{Unreachable, "nothing accepts a connection on ports 80 and 443, or what does speaks no HTTP"},
	{TLS, "the certificate is not valid for the name, or the handshake failed"},
	{HTTPStatus, "the answer has another status than 200"},
	{RedirectRefused, "a redirect to another registrable domain, an IP address, another port or scheme, back from https, or the fourth"},
	{TooLarge, "the file is larger than 64 KiB"},
	{ChallengeExpired, "the challenge is older than 7 days; nothing was looked for"},
}

// Outcomes are all of them.
func Outcomes() []Outcome {
	all := make([]Outcome, len(explanations))
	for i, e := range explanations {
		all[i] = e.outcome
	}
	return all
}

// Explain says what the outcome means, for people.
func (o Outcome) Explain() string {
	for _, e := range explanations {
		if e.outcome == o {
			return e.text
		}
	}
	return string(o)
}

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
