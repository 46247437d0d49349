package domain

import (
	"errors"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	longest := strings.Join([]string{label63, label63, label63, strings.Repeat("b", 37), "com"}, ".")
	for _, tt := range []struct {
		name, in, want string
		err            error
	}{
		{"plain", "example.com", "example.com", nil},
		{"upper case", "App.Example.COM", "app.example.com", nil},
		{"hyphens and digits", "a-b--c.1x.co", "a-b--c.1x.co", nil},
		{"two hyphens in third place", "r3---sn-x.example.com", "r3---sn-x.example.com", nil},
		{"digits but for the last label", "1.2.3.x4", "1.2.3.x4", nil},
		{"final dot", "example.com.", "example.com", nil},
		{"below a public suffix", "shop.co.uk", "shop.co.uk", nil},
		{"below a private suffix", "me.github.io", "me.github.io", nil},
		{"exception of a wildcard rule", "www.ck", "www.ck", nil},
		{"documentation", "acme.example", "acme.example", nil},
		{"longest", longest, longest, nil},
		{"longest label", label63 + ".com", label63 + ".com", nil},
		{"A-label", "xn--bcher-kva.example", "xn--bcher-kva.example", nil},
		{"A-label in capitals", "XN--BCHER-KVA.example", "xn--bcher-kva.example", nil},
		{"Unicode", "bücher.example", "xn--bcher-kva.example", nil},
		{"Unicode in capitals", "BÜCHER.Example", "xn--bcher-kva.example", nil},
		{"Unicode decomposed", "bu\u0308cher.example", "xn--bcher-kva.example", nil},
		{"sharp s stays", "straße.example", "xn--strae-oqa.example", nil},
		{"Greek", "παράδειγμα.example", "xn--hxajbheg2az3al.example", nil},
		{"right to left", "דוגמה.example", "xn--6dbbec0c.example", nil},
		{"ideographic dots", "例え。example。com。", "xn--r8jz45g.example.com", nil},
		{"full width", "ＥＸＡＭＰＬＥ．com", "example.com", nil},
		{"Kelvin sign", "\u212aelvin.com", "kelvin.com", nil},

		{"empty", "", "", ErrLength},
		{"a byte longer", "b" + longest, "", ErrLength},
		{"far too long", strings.Repeat("ü.", 2000), "", ErrLength},
		{"label too long", label63 + "a.com", "", ErrSyntax},
		{"label too long once encoded", strings.Repeat("ü", 60) + ".com", "", ErrSyntax},
		{"one label", "intra-net", "", ErrSingleLabel},
		{"top level", "com", "", ErrSingleLabel},
		{"top level with a dot", "com.", "", ErrSingleLabel},
		{"public suffix", "co.uk", "", ErrPublicSuffix},
		{"public suffix in capitals with a dot", "CO.UK.", "", ErrPublicSuffix},
		{"public suffix of a rule with a wildcard", "foo.ck", "", ErrPublicSuffix},
		{"public suffix in Unicode", "個人.香港", "", ErrPublicSuffix},
		{"private suffix", "github.io", "", ErrPublicSuffix},
		{"localhost", "localhost", "", ErrSpecialUse},
		{"localhost with a dot", "localhost.", "", ErrSpecialUse},
		{"below localhost", "app.localhost", "", ErrSpecialUse},
		{"mDNS", "printer.local", "", ErrSpecialUse},
		{"internal", "metadata.google.internal", "", ErrSpecialUse},
		{"reverse", "1.0.0.127.in-addr.arpa", "", ErrSpecialUse},
		{"home network", "router.home.arpa", "", ErrSpecialUse},
		{"onion", "expyuzz4wqqyqhjn.onion", "", ErrSpecialUse},
		{"test", "app.test", "", ErrSpecialUse},
		{"full width localhost", "ｌｏｃａｌｈｏｓｔ", "", ErrSpecialUse},
		{"empty label", "a..com", "", ErrSyntax},
		{"leading dot", ".example.com", "", ErrSyntax},
		{"dot alone", ".", "", ErrLength},
		{"two final dots", "example.com..", "", ErrSyntax},
		{"port", "example.com:443", "", ErrPort},
		{"empty port", "example.com:", "", ErrPort},
		{"URL", "https://example.com", "", ErrURL},
		{"URL without authority", "https:example.com", "", ErrPort},
		{"path", "example.com/x", "", ErrURL},
		{"backslash", `example.com\x`, "", ErrURL},
		{"query", "example.com?x", "", ErrURL},
		{"fragment", "example.com#x", "", ErrURL},
		{"user", "me@example.com", "", ErrURL},
		{"wildcard", "*.example.com", "", ErrWildcard},
		{"wildcard inside", "a.*.example.com", "", ErrWildcard},
		{"IPv4", "192.0.2.1", "", ErrAddress},
		{"IPv4 with a dot", "192.0.2.1.", "", ErrAddress},
		{"IPv4 and port", "192.0.2.1:80", "", ErrAddress},
		{"IPv4 of two parts", "127.1", "", ErrAddress},
		{"IPv4 of one part", "2130706433", "", ErrAddress},
		{"IPv4 in octal", "0177.0.0.01", "", ErrAddress},
		{"IPv4 in hexadecimal", "0xc0.0x0.0x2.0x1", "", ErrAddress},
		{"IPv4 in capitals", "192.0X2F", "", ErrAddress},
		{"IPv4 with an empty hexadecimal part", "1.0x", "", ErrAddress},
		{"IPv4 in full width", "１２７．０．０．１", "", ErrAddress},
		{"IPv4 in circles", "①②⑦.0.0.①", "", ErrAddress},
		{"IPv6", "2001:db8::1", "", ErrAddress},
		{"IPv6 with zone", "fe80::1%eth0", "", ErrAddress},
		{"IPv6 in brackets", "[2001:db8::1]", "", ErrAddress},
		{"IPv6 and port", "[2001:db8::1]:80", "", ErrAddress},
		{"hyphen first", "-a.com", "", ErrSyntax},
		{"hyphen last", "a-.com", "", ErrSyntax},
		{"underscore", "_dmarc.example.com", "", ErrSyntax},
		{"blank", "exa mple.com", "", ErrSyntax},
		{"blank around", " example.com", "", ErrSyntax},
		{"NUL", "example\x00.com", "", ErrSyntax},
		{"percent", "ex%61mple.com", "", ErrSyntax},
		{"A-label of nothing", "xn--a.com", "", ErrUnicode},
		{"A-label of plain letters", "xn--example-.com", "", ErrUnicode},
		{"A-label of a capital", "xn--BCHER-KVA9.com", "", ErrUnicode},
		{"full width slash", "example.com／x", "", ErrUnicode},
		{"full width colon", "example.com：80", "", ErrUnicode},
		{"full width at", "me＠example.com", "", ErrUnicode},
		{"account of", "a℀.com", "", ErrUnicode},
		{"soft hyphen", "exa\u00admple.com", "", ErrUnicode},
		{"zero width space", "exa\u200bmple.com", "", ErrUnicode},
		{"byte order mark", "\ufeffexample.com", "", ErrUnicode},
		{"variation selector", "a\ufe0f.com", "", ErrUnicode},
		{"right to left override", "a\u202ecom.example", "", ErrUnicode},
		{"joiner out of context", "a\u200db.com", "", ErrUnicode},
		{"directions mixed", "דa.example", "", ErrUnicode},
		{"no UTF-8", "a\xff.com", "", ErrUnicode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Normalize(tt.in)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Fatalf("got %q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
			if err != nil {
				return
			}
			if again, err := Normalize(got); again != got || err != nil {
				t.Errorf("%q becomes %q, %v", got, again, err)
			}
		})
	}
}

// Whatever is taken is a normal name: in ASCII and lower case, unchanged by another pass, and with a registrable part.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"bücher.example", "example.com.", "co.uk", "xn--a.com", "１２７．１", "a\u200db.com", "a℀.com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := Normalize(text)
		if err != nil {
			if name != "" {
				t.Errorf("%q is refused and is %q", text, name)
			}
			return
		}
		if again, err := Normalize(name); again != name || err != nil {
			t.Errorf("%q becomes %q, then %q, %v", text, name, again, err)
		}
		if strings.ContainsFunc(name, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.'
		}) {
			t.Errorf("%q becomes %q", text, name)
		}
		if registrable(name) == "" {
			t.Errorf("%q has no registrable part", name)
		}
	})
}
