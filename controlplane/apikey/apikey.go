// Package apikey owns the textual form of API keys: how a secret looks, how one is made, and the digests by
// which it is known everywhere else. Filter and control plane both import it; it imports the standard library
// alone. It knows no HTTP header, no account and no store.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// LowerHex is the alphabet of hexadecimal secrets. Upper case is not accepted: one secret has one spelling.
const LowerHex = "0123456789abcdef"

// Format is the shape of one secret: a fixed prefix and a fixed number of characters from one alphabet.
type Format struct {
	// Prefix starts every secret and is no secret itself.
	Prefix string
	// Length is the number of characters after the prefix.
	Length int
	// Alphabet lists the bytes allowed after the prefix: visible ASCII, each once.
	Alphabet string
}

// Genrex is the format published in the genrex contract: "grx_sk_" and 48 hexadecimal characters, 55 in all.
var Genrex = Format{Prefix: "grx_sk_", Length: 48, Alphabet: LowerHex}

// Match reports whether s has the shape of f. It says nothing about whether such a key exists.
func (f *Format) Match(s string) bool {
	if len(s) != len(f.Prefix)+f.Length || !strings.HasPrefix(s, f.Prefix) {
		return false
	}
	for i := len(f.Prefix); i < len(s); i++ {
		if strings.IndexByte(f.Alphabet, s[i]) < 0 {
			return false
		}
	}
	return true
}

// checksumLen is the number of hex characters of a CRC-32.
const checksumLen = 8

// Generate makes a new secret from crypto/rand: Length−8 random hex characters, then the CRC-32 (IEEE) of all
// that precedes, in hex, so that a scanner can tell a real key from a random string offline. Genrex secrets
// carry 160 random bits.
func (f *Format) Generate() (Secret, error) {
	return f.generate(rand.Reader)
}

func (f *Format) generate(random io.Reader) (Secret, error) {
	if f.Alphabet != LowerHex || f.Length < 2*checksumLen || f.Length%2 != 0 {
		return "", fmt.Errorf("generate key: no generator for format %q", f.Prefix)
	}
	raw := make([]byte, (f.Length-checksumLen)/2)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", fmt.Errorf("generate key: %w", err)
	}
	body := f.Prefix + hex.EncodeToString(raw)
	return Secret(fmt.Sprintf("%s%08x", body, crc32.ChecksumIEEE([]byte(body)))), nil
}

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
