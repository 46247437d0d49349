package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/controlplane/internal/server"
)

// The page shows everything that the document describes, and asks nobody for anything: it has no script, its style is the one
// that its policy names, and its links lead into itself and to the document.
func TestDocsPage(t *testing.T) {
	cp := controlplanetest.New(t)
	a := exchange(t, newRequest(t, cp.AdminURL, request{method: "GET", path: "/docs"}))
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %d %v", a.status, a.header)
	}
	root, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	var ids, links []string
	style := ""
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "img", "link", "iframe", "form", "base", "object", "embed", "svg":
			t.Errorf("the page has a <%s>", n.Data)
		case "style":
			style += n.FirstChild.Data
		}
		for _, attr := range n.Attr {
			switch {
			case attr.Key == "id":
				ids = append(ids, attr.Val)
			case attr.Key == "href":
				links = append(links, attr.Val)
			case attr.Key == "src" || attr.Key == "style" || attr.Key == "action" || strings.HasPrefix(attr.Key, "on"):
				t.Errorf("the page has the attribute %s", attr.Key)
			}
		}
	}
	sum := sha256.Sum256([]byte(style))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; "
	if policy := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, want) || strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		t.Errorf("the policy is %s, want %s", policy, want)
	}
	for _, link := range links {
		if id, inside := strings.CutPrefix(link, "#"); link != "/openapi.json" && (!inside || !slices.Contains(ids, id)) {
			t.Errorf("a link leads to %s", link)
		}
	}
	for _, r := range routesOf(document(t, cp).doc) {
		if !slices.Contains(ids, r.operation.OperationID) {
			t.Errorf("the page lacks %s", r.operation.OperationID)
		}
	}
	for name := range document(t, cp).doc.Components.Schemas {
		if !slices.Contains(ids, "schema-"+name) {
			t.Errorf("the page lacks the schema %s", name)
		}
	}
	for _, code := range server.Codes() {
		if !strings.Contains(a.body, "<code>"+code+"</code>") {
			t.Errorf("the page lacks the code %s", code)
		}
	}
	if strings.Contains(a.body, "ZgotmplZ") || strings.Contains(a.body, "://") {
		t.Error("the page has an address of somewhere else, or one that the template has refused")
	}
}
