package server_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
)

func TestOpenAPIDocumentIsValidAndWhole(t *testing.T) {
	cp := controlplanetest.New(t)
	doc := document(t, cp).doc
	if err := doc.Validate(context.Background(), openapi3.DisableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("got OpenAPI %s, want 3.1.0", doc.OpenAPI)
	}
	var got []string
	for _, r := range routesOf(doc) {
		got = append(got, r.method+" "+r.path)
	}
	want := []string{
		"GET /v1/accounts", "GET /v1/accounts/{id}", "GET /v1/accounts/{id}/entries", "GET /v1/accounts/{id}/wallet",
		"GET /v1/keys", "GET /v1/keys/{id}", "GET /v1/projects", "GET /v1/projects/{id}", "GET /v1/usage",
		"PATCH /v1/accounts/{id}", "PATCH /v1/keys/{id}", "PATCH /v1/projects/{id}",
		"POST /v1/accounts", "POST /v1/accounts/{id}/credits",
		"POST /v1/keys", "POST /v1/keys/{id}/replace", "POST /v1/keys/{id}/revoke", "POST /v1/keys/{id}/rotate",
		"POST /v1/projects", "POST /v1/projects/{id}/domain/attest", "POST /v1/projects/{id}/domain/lapse",
	}
	if !slices.Equal(got, want) {
		t.Errorf("routes:\ngot  %q\nwant %q", got, want)
	}
}

func TestNoDocsPageFromElsewhere(t *testing.T) {
	cp := controlplanetest.New(t)
	for _, path := range []string{"/docs", "/schemas/Account.json", "/openapi.yaml", "/openapi-3.0.json"} {
		if a := send(t, cp, request{method: "GET", path: path}); a.status != http.StatusNotFound {
			t.Errorf("GET %s: got status %d, want 404", path, a.status)
		}
	}
}

type route struct {
	method, path string
	operation    *openapi3.Operation
}

func routesOf(doc *openapi3.T) []route {
	var routes []route
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			routes = append(routes, route{method: method, path: path, operation: op})
		}
	}
	slices.SortFunc(routes, func(a, b route) int { return strings.Compare(a.method+a.path, b.method+b.path) })
	return routes
}

// Every role meets every route of the document: a viewer reads and nothing else, a gate is turned away. Requests
// that a role may make end in something other than 401 and 403.
func TestRolesOnEveryRoute(t *testing.T) {
	cp := controlplanetest.New(t)
	for _, r := range routesOf(document(t, cp).doc) {
		for _, role := range []string{"owner", "operator", "viewer", "gate", "nobody", "stranger"} {
			t.Run(r.method+" "+r.path+" "+role, func(t *testing.T) {
				want := 0
				header := http.Header{}
				switch role {
				case "nobody":
					want, header["Authorization"] = http.StatusUnauthorized, nil
				case "stranger":
					want = http.StatusUnauthorized
					header.Set("Authorization", "Bearer tg_owner_"+strings.Repeat("A", 43))
				default:
					header.Set("Authorization", "Bearer "+cp.MustToken(t, role))
					if role == "gate" || role == "viewer" && r.method != http.MethodGet {
						want = http.StatusForbidden
					}
				}
				body := ""
				if r.method != http.MethodGet {
					body = "{}"
				}
				path := strings.ReplaceAll(r.path, "{id}", "none")
				a := send(t, cp, request{method: r.method, path: path, body: body, header: header})
				refused := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
				if want != 0 && a.status != want || want == 0 && refused {
					t.Errorf("got status %d, want %d (0: any but a refusal): %s", a.status, want, a.body)
				}
			})
		}
	}
}
