// Package apikey owns the textual form of API keys: how a secret looks, how one is made, the digests by which it
// is known everywhere else, and the schemes by which keys are presented and refused. Filter and control plane both
// import it; it imports the standard library alone. It reads no request and knows no store.
package apikey

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// Secret is a full key. Every formatter of fmt, slog and encoding/json prints only its redacted form; Reveal is the one way
// to the text.
type Secret string

// Reveal returns the full text. Its callers are the reply that shows a new key once, and digests.
func (s Secret) Reveal() string { return string(s) }

// Last4 returns the last four characters, by which people tell their keys apart.
func (s Secret) Last4() string {
	if len(s) < 16 {
		return ""
	}
	return string(s[len(s)-4:])
}

// String returns "…" and the last four characters.
func (s Secret) String() string { return "…" + s.Last4() }

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format prints String whatever the verb, so that %x or %q cannot spill the text either.
func (s Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, s.String()) }

// MarshalText is String, so that neither encoding/json nor a slog handler can spill the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Digest is SHA-256 of a full secret: what travels from gate to control plane.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a full secret.
func DigestOf(secret string) Digest { return sha256.Sum256([]byte(secret)) }

// ParseDigest reads 64 lower-case hex characters.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 2*len(d) || strings.ToLower(s) != s {
		return Digest{}, fmt.Errorf("parse digest: expected %d lower-case hex characters", 2*len(d))
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("parse digest: expected %d lower-case hex characters", 2*len(d))
	}
	return d, nil
}

// Hex returns d in lower-case hex.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

// storedKeyDomain separates stored digests from wire digests, so that a stolen database holds nothing that a
// gate could send.
const storedKeyDomain = "tollgate-key-v1"

// Stored returns the form of d that the control plane keeps: SHA-256("tollgate-key-v1" ‖ d).
func (d Digest) Stored() Digest {
	return sha256.Sum256(append([]byte(storedKeyDomain), d[:]...))
}
