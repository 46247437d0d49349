package client_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/client"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
)

var described map[string]operation

// operations are those of the server's own description, by id. It is read once: it is the same for every server.
func operations(t *testing.T, cp *controlplanetest.ControlPlane) map[string]operation {
	t.Helper()
	if described != nil {
		return described
	}
	_, text := cp.Admin(t, http.MethodGet, "/openapi.json", nil)
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]operation{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			all[op.OperationID] = operation{method, path, op}
		}
	}
	described = all
	return all
}

type operation struct {
	method, path string
	*openapi3.Operation
}

// methodName is how the client calls an operation: get-key is Key, list-keys is Keys, rotate-key is RotateKey.
func methodName(id string) string {
	var name strings.Builder
	for i, word := range strings.Split(id, "-") {
		if i > 0 || word != "get" && word != "list" {
			name.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return name.String()
}

// parameters are the names of what the operation takes in a place.
func (o operation) parameters(in string) []string {
	var names []string
	for _, p := range o.Parameters {
		if p.Value.In == in && p.Value.Name != "limit" && p.Value.Name != "cursor" {
			names = append(names, p.Value.Name)
		}
	}
	slices.Sort(names)
	return names
}

// answer is the schema of a success: of a list, that of its rows.
func (o operation) answer(t *testing.T) *openapi3.Schema {
	t.Helper()
	for status, r := range o.Responses.Map() {
		if strings.HasPrefix(status, "2") {
			schema := r.Value.Content.Get("application/json").Schema.Value
			if schema.Properties["has_more"] != nil && len(schema.Properties) == 3 {
				schema = schema.Properties["data"].Value.Items.Value
			}
			return schema
		}
	}
	t.Fatalf("%s: no success is described", o.OperationID)
	return nil
}

// Every operation of the server has a method, which sends it to its path with all that it takes, and understands all of
// its answer. Whoever adds an endpoint or a field adds it here too: this test says where.
func TestTheClientIsWhatTheServerDescribes(t *testing.T) {
	cp := controlplanetest.New(t)
	known := map[string]bool{}
	for id, op := range operations(t, cp) {
		name := methodName(id)
		known[name] = true
		m, ok := reflect.TypeFor[*client.Client]().MethodByName(name)
		if !ok {
			t.Errorf("%s %s: the client has no method %s", op.method, op.path, name)
			continue
		}
		in, out := signature(m.Type)
		sent := record(t, m, in)
		if sent.method != op.method || sent.path != strings.ReplaceAll(op.path, "{id}", "x") {
			t.Errorf("%s asks for %s %s, want %s %s", name, sent.method, sent.path, op.method, op.path)
		}
		if diff := cmp.Diff(op.parameters("query"), sent.query); diff != "" {
			t.Errorf("%s: query (-described +sent):\n%s", name, diff)
		}
		if want := slices.Contains(op.parameters("header"), "Idempotency-Key"); want != sent.idempotent {
			t.Errorf("%s: sends an Idempotency-Key: %v, want %v", name, sent.idempotent, want)
		}
		if op.RequestBody != nil {
			sameFields(t, name+": request", op.RequestBody.Value.Content.Get("application/json").Schema.Value, in)
		}
		sameFields(t, name+": answer", op.answer(t), out)
	}
	for i := range reflect.TypeFor[*client.Client]().NumMethod() {
		// The same operation in another format has another method.
		if name := strings.TrimSuffix(reflect.TypeFor[*client.Client]().Method(i).Name, "CSV"); !known[name] {
			t.Errorf("%s: the server describes no such operation", name)
		}
	}
}

// signature returns the struct that a method takes, nil if none, and what it returns or yields.
func signature(f reflect.Type) (in, out reflect.Type) {
	for i := range f.NumIn() {
		if f.In(i).Kind() == reflect.Struct {
			in = f.In(i)
		}
	}
	if out = f.Out(0); out.Kind() == reflect.Func {
		out = out.In(0).In(0)
	}
	return in, out
}

type sent struct {
	method, path string
	query        []string
	idempotent   bool
}

// record calls the method with something in every argument and returns what it sends.
func record(t *testing.T, m reflect.Method, in reflect.Type) sent {
	t.Helper()
	var s sent
	c, err := client.New("http://control.plane", "token", client.Options{Transport: transport(func(r *http.Request) (*http.Response, error) {
		s = sent{method: r.Method, path: r.URL.Path, idempotent: r.Header.Get("Idempotency-Key") != ""}
		for name := range r.URL.Query() {
			if name != "limit" && name != "cursor" {
				s.query = append(s.query, name)
			}
		}
		slices.Sort(s.query)
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("{}")), Header: http.Header{}}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	args := []reflect.Value{reflect.ValueOf(c), reflect.ValueOf(t.Context())}
	for i := 2; i < m.Type.NumIn(); i++ {
		switch p := m.Type.In(i); {
		case p.Kind() == reflect.String:
			args = append(args, reflect.ValueOf("x"))
		case p == in:
			args = append(args, filled(in))
		}
	}
	if out := m.Func.Call(args)[0]; out.Kind() == reflect.Func {
		for range out.Seq2() {
			t.Errorf("%s yields a row of an empty list", m.Name)
		}
	}
	return s
}

// filled is a value of a struct type with something in every field of a query.
func filled(of reflect.Type) reflect.Value {
	v := reflect.New(of).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case string:
			f.SetString("x")
		case []string:
			f.Set(reflect.ValueOf([]string{"x", "y"}))
		case time.Time:
			f.Set(reflect.ValueOf(time.Unix(1, 0)))
		}
	}
	return v
}

// sameFields compares what a schema and a type have, all the way down.
func sameFields(t *testing.T, where string, schema *openapi3.Schema, of reflect.Type) {
	t.Helper()
	for of != nil && of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of != nil && of.Kind() == reflect.Slice && schema.Items != nil {
		sameFields(t, where+"[]", schema.Items.Value, of.Elem())
		return
	}
	if len(schema.Properties) == 0 {
		return
	}
	if of == nil || of.Kind() != reflect.Struct {
		t.Errorf("%s: %v for an object with fields", where, of)
		return
	}
	fields := fieldsOf(of)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(schema.Properties)), slices.Sorted(maps.Keys(fields))); diff != "" {
		t.Errorf("%s: fields of %v (-described +known):\n%s", where, of, diff)
	}
	for name, property := range schema.Properties {
		if field, ok := fields[name]; ok {
			sameFields(t, where+"."+name, property.Value, field)
		}
	}
}

