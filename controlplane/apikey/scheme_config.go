package apikey

import (
	"slices"
	"strings"

	"github.com/tollgate/tollgate/controlplane/apikey/strictjson"
)

// Bounds of a scheme definition. MaxSize leaves "Bearer " and room within what filters look at of a header.
const (
	MaxPrefix = 16
	MaxSize   = 200
)

// ReadSchemes reads the definitions of schemes, an object from name to definition, in the order of the document.
// A definition starts from a "preset" ("genrex", "vexrail") or from a "type" ("secret_key", "key_pair"), and every
// other field overrides it. Problems are recorded in r; what has one is left out.
func ReadSchemes(r *strictjson.Reader, field string, v strictjson.Value) []*Scheme {
	var schemes []*Scheme
	for _, m := range r.Object(field, v, strictjson.AnyField).Members {
		if !strictjson.IsName(m.Name) {
			r.Problem(field, "names of 1 to 64 characters from a-z, 0-9, _ and -")
			continue
		}
		if s := readScheme(r, strictjson.Join(field, m.Name), m.Value); s != nil {
			s.Name = m.Name
			schemes = append(schemes, s)
		}
	}
	return schemes
}

// ParseSchemes reads a whole document as ReadSchemes does. Its error names every problem.
func ParseSchemes(data []byte) ([]*Scheme, error) {
	v, err := strictjson.Parse(data)
	if err != nil {
		return nil, err
	}
	r := &strictjson.Reader{}
	schemes := ReadSchemes(r, strictjson.Root, v)
	return schemes, r.Err()
}

// Presets returns the published schemes under their own names.
func Presets() []*Scheme {
	genrex, vexrail := genrexPreset(), vexrailPreset()
	genrex.Name, vexrail.Name = "genrex", "vexrail"
	return []*Scheme{&genrex, &vexrail}
}

func readScheme(r *strictjson.Reader, field string, v strictjson.Value) *Scheme {
	o := r.Object(field, v, "preset", "type", "secret", "publishable", "bearer", "secret_header", "publishable_header",
		"conversation_header", "require_checksum", "domain_verified", "balance", "errors")
	s := start(r, o)
	if s == nil {
		return nil
	}
	readFormats(r, o, s)
	readHeaders(r, o, s)
	readEach(o, []named[bool]{{"bearer", &s.Bearer}, {"domain_verified", &s.DomainVerified}, {"balance", &s.Balance}}, r.Bool)
	if v, ok := o.Optional("errors"); ok {
		readErrors(r, o.Path("errors"), v, &s.Errors)
	}
	checkScheme(r, o, s)
	return s
}

// start returns what the definition starts from.
func start(r *strictjson.Reader, o *strictjson.Object) *Scheme {
	preset, hasPreset := o.Optional("preset")
	kind, hasType := o.Optional("type")
	if hasPreset == hasType {
		r.Problem(o.Field, `exactly one of "preset" and "type"`)
		return nil
	}
	if hasPreset {
		s := genrexPreset()
		if r.OneOf(o.Path("preset"), preset, "genrex", "vexrail") == "vexrail" {
			s = vexrailPreset()
		}
		return &s
	}
	t := Type(r.OneOf(o.Path("type"), kind, string(SecretKey), string(KeyPair)))
	s := &Scheme{Type: t, Publishable: Format{Public: true}, Balance: true, Errors: Errors{Style: StyleCode, Challenge: "ApiKey", Realm: "api", Rows: plainRows()}}
	if t == SecretKey {
		s.Errors.Challenge = "Bearer"
	}
	return s
}

// plainRows are the rows of a scheme that names none: the reasons as codes, genrex's statuses and messages.
func plainRows() map[Reason]Row {
	rows := genrexPreset().Errors.Rows
	for reason, row := range rows {
		row.Code = string(reason)
		rows[reason] = row
	}
	return rows
}

func readFormats(r *strictjson.Reader, o *strictjson.Object, s *Scheme) {
	for _, f := range []named[Format]{{"secret", &s.Secret}, {"publishable", &s.Publishable}} {
		if v, ok := o.Optional(f.name); ok {
			readFormat(r, o.Path(f.name), v, f.to)
		}
	}
	if v, ok := o.Optional("require_checksum"); ok {
		required := r.Bool(o.Path("require_checksum"), v)
		s.Secret.Checksum, s.Publishable.Checksum = required, required
	}
}

func readFormat(r *strictjson.Reader, field string, v strictjson.Value, f *Format) {
	o := r.Object(field, v, "prefix", "length", "alphabet")
	if v, ok := o.Optional("prefix"); ok {
		f.Prefix = r.Text(o.Path("prefix"), v)
		if len(f.Prefix) > MaxPrefix || strings.ContainsFunc(f.Prefix, notKeyRune) {
			r.Problem(o.Path("prefix"), "1 to 16 characters from A-Z, a-z, 0-9, _ and -")
		}
	}
	if v, ok := o.Optional("length"); ok {
		f.Length = int(r.Integer(o.Path("length"), v, 8, MaxSize-MaxPrefix))
	}
	if v, ok := o.Optional("alphabet"); ok {
		f.Alphabet = readAlphabet(r, o.Path("alphabet"), v)
	}
}

