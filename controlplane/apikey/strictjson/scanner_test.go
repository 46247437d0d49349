package strictjson

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScanner(t *testing.T) {
	t.Parallel()
	s := NewScanner([]byte(`{"text": "\u00e9\ud83d\ude00\ud83d\n", "whole": -12, "flag": true, "off": false,
		"none": null, "list": [7, [], {}], "left": {"out": [null, true, false, 1e9, "\"", {"a": {}}]}}`))
	got := map[string]any{}
	for s.Object(); s.Member(); {
		switch name := string(s.Name()); name {
		case "text":
			got["text"] = s.Text()
		case "whole":
			got["whole"] = s.Integer()
		case "flag", "off":
			got[name] = s.Bool()
		case "none":
			got["none"] = s.Null()
		case "list":
			var list []Value
			for s.Array(); s.Item(); {
				list = append(list, s.Value())
			}
			got["list"] = list
		default:
			s.Skip()
		}
	}
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"text": "é😀\ufffd\n", "whole": int64(-12), "flag": true, "off": false, "none": true,
		"list": []Value{Number("7"), []Value{}, []Member{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

func TestScannerRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		read       func(*Scanner)
		want       string
	}{
		{"number for text", `5`, func(s *Scanner) { s.Text() }, "configuration: expected a string"},
		{"text for number", `"5"`, func(s *Scanner) { s.Integer() }, "configuration: expected an integer"},
		{"fraction", `5.0`, func(s *Scanner) { s.Integer() }, "configuration: expected an integer"},
		{"beyond int64", `9223372036854775808`, func(s *Scanner) { s.Integer() }, "configuration: expected an integer"},
		{"null for flag", `null`, func(s *Scanner) { s.Bool() }, "configuration: expected true or false"},
		{"array for object", `[]`, func(s *Scanner) {
			for s.Object(); s.Member(); {
				t.Error("found a member")
			}
		}, "configuration: expected an object"},
		{"object for array", `{}`, func(s *Scanner) {
			for s.Array(); s.Item(); {
				t.Error("found an item")
			}
		}, "configuration: expected an array"},
		{"below", `{"a": [1, {"b": 2}]}`, func(s *Scanner) {
			s.Object()
			s.Member()
			s.Array()
			s.Item()
			s.Skip()
			s.Item()
			s.Object()
			s.Member()
			s.Text()
		}, "a[1].b: expected a string"},
		{"nothing taken", `[1]`, func(s *Scanner) {
			for s.Array(); s.Item(); {
				continue
			}
		}, "malformed after byte 2"},
		{"not left", `[1, 2]`, func(s *Scanner) {
			s.Array()
			s.Item()
			s.Skip()
		}, "malformed after byte 3"},
		{"cut and not left", `[1`, func(s *Scanner) {
			s.Array()
			s.Item()
			s.Skip()
		}, "malformed after byte 2"},
		{"first fault of two", `["", 5x`, func(s *Scanner) {
			for s.Array(); s.Item(); {
				s.Integer()
			}
		}, "configuration[0]: expected an integer"},
		{"broken flag", `trve`, func(s *Scanner) {
			if s.Bool() {
				t.Error("half a word is true")
			}
		}, "malformed after byte 3"},
		{"no value", `}`, func(s *Scanner) { s.Text() }, "malformed after byte 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := NewScanner([]byte(tt.text))
			tt.read(s)
			err := s.End()
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("End = %v, want ErrInvalid saying %q", err, tt.want)
			}
		})
	}
}

// An object with more names than are compared one by one still has each once, and so has the one around it.
func TestRepeatedAmongMany(t *testing.T) {
	t.Parallel()
	var inner strings.Builder
	for i := range 10 * fewNames {
		fmt.Fprintf(&inner, `"n%d": {"n%d": 0}, `, i, i)
	}
	tests := []struct{ name, text, want string }{
		{"none", `{"n0": {` + inner.String() + `"z": 1}, "z": 2}`, ""},
		{"early", `{"a": {` + inner.String() + `"n1": 1}}`, "a.n1: expected the field once"},
		{"late", `{"a": {` + inner.String() + `"n159": 1}}`, "a.n159: expected the field once"},
		{"outside", `{"a": {` + inner.String() + `"z": 1}, "a": 1}`, "a: expected the field once"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(tt.text))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %v, want %q", err, tt.want)
			}
		})
	}
}

// A message full of small objects is as cheap to go through as one with a single object.
func TestSkipAllocatesNothing(t *testing.T) {
	one := `[{"lease": "lease_1", "used": 1, "action": "keep", "flags": [1, true, null]}]`
	allocs := func(text string) float64 {
		data := []byte(text)
		return testing.AllocsPerRun(10, func() {
			s := NewScanner(data)
			s.Skip()
			if err := s.End(); err != nil {
				t.Error(err)
			}
		})
	}
	if few, many := allocs(one), allocs(`[`+strings.Repeat(one+`, `, 200)+one+`]`); many > few {
		t.Errorf("skipping 200 objects allocates %v times, one object %v", many, few)
	}
}
