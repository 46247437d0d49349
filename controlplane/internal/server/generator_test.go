package server_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// generator makes requests out of the OpenAPI document: such as it describes, and such with something broken. What it does
// depends on its seed alone, and on the ids and cursors that it is told of.
type generator struct {
	*rand.Rand
	routes []route
	// ids are those of what there is, by the prefix of its kind, and cursors what pages ended with.
	ids     map[string][]string
	cursors []string
	// used are values that earlier requests had: idempotency keys and ETags.
	keys, tags []string
	// reserved are ids that no request names: of the tokens that the requests come with.
	reserved map[string]bool
}

// generated is a request before it is sent. Its parts may be whatever a client can put on the wire.
type generated struct {
	route        route
	method, path string
	query        []string
	header       http.Header
	body         []byte
	// broken names what was done to it.
	broken []string
}

func (g *generated) target() string {
	if len(g.query) == 0 {
		return g.path
	}
	return g.path + "?" + strings.Join(g.query, "&")
}

func (g *generator) pick(from ...string) string { return from[g.IntN(len(from))] }

// oneIn is true once in n.
func (g *generator) oneIn(n int) bool { return g.IntN(n) == 0 }

// request makes the next request: two of three are broken, in one to three ways.
func (g *generator) request() *generated {
	r := g.good(g.routes[g.IntN(len(g.routes))])
	if g.oneIn(3) {
		return r
	}
	for range 1 + g.IntN(3) {
		way := breaks[g.IntN(len(breaks))]
		way.do(g, r)
		r.broken = append(r.broken, way.name)
	}
	return r
}

// good makes a request such as the document describes.
func (g *generator) good(from route) *generated {
	r := &generated{route: from, method: from.method, header: http.Header{}}
	noun := strings.Split(from.path, "/")[2]
	r.path = strings.ReplaceAll(from.path, "{id}", url.PathEscape(g.id(prefixes[noun])))
	for _, p := range from.operation.Parameters {
		switch p.Value.In {
		case openapi3.ParameterInQuery:
			if g.oneIn(4) {
				r.query = append(r.query, url.QueryEscape(p.Value.Name)+"="+url.QueryEscape(g.parameter(p.Value)))
			}
		case openapi3.ParameterInHeader:
			if g.oneIn(3) {
				r.header.Set(p.Value.Name, g.headerValue(p.Value))
			}
		}
	}
	if b := from.operation.RequestBody; b != nil {
		r.body, _ = json.Marshal(g.value("", b.Value.Content["application/json"].Schema.Value, 0))
		r.header.Set("Content-Type", "application/json")
	}
	return r
}

func (g *generator) parameter(p *openapi3.Parameter) string {
	if p.Name == "cursor" && len(g.cursors) > 0 {
		return g.pick(g.cursors...)
	}
	switch v := g.value(p.Name, p.Schema.Value, 0).(type) {
	case []any:
		texts := make([]string, len(v))
		for i, e := range v {
			texts[i] = fmt.Sprint(e)
		}
		return strings.Join(texts, ",")
	default:
		return fmt.Sprint(v)
	}
}

func (g *generator) headerValue(p *openapi3.Parameter) string {
	switch {
	case p.Name == "If-Match" && len(g.tags) > 0:
		return g.pick("*", g.pick(g.tags...), `"x", `+g.pick(g.tags...))
	case p.Name == "Idempotency-Key" && len(g.keys) > 0 && g.oneIn(3):
		return g.pick(g.keys...)
	case p.Name == "Idempotency-Key":
		g.keys = append(g.keys, fmt.Sprintf("key-%d", g.Uint32()))
		return g.keys[len(g.keys)-1]
	}
	return "*"
}

var prefixes = map[string]string{"accounts": "acct_", "projects": "proj_", "keys": "key_", "tokens": "token_"}

func (g *generator) id(prefix string) string {
	if ids := g.ids[prefix]; len(ids) > 0 && !g.oneIn(20) {
		// The newest are not closed and revoked yet.
		return ids[len(ids)-1-g.IntN(min(len(ids), 20))]
	}
	return prefix + "none"
}

