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
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("got OpenAPI %s, want 3.1.0", doc.OpenAPI)
	}
	described := map[string]bool{}
	for _, tag := range doc.Tags {
		described[tag.Name] = tag.Description != ""
	}
	ids := map[string]bool{}
	for _, r := range routesOf(doc) {
		op := r.operation
		name := r.method + " " + r.path
		if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || op.Description == "" {
			t.Errorf("%s: operation id %q: expected one of its own, a summary and a description", name, op.OperationID)
		}
		ids[op.OperationID] = true
		if len(op.Tags) != 1 || !described[op.Tags[0]] {
			t.Errorf("%s: tags %v: expected one of those in describe.go", name, op.Tags)
		}
		if op.Security == nil || len(*op.Security) != 1 || (*op.Security)[0]["token"] == nil {
			t.Errorf("%s: no security", name)
		}
		for _, status := range []int{400, 401, 403, 422, 429, 500, 503} {
			if op.Responses.Status(status) == nil {
				t.Errorf("%s: status %d is not described", name, status)
			}
		}
		for status, response := range op.Responses.Map() {
			if response.Value.Headers["X-Request-Id"] == nil || (status >= "400") != (response.Value.Content["application/problem+json"] != nil) {
				t.Errorf("%s: status %s: expected X-Request-Id and, of an error, a problem", name, status)
			}
		}
	}
}

func TestNoDocsPageFromElsewhere(t *testing.T) {
	cp := controlplanetest.New(t)
	for _, path := range []string{"/docs/", "/schemas/Account.json", "/openapi.yaml", "/openapi-3.0.json"} {
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
