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
