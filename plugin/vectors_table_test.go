//go:build !wasip1

package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// vector is one row of controlplane/apikey/testdata/vectors.json, whose "about" says what each field means.
type vector struct {
	Name, Rule, Scheme string
	Method, Path, Body string
	Hosts              []string
	Headers, Trailers  [][2]string
	Want               answer
	Asks               bool
	Wire               *answer
	Upstream           map[string]string
}

// answer is what a vector has to bring: a pass, or a refusal. A refusal without a code is the proxy's own.
type answer struct {
	pass   bool
	Status int
	Code   string
}

func (a *answer) UnmarshalJSON(data []byte) error {
	if string(data) == `"pass"` {
		a.pass = true
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	// Without its methods the type decodes as any struct does.
	type plain answer
	return d.Decode((*plain)(a))
}

func (a answer) String() string {
	if a.pass {
		return "pass"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, a.Code))
}

// overTheWire is what v brings through a proxy's sockets; rejects says that the proxy refuses underscores in the
// names of headers, which it does before it looks at anything but the size.
func (v *vector) overTheWire(rejects bool) answer {
	if v.Wire != nil && !v.Wire.pass && v.Wire.Code == "" {
		return *v.Wire
	}
	for _, h := range v.Headers {
		if rejects && strings.Contains(h[0], "_") {
			return answer{Status: 400}
		}
	}
	if v.Wire != nil {
		return *v.Wire
	}
	return v.Want
}

// schemePaths are the routes of the two published pages.
var schemePaths = map[string]string{"genrex": "/v1/document/create", "vexrail": "/v1/chat/completions"}

// readVectors reads the table and puts the keys in.
func readVectors(t testing.TB, keys map[string]string) []vector {
	t.Helper()
	text, err := os.ReadFile("../controlplane/apikey/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		About   []string
		Vectors []vector
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&table); err != nil {
		t.Fatal(err)
	}
	for i := range table.Vectors {
		v := &table.Vectors[i]
		if v.Path == "" {
			v.Path = schemePaths[v.Scheme]
		}
		if v.Method == "" {
			v.Method = "POST"
		}
		if v.Body == "" {
			v.Body = "[]"
		}
		if v.Hosts == nil {
			v.Hosts = []string{"api.test"}
		}
		v.expand(func(s string) string { return expand(t, keys, s) })
	}
	return table.Vectors
}

func (v *vector) expand(f func(string) string) {
	v.Path, v.Body = f(v.Path), f(v.Body)
	for i := range v.Hosts {
		v.Hosts[i] = f(v.Hosts[i])
	}
	for _, list := range [][][2]string{v.Headers, v.Trailers} {
		for i := range list {
			list[i] = [2]string{f(list[i][0]), f(list[i][1])}
		}
	}
}

var (
	placeholder = regexp.MustCompile(`\{[^{}]+\}`)
	repeated    = regexp.MustCompile(`^(.+)\*([0-9]+)$`)
)

// expand replaces every placeholder of s. An unknown one ends the test: it is a slip in the table.
func expand(t testing.TB, keys map[string]string, s string) string {
	t.Helper()
	return placeholder.ReplaceAllStringFunc(s, func(p string) string {
		text, times := p[1:len(p)-1], 1
		if m := repeated.FindStringSubmatch(text); m != nil {
			text = m[1]
			times, _ = strconv.Atoi(m[2])
			if len(text) == 1 {
				return strings.Repeat(text, times)
			}
		}
		if digits, ok := strings.CutPrefix(text, "x:"); ok {
			raw, err := hex.DecodeString(digits)
			if err != nil {
				t.Fatalf("placeholder %s: %v", p, err)
			}
			return strings.Repeat(string(raw), times)
		}
		name, change, _ := strings.Cut(text, "|")
		key, ok := keys[name]
		if !ok {
			t.Fatalf("placeholder %s names no key", p)
		}
		return changed(t, key, change)
	})
}

func changed(t testing.TB, key, change string) string {
	t.Helper()
	switch change {
	case "":
		return key
	case "upper":
		return strings.ToUpper(key)
	case "cut":
		return key[:len(key)-1]
	case "tail":
		return key[len(key)-16:]
	}
	t.Fatalf("placeholder with the unknown change %q", change)
	return ""
}