// learn keeps the ids, cursors and tags of an answer for later requests.
func (g *generator) learn(a answer) {
	for _, id := range anID.FindAllString(a.body, 50) {
		prefix := id[:strings.Index(id, "_")+1]
		if !g.reserved[id] && !slices.Contains(g.ids[prefix], id) && len(g.ids[prefix]) < 2000 {
			g.ids[prefix] = append(g.ids[prefix], id)
		}
	}
	if m := aCursor.FindStringSubmatch(a.body); m != nil {
		g.cursors = append(g.cursors, m[1])
	}
	if tag := a.header.Get("ETag"); tag != "" {
		g.tags = append(g.tags, tag)
	}
}

var (
	anID    = regexp.MustCompile(`\b(acct|proj|key|token|entry|txn)_[0-9a-z]{20,40}\b`)
	aCursor = regexp.MustCompile(`"next_cursor":"([^"]+)"`)
)

// value makes a value of a schema; name is the property's, which says what no schema does.
func (g *generator) value(name string, s *openapi3.Schema, depth int) any {
	if len(s.AnyOf) > 0 {
		return g.value(name, s.AnyOf[g.IntN(len(s.AnyOf))].Value, depth)
	}
	if len(s.Enum) > 0 {
		return s.Enum[g.IntN(len(s.Enum))]
	}
	switch {
	case s.Type.Includes("object"):
		return g.object(s, depth)
	case s.Type.Includes("array"):
		list := []any{}
		for range g.IntN(3) + int(s.MinItems) {
			list = append(list, g.value(name, s.Items.Value, depth+1))
		}
		return list
	case s.Type.Includes("integer"):
		low, high := int64(0), int64(100)
		if s.Min != nil {
			low = int64(*s.Min)
		}
		if s.Max != nil {
			high = int64(*s.Max)
		}
		return []int64{low, high, max(low, min(high, g.Int64N(200)))}[g.IntN(3)]
	case s.Type.Includes("boolean"):
		return g.oneIn(2)
	case s.Type.Includes("null"):
		return nil
	}
	return g.text(name, s)
}

func (g *generator) object(s *openapi3.Schema, depth int) any {
	o := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if slices.Contains(s.Required, name) || g.oneIn(2) {
			o[name] = g.value(name, s.Properties[name].Value, depth+1)
		}
	}
	if extra := s.AdditionalProperties.Schema; extra != nil {
		for range g.IntN(3) {
			o[g.pick("team", "stage", "a.b-c", "n")] = g.value("", extra.Value, depth+1)
		}
	}
	// Who owns a key depends on its scheme.
	if scheme, ok := o["scheme"].(string); ok && o["name"] != nil {
		owner, other := "account_id", "project_id"
		if scheme == "vexrail" {
			owner, other = other, owner
		}
		o[owner] = g.text(owner, s)
		delete(o, other)
	}
	// An imported key is a secret, or the digest of one, in its scheme's form.
	if s.Properties["digest"] != nil {
		delete(o, "secret")
		delete(o, "publishable_key")
		o["digest"], o["last4"] = g.text("digest", s), "abcd"
		if o["scheme"] == "vexrail" {
			o["publishable_key"] = fmt.Sprintf("pk_live_%032x", g.Uint64())
		}
		if g.oneIn(2) && o["scheme"] == "genrex" {
			delete(o, "digest")
			delete(o, "last4")
			o["secret"] = fmt.Sprintf("grx_sk_%048x", g.Uint64())
		}
	}
	if role, ok := o["role"].(string); ok {
		delete(o, "account_id")
		if role == "account" {
			o["account_id"] = g.id("acct_")
		}
	}
	return o
}

func (g *generator) text(name string, s *openapi3.Schema) string {
	switch {
	case strings.HasSuffix(name, "_id") && prefixes[strings.TrimSuffix(name, "_id")+"s"] != "":
		return g.id(prefixes[strings.TrimSuffix(name, "_id")+"s"])
	case name == "scheme":
		return g.pick("genrex", "vexrail")
	case name == "actor", name == "target":
		return g.id(g.pick("token_", "acct_", "key_"))
	case name == "domain":
		return fmt.Sprintf("d%d.%s", g.IntN(1000), g.pick("example.com", "example.org", "例え.jp"))
	case name == "ip", name == "allowed_ips":
		return g.pick("192.0.2.1", "2001:db8::1")
	case name == "digest", name == "digests":
		return fmt.Sprintf("%064x", g.Uint64())
	case name == "environment":
		return g.pick("production", "staging")
	case name == "metadata":
		return "team=a"
	case s.Format == "date-time" || strings.HasSuffix(name, "_at"):
		return fmt.Sprintf("20%02d-01-02T03:04:05Z", g.IntN(100))
	case name == "path", name == "prefix" && s.MaxLength != nil && *s.MaxLength != 200:
		return g.pick("/v1/", "/a/b", "/")
	case name == "method", name == "methods":
		return g.pick("GET", "POST")
	}
	text := g.pick("a", "Ada & Söhne", "日本語", "x'; --", "<b>&amp;", "🙂🙂", strings.Repeat("m", 60))
	if s.MaxLength != nil {
		text = string([]rune(text)[:min(len([]rune(text)), int(*s.MaxLength))])
	}
	return text
}

