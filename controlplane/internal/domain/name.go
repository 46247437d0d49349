package domain

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Why Normalize refuses a name; test for them with errors.Is. Each text says what was expected and repeats nothing of
// what was given.
var (
	ErrLength       = errors.New("expected a domain name of 1 to 233 characters: the record that proves it has a longer one")
	ErrURL          = errors.New("expected a domain name alone, without scheme, user and path")
	ErrPort         = errors.New("expected a domain name without port")
	ErrAddress      = errors.New("expected a domain name, not an IP address")
	ErrWildcard     = errors.New("expected one domain name, without wildcard")
	ErrUnicode      = errors.New("expected a name that IDNA allows, in Unicode or as xn--…, without invisible characters")
	ErrSyntax       = errors.New("expected labels of 1 to 63 letters, digits and inner hyphens, separated by dots")
	ErrSingleLabel  = errors.New("expected at least two labels, such as example.com")
	ErrSpecialUse   = errors.New("expected a domain of the public DNS, not a name kept for private or special use")
	ErrPublicSuffix = errors.New("expected a domain that somebody has registered, not a public suffix such as co.uk")
)

// The lengths that DNS allows (RFC 1035 §2.3.4), in bytes. A domain has to leave room for recordPrefix.
const (
	maxName   = 253
	maxDomain = maxName - len(recordPrefix)
	maxLabel  = 63
	// maxGiven is above what any name of maxDomain bytes can be written in.
	maxGiven = 1024
)

// specialUse are the suffixes under which nobody can prove anything in the public DNS: of the special-use registry
// (RFC 6761), and those that private networks use (RFC 6762 appendix G). That of documentation, example, is left out:
// examples are to work, and nobody can answer a challenge there either.
var specialUse = []string{
	"localhost", "local", "localdomain", "internal", "invalid", "test", "onion", "alt", "arpa",
	"intranet", "private", "corp", "home", "lan",
}

var profile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.CheckHyphens(false))

// Normalize returns the domain that text names: in A-labels (IDNA2008 by way of UTS 46), in lower case, without the one
// final dot that it may have. It refuses what is no domain name that one party could prove to hold. A normal name
// is returned as it is.
func Normalize(text string) (string, error) {
	if err := slipOf(text); err != nil {
		return "", err
	}
	name, err := profile.ToASCII(text)
	if err != nil && strings.ContainsFunc(text, func(c rune) bool { return c > unicode.MaxASCII }) {
		return "", ErrUnicode
	}
	// What is wrong with an ASCII name is told by the rules below, but for an A-label that stands for nothing.
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if fault := faultOf(name); fault != nil {
		return "", fault
	}
	if err != nil {
		return "", ErrUnicode
	}
	return name, nil
}

// slipOf tells what people mean by the commonest slips, before the rule that they break.
func slipOf(text string) error {
	bare := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	_, noAddress := netip.ParseAddr(bare)
	_, noAddressPort := netip.ParseAddrPort(text)
	switch {
	case text == "" || len(text) > maxGiven:
		return ErrLength
	case noAddress == nil || noAddressPort == nil:
		return ErrAddress
	case strings.ContainsAny(text, `/\@?#`):
		return ErrURL
	case strings.Contains(text, "*"):
		return ErrWildcard
	case strings.ContainsAny(text, ":["):
		return ErrPort
	case !utf8.ValidString(text), strings.ContainsFunc(text, invisible):
		return ErrUnicode
	}
	return nil
}

// invisible reports characters that IDNA's mapping would drop without a word.
func invisible(c rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return c != nonJoiner && c != joiner && unicode.In(c, unicode.Cf, unicode.Variation_Selector)
}

// faultOf judges a name in ASCII and in lower case, without its final dot.
func faultOf(name string) error {
	if name == "" || len(name) > maxDomain {
		return ErrLength
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return ErrSyntax
		}
	}
	last := labels[len(labels)-1]
	switch suffix, _ := publicsuffix.PublicSuffix(name); {
	case isNumber(last):
		return ErrAddress
	case slices.Contains(specialUse, last):
		return ErrSpecialUse
	case len(labels) < 2:
		return ErrSingleLabel
	case suffix == name:
		return ErrPublicSuffix
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	})
}

// isNumber reports whether the last label makes programs read the whole name as an IPv4 address, of which they
// take decimal and hexadecimal forms with fewer than four parts too.
func isNumber(label string) bool {
	label, hex := strings.CutPrefix(label, "0x")
	if hex {
		return strings.Trim(label, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// registrable returns what of a normal name was registered: its public suffix and one label. Two names with the same
// one belong to the same party.
func registrable(name string) string {
	// The error is that of a name which is a public suffix, and no normal name is.
	r, _ := publicsuffix.EffectiveTLDPlusOne(name)
	return r
}
