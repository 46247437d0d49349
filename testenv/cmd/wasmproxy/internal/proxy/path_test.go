package proxy

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

var strictPaths = bootstrap.HTTPOptions{NormalizePath: true, MergeSlashes: true, RejectEscapedSlashes: true}

func TestCleanPath(t *testing.T) {
	tests := []struct{ name, target, want string }{
		{"plain", "/v1/document/7", "/v1/document/7"},
		{"root", "/", "/"},
		{"query is left alone", "/a?b=../%2f//", "/a?b=../%2f//"},
		{"dot segment", "/a/./b", "/a/b"},
		{"parent segment", "/a/../b", "/b"},
		{"parent of the root", "/../../b", "/b"},
		{"trailing dot", "/a/.", "/a/"},
		{"trailing parent", "/a/b/..", "/a/"},
		{"escaped dots", "/a/%2e%2E/b", "/b"},
		{"half escaped dots", "/a/.%2e/b", "/b"},
		{"dots in a name", "/a/..b/c..d/...", "/a/..b/c..d/..."},
		{"escaped dot in a name", "/a%2eb", "/a.b"},
		{"empty segments", "//a///b//", "/a/b/"},
		{"parent drops an empty segment", "/a//../b", "/a/b"},
		{"backslash", `/a\b`, "/a/b"},
		{"backslash parent", `/a\..\b`, "/b"},
		{"unreserved escapes are undone", "/%41%7e%2D%5f", "/A~-_"},
		{"reserved escapes stay as written", "/%3a%3B%20", "/%3a%3B%20"},
		{"broken escape stays", "/a%zz%4", "/a%zz%4"},
		{"bytes that need escaping", `/a"<b>{c}`, "/a%22%3Cb%3E%7Bc%7D"},
		{"UTF-8", "/é", "/%C3%A9"},
		{"double escape is not undone twice", "/%252e%252e/", "/%252e%252e/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, reason := cleanPath(tt.target, &strictPaths)
			if reason != "" || got != tt.want {
				t.Errorf("cleanPath(%q) = %q, %q; want %q", tt.target, got, reason, tt.want)
			}
		})
	}
}

func TestCleanPathRefusals(t *testing.T) {
	tests := []struct{ target, want string }{
		{"/a#b", "fragment"},
		{"/a?b#c", "fragment"},
		{"/a%2fb", "escaped slash"},
		{"/a%2Fb", "escaped slash"},
		{"/a%5cb", "escaped slash"},
		{"/a%5C", "escaped slash"},
		{"/a%00b", "normalised"},
		{"/a\xffb", "normalised"},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			got, reason := cleanPath(tt.target, &strictPaths)
			if got != "" || !strings.Contains(reason, tt.want) {
				t.Errorf("cleanPath(%q) = %q, %q; want a refusal with %q", tt.target, got, reason, tt.want)
			}
		})
	}
}

func TestCleanPathOptionsOff(t *testing.T) {
	for _, target := range []string{"/a/../b", "//a", "/a%2fb", `/a\b`} {
		if got, reason := cleanPath(target, &bootstrap.HTTPOptions{}); got != target || reason != "" {
			t.Errorf("cleanPath(%q) = %q, %q; want it untouched", target, got, reason)
		}
	}
}

// A canonical path must have no segment left that another normaliser would resolve, and
// normalising again must change nothing.
func TestCanonicalPathProperties(t *testing.T) {
	pieces := []string{"/", "\\", ".", "%2e", "%2E", "a", "%61", "%", "%zz", "é", "~", "{"}
	rapid.Check(t, func(t *rapid.T) {
		path := "/" + strings.Join(rapid.SliceOf(rapid.SampledFrom(pieces)).Draw(t, "path"), "")
		once, ok := canonicalPath(path)
		if !ok {
			t.Fatalf("canonicalPath(%q) refused", path)
		}
		for _, segment := range strings.Split(once, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("canonicalPath(%q) = %q keeps a dot segment", path, once)
			}
		}
		if strings.Contains(path, "%%") || strings.Contains(path, "%a") {
			return // a broken escape may become whole once its neighbour is undone
		}
		if twice, _ := canonicalPath(once); twice != once {
			t.Fatalf("canonicalPath(%q) = %q, again %q", path, once, twice)
		}
	})
}