// odd are values that few expect.
func (g *generator) odd() any {
	odd := []any{
		nil, true, 0, -1, 1.5, 1e300, json.Number("1e3"), json.Number("-0"), json.Number("9223372036854775808"), json.Number(strings.Repeat("9", 400)),
		int64(1) << 53, -(int64(1) << 62), "", " ", canary, strings.Repeat("x", 201), strings.Repeat("🙂", 200), strings.Repeat("y", 20000), "a\x00b", "\u202e\ufeff",
		"\u0085", "9007199254740993", "null", "../../etc", "%00", "\\ud800", "{{7*7}}", "acct_" + strings.Repeat("0", 26), "0000-00-00T00:00:00Z", "9999-12-31T23:59:60+14:00",
		"2026-02-30T00:00:00Z", []any{}, map[string]any{}, []any{nil, []any{canary}}, map[string]any{canary: canary, "a": map[string]any{"b": nil}}, g.id("key_"), g.id("acct_"),
	}
	return odd[g.IntN(len(odd))]
}

func (g *generator) oddText() string {
	if text, ok := g.odd().(string); ok {
		return text
	}
	return g.pick("-1", "0", "101", "99999999999999999999", "1.0", "1e1", "0x1", "true", "null", "[]", "*", "a,b", ",", canary)
}

// nodes are the ways to every value of a tree but its root.
func nodes(tree any, set func(any), all []func(any)) []func(any) {
	if set != nil {
		all = append(all, set)
	}
	switch t := tree.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(t)) {
			all = nodes(t[name], func(v any) { t[name] = v }, all)
		}
	case []any:
		for i := range t {
			all = nodes(t[i], func(v any) { t[i] = v }, all)
		}
	}
	return all
}

// reshape changes the body's tree, if it has one.
func reshape(change func(g *generator, tree any) any) func(*generator, *generated) {
	return func(g *generator, r *generated) {
		var tree any
		d := json.NewDecoder(strings.NewReader(string(r.body)))
		d.UseNumber()
		if d.Decode(&tree) == nil {
			r.body, _ = json.Marshal(change(g, tree))
		}
	}
}

