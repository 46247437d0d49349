package apikey

import (
	"errors"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/apikey/strictjson"
)

const acme = `{"acme": {
  "type": "secret_key",
  "secret": {"prefix": "acme-", "length": 40, "alphabet": "ABCDEFGHJKMNPQRSTVWXYZ23456789"},
  "secret_header": "x-acme-key", "require_checksum": true,
  "errors": {"style": "openai", "challenge": "AcmeKey", "realm": "acme", "rows": {
    "insufficient_credits": {"status": 429, "code": "quota", "message": "No quota left"}}}
}}`

func TestParseSchemes(t *testing.T) {
	schemes, err := ParseSchemes([]byte(acme))
	if err != nil || len(schemes) != 1 {
		t.Fatalf("%d schemes, %v", len(schemes), err)
	}
	s := schemes[0]
	secret, err := s.Secret.Generate()
	if err != nil {
		t.Fatal(err)
	}
	text := secret.Reveal()
	if !strings.HasPrefix(text, "acme-") || len(text) != 45 || !s.Secret.Match(text) {
		t.Error("a generated secret does not match its own format")
	}
	if s.Errors.Rows[InsufficientCredits] != (Row{429, "quota", "No quota left"}) || s.Errors.Rows[InvalidKey].Code != "invalid_key" {
		t.Errorf("rows %+v", s.Errors.Rows)
	}
}

func TestPresets(t *testing.T) {
	for _, s := range Presets() {
		parsed, err := ParseSchemes([]byte(`{"` + s.Name + `": {"preset": "` + s.Name + `"}}`))
		if err != nil || len(parsed) != 1 || parsed[0].Type != s.Type {
			t.Fatalf("%s: %v", s.Name, err)
		}
		for _, f := range s.Formats() {
			secret, err := f.Generate()
			if err != nil || !f.Match(secret.Reveal()) || f.RandomBits() < 150 {
				t.Errorf("%s: %v, %.0f random bits", f.Prefix, err, f.RandomBits())
			}
			checked := *f
			checked.Checksum = true
			if !checked.Match(secret.Reveal()) {
				t.Errorf("%s: a generated secret has no checksum", f.Prefix)
			}
		}
	}
	short, err := ParseSchemes([]byte(`{"v": {"preset": "vexrail", "secret": {"length": 20}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := short[0].Secret.Generate(); !errors.Is(err, ErrTooWeak) {
		t.Errorf("a format for imports alone generates: %v", err)
	}
}

func TestParseSchemesRefuses(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(acme, old) {
			t.Fatalf("the good definition has no %q", old)
		}
		return strings.Replace(acme, old, new, 1)
	}
	tests := []struct{ name, text, want string }{
		{"not an object", `[]`, "configuration: expected an object"},
		{"bad name", replace(`"acme": {`, `"a b": {`), "expected names of"},
		{"preset and type", replace(`"type": "secret_key"`, `"type": "secret_key", "preset": "genrex"`), `exactly one of "preset" and "type"`},
		{"neither", replace(`"type": "secret_key",`, ``), `exactly one of "preset" and "type"`},
		{"unknown type", replace(`secret_key`, `cookie`), `acme.type: expected one of "secret_key", "key_pair"`},
		{"unknown field", replace(`"secret_header"`, `"header"`), "acme.header: expected no such field"},
		{"no header", replace(`"secret_header": "x-acme-key", `, ``), `"bearer" or "secret_header"`},
		{"no format", replace(`"length": 40, `, ``), "acme.secret: expected prefix, length and alphabet"},
		{"long prefix", replace(`acme-`, `a-prefix-without-end-`), "acme.secret.prefix"},
		{"comma in prefix", replace(`acme-`, `a,b`), "acme.secret.prefix"},
		{"length", replace(`40`, `0`), "acme.secret.length: expected an integer from 8"},
		{"no room for a checksum", replace(`"length": 40, "alphabet": "ABCDEFGHJKMNPQRSTVWXYZ23456789"`, `"length": 8, "alphabet": "hex"`), "room for the checksum"},
		{"repeated letter", replace(`ABCDEF`, `AACDEF`), "acme.secret.alphabet"},
		{"short alphabet", replace(`ABCDEFGHJKMNPQRSTVWXYZ23456789`, `AB`), "acme.secret.alphabet"},
		{"upper-case header", replace(`x-acme-key`, `X-Acme-Key`), "acme.secret_header"},
		{"reserved header", replace(`x-acme-key`, `cookie`), "acme.secret_header"},
		{"identity header", replace(`x-acme-key`, `x-tollgate-key-id`), "acme.secret_header"},
		{"publishable in a secret_key", replace(`"require_checksum"`, `"publishable_header": "x-p", "require_checksum"`), "belongs to an account"},
		{"domain of a secret_key", replace(`"require_checksum"`, `"domain_verified": true, "require_checksum"`), "belongs to an account"},
		{"the header twice", replace(`"require_checksum"`, `"conversation_header": "x-acme-key", "require_checksum"`), "a different header"},
		{"unknown reason", replace(`insufficient_credits`, `no_credits`), "acme.errors.rows.no_credits"},
		{"status", replace(`429`, `200`), "acme.errors.rows.insufficient_credits.status: expected an integer from 400"},
		{"quote in a message", replace(`No quota left`, `No \"quota`), "acme.errors.rows.insufficient_credits.message"},
		{"line break in the realm", replace(`"realm": "acme"`, `"realm": "a\r\nb"`), "acme.errors.realm"},
		{"style", replace(`openai`, `xml`), "acme.errors.style"},
		{"pair without headers", `{"p": {"type": "key_pair", "secret": {"prefix": "s", "length": 40, "alphabet": "hex"}, "publishable": {"prefix": "p", "length": 40, "alphabet": "hex"}}}`, `"secret_header" and "publishable_header"`},
		{"halves alike", `{"p": {"preset": "vexrail", "publishable": {"prefix": "sk_live_"}}}`, "different prefixes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseSchemes([]byte(tt.text))
			if !errors.Is(err, strictjson.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseSchemes = %v, want ErrInvalid saying %q", err, tt.want)
			}
		})
	}
}

// A secret that differs in one character must not pass for one with a checksum: CRC-32 catches every single change.
func TestChecksumCatchesEveryChange(t *testing.T) {
	for _, s := range Presets() {
		f := s.Secret
		f.Checksum = true
		secret, err := f.Generate()
		if err != nil {
			t.Fatal(err)
		}
		text := []byte(secret.Reveal())
		for i := len(f.Prefix); i < len(text); i++ {
			was := text[i]
			for _, c := range []byte(f.Alphabet) {
				if text[i] = c; c != was && f.Match(string(text)) {
					t.Errorf("%s: character %d changed and the checksum still matches", s.Name, i)
				}
			}
			text[i] = was
		}
	}
}
