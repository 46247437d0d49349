package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a body. No message of ours is deeper than 3.
const maxDepth = 16

// Bounds of how many values a body holds: names do not count, objects and arrays do. Each may turn out to be a fault, and
// takes many times the memory that it takes in the body. The largest message but an import, a gate's report, has some 15,000;
// a restricted key some 200, of which an import may have a thousand, though seldom with all that there can be of each.
const (
	maxValues       = 1 << 15
	maxImportValues = 1 << 17
)

// jsonNull stands for a JSON null in a parsed tree, where nil would read as "absent".
type jsonNull struct{}

// MarshalJSON lets a schema list it among the values that it takes.
func (jsonNull) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// parseJSON reads exactly one JSON value, of at most limit in all, into map[string]any, []any, string, json.Number, bool or jsonNull.
// encoding/json lets pass what it refuses: a name twice in one object, bytes after the value, invalid UTF-8
// and half surrogate pairs. The error is a *Problem that quotes nothing but field names.
func parseJSON(body []byte, limit int) (any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, malformed("body", "expected a JSON value, got none")
	}
	if !utf8.Valid(body) {
		return nil, malformed("body", "expected UTF-8")
	}
	p := &jsonParser{dec: json.NewDecoder(bytes.NewReader(body)), left: limit, limit: limit}
	p.dec.UseNumber()
	v, err := p.value("body", 0)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("body", "expected nothing after the JSON value")
	}
	if loneSurrogate(body) {
		return nil, malformed("body", `expected \u escapes to name whole characters, got half of a surrogate pair`)
	}
	return v, nil
}

func malformed(location, expected string) *Problem {
	return badField(http.StatusBadRequest, codeInvalidRequest, location, expected)
}

type jsonParser struct {
	dec *json.Decoder
	// left is how many more values there may be, of limit.
	left, limit int
}

func (p *jsonParser) token() (json.Token, error) {
	t, err := p.dec.Token()
	if err == nil {
		return t, nil
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF) {
		// The decoder's own text quotes a character of the body; the offset is enough to find it.
		return nil, malformed("body", fmt.Sprintf("expected valid JSON, got an error at byte %d", syntax.Offset))
	}
	return nil, malformed("body", "expected valid JSON, got the end of the body inside a value")
}

func (p *jsonParser) value(location string, depth int) (any, error) {
	t, err := p.token()
	if err != nil {
		return nil, err
	}
	if p.left--; p.left < 0 {
		return nil, badField(http.StatusRequestEntityTooLarge, codeBodyTooLarge, "body", fmt.Sprintf("expected at most %d values", p.limit))
	}
	switch t := t.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, malformed("body", fmt.Sprintf("expected at most %d levels of nesting", maxDepth))
		}
		if t == '{' {
			return p.object(location, depth)
		}
		return p.array(location, depth)
	case nil:
		return jsonNull{}, nil
	}
	return t, nil
}

func (p *jsonParser) object(location string, depth int) (any, error) {
	members := map[string]any{}
	for p.dec.More() {
		t, err := p.token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, malformed(location, "expected a field name")
		}
		field := location + "." + shownName(name)
		if _, twice := members[name]; twice {
			return nil, malformed(field, "expected each field at most once")
		}
		if members[name], err = p.value(field, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := p.token()
	return members, err
}

func (p *jsonParser) array(location string, depth int) (any, error) {
	items := []any{}
	for p.dec.More() {
		v, err := p.value(location+"["+strconv.Itoa(len(items))+"]", depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
	}
	_, err := p.token()
	return items, err
}

// maxShownName is the length up to which a name from a request is repeated in an error. Every key and token is
// longer, so one that was sent as a name is not shown.
const maxShownName = 32

func shownName(name string) string {
	if len(name) > maxShownName || !loggable(name) {
		return "…"
	}
	return name
}

// loneSurrogate reports whether valid JSON holds a \u escape of half a surrogate pair, which encoding/json
// would replace by another character. Outside strings valid JSON has no backslash.
func loneSurrogate(body []byte) bool {
	for i := 0; i+1 < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		i++
		if body[i] != 'u' {
			continue
		}
		r := escapedRune(body[i-1:])
		if !utf16.IsSurrogate(r) {
			continue
		}
		i += 5
		if i >= len(body) || utf16.DecodeRune(r, escapedRune(body[i:])) == utf8.RuneError {
			return true
		}
		i += 5
	}
	return false
}

// escapedRune returns what \uXXXX at the start of b stands for, or -1.
func escapedRune(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
