package api

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAcquireRequest(t *testing.T) {
	t.Parallel()
	want := goodRequest()
	text := string(want.AppendJSON(nil))
	got, err := ParseAcquireRequest([]byte(" " + text + "\n"))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	more := want
	more.Judges, more.Method, more.Path, more.Address = 1, "GET", "/é", "192.0.2.1:5"
	if got, err := ParseAcquireRequest(more.AppendJSON(nil)); err != nil || !cmp.Equal(got, more) {
		t.Errorf("read %+v, %v; want %+v", got, err, more)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"empty": "", "array": "[" + text + "]", "two": text + text, "unknown field": strings.Replace(text, "{", `{"x":1,`, 1),
		"fraction": strings.Replace(text, `"cost":`, `"cost":0.`, 1), "null path": strings.Replace(text, "{", `{"path":null,`, 1), "a path instead of a field": strings.Replace(text, `"mode":"strict"`, `"path":"/"`, 1),
		"null digest": strings.Replace(text, `"digests":[`, `"digests":[null,`, 1),
	}
	for name, value := range members {
		field := `"` + name + `":` + string(value)
		bad["no "+name] = strings.Replace(strings.Replace(text, field+",", "", 1), ","+field, "", 1)
		bad["null "+name] = strings.Replace(text, field, `"`+name+`":null`, 1)
		bad["object "+name] = strings.Replace(text, field, `"`+name+`":{}`, 1)
		bad["repeated "+name] = strings.Replace(text, field, field+","+field, 1)
		bad["other case "+name] = strings.Replace(text, field, strings.Replace(field, name, strings.ToUpper(name), 1), 1)
		bad["instead of "+name] = strings.Replace(text, field, `"x":1`, 1)
	}
	for name, text := range bad {
		if got, err := ParseAcquireRequest([]byte(text)); !errors.Is(err, ErrInvalid) || !cmp.Equal(got, AcquireRequest{}) {
			t.Errorf("%s: got %+v, %v; want ErrInvalid", name, got, err)
		}
	}
}
