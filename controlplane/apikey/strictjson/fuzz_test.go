package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// Parse takes what encoding/json takes and reads the same from it, but for what its comment refuses. It says of the same
// byte that the document is malformed there.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse(data)
		want, refusal := reference(data)
		if refusal == nil {
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("read (-encoding/json +Parse):\n%s", diff)
			}
		} else if err == nil {
			t.Fatalf("took what has to be refused: %v", refusal)
		}
		var syntax *json.SyntaxError
		switch {
		case err == nil:
		case errors.As(refusal, &syntax):
			// Parse may have come to a repeated field or bytes that are not UTF-8 before.
			offset := malformedAfter(err)
			if offset >= 0 && utf8.Valid(data) && offset != syntax.Offset {
				t.Fatalf("malformed after byte %d, for encoding/json %d", offset, syntax.Offset)
			}
		case utf8.Valid(data):
			if err.Error() != refusal.Error() {
				t.Fatalf("Parse = %v, want %v", err, refusal)
			}
		}
		sameSkipped(t, data, err)
	})
}

// sameSkipped expects Skip to refuse what Parse refuses, in the same words.
func sameSkipped(t *testing.T, data []byte, parsed error) {
	t.Helper()
	s := NewScanner(data)
	s.Skip()
	if err := s.End(); fmt.Sprint(err) != fmt.Sprint(parsed) {
		t.Fatalf("Skip: %v, Parse: %v", err, parsed)
	}
}

// malformedAfter returns the byte that err names, or -1.
func malformedAfter(err error) int64 {
	var offset int64
	if _, err := fmt.Sscanf(err.Error(), "invalid configuration: configuration: expected one JSON object; it is malformed after byte %d", &offset); err != nil {
		return -1
	}
	return offset
}

// reference reads data with encoding/json: the value, or a *Problem, a *json.SyntaxError, or that it is not UTF-8.
func reference(data []byte) (Value, error) {
	if len(data) > maxBytes {
		return nil, &Problem{Field: Root, Want: "at most 1 MiB"}
	}
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return referenceValue(d, Root, 0)
}

func referenceValue(d *json.Decoder, field string, depth int) (Value, error) {
	if depth > maxDepth {
		return nil, &Problem{Field: field, Want: "at most 16 levels of nesting"}
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		return Number(token), nil
	case json.Delim:
		var v Value
		if token == '{' {
			v, err = referenceObject(d, field, depth)
		} else {
			v, err = referenceArray(d, field, depth)
		}
		if err == nil {
			_, err = d.Token()
		}
		return v, err
	}
	return token, nil
}

func referenceObject(d *json.Decoder, field string, depth int) (Value, error) {
	members := []Member{}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := token.(string)
		if seen[name] {
			return nil, &Problem{Field: Join(field, name), Want: "the field once; it is repeated"}
		}
		seen[name] = true
		v, err := referenceValue(d, Join(field, name), depth+1)
		if err != nil {
			return nil, err
		}
		members = append(members, Member{name, v})
	}
	return members, nil
}

func referenceArray(d *json.Decoder, field string, depth int) (Value, error) {
	items := []Value{}
	for d.More() {
		v, err := referenceValue(d, Index(field, len(items)), depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
	}
	return items, nil
}