// fieldsOf are the fields of a struct by their names in JSON, those of embedded structs among them.
func fieldsOf(of reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			maps.Copy(fields, fieldsOf(f.Type))
		} else {
			fields[name] = f.Type
		}
	}
	return fields
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// kept is a transport that decodes each answer of a real server strictly, and holds what is encoded again against it: a
// program may print what it got and have printed what the server said, but for secrets.
func kept(t *testing.T, cp *controlplanetest.ControlPlane) http.RoundTripper {
	t.Helper()
	ops := operations(t, cp)
	return transport(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil || resp.StatusCode > 299 || resp.Header.Get("Content-Type") != "application/json" {
			return resp, err
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(strings.NewReader(string(text)))
		for id, op := range ops {
			if m, ok := reflect.TypeFor[*client.Client]().MethodByName(methodName(id)); ok && op.method == r.Method && matches(op.path, r.URL) {
				_, out := signature(m.Type)
				survives(t, r.Method+" "+r.URL.Path, text, out)
			}
		}
		return resp, nil
	})
}

// matches reports whether a path of the description is the URL's. Ids have a prefix and no fixed part of a path has.
func matches(path string, u *url.URL) bool {
	want, got := strings.Split(path, "/"), strings.Split(u.Path, "/")
	return slices.EqualFunc(want, got, func(w, g string) bool { return w == g || w == "{id}" && strings.Contains(g, "_") })
}

func survives(t *testing.T, where string, text []byte, of reflect.Type) {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	rows := []any{body}
	if body["has_more"] != nil && len(body) == 3 {
		rows = body["data"].([]any)
	}
	for _, row := range rows {
		one, _ := json.Marshal(row)
		decoder := json.NewDecoder(strings.NewReader(string(one)))
		decoder.DisallowUnknownFields()
		v := reflect.New(of)
		if err := decoder.Decode(v.Interface()); err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		again, err := json.Marshal(v.Interface())
		if err != nil {
			t.Errorf("%s: %v", where, err)
		}
		var back map[string]any
		_ = json.Unmarshal(again, &back)
		want := row.(map[string]any)
		if secret, ok := want["secret"].(string); ok && strings.Contains(string(again), secret) {
			t.Errorf("%s: a secret is encoded", where)
		}
		delete(want, "secret")
		delete(back, "secret")
		if diff := cmp.Diff(want, back); diff != "" {
			t.Errorf("%s (-sent +encoded again):\n%s", where, diff)
		}
	}
}

// owner is a client with the control plane's own token.
func owner(t *testing.T, cp *controlplanetest.ControlPlane) *client.Client {
	t.Helper()
	c, err := client.New(cp.AdminURL, cp.AdminToken, client.Options{Transport: kept(t, cp), Pause: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