// breaks are the ways to break a request.
var breaks = []struct {
	name string
	do   func(*generator, *generated)
}{
	{"value", reshape(func(g *generator, tree any) any {
		if all := nodes(tree, nil, nil); len(all) > 0 {
			all[g.IntN(len(all))](g.odd())
		}
		return tree
	})},
	{"missing field", reshape(func(g *generator, tree any) any {
		if o, ok := tree.(map[string]any); ok && len(o) > 0 {
			names := slices.Sorted(maps.Keys(o))
			delete(o, names[g.IntN(len(names))])
		}
		return tree
	})},
	{"extra field", reshape(func(g *generator, tree any) any {
		if o, ok := tree.(map[string]any); ok {
			o[g.pick("id", "$schema", "__proto__", "", canary, "Name", "status ", "constructor", strings.Repeat("k", 3000), "日本")] = g.odd()
		}
		return tree
	})},
	{"other root", reshape(func(g *generator, tree any) any { return []any{g.odd(), []any{tree}, nil}[g.IntN(3)] })},
	{"duplicate key", func(g *generator, r *generated) {
		if i := strings.IndexByte(string(r.body), '{'); i >= 0 {
			r.body = []byte(string(r.body[:i+1]) + `"name":"` + canary + `","name":1,` + string(r.body[i+1:]))
		}
	}},
	{"bytes", func(g *generator, r *generated) {
		r.body = slices.Clone(r.body)
		for range 1 + g.IntN(3) {
			if len(r.body) > 0 {
				r.body[g.IntN(len(r.body))] = byte(g.IntN(256))
			}
		}
	}},
	{"cut off", func(g *generator, r *generated) { r.body = r.body[:g.IntN(len(r.body)+1)] }},
	{"appended", func(g *generator, r *generated) {
		r.body = append(slices.Clip(r.body), g.pick("{}", "x", "\x00", "//"+canary, " \n", "\xff", ",")...)
	}},
	{"prepended", func(g *generator, r *generated) {
		r.body = append([]byte(g.pick("\ufeff", "[", "\xef", "+", "'")), r.body...)
	}},
	{"another body", func(g *generator, r *generated) {
		r.body = []byte(g.pick("", " ", "null", "[]", `"`+canary+`"`, "NaN", "{}", `{"a":"\ud800"}`, strings.Repeat("[", 20000), "{\"a\":"+strings.Repeat("[", 40)+strings.Repeat("]", 40)+"}", "a=1&b="+canary, "<xml/>"))
	}},
	{"content type", func(g *generator, r *generated) {
		r.header["Content-Type"] = []string{g.pick("", "text/plain", "application/json; charset=utf-16", "application/xml", "multipart/form-data", "application/json; charset=utf-8", "application/merge-patch+json", ";"+canary, "application/cbor", "*/*")}
	}},
	{"parameter", func(g *generator, r *generated) {
		name := g.pick("limit", "cursor", "zz", "LIMIT", "limit ", "account_id", "from", "to", "group_by", "format", "status", "metadata", canary, "")
		for _, p := range r.route.operation.Parameters {
			if p.Value.In == openapi3.ParameterInQuery && g.oneIn(3) {
				name = p.Value.Name
			}
		}
		r.query = append(r.query, url.QueryEscape(name)+"="+url.QueryEscape(g.oddText()))
	}},
	{"raw query", func(g *generator, r *generated) {
		r.query = append(r.query, g.pick("limit=%zz", "%", "a;b", "limit", "=", "&&", "limit=1;limit=2", "cursor=%00", "limit=+1", "x=%ff", strings.Repeat("q", 5000), "limit=1#x"))
	}},
	{"cursor", func(g *generator, r *generated) {
		cursor := g.pick("!!", "====", base64.RawURLEncoding.EncodeToString([]byte(g.pick("keys:", "keys:key_x", "accounts:"+g.id("acct_"), "usage:[]", "usage:{}", "entries:-1", "audit:é", "\x00\xff", canary))))
		if len(g.cursors) > 0 && g.oneIn(2) {
			raw, _ := base64.RawURLEncoding.DecodeString(g.pick(g.cursors...))
			if len(raw) > 0 {
				raw[g.IntN(len(raw))] ^= byte(1 << g.IntN(8))
			}
			cursor = base64.RawURLEncoding.EncodeToString(raw)
		}
		r.query = append(r.query, "cursor="+url.QueryEscape(cursor))
	}},
	{"id", func(g *generator, r *generated) {
		parts := strings.Split(r.path, "/")
		if len(parts) > 3 {
			parts[3] = g.pick("", "x", "..", ".", "%2f", "%00", "%ff", "a%2Fb", canary, strings.Repeat("z", 300), "%E2%80%AE", "acct_", "*", ":id", "{id}", "%7Bid%7D", g.id("acct_"), g.id("key_"), g.id("proj_"))
		}
		r.path = strings.Join(parts, "/")
	}},
	{"path", func(g *generator, r *generated) {
		r.path = g.pick(r.path+"/", "/"+r.path, strings.ToUpper(r.path), r.path+"/"+canary, "/v1", "/v2/x", "/openapi.json/", strings.Replace(r.path, "/v1", "/v1/.", 1), r.path+"%20", r.path+";x=1")
	}},
	{"method", func(g *generator, r *generated) {
		r.method = g.pick("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "get", "CONNECT")
	}},
	{"header", func(g *generator, r *generated) {
		name := g.pick("Idempotency-Key", "If-Match", "Accept", "X-Request-Id", "If-None-Match", "Range", "Content-Encoding", "X-Http-Method-Override", "Origin", "Accept-Encoding", "Authorization", "Cookie", "Content-Length", "Expect")
		value := g.pick("", "*", `"a"`, `W/"a"`, `"`, "é", canary, strings.Repeat("h", 3000), "text/html", "text/csv", "application/json;q=0", "bytes=0-", "gzip", "DELETE", "\xff\xfe", `"a","b"`, ",", "Basic b3duZXI6", "Bearer ", "Bearer "+canary, "100-continue", "-1")
		r.header[name] = append(r.header[name], value)
		if g.oneIn(5) {
			r.header[name] = append(r.header[name], value)
		}
	}},
}