func readAlphabet(r *strictjson.Reader, field string, v strictjson.Value) string {
	switch s := r.Text(field, v); s {
	case "hex":
		return LowerHex
	case "base62":
		return Base62
	default:
		distinct := map[rune]bool{}
		for _, c := range s {
			distinct[c] = true
		}
		if len(s) < 10 || len(s) > 64 || len(distinct) != len(s) || strings.ContainsFunc(s, notKeyRune) {
			r.Problem(field, `"hex", "base62", or 10 to 64 distinct characters from A-Z, a-z, 0-9, _ and -`)
			return LowerHex
		}
		return s
	}
}

func notKeyRune(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-'
}

func readHeaders(r *strictjson.Reader, o *strictjson.Object, s *Scheme) {
	readEach(o, []named[string]{
		{"secret_header", &s.SecretHeader}, {"publishable_header", &s.PublishableHeader},
		{"conversation_header", &s.ConversationHeader},
	}, func(field string, v strictjson.Value) string {
		name := r.Text(field, v)
		if !headerName(name) {
			r.Problem(field, "a header name in a-z, 0-9 and -, of 1 to 64 characters, that is not one of HTTP's or Tollgate's own")
		}
		return name
	})
}

// named is a field and where its value goes.
type named[T any] struct {
	name string
	to   *T
}

// readEach reads those of the fields that are there.
func readEach[T any](o *strictjson.Object, fields []named[T], read func(field string, v strictjson.Value) T) {
	for _, f := range fields {
		if v, ok := o.Optional(f.name); ok {
			*f.to = read(o.Path(f.name), v)
		}
	}
}

// reservedHeaders mean something else to HTTP, to proxies or to the bearer source.
var reservedHeaders = []string{
	"authorization", "connection", "content-length", "content-type", "cookie", "host", "te", "trailer",
	"transfer-encoding", "upgrade", "x-request-id",
}

func headerName(s string) bool {
	return s != "" && len(s) <= 64 && !slices.Contains(reservedHeaders, s) && !strings.HasPrefix(s, "x-tollgate-") &&
		!strings.HasPrefix(s, "x-forwarded-") && !strings.HasPrefix(s, "x-envoy-") &&
		!strings.ContainsFunc(s, func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' })
}

func readErrors(r *strictjson.Reader, field string, v strictjson.Value, e *Errors) {
	o := r.Object(field, v, "style", "challenge", "realm", "rows")
	if v, ok := o.Optional("style"); ok {
		e.Style = Style(r.OneOf(o.Path("style"), v, string(StyleCode), string(StyleOpenAI)))
	}
	readEach(o, []named[string]{{"challenge", &e.Challenge}, {"realm", &e.Realm}}, func(field string, v strictjson.Value) string {
		text := r.Text(field, v)
		if strings.ContainsFunc(text, notKeyRune) {
			r.Problem(field, "characters from A-Z, a-z, 0-9, _ and -")
		}
		return text
	})
	rows, ok := o.Optional("rows")
	if !ok {
		return
	}
	names := make([]string, len(Reasons))
	for i, reason := range Reasons {
		names[i] = string(reason)
	}
	for _, m := range r.Object(o.Path("rows"), rows, names...).Members {
		row := e.Rows[Reason(m.Name)]
		readRow(r, strictjson.Join(o.Path("rows"), m.Name), m.Value, &row)
		e.Rows[Reason(m.Name)] = row
	}
}

func readRow(r *strictjson.Reader, field string, v strictjson.Value, row *Row) {
	o := r.Object(field, v, "status", "code", "message")
	if v, ok := o.Optional("status"); ok {
		row.Status = int(r.Integer(o.Path("status"), v, 400, 599))
	}
	readEach(o, []named[string]{{"code", &row.Code}, {"message", &row.Message}}, func(field string, v strictjson.Value) string {
		text := r.Text(field, v)
		if len(text) > 200 || strings.ContainsFunc(text, notMessageRune) {
			r.Problem(field, `at most 200 visible ASCII characters and spaces, without " and \`)
		}
		return text
	})
}

func notMessageRune(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }

// checkScheme finds what is wrong with a definition as a whole.
func checkScheme(r *strictjson.Reader, o *strictjson.Object, s *Scheme) {
	for i, f := range s.Formats() {
		name := [][]string{{"secret"}, {"publishable", "secret"}}[len(s.Formats())-1][i]
		if f.Prefix == "" || f.Length == 0 || f.Alphabet == "" {
			r.Problem(o.Path(name), "prefix, length and alphabet")
		} else if f.Checksum && f.Length <= f.checksumLen() {
			r.Problem(o.Path(name), "a length with room for the checksum")
		}
	}
	switch s.Type {
	case SecretKey:
		if !s.Bearer && s.SecretHeader == "" {
			r.Problem(o.Field, `"bearer" or "secret_header"`)
		}
		if s.PublishableHeader != "" || s.Publishable.Prefix != "" || s.DomainVerified {
			r.Problem(o.Field, `no "publishable", "publishable_header" and "domain_verified" in a secret_key: it belongs to an account and has no project`)
		}
	case KeyPair:
		if s.Bearer || s.SecretHeader == "" || s.PublishableHeader == "" {
			r.Problem(o.Field, `"secret_header" and "publishable_header", and no "bearer", in a key_pair`)
		}
		if s.Publishable.Prefix == s.Secret.Prefix {
			r.Problem(o.Field, "different prefixes for the two halves")
		}
	}
	names := append(s.Headers(), s.ConversationHeader)
	slices.Sort(names)
	if names = slices.DeleteFunc(names, func(n string) bool { return n == "" }); len(slices.Compact(names)) != len(names) {
		r.Problem(o.Field, "a different header for each part")
	}
}
