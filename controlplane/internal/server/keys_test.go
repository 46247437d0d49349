package server_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

type key struct {
	ID        string
	AccountID string  `json:"account_id"`
	ProjectID *string `json:"project_id"`
	Scheme    string
	Name      string

	Environment    string
	Prefix         string
	Last4          string
	PublishableKey *string `json:"publishable_key"`
	Status         string
	ExpiresAt      *time.Time `json:"expires_at"`
	CreatedAt      time.Time  `json:"created_at"`
	UpdatedAt      time.Time  `json:"updated_at"`
	RevokedAt      *time.Time `json:"revoked_at"`
	ReplacedBy     *string    `json:"replaced_by"`
	LastUsedAt     *time.Time `json:"last_used_at"`
	Metadata       map[string]string
	Routes         []rule
	AllowedIPs     []string `json:"allowed_ips"`
	ExternalRef    *string  `json:"external_ref"`
	Secret         *string
}

type rule struct {
	Path, Prefix string
	Methods      []string
}

// vexrail is the published scheme of pairs.
func vexrail(t *testing.T) *apikey.Scheme {
	t.Helper()
	for _, s := range apikey.Presets() {
		if s.Name == "vexrail" {
			return s
		}
	}
	t.Fatal("no preset vexrail")
	return nil
}

func TestKeyLife(t *testing.T) {
	f := newFixture(t)
	born := f.Clock.Now()
	body := f.fill(`{"account_id":"{account}","scheme":"genrex","name":"ci"}`)
	made := decode[key](t, send(t, f.ControlPlane, request{"POST", "/v1/keys", body, nil}), 201)
	if made.Secret == nil || !apikey.Genrex.Match(*made.Secret) {
		t.Fatal("the reply to a creation holds no genrex secret")
	}
	secret := *made.Secret
	want := key{
		ID: made.ID, AccountID: f.account, Scheme: "genrex", Name: "ci", Environment: "production", Prefix: "grx_sk_", Last4: secret[len(secret)-4:],
		Status: "active", CreatedAt: born, UpdatedAt: born, Secret: made.Secret, Metadata: map[string]string{},
		Routes: []rule{}, AllowedIPs: []string{},
	}
	if !cmp.Equal(made, want) || !strings.HasPrefix(made.ID, "key_") {
		t.Fatalf("created another key than asked for (-want +got):\n%s", cmp.Diff(want, made))
	}
	want.Secret = nil
	path := "/v1/keys/" + made.ID
	step := func(method, path, body string, change func()) {
		t.Helper()
		f.Clock.Advance(time.Minute)
		change()
		if got := decode[key](t, send(t, f.ControlPlane, request{method, path, body, nil}), 200); !cmp.Equal(got, want) {
			t.Fatalf("%s %s (-want +got):\n%s", method, body, cmp.Diff(want, got))
		}
	}
	step("GET", path, "", func() {})
	step("PATCH", path, `{"status":"inactive"}`, func() { want.Status, want.UpdatedAt = "inactive", f.Clock.Now() })
	step("PATCH", path, `{"status":"active","name":"cd"}`, func() { want.Status, want.Name, want.UpdatedAt = "active", "cd", f.Clock.Now() })
	end := f.Clock.Now().Add(24 * time.Hour)
	step("PATCH", path, `{"environment":"staging","expires_at":"`+end.Format(time.RFC3339)+`"}`, func() {
		want.Environment, want.ExpiresAt, want.UpdatedAt = "staging", &end, f.Clock.Now()
	})
	step("PATCH", path, `{"environment":"staging"}`, func() {})
	step("PATCH", path, `{"expires_at":null}`, func() { want.ExpiresAt, want.UpdatedAt = nil, f.Clock.Now() })
	step("PATCH", path, `{"expires_at":null}`, func() {})
	step("PATCH", path, `{"metadata":{"team":"blue","tier":""}}`, func() {
		want.Metadata, want.UpdatedAt = map[string]string{"team": "blue", "tier": ""}, f.Clock.Now()
	})
	step("PATCH", path, `{"metadata":{"team":"red"}}`, func() { want.Metadata, want.UpdatedAt = map[string]string{"team": "red"}, f.Clock.Now() })
	step("PATCH", path, `{"routes":[{"prefix":"/v1/"},{"path":"/é","methods":["GET"]}],"allowed_ips":["::ffff:192.0.2.0/120","2001:DB8:0::1"]}`, func() {
		want.Routes, want.AllowedIPs = []rule{{Prefix: "/v1/"}, {Path: "/é", Methods: []string{"GET"}}}, []string{"192.0.2.0/24", "2001:db8::1/128"}
		want.UpdatedAt = f.Clock.Now()
	})
	step("PATCH", path, `{"routes":[]}`, func() { want.Routes, want.UpdatedAt = []rule{}, f.Clock.Now() })
	step("PATCH", path, `{"allowed_ips":["192.0.2.0/24","2001:db8::1"]}`, func() {})
	step("PATCH", path, `{"allowed_ips":[]}`, func() { want.AllowedIPs, want.UpdatedAt = []string{}, f.Clock.Now() })
	step("POST", path+"/revoke", "", func() {
		at := f.Clock.Now()
		want.Status, want.RevokedAt, want.UpdatedAt = "revoked", &at, at
	})
	step("POST", path+"/revoke", "{}", func() {})
	for _, change := range []string{`{"status":"active"}`, `{"name":"x"}`, `{"environment":"production"}`, `{"expires_at":null}`} {
		f.conflict(t, "PATCH", path, change, "key_revoked")
	}
	f.conflict(t, "POST", path+"/rotate", `{}`, "key_revoked")
	f.conflict(t, "POST", path+"/replace", `{}`, "key_revoked")
	step("GET", path, "", func() {})
}

