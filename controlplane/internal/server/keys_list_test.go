package server_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every parameter of the search finds its keys, also while others arrive between the pages, and all of them together.
func TestKeySearch(t *testing.T) {
	f := newPairFixture(t)
	make := func(body string) string {
		t.Helper()
		return decode[key](t, f.do(t, "POST", "/v1/keys", body), 201).ID
	}
	blue := make(`{"account_id":"{account}","scheme":"genrex","name":"CI runner","environment":"staging","metadata":{"team":"blue","x":"="}}`)
	red := make(`{"account_id":"{account}","scheme":"genrex","name":"ci_2","metadata":{"team":"red"}}`)
	web := make(`{"project_id":"{project}","scheme":"vexrail","name":"web","metadata":{"team":"blue"}}`)
	if a := f.do(t, "PATCH", "/v1/keys/"+red, `{"status":"inactive"}`); a.status != 200 {
		t.Fatal(a.body)
	}
	shown := decode[key](t, f.do(t, "GET", "/v1/keys/"+web, ""), 200)
	last4 := decode[key](t, f.do(t, "GET", "/v1/keys/"+blue, ""), 200).Last4
	for query, want := range map[string][]string{
		"metadata=team=blue":                     {web, blue},
		"metadata=x=%3D":                         {blue},
		"metadata=team=":                         nil,
		"name=ci":                                {red, blue},
		"name=ci_":                               {red},
		"status=inactive":                        {red},
		"environment=staging":                    {blue},
		"scheme=vexrail":                         {web, f.pair.ID},
		"prefix=pk_live_":                        {web, f.pair.ID},
		"prefix=sk_":                             {web, f.pair.ID},
		"prefix=grx_sk_":                         {red, blue, f.key.ID},
		"last4=" + last4:                         {blue},
		"project_id={project}":                   {web, f.pair.ID},
		"prefix=" + (*shown.PublishableKey)[:16]: {web},
		"prefix=" + *shown.PublishableKey + "&account_id={account}":                     {web},
		"account_id={account}&status=active&metadata=team=blue&name=RUN":                {blue},
		"account_id={account}&status=active&metadata=team=blue&name=RUN&scheme=vexrail": nil,
	} {
		got := f.walk(t, f.fill("/v1/keys?"+query), 1, func() { f.MustKey(t, f.MustAccount(t, "active", 0)) })
		if strings.HasPrefix(query, "prefix=grx") {
			got = got[len(got)-3:] // the keys that arrived in the searches before are found too
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
	for query, location := range map[string]string{
		"status=gone": "query.status", "environment=test": "query.environment", "last4=12345": "query.last4",
		"metadata=team": "query.metadata", "metadata=a b=c": "query.metadata", "metadata==c": "query.metadata",
		"metadata=a=b&metadata=c=d": "query.metadata", "prefix=" + canary: "query.prefix", "prefix=": "query.prefix", "sort=name": "query.sort",
	} {
		f.refuses(t, request{"GET", "/v1/keys?" + strings.ReplaceAll(query, " ", url.QueryEscape(" ")), "", nil}, 422, location)
	}
}

func TestBadMetadata(t *testing.T) {
	f := newFixture(t)
	many := strings.TrimPrefix(strings.Repeat(`,"n{}":""`, 17), ",")
	for i := range 17 {
		many = strings.Replace(many, "{}", string(rune('a'+i)), 1)
	}
	for value, location := range map[string]string{
		`{` + many + `}`: "body.metadata", `{"a":1}`: "body.metadata.a", `{"a":null}`: "body.metadata.a", `{"a":{"b":"c"}}`: "body.metadata.a",
		`["a"]`: "body.metadata", `null`: "body.metadata", `"a"`: "body.metadata", `{"":"x"}`: "body.metadata", `{"a b":"x"}`: "body.metadata",
		`{"a":"` + strings.Repeat("x", 201) + `"}`: "body.metadata.a", `{"a":"\u0007"}`: "body.metadata", `{"` + strings.Repeat("a", 41) + `":"` + canary + `"}`: "body.metadata",
	} {
		f.refuses(t, request{"PATCH", f.fill("/v1/keys/{key}"), `{"metadata":` + value + `}`, nil}, 422, location)
		f.refuses(t, request{"POST", "/v1/keys", f.fill(`{"account_id":"{account}","scheme":"genrex","name":"n","metadata":` + value + `}`), nil}, 422, location)
	}
	if a := f.do(t, "PATCH", "/v1/keys/{key}", `{"metadata":{"a":"`+strings.Repeat("é", 200)+`"}}`); a.status != 200 {
		t.Errorf("200 characters: %s", a.body)
	}
}

// When a key was used last is shown once that is written: by the janitor, or at the end.
func TestLastUsed(t *testing.T) {
	f := newFixture(t)
	acquireOK(t, f, gateMessage(f.key.Secret, "op-1", 1))
	used := f.Clock.Now().Truncate(time.Second)
	f.Clock.Advance(time.Minute)
	f.Restart(t)
	if got := decode[key](t, f.do(t, "GET", "/v1/keys/{key}", ""), 200); got.LastUsedAt == nil || !got.LastUsedAt.Equal(used) {
		t.Errorf("last used at %v, want %v", got.LastUsedAt, used)
	}
}
