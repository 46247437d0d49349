package server_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

func matching(tags ...string) http.Header { return http.Header{"If-Match": tags} }

// takes reports whether the document lists this header among the operation's parameters.
func (r route) takes(header string) bool {
	return r.operation.Parameters.GetByInAndName("header", header) != nil
}

// etagOf reads a resource and returns its ETag.
func (f *fixture) etagOf(t *testing.T, path string) string {
	t.Helper()
	a := f.do(t, "GET", path, "")
	tag := a.header.Get("ETag")
	if a.status != http.StatusOK || len(tag) < 10 || !strings.HasPrefix(tag, `"`) || !strings.HasSuffix(tag, `"`) {
		t.Fatalf("GET %s: %d, ETag %q", path, a.status, tag)
	}
	return tag
}

// Every operation that takes If-Match does nothing for who has seen another state, and what it does it does for who has seen
// the present one. Its answer has the ETag of what is there then.
func TestStaleChangesAreRefused(t *testing.T) {
	f := newPairFixture(t)
	tried := 0
	for _, r := range routesOf(document(t, f.ControlPlane).doc) {
		if !r.takes("If-Match") {
			if r.method == http.MethodPatch || r.method == http.MethodPut || r.method == http.MethodDelete {
				t.Errorf("%s %s does not take If-Match", r.method, r.path)
			}
			continue
		}
		for _, s := range samplesOf(t, r) {
			name := s.method + " " + s.path + " " + s.body
			own := f.tenant(t)
			own.token = decode[struct{ ID string }](t, f.do(t, "POST", "/v1/tokens", `{"name":"t","role":"viewer"}`), 201).ID
			resource := strings.Join(strings.Split(s.path, "/")[:4], "/")
			tag, before := own.etagOf(t, resource), own.state(t)
			ask := func(h http.Header) answer {
				return send(t, own.ControlPlane, request{s.method, own.fill(s.path), own.fill(s.body), h})
			}
			for _, stale := range []http.Header{
				matching(`"seen-long-ago"`), matching("W/" + tag), matching(`"a"`, `W/"b"`), matching(`""`), matching(strings.ToLower(tag) + `, "` + strings.Trim(tag, `"`)[1:] + `"`),
			} {
				if a := ask(stale); a.status != http.StatusPreconditionFailed || wholeProblem(t, a).Code != "precondition_failed" {
					t.Errorf("%s %v: got %d %s, want 412", name, stale, a.status, a.body)
				}
			}
			for _, bad := range []http.Header{matching(""), matching(`abc`), matching(`"a" "b"`), matching(`"a`), matching(`*, "a"`), matching(`"` + canary)} {
				if a := ask(bad); a.status != http.StatusBadRequest || strings.Contains(a.body, canary) {
					t.Errorf("%s %v: got %d %s, want 400", name, bad, a.status, a.body)
				}
			}
			if own.state(t) != before {
				t.Errorf("%s: something changed", name)
			}
			a := ask(matching(`"other", W/"weak"`, tag))
			if a.status/100 != 2 {
				t.Errorf("%s: got %d %s", name, a.status, a.body)
				continue
			}
			if id := decode[struct{ ID string }](t, a, a.status).ID; id != "" {
				resource = resource[:strings.LastIndex(resource, "/")+1] + id
			}
			if got, want := a.header.Get("ETag"), own.etagOf(t, resource); got != want {
				t.Errorf("%s: answered with ETag %q, but there is %q", name, got, want)
			}
			tried++
		}
	}
	if tried < 10 {
		t.Errorf("tried %d operations: the test has lost some", tried)
	}
}

// Of many who change what all of them have seen, one does.
func TestNoUpdateIsLost(t *testing.T) {
	f := newPairFixture(t)
	const clients = 16
	for path, field := range map[string]string{"/v1/accounts/{account}": "name", "/v1/projects/{project}": "name", "/v1/keys/{key}": "name"} {
		tag := f.etagOf(t, path)
		answers := make([]answer, clients)
		var wg sync.WaitGroup
		for i := range answers {
			req := newRequest(t, f.AdminURL, request{"PATCH", f.fill(path), `{"` + field + `":"client ` + string(rune('a'+i)) + `"}`, matching(tag)})
			req.Header.Set("Authorization", "Bearer "+f.AdminToken)
			wg.Go(func() { answers[i] = exchange(t, req) })
		}
		wg.Wait()
		won := slices.DeleteFunc(slices.Clone(answers), func(a answer) bool { return a.status == http.StatusPreconditionFailed })
		if len(won) != 1 || won[0].status != http.StatusOK {
			t.Fatalf("%s: %d of %d clients were not refused: %+v", path, len(won), clients, won)
		}
		if got := f.do(t, "GET", path, ""); got.body != won[0].body {
			t.Errorf("%s: got %s, want the winner's %s", path, got.body, won[0].body)
		}
	}
}

// Any state is what the request may ask for; what is not there is not found. Where an earlier request under its key did it, the
// answer is that one's, though the state is another since.
func TestPreconditionsOfOtherKinds(t *testing.T) {
	f := newFixture(t)
	path := f.fill("/v1/keys/{key}")
	patch := func(path string, h http.Header) answer {
		return send(t, f.ControlPlane, request{"PATCH", path, `{"name":"n"}`, h})
	}
	if a := patch(path, matching("*")); a.status != http.StatusOK {
		t.Errorf("*: got %d %s", a.status, a.body)
	}
	if a := patch("/v1/keys/key_none", matching("*")); a.status != http.StatusNotFound {
		t.Errorf("* of nothing: got %d %s", a.status, a.body)
	}
	h := keyed("k")
	h.Set("If-Match", f.etagOf(t, path))
	rotate := request{"POST", path + "/rotate", `{}`, h}
	first, again := send(t, f.ControlPlane, rotate), send(t, f.ControlPlane, rotate)
	if first.status != 200 || again.status != 200 || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("first %d %s\nagain %d %s", first.status, first.body, again.status, again.body)
	}
	h = keyed("another")
	h.Set("If-Match", rotate.header.Get("If-Match"))
	if a := send(t, f.ControlPlane, request{"POST", path + "/rotate", `{}`, h}); a.status != http.StatusPreconditionFailed {
		t.Errorf("of another key: got %d %s", a.status, a.body)
	}
}

// That a key or a token was used makes nobody's view of it stale.
func TestUseIsNoChange(t *testing.T) {
	f := newPairFixture(t)
	keyTag, tokenTag := f.etagOf(t, "/v1/keys/{key}"), f.etagOf(t, "/v1/tokens/{token}")
	f.reportUsage(t, 1)
	f.RecordTokenUses(t)
	if got := f.etagOf(t, "/v1/keys/{key}"); got != keyTag {
		t.Errorf("key: %s became %s", keyTag, got)
	}
	if got := f.etagOf(t, "/v1/tokens/{token}"); got != tokenTag {
		t.Errorf("token: %s became %s", tokenTag, got)
	}
}
