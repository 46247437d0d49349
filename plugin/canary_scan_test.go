//go:build !wasip1

package main

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

// Lengths of the pieces that are looked for. A piece of a secret as it is or in base64 has short characters, one in
// hex of its bytes has twice as many for the same.
const (
	shortPiece = 16
	longPiece  = 32
)

// canaries finds secrets in text: any shortPiece characters of one, in clear, in either case, in hex or in base64 at any
// alignment.
type canaries struct {
	pieces map[string]string // to the secret's name
	seen   map[string]bool
	bytes  int64
}

func newCanaries() *canaries {
	return &canaries{pieces: map[string]string{}, seen: map[string]bool{}}
}

// add makes secret, which has to be longer than a piece, known by name. A prefix that it shares with others is no secret.
func (c *canaries) add(name, secret, prefix string) {
	secret = strings.TrimPrefix(secret, prefix)
	for _, text := range []string{secret, strings.ToLower(secret), strings.ToUpper(secret)} {
		c.addPieces(name, text, shortPiece)
	}
	hexed := hex.EncodeToString([]byte(secret))
	c.addPieces(name+" in hex", hexed, longPiece)
	c.addPieces(name+" in hex", strings.ToUpper(hexed), longPiece)
	for skip := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			// The last character depends on what follows.
			encoded := encoding.EncodeToString([]byte(secret[skip:]))
			c.addPieces(name+" in base64", encoded[:len(encoded)-1], shortPiece)
		}
	}
}

// addRaw makes bytes known as they are and in hex.
func (c *canaries) addRaw(name string, raw []byte) {
	c.addPieces(name, string(raw), shortPiece)
	c.addPieces(name+" in hex", hex.EncodeToString(raw), longPiece)
}

func (c *canaries) addPieces(name, text string, size int) {
	for i := 0; i+size <= len(text); i++ {
		c.pieces[text[i:i+size]] = name
	}
}

// check fails t if text, found in place, holds a piece of a secret. Texts that were clean before are not read again.
func (c *canaries) check(t testing.TB, place, text string) {
	t.Helper()
	if c.seen[text] {
		return
	}
	c.seen[text] = true
	c.bytes += int64(len(text))
	if name := c.find(text); name != "" {
		t.Errorf("%s holds a piece of %s", place, name)
	}
}

// find returns the name of a secret of which a piece stands in text, or "".
func (c *canaries) find(text string) string {
	for i := 0; i+shortPiece <= len(text); i++ {
		if name, ok := c.pieces[text[i:i+shortPiece]]; ok {
			return name
		}
		if i+longPiece > len(text) {
			continue
		}
		if name, ok := c.pieces[text[i:i+longPiece]]; ok {
			return name
		}
	}
	return ""
}

func (c *canaries) checkHeaders(t testing.TB, place string, headers [][2]string) {
	t.Helper()
	for _, h := range headers {
		c.check(t, place+", a header's name", h[0])
		c.check(t, place+", header "+h[0], h[1])
	}
}

// A search that finds nothing is worth something only if it finds what is there.
func TestCanaryFindsWhatItLooksFor(t *testing.T) {
	t.Parallel()
	const secret = "sk_live_0123456789abcdefABCDEFxyzXYZ1234"
	c := newCanaries()
	c.add("the secret", secret, "sk_live_")
	c.addRaw("the digest", []byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11"))
	for name, text := range map[string]string{
		"whole": secret, "a piece": "x" + secret[12:28] + "y", "upper case": strings.ToUpper(secret), "hex": hex.EncodeToString([]byte(secret)),
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "base64, shifted": base64.StdEncoding.EncodeToString([]byte("a" + secret)),
		"base64 of a header": base64.URLEncoding.EncodeToString([]byte("Bearer " + secret)),
		"digest":             "\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11",
		"digest in hex":      "000102030405060708090a0b0c0d0e0f1011",
	} {
		if c.find("some text before "+text+" and after") == "" {
			t.Errorf("%s: not found", name)
		}
	}
	for name, text := range map[string]string{"prefix and last four": "sk_live_…1234", "nothing": strings.Repeat("nothing to see here ", 10)} {
		if found := c.find(text); found != "" {
			t.Errorf("%s: found %s", name, found)
		}
	}
}
