package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

type explained struct {
	Decision, Verdict, Scheme string
	Answer                    *struct {
		Status        int
		Code, Message string
	}
	KeyID     *string `json:"key_id"`
	ProjectID *string `json:"project_id"`
	Available *int64
	Steps     []struct{ Check, Outcome, Detail string }
}

func (f *fixture) explain(t *testing.T, body string) explained {
	t.Helper()
	return decode[explained](t, send(t, f.ControlPlane, request{"POST", "/v1/explain", f.fill(body), nil}), 200)
}

func (e explained) outcomes() string {
	var out []string
	for _, s := range e.Steps {
		out = append(out, s.Check+" "+s.Outcome)
	}
	return strings.Join(out, ", ")
}

func TestExplain(t *testing.T) {
	f := newPairFixture(t)
	for _, tt := range []struct {
		body, decision, verdict, code, outcomes string
	}{
		{`{"key_id":"{key}","cost":1}`, "allow", "granted", "",
			"key passed, pair not_asked, active passed, account passed, domain not_asked, restriction not_asked, credits passed"},
		{`{"key_id":"{pair}"}`, "allow", "granted", "",
			"key passed, pair passed, active passed, account passed, domain passed, restriction not_asked, credits not_asked"},
		{`{"key_id":"{key}","cost":9007199254740991}`, "deny", "insufficient_credits", "INSUFFICIENT_CREDITS",
			"key passed, pair not_asked, active passed, account passed, domain not_asked, restriction not_asked, credits failed"},
		{fmt.Sprintf(`{"scheme":"genrex","digests":["%064d"],"cost":1}`, 1), "deny", "unknown_key", "INVALID_API_KEY",
			"key failed, pair not_reached, active not_reached, account not_reached, domain not_reached, restriction not_reached, credits not_reached"},
		{fmt.Sprintf(`{"scheme":"vexrail","digests":[%q,%q]}`, apikey.DigestOf(f.pair.Publishable).Hex(), apikey.DigestOf(f.pair.Secret).Hex()),
			"allow", "granted", "", "key passed, pair passed, active passed, account passed, domain passed, restriction not_asked, credits not_asked"},
	} {
		e := f.explain(t, tt.body)
		code := ""
		if e.Answer != nil {
			code = e.Answer.Code
		}
		if diff := cmp.Diff([]string{tt.decision, tt.verdict, tt.code, tt.outcomes}, []string{e.Decision, e.Verdict, code, e.outcomes()}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.body, diff)
		}
	}
	f.Verify(t)
}

func TestExplainRefuses(t *testing.T) {
	f := newPairFixture(t)
	digest := strings.Repeat("0", 64)
	for _, tt := range []struct {
		body   string
		status int
		field  string
	}{
		{`{}`, 422, "body: expected key_id, or scheme and digests"},
		{`{"cost":1}`, 422, "body: expected key_id"},
		{`{"key_id":"{key}","scheme":"genrex"}`, 422, "body: expected key_id"},
		{`{"key_id":"key_none"}`, 404, "no such resource"},
		{`{"scheme":"acme","digests":["` + digest + `"]}`, 422, "body.scheme: expected one of: genrex, vexrail"},
		{`{"scheme":"genrex"}`, 422, "body.digests: expected 1"},
		{`{"scheme":"vexrail","digests":["` + digest + `"]}`, 422, "body.digests: expected 2"},
		{`{"scheme":"genrex","digests":["grx_sk_secret"]}`, 422, "body.digests"},
		{`{"key_id":"{key}","cost":-1}`, 422, "body.cost"},
		{`{"key_id":"{key}","ip":"here"}`, 422, "body.ip"},
		{`{"key_id":"{key}","path":"v1"}`, 422, "body.path"},
		{`{"key_id":"{key}","method":"get"}`, 422, "body.method"},
	} {
		r := send(t, f.ControlPlane, request{"POST", "/v1/explain", f.fill(tt.body), nil})
		if r.status != tt.status || !strings.Contains(r.body, tt.field) || strings.Contains(r.body, "grx_sk_secret") {
			t.Errorf("%s: %d %s, want %d naming %q", tt.body, r.status, r.body, tt.status, tt.field)
		}
	}
}