func TestPairLife(t *testing.T) {
	f := newPairFixture(t)
	f.Clock.Advance(time.Minute)
	born := f.Clock.Now()
	a := f.do(t, "POST", "/v1/keys", `{"project_id":"{project}","scheme":"vexrail","name":"web","environment":"staging"}`)
	made := decode[key](t, a, 201)
	scheme := vexrail(t)
	if made.Secret == nil || !scheme.Secret.Match(*made.Secret) || made.PublishableKey == nil || !scheme.Publishable.Match(*made.PublishableKey) {
		t.Fatal("the reply to a creation lacks a half in the published form")
	}
	secret := *made.Secret
	want := key{
		ID: made.ID, AccountID: f.account, ProjectID: &f.project, Scheme: "vexrail", Name: "web", Environment: "staging",
		Prefix: "sk_live_", Last4: secret[len(secret)-4:], PublishableKey: made.PublishableKey, Status: "active",
		CreatedAt: born, UpdatedAt: born, Secret: made.Secret, Metadata: map[string]string{},
		Routes: []rule{}, AllowedIPs: []string{},
	}
	if !cmp.Equal(made, want) {
		t.Fatalf("created another key than asked for (-want +got):\n%s", cmp.Diff(want, made))
	}
	want.Secret = nil
	if got := decode[key](t, f.do(t, "GET", "/v1/keys/"+made.ID, ""), 200); !cmp.Equal(got, want) {
		t.Errorf("read (-want +got):\n%s", cmp.Diff(want, got))
	}
	listed := decode[struct{ Data []key }](t, f.do(t, "GET", "/v1/keys?project_id={project}", ""), 200).Data
	if len(listed) != 2 || !cmp.Equal(listed[0], want) || listed[1].ID != f.pair.ID {
		t.Errorf("the project's keys: %+v", listed)
	}
	if got := f.walk(t, "/v1/keys?project_id=proj_none", 10, nil); len(got) != 0 {
		t.Errorf("keys of no project: %v", got)
	}
	if got := f.walk(t, f.fill("/v1/keys?account_id={account}"), 1, func() {}); !slices.Equal(got, []string{made.ID, f.pair.ID, f.key.ID}) {
		t.Errorf("the account's keys: %v", got)
	}
}

