package apikey

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"
)

// The named alphabets. Hexadecimal is lower case only: one secret has one spelling.
const (
	LowerHex = "0123456789abcdef"
	Base62   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// What every generated key carries at least, in bits. At a secret's entropy a plain hash in the store cannot be
// searched, and no pepper is needed (design.md §5); a publishable key has only to be unique.
const (
	minRandomBits = 150
	minPublicBits = 64
)

// ErrTooWeak means that a format leaves too little room for randomness to generate keys in.
var ErrTooWeak = errors.New("format too short to generate keys in")

// Format is the shape of one secret: a fixed prefix and a fixed number of characters from one alphabet.
type Format struct {
	// Prefix starts every secret and is no secret itself.
	Prefix string
	// Length is the number of characters after the prefix.
	Length int
	// Alphabet lists the bytes allowed after the prefix: visible ASCII, each once.
	Alphabet string
	// Checksum: the last characters have to be the CRC-32 of what precedes them. Generated secrets always carry
	// it; imported ones may not, so it is asked for only where the operator says so.
	Checksum bool
	// Public: the text is no secret.
	Public bool
}

// Genrex is the format published in the genrex contract: "grx_sk_" and 48 hexadecimal characters, 55 in all.
var Genrex = Format{Prefix: "grx_sk_", Length: 48, Alphabet: LowerHex}

// Size is the length of a whole secret in bytes.
func (f *Format) Size() int { return len(f.Prefix) + f.Length }

// Match reports whether s has the shape of f. It says nothing about whether such a key exists.
func (f *Format) Match(s string) bool {
	m := f.Matcher()
	return m.Match(s)
}

// Matcher is a Format that is made ready to be matched often. It does not see later changes of the Format.
type Matcher struct {
	format Format
	// foreign is 1 for every byte that is not of the alphabet.
	foreign [256]uint8
}

// Matcher makes f ready.
func (f *Format) Matcher() Matcher {
	m := Matcher{format: *f}
	for i := range m.foreign {
		m.foreign[i] = 1
	}
	for i := 0; i < len(f.Alphabet); i++ {
		m.foreign[f.Alphabet[i]] = 0
	}
	return m
}

// Match is as that of the Format.
func (m *Matcher) Match(s string) bool {
	if len(s) != m.format.Size() || !strings.HasPrefix(s, m.format.Prefix) {
		return false
	}
	foreign := uint8(0)
	for rest := s[len(m.format.Prefix):]; len(rest) > 0; {
		if len(rest) < 4 {
			foreign |= m.foreign[rest[0]]
			rest = rest[1:]
			continue
		}
		foreign |= m.foreign[rest[0]] | m.foreign[rest[1]] | m.foreign[rest[2]] | m.foreign[rest[3]]
		rest = rest[4:]
	}
	return foreign == 0 && (!m.format.Checksum || m.format.checksumMatches(s))
}

// RandomBits is how many random bits a generated secret of f carries.
func (f *Format) RandomBits() float64 {
	return float64(max(0, f.Length-f.checksumLen())) * math.Log2(float64(len(f.Alphabet)))
}

// Generate makes a new secret from crypto/rand: random characters, then the checksum of all that precedes, so
// that a scanner can tell a real key from a random string offline. It returns ErrTooWeak for a format that has
// room for fewer than 150 random bits, or 64 if it is public.
func (f *Format) Generate() (Secret, error) {
	return f.generate(rand.Reader)
}

func (f *Format) generate(random io.Reader) (Secret, error) {
	needed := float64(minRandomBits)
	if f.Public {
		needed = minPublicBits
	}
	if f.RandomBits() < needed {
		return "", fmt.Errorf("generate key with prefix %q: %w", f.Prefix, ErrTooWeak)
	}
	secret := make([]byte, 0, f.Size())
	secret = append(secret, f.Prefix...)
	var err error
	if secret, err = appendRandom(secret, random, f.Alphabet, f.Length-f.checksumLen()); err != nil {
		return "", fmt.Errorf("generate key: %w", err)
	}
	return Secret(f.appendChecksum(secret)), nil
}

// appendRandom appends n characters of alphabet, each as likely as any other: bytes that would favour the first
// characters are thrown away.
func appendRandom(dst []byte, random io.Reader, alphabet string, n int) ([]byte, error) {
	fair := 256 - 256%len(alphabet)
	var buf [64]byte
	for n > 0 {
		if _, err := io.ReadFull(random, buf[:]); err != nil {
			return nil, err
		}
		for _, b := range buf {
			if n > 0 && int(b) < fair {
				dst = append(dst, alphabet[int(b)%len(alphabet)])
				n--
			}
		}
	}
	return dst, nil
}

// checksumLen is how many characters of the alphabet hold 32 bits.
func (f *Format) checksumLen() int {
	n, room := 0, uint64(1)
	for room < 1<<32 {
		room *= uint64(len(f.Alphabet))
		n++
	}
	return n
}

// appendChecksum appends the CRC-32 (IEEE) of body, most significant digit first, in the alphabet's own digits.
func (f *Format) appendChecksum(body []byte) []byte {
	n := f.checksumLen()
	sum := crc32.ChecksumIEEE(body)
	out := append(body, make([]byte, n)...)
	for i := len(out) - 1; i >= len(body); i-- {
		out[i] = f.Alphabet[sum%uint32(len(f.Alphabet))]
		sum /= uint32(len(f.Alphabet))
	}
	return out
}

// checksumMatches assumes that s has the shape of f.
func (f *Format) checksumMatches(s string) bool {
	body := len(s) - f.checksumLen()
	if body < len(f.Prefix) {
		return false
	}
	sum := crc32.ChecksumIEEE([]byte(s[:body]))
	for i := len(s) - 1; i >= body; i-- {
		if s[i] != f.Alphabet[sum%uint32(len(f.Alphabet))] {
			return false
		}
		sum /= uint32(len(f.Alphabet))
	}
	return true
}
