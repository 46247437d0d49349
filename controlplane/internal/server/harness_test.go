package server_test

import (
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
)

// request is one admin request, sent as written: no field is filled in but the owner's token and, with a body,
// the content type.
type request struct {
	method, path, body string
	header             http.Header
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// problem is the answer's body as RFC 9457.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	RequestID                 string `json:"request_id"`
	Errors                    []struct{ Location, Message string }
}

// send does an admin request and checks what holds for every answer: it has a request id, no cache keeps it, no
// part of huma's links shows, an error is a whole problem, and the OpenAPI document describes it.
func send(t *testing.T, cp *controlplanetest.ControlPlane, r request) answer {
	t.Helper()
	req := newRequest(t, cp.AdminURL, r)
	if _, ok := r.header["Authorization"]; !ok {
		req.Header.Set("Authorization", "Bearer "+cp.AdminToken)
	}
	a := exchange(t, req)
	if a.header.Get("X-Request-Id") == "" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %s: headers %v lack X-Request-Id or Cache-Control: no-store", r.method, r.path, a.header)
	}
	if a.header.Get("Link") != "" || strings.Contains(a.body, "$schema") {
		t.Errorf("%s %s: a schema link: %v %s", r.method, r.path, a.header, a.body)
	}
	if a.status >= 400 {
		wholeProblem(t, a)
	}
	described(t, cp, req, a)
	return a
}

func newRequest(t *testing.T, root string, r request) *http.Request {
	t.Helper()
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	req, err := http.NewRequest(r.method, root+r.path, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if _, ok := r.header["Content-Type"]; !ok && r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

func exchange(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
}

func wholeProblem(t *testing.T, a answer) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("status %d: %v: %s", a.status, err, a.body)
	}
	if a.header.Get("Content-Type") != "application/problem+json" || p.Type != "about:blank" || p.Status != a.status ||
		p.Title != http.StatusText(a.status) || p.Detail == "" || p.Code == "" || p.RequestID != a.header.Get("X-Request-Id") {
		t.Errorf("not a whole problem: %d %v %s", a.status, a.header, a.body)
	}
	return p
}

// decode reads the JSON of a successful answer.
func decode[T any](t *testing.T, a answer, status int) T {
	t.Helper()
	var v T
	if a.status != status {
		t.Fatalf("got status %d, want %d: %s", a.status, status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// openAPI is the server's own description of itself.
type openAPI struct {
	doc    *openapi3.T
	router routers.Router
}

// describe loads the document once: it is the same for every server.
var describe = sync.OnceValues(func() (openAPI, error) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(openAPIText))
	if err != nil {
		return openAPI{}, err
	}
	router, err := legacy.NewRouter(doc, openapi3.DisableExamplesValidation())
	return openAPI{doc: doc, router: router}, err
})

var (
	openAPIText string
	openAPIOnce sync.Once
)

func document(t *testing.T, cp *controlplanetest.ControlPlane) openAPI {
	t.Helper()
	openAPIOnce.Do(func() {
		openAPIText = exchange(t, newRequest(t, cp.AdminURL, request{method: "GET", path: "/openapi.json"})).body
	})
	d, err := describe()
	if err != nil {
		t.Fatalf("openapi.json: %v", err)
	}
	return d
}

// plainHeaders are those that no document describes.
var plainHeaders = []string{"Cache-Control", "Content-Length", "Content-Type", "Date", "Allow", "Transfer-Encoding", "Connection", "X-Content-Type-Options"}

// described checks an answer of a documented route against the document: status, headers, content type and body.
func described(t *testing.T, cp *controlplanetest.ControlPlane, req *http.Request, a answer) {
	t.Helper()
	plain := &http.Request{Method: req.Method, URL: &url.URL{Path: req.URL.Path}}
	route, _, err := document(t, cp).router.FindRoute(plain)
	if err != nil {
		return
	}
	name := req.Method + " " + route.Path
	response := route.Operation.Responses.Status(a.status)
	if response == nil {
		t.Errorf("%s: status %d is not described: %s", name, a.status, a.body)
		return
	}
	for header := range a.header {
		if slices.Contains(plainHeaders, header) {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(response.Value.Headers)), func(h string) bool { return http.CanonicalHeaderKey(h) == header }) {
			t.Errorf("%s: status %d: header %s is not described", name, a.status, header)
		}
	}
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	media := response.Value.Content[kind]
	if media == nil {
		t.Errorf("%s: status %d: content type %q is not described", name, a.status, kind)
		return
	}
	if kind == "text/csv" {
		return
	}
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if err := media.Schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.VisitAsResponse()); err != nil {
		t.Errorf("%s: status %d: %v", name, a.status, err)
	}
}

// fixture is a control plane with one active account of 1,000 credits and one key. With a pair it has a project
// of the account too, whose domain is verified.
type fixture struct {
	*controlplanetest.ControlPlane
	account string
	key     controlplanetest.Key
	project string
	pair    controlplanetest.Pair
	// token is the id of a viewer token.
	token string
	// asked counts the acquires of verdict.
	asked int
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{ControlPlane: controlplanetest.NewWith(t, controlplanetest.Options{BackupDir: t.TempDir()})}
	f.account = f.MustAccount(t, "active", 1000)
	f.key = f.MustKey(t, f.account)
	return f
}

func newPairFixture(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.project = f.MustProject(t, f.account, "verified")
	f.pair = f.MustPair(t, f.project)
	f.token = decode[struct{ ID string }](t, f.do(t, "POST", "/v1/tokens", `{"name":"t","role":"viewer"}`), 201).ID
	return f
}

// fill puts the fixture's ids in the place of {account}, {key}, {project}, {pair} and {token}.
func (f *fixture) fill(text string) string {
	return strings.NewReplacer("{account}", f.account, "{key}", f.key.ID, "{project}", f.project, "{pair}", f.pair.ID, "{token}", f.token).Replace(text)
}

// do sends an admin request with the fixture's ids filled in.
func (f *fixture) do(t *testing.T, method, path, body string) answer {
	t.Helper()
	return send(t, f.ControlPlane, request{method, f.fill(path), f.fill(body), nil})
}

// conflict sends a request that has to be refused with 409 and this code, and changes nothing.
func (f *fixture) conflict(t *testing.T, method, path, body, code string) {
	t.Helper()
	before := f.state(t)
	a := f.do(t, method, path, body)
	if p := wholeProblem(t, a); a.status != http.StatusConflict || p.Code != code {
		t.Errorf("%s %s: got %d %s, want 409 %s", method, path, a.status, a.body, code)
	}
	if f.state(t) != before {
		t.Errorf("%s %s: something changed", method, path)
	}
}
