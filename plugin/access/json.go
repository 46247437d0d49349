package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate/tollgate/controlplane/api"
)

// Problem is one fault of a configuration.
type Problem struct {
	// Field is the path of the field, such as "routes[0].cost".
	Field string
	// Want says what was expected.
	Want string
}

// Error names the field and what was expected.
func (p *Problem) Error() string {
	return ErrConfig.Error() + ": " + p.Field + ": expected " + p.Want
}

// Unwrap makes every Problem an ErrConfig.
func (p *Problem) Unwrap() error { return ErrConfig }

// value is one JSON value: nil, bool, string, json.Number, []value or *members.
type value any

type member struct {
	name  string
	value value
}

// members are the fields of a JSON object in their order; encoding/json's maps would hide repeated ones, and
// its structs match names in any case.
type members []member

// maxNameLen is how much of an unknown field's name an error repeats.
const maxNameLen = 64

// maxDepth bounds nesting; a configuration needs five levels.
const maxDepth = 16

// parseJSON reads exactly one JSON value.
func parseJSON(data []byte) (value, error) {
	if !json.Valid(data) {
		return nil, syntaxProblem(data)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return parseValue(d, "configuration", 0)
}

// syntaxProblem says where data stops being JSON.
func syntaxProblem(data []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return &Problem{Field: "configuration", Want: "one JSON object; it is malformed after byte " + strconv.FormatInt(syntax.Offset, 10)}
	}
	return &Problem{Field: "configuration", Want: "one JSON object"}
}

func parseValue(d *json.Decoder, field string, depth int) (value, error) {
	if depth > maxDepth {
		return nil, &Problem{Field: field, Want: "at most 16 levels of nesting"}
	}
	token, err := d.Token()
	if err != nil {
		return nil, &Problem{Field: field, Want: "a JSON value"}
	}
	switch token {
	case json.Delim('{'):
		return parseObject(d, field, depth)
	case json.Delim('['):
		return parseArray(d, field, depth)
	}
	return token, nil
}

func parseObject(d *json.Decoder, field string, depth int) (value, error) {
	var m members
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, &Problem{Field: field, Want: "a field name"}
		}
		name, _ := token.(string)
		if seen[name] {
			return nil, &Problem{Field: join(field, name), Want: "the field once; it is repeated"}
		}
		seen[name] = true
		v, err := parseValue(d, join(field, name), depth+1)
		if err != nil {
			return nil, err
		}
		m = append(m, member{name, v})
	}
	return m, end(d, field)
}

func parseArray(d *json.Decoder, field string, depth int) (value, error) {
	items := []value{}
	for d.More() {
		v, err := parseValue(d, field+"["+strconv.Itoa(len(items))+"]", depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
	}
	return items, end(d, field)
}

// end takes the closing bracket.
func end(d *json.Decoder, field string) error {
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		return &Problem{Field: field, Want: "a closing bracket"}
	}
	return nil
}

// join extends the path of a field. A name that no field of ours could have is quoted and cut, so that an error
// stays one readable line.
func join(field, name string) string {
	if name == "" || strings.ContainsFunc(name, notNameRune) {
		name = strconv.Quote(name[:min(len(name), maxNameLen)])
	}
	if field == "configuration" {
		return name
	}
	return field + "." + name
}

// reader turns values into typed fields and collects every problem.
type reader struct {
	problems []error
}

func (r *reader) problem(field, want string) {
	r.problems = append(r.problems, &Problem{Field: field, Want: want})
}

// object gives access to the fields of a JSON object by name.
type object struct {
	r       *reader
	field   string
	members members
	broken  bool
}

// anyField, as the only field of object, allows every name.
const anyField = "*"

// object reads v as an object with no other fields than those listed.
func (r *reader) object(field string, v value, fields ...string) *object {
	m, ok := v.(members)
	if !ok {
		r.problem(field, "an object")
		return &object{r: r, field: field, broken: true}
	}
	if !slices.Contains(fields, anyField) {
		for _, f := range m {
			if !slices.Contains(fields, f.name) {
				r.problem(join(field, f.name), "no such field; known here: "+strings.Join(fields, ", "))
			}
		}
	}
	return &object{r: r, field: field, members: m}
}

func (o *object) optional(name string) (value, bool) {
	for _, m := range o.members {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

func (o *object) required(name string) (value, bool) {
	v, ok := o.optional(name)
	if !ok && !o.broken {
		o.r.problem(join(o.field, name), "a value (required)")
	}
	return v, ok
}

func (r *reader) array(field string, v value) []value {
	items, ok := v.([]value)
	if !ok {
		r.problem(field, "an array")
	}
	return items
}

// text reads a non-empty string without control characters.
func (r *reader) text(field string, v value) string {
	s, ok := v.(string)
	if !ok || s == "" || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		r.problem(field, "a non-empty string")
	}
	return s
}

// integer reads a whole number from lo to hi. Envoy renders the numbers of a Struct from doubles, so 1e+15 is
// as good a spelling as 1000000000000000.
func (r *reader) integer(field string, v value, lo, hi int64) int64 {
	if n, ok := v.(json.Number); ok {
		if i, err := n.Int64(); err == nil && lo <= i && i <= hi {
			return i
		}
		if f, err := n.Float64(); err == nil && float64(lo) <= f && f <= float64(api.MaxCredits) {
			if i := int64(f); float64(i) == f && i <= hi && !strings.Contains(n.String(), ".") {
				return i
			}
		}
	}
	r.problem(field, "an integer from "+strconv.FormatInt(lo, 10)+" to "+bound(hi))
	return 0
}

func bound(n int64) string {
	if n == api.MaxCredits {
		return "2^53-1"
	}
	return strconv.FormatInt(n, 10)
}
