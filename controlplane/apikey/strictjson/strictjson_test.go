package strictjson

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	v, err := Parse([]byte(` {"a": [1, "x", true, null, {}], "b": {"c": "d"}} `))
	if err != nil {
		t.Fatal(err)
	}
	r := &Reader{}
	o := r.Object(Root, v, "a", "b")
	a, _ := o.Required("a")
	b, _ := o.Required("b")
	items := r.Array("a", a)
	c, ok := r.Object("b", b, "c").Optional("c")
	if r.Err() != nil || len(items) != 5 || !ok || r.Text("b.c", c) != "d" || r.Integer("a[0]", items[0], 0, 1) != 1 || !r.Bool("a[2]", items[2]) {
		t.Errorf("read %v, err %v", v, r.Err())
	}
	if _, ok := o.Optional("z"); ok {
		t.Error("a field that is not there was found")
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "one JSON object"},
		{"cut", `{"a":`, "malformed after byte 5"},
		{"trailing bytes", `{} x`, "malformed after byte"},
		{"two values", `{}{}`, "malformed after byte"},
		{"byte order mark", "\ufeff{}", "malformed after byte 1"},
		{"repeated field", `{"a":{"b":1,"b":1}}`, "a.b: expected the field once"},
		{"repeated by an escape", `{"ab":1,"a\u0062":1}`, "ab: expected the field once"},
		{"too deep", strings.Repeat("[", 18) + strings.Repeat("]", 18), "at most 16 levels"},
		{"too long", `"` + strings.Repeat("a", 1<<20) + `"`, "at most 1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %v, want ErrInvalid saying %q", err, tt.want)
			}
		})
	}
}

func TestReaderCollectsEveryProblem(t *testing.T) {
	v, err := Parse([]byte(`{"text": "", "int": 1.5, "word": "z", "flag": 0, "list": {}, "extra": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	r := &Reader{}
	o := r.Object(Root, v, "text", "int", "word", "flag", "list", "missing")
	get := func(name string) Value { v, _ := o.Optional(name); return v }
	r.Text("text", get("text"))
	r.Integer("int", get("int"), 1, MaxInteger)
	r.OneOf("word", get("word"), "x", "y")
	r.Bool("flag", get("flag"))
	r.Array("list", get("list"))
	o.Required("missing")
	for _, want := range []string{
		"extra: expected no such field", "text: expected a non-empty string", "int: expected an integer from 1 to 2^53-1",
		`word: expected one of "x", "y"`, "flag: expected true or false", "list: expected an array", "missing: expected a value (required)",
	} {
		if !strings.Contains(r.Err().Error(), want) {
			t.Errorf("problems do not say %q:\n%v", want, r.Err())
		}
	}
}

func TestInteger(t *testing.T) {
	tests := []struct {
		text string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"-0", 0, true}, {"9007199254740991", MaxInteger, true}, {"1e3", 1000, true},
		{"1.5e+15", 1_500_000_000_000_000, true}, {"9007199254740992", 0, false}, {"9007199254740993", 0, false},
		{"-1", 0, false}, {"1.0", 0, false}, {"1.5", 0, false}, {"1e-3", 0, false}, {"1e-400", 0, false},
		{"1e400", 0, false}, {`"1"`, 0, false}, {"null", 0, false}, {"true", 0, false},
	}
	for _, tt := range tests {
		r := &Reader{}
		v, err := Parse([]byte(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Integer("n", v, 0, MaxInteger); got != tt.want || (r.Err() == nil) != tt.ok {
			t.Errorf("%s: %d, %v; want %d, ok %v", tt.text, got, r.Err(), tt.want, tt.ok)
		}
	}
}
