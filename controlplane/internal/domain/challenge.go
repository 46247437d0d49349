package domain

import (
	"crypto/rand"
	"time"
)

// ChallengeLife is how long a challenge can be answered.
const ChallengeLife = 7 * 24 * time.Hour

// Where an answer is looked for.
const (
	recordPrefix = "_tollgate-challenge."
	valuePrefix  = "tollgate-challenge="
	filePath     = "/.well-known/tollgate-challenge"
)

// Method is a way to answer a challenge.
type Method string

// The methods. Either leaves the choice to whoever answers.
const (
	DNS    Method = "dns"
	HTTP   Method = "http"
	Either Method = "either"
)

// has reports whether the answer may be given by other.
func (m Method) has(other Method) bool { return m == Either || m == other }

// NewToken returns a challenge's token: 130 random bits in letters and digits.
func NewToken() string { return rand.Text() }

// Record returns the TXT record that answers a challenge: its name, without a final dot, and its value.
func Record(domain, token string) (name, value string) {
	return recordPrefix + domain, valuePrefix + token
}

// File returns where the file that answers a challenge is looked for first, and its content. If nothing answers there,
// the same path is tried on https.
func File(domain, token string) (url, content string) {
	return "http://" + domain + filePath, token
}