// The secret of a key and the text of a token appear in the one reply that makes them: in no later answer, no
// log, no metric and no byte of the database.
func TestSecretsAreShownOnce(t *testing.T) {
	f := newPairFixture(t)
	reply := acquireOK(t, f, gateMessage(f.key.Secret, "op-1", 1)) +
		acquireOK(t, f, messageOf("vexrail", "op-2", 1, f.pair.Publishable, f.pair.Secret)) +
		acquire(t, f, messageOf(f.key.Secret, "op-3", 1, f.key.Secret), nil).body +
		syncOK(t, f, syncMessage(`["b1-op-2"]`, unpaidOp("op-4", f.key.Secret)))
	secrets := []string{f.key.Secret, f.pair.Secret, f.AdminToken, f.GateToken}
	for _, r := range []request{
		{"POST", "/v1/keys/{pair}/rotate", `{"halves":"both","overlap_seconds":60}`, nil},
		{"POST", "/v1/keys/{pair}/replace", `{}`, nil},
		{"POST", "/v1/keys/{key}/rotate", `{}`, nil},
	} {
		made := decode[key](t, f.do(t, r.method, r.path, r.body), map[bool]int{true: 201, false: 200}[strings.HasSuffix(r.path, "replace")])
		secrets = append(secrets, *made.Secret)
	}
	var seen strings.Builder
	for _, r := range []request{
		{"GET", "/v1/keys", "", nil}, {"GET", "/v1/keys/{key}", "", nil}, {"GET", "/v1/accounts/{account}/entries", "", nil},
		{"PATCH", "/v1/keys/{key}", `{"name":"n"}`, nil}, {"POST", "/v1/keys/{key}/revoke", "", nil},
		{"PATCH", "/v1/keys/{key}", `{"status":"` + f.key.Secret + `"}`, nil},
		{"POST", "/v1/keys", `{"` + f.key.Secret + `":1}`, nil},
		{"POST", "/v1/keys", `{"account_id":"` + f.key.Secret + `","scheme":"genrex","name":"x"}`, nil},
		{"GET", "/v1/keys/" + f.key.Secret, "", nil},
		{"GET", "/v1/keys/{pair}", "", nil}, {"GET", "/v1/projects", "", nil},
		{"POST", "/v1/keys/" + f.key.Secret + "/rotate", "", nil},
		{"POST", "/v1/keys", `{"account_id":"{account}","scheme":"` + f.key.Secret + `","name":"x"}`, nil},
		{"POST", "/v1/projects", `{"account_id":"{account}","name":"x","domain":"` + f.key.Secret + `.com:1"}`, nil},
		{"GET", "/v1/keys?" + f.key.Secret, "", nil},
		{"GET", "/v1/keys?cursor=" + f.key.Secret, "", nil},
		{"GET", "/" + f.key.Secret, "", nil},
		{"GET", "/v1/keys", "", map[string][]string{"Authorization": {"Bearer " + f.key.Secret}}},
		{"GET", "/v1/keys", "", map[string][]string{"Authorization": {"Bearer " + f.GateToken}}},
		{f.key.Secret, "/v1/keys", "", nil},
	} {
		r.path, r.body = f.fill(r.path), f.fill(r.body)
		a := send(t, f.ControlPlane, r)
		seen.WriteString(a.body)
		for _, values := range a.header {
			seen.WriteString(strings.Join(values, " "))
		}
	}
	seen.WriteString(reply)
	seen.WriteString(exchange(t, newRequest(t, f.OpsURL, request{method: "GET", path: "/metrics"})).body)
	noSecret(t, "an answer", []byte(seen.String()), secrets)
	noSecret(t, "the log", []byte(f.Logs()), secrets)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(f.DBPath + suffix)
		if err != nil {
			t.Fatal(err)
		}
		noSecret(t, "the database"+suffix, b, secrets)
		for _, s := range secrets {
			if wire := apikey.DigestOf(s); bytes.Contains(b, wire[:]) || bytes.Contains(b, []byte(wire.Hex())) {
				t.Errorf("the database%s holds what a gate could send", suffix)
			}
		}
	}
}

func noSecret(t *testing.T, where string, text []byte, secrets []string) {
	t.Helper()
	if len(text) == 0 {
		t.Fatalf("%s: nothing to search", where)
	}
	for _, s := range secrets {
		// The random part alone, too: without prefix and last four.
		for _, part := range []string{s, s[10 : len(s)-4]} {
			if bytes.Contains(text, []byte(part)) {
				t.Errorf("%s holds a secret", where)
			}
		}
	}
}
