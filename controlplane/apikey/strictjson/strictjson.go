// Package strictjson reads configuration as JSON and reports everything that is wrong with it at once. It
// refuses what encoding/json lets pass: repeated fields, fields in another case, unknown fields, trailing bytes.
// It never echoes a value, so that a secret pasted into the wrong field is not printed.
//
// Scanner is the tokeniser below it, for messages that are read without a tree. The package has its own because the
// filter may have 4,000,000 bytes and encoding/json takes an eighth of them.
package strictjson

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// ErrInvalid is wrapped by every problem that this package reports.
var ErrInvalid = errors.New("invalid configuration")

// Problem is one fault of a configuration.
type Problem struct {
	// Field is the path of the field, such as "routes[0].cost".
	Field string
	// Want says what was expected.
	Want string
}

// Error names the field and what was expected.
func (p *Problem) Error() string {
	return ErrInvalid.Error() + ": " + p.Field + ": expected " + p.Want
}

// Unwrap makes every Problem an ErrInvalid.
func (p *Problem) Unwrap() error { return ErrInvalid }

// Value is one JSON value: nil, bool, string, Number, []Value or []Member.
type Value any

// Number is a JSON number as it is written.
type Number string

// Member is one field of a JSON object. Objects are read as lists of members in their order; encoding/json's
// maps would hide repeated ones, and its structs match names in any case.
type Member struct {
	Name  string
	Value Value
}

// Root is the field name of the whole document in problems.
const Root = "configuration"

// maxNameLen bounds names that operators give. maxEcho is how much of a field's name an error repeats: the longest
// of ours is shorter, and a secret pasted in place of a name is cut.
const (
	maxNameLen = 64
	maxEcho    = 24
)

// MaxInteger is 2^53−1, the largest integer that every JSON implementation keeps exact.
const MaxInteger = 1<<53 - 1

// Parse reads exactly one JSON value of at most 1 MiB, in UTF-8, with at most 16 levels of nesting and no field twice in
// one object. Its error is a *Problem: the first that a reader comes to.
func Parse(data []byte) (Value, error) {
	s := NewScanner(data)
	v := s.Value()
	if err := s.End(); err != nil {
		return nil, err
	}
	return v, nil
}

// Join extends the path of a field. A name that no field of ours could have is quoted and cut, so that an error
// stays one readable line.
func Join(field, name string) string {
	if name == "" || strings.ContainsFunc(name, notNameRune) {
		name = strconv.Quote(name[:min(len(name), maxEcho)])
	} else if len(name) > maxEcho {
		name = name[:maxEcho] + "…"
	}
	if field == Root {
		return name
	}
	return field + "." + name
}

// Index extends the path of a field by a position in an array.
func Index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

func notNameRune(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-'
}

// IsName reports whether s is a name that an operator may give to a thing: 1 to 64 characters from a-z, 0-9, _
// and -.
func IsName(s string) bool {
	return s != "" && len(s) <= maxNameLen && !strings.ContainsFunc(s, notNameRune)
}

// Reader turns values into typed fields and collects every problem. The zero value is ready.
type Reader struct {
	problems []error
}

// Err returns every problem, joined, or nil.
func (r *Reader) Err() error { return errors.Join(r.problems...) }

// Problem records one.
func (r *Reader) Problem(field, want string) {
	r.problems = append(r.problems, &Problem{Field: field, Want: want})
}

// Object gives access to the fields of a JSON object by name.
type Object struct {
	// Field is the object's own path, Members its fields in their order.
	Field   string
	Members []Member
	r       *Reader
	broken  bool
}

// AnyField, as the only field of Reader.Object, allows every name.
const AnyField = "*"

// Object reads v as an object with no other fields than those listed. It never returns nil: what is no object is
// recorded and has no fields.
func (r *Reader) Object(field string, v Value, fields ...string) *Object {
	members, ok := v.([]Member)
	if !ok {
		r.Problem(field, "an object")
		return &Object{r: r, Field: field, broken: true}
	}
	if !slices.Contains(fields, AnyField) {
		for _, m := range members {
			if !slices.Contains(fields, m.Name) {
				r.Problem(Join(field, m.Name), "no such field; known here: "+strings.Join(fields, ", "))
			}
		}
	}
	return &Object{r: r, Field: field, Members: members}
}

// Path returns the path of one of o's fields.
func (o *Object) Path(name string) string { return Join(o.Field, name) }

// Optional returns a field, if it is there.
func (o *Object) Optional(name string) (Value, bool) {
	for _, m := range o.Members {
		if m.Name == name {
			return m.Value, true
		}
	}
	return nil, false
}

// Required returns a field and records its absence.
func (o *Object) Required(name string) (Value, bool) {
	v, ok := o.Optional(name)
	if !ok && !o.broken {
		o.r.Problem(o.Path(name), "a value (required)")
	}
	return v, ok
}

// Array reads v as an array.
func (r *Reader) Array(field string, v Value) []Value {
	items, ok := v.([]Value)
	if !ok {
		r.Problem(field, "an array")
	}
	return items
}

// Text reads v as a non-empty string without control characters.
func (r *Reader) Text(field string, v Value) string {
	s, ok := v.(string)
	if !ok || s == "" || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		r.Problem(field, "a non-empty string")
	}
	return s
}

// OneOf reads v as one of the given words and returns the first where it is none of them.
func (r *Reader) OneOf(field string, v Value, words ...string) string {
	if s, ok := v.(string); ok && slices.Contains(words, s) {
		return s
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	want := strings.Join(quoted, ", ")
	if len(words) > 1 {
		want = "one of " + want
	}
	r.Problem(field, want)
	return words[0]
}

// Bool reads v as true or false.
func (r *Reader) Bool(field string, v Value) bool {
	b, ok := v.(bool)
	if !ok {
		r.Problem(field, "true or false")
	}
	return b
}

// Integer reads v as a whole number from lo to hi, at most MaxInteger. Envoy renders the numbers of a Struct from
// doubles, so 1e+15 is as good a spelling as 1000000000000000.
func (r *Reader) Integer(field string, v Value, lo, hi int64) int64 {
	if n, ok := v.(Number); ok {
		if i, err := strconv.ParseInt(string(n), 10, 64); err == nil && lo <= i && i <= hi {
			return i
		}
		if f, err := strconv.ParseFloat(string(n), 64); err == nil && float64(lo) <= f && f <= MaxInteger {
			if i := int64(f); float64(i) == f && i <= hi && scientific(string(n)) {
				return i
			}
		}
	}
	r.Problem(field, "an integer from "+strconv.FormatInt(lo, 10)+" to "+bound(hi))
	return lo
}

// scientific reports whether a number is written as d.ddde+dd, the form in which doubles from 10^15 on are rendered.
// It keeps out 1.0 and 1e-400, which would round to integers.
func scientific(n string) bool {
	_, exponent, ok := strings.Cut(strings.ToLower(n), "e")
	return ok && !strings.HasPrefix(exponent, "-")
}

func bound(n int64) string {
	if n == MaxInteger {
		return "2^53-1"
	}
	return strconv.FormatInt(n, 10)
}
