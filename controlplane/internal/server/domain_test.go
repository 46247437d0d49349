package server

import (
	"errors"
	"strings"
	"testing"
)

func TestReadDomain(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	longest := strings.Join([]string{label63, label63, label63, strings.Repeat("b", 61)}, ".")
	for _, tt := range []struct {
		name, in, want string
		// expected is in the refusal's text; empty for none.
		expected string
	}{
		{"plain", "example.com", "example.com", ""},
		{"upper case", "App.Example.COM", "app.example.com", ""},
		{"hyphens and digits", "a-b--c.1x.co", "a-b--c.1x.co", ""},
		{"A-label", "xn--bcher-kva.example", "xn--bcher-kva.example", ""},
		{"digits but for the last label", "1.2.3.x4", "1.2.3.x4", ""},
		{"longest", longest, longest, ""},
		{"a byte longer", longest + "b", "", "1 to 253"},
		{"empty", "", "", "1 to 253"},
		{"longest label", label63 + ".com", label63 + ".com", ""},
		{"label too long", label63 + "a.com", "", "1 to 63"},
		{"one label", "localhost", "", "two labels"},
		{"empty label", "a..com", "", "1 to 63"},
		{"leading dot", ".example.com", "", "1 to 63"},
		{"dot alone", ".", "", "final dot"},
		{"final dot", "example.com.", "", "final dot"},
		{"port", "example.com:443", "", "without port"},
		{"URL", "https://example.com", "", "without scheme"},
		{"path", "example.com/x", "", "without scheme"},
		{"user", "me@example.com", "", "without scheme"},
		{"wildcard", "*.example.com", "", "wildcard"},
		{"IPv4", "192.0.2.1", "", "IP address"},
		{"IPv4 of two parts", "127.1", "", "IP address"},
		{"IPv4 in hexadecimal", "0xc0.0x0.0x2.0x1", "", "IP address"},
		{"IPv4 in capitals", "192.0X2F", "", "IP address"},
		{"IPv4 with an empty hexadecimal part", "1.0x", "", "IP address"},
		{"IPv6", "2001:db8::1", "", "IP address"},
		{"IPv6 in brackets", "[2001:db8::1]", "", "IP address"},
		{"hyphen first", "-a.com", "", "inner hyphens"},
		{"hyphen last", "a-.com", "", "inner hyphens"},
		{"underscore", "_dmarc.example.com", "", "letters"},
		{"blank", "exa mple.com", "", "letters"},
		{"blank around", " example.com", "", "letters"},
		{"NUL", "example\x00.com", "", "letters"},
		{"Unicode", "bücher.example", "", "A-label form"},
		{"ideographic dot", "example。com", "", "A-label form"},
		// In lower case it would be an ASCII k.
		{"Kelvin sign", "\u212aelvin.com", "", "A-label form"},
		{"no UTF-8", "a\xff.com", "", "A-label form"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readDomain(tt.in)
			if tt.expected == "" {
				if err != nil || got != tt.want {
					t.Errorf("got %q, %v; want %q", got, err, tt.want)
				}
				return
			}
			var p *Problem
			if !errors.As(err, &p) || p.Status != 422 || p.Errors[0].Location != "body.domain" || !strings.Contains(p.Detail, tt.expected) {
				t.Errorf("got %q, %v; want a refusal of body.domain with %q", got, err, tt.expected)
			}
		})
	}
}
