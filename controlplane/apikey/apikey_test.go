package apikey

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMatch(t *testing.T) {
	good := "grx_sk_" + strings.Repeat("0123456789abcdef", 3)
	tests := []struct {
		name, key string
		want      bool
	}{
		{"published form", good, true},
		{"empty", "", false},
		{"prefix alone", "grx_sk_", false},
		{"one short", good[:54], false},
		{"one long", good + "a", false},
		{"upper-case digit", good[:54] + "F", false},
		{"not hex", good[:54] + "g", false},
		{"NUL", good[:54] + "\x00", false},
		{"another prefix", "grx_pk_" + good[7:], false},
		{"leading space", " " + good[:54], false},
		{"two-byte rune", good[:53] + "é", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Genrex.Match(tt.key); got != tt.want {
				t.Errorf("Match(%q) = %v, want %v", tt.key, got, tt.want)
			}
		})
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("grx_sk_" + strings.Repeat("0123456789abcdef", 3))
	f.Fuzz(func(t *testing.T, s string) {
		slow := len(s) == 55 && s[:7] == "grx_sk_"
		for i := 7; slow && i < 55; i++ {
			slow = s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'f'
		}
		if got := Genrex.Match(s); got != slow {
			t.Errorf("Match(%q) = %v, want %v", s, got, slow)
		}
	})
}

func TestGenerate(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		s, err := Genrex.Generate()
		if err != nil {
			t.Fatal(err)
		}
		text := s.Reveal()
		if !Genrex.Match(text) {
			t.Fatalf("generated key of length %d does not match its own format", len(text))
		}
		if want := fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text[:47]))); text[47:] != want {
			t.Fatalf("checksum %s, want %s", text[47:], want)
		}
		if seen[text] {
			t.Fatal("the same key twice")
		}
		seen[text] = true
	}
}

func TestGenerateReportsMissingRandomness(t *testing.T) {
	broken := errors.New("no entropy")
	if s, err := Genrex.generate(iotest.ErrReader(broken)); !errors.Is(err, broken) || s != "" {
		t.Errorf("generate = %d characters, %v; want none and the reader's error", len(s), err)
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s, err := Genrex.Generate()
	if err != nil {
		t.Fatal(err)
	}
	holder := struct{ Key Secret }{s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", s, holder)
	}
	fmt.Fprintln(&out, s, &holder, fmt.Errorf("wrap %w", fmt.Errorf("key %v", s)))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("m", "key", s, "holder", holder)
	}
	if err := json.NewEncoder(&out).Encode(holder); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{s.Reveal(), s.Reveal()[7:], fmt.Sprintf("%x", []byte(s.Reveal()))} {
		if strings.Contains(strings.ToLower(out.String()), form) {
			t.Errorf("a formatter spilled the secret")
		}
	}
	if !strings.Contains(out.String(), "…"+s.Reveal()[51:]) {
		t.Error("the redacted form does not end in the last four characters")
	}
}

func TestDigest(t *testing.T) {
	// SHA-256("abc"), FIPS 180-4 example.
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := DigestOf("abc").Hex(); got != abc {
		t.Errorf("DigestOf(abc) = %s", got)
	}
	d, err := ParseDigest(abc)
	if err != nil || d != DigestOf("abc") {
		t.Errorf("ParseDigest = %v, %v", d, err)
	}
	for _, bad := range []string{"", abc[:63], abc + "0", strings.ToUpper(abc), strings.Replace(abc, "b", "g", 1)} {
		if _, err := ParseDigest(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("ParseDigest(%q) = %v, want an error that does not repeat it", bad, err)
		}
	}
	if d.Stored() == d || d.Stored() == DigestOf(abc) {
		t.Error("the stored digest must not be derivable without the domain")
	}
}
