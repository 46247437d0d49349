package server_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

type key struct {
	ID        string
	AccountID string `json:"account_id"`
	Scheme    string
	Name      string
	Prefix    string
	Last4     string
	Status    string
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	RevokedAt *time.Time `json:"revoked_at"`
	Secret    *string
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
		ID: made.ID, AccountID: f.account, Scheme: "genrex", Name: "ci", Prefix: "grx_sk_", Last4: secret[len(secret)-4:],
		Status: "active", CreatedAt: born, UpdatedAt: born, Secret: made.Secret,
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
	step("POST", path+"/revoke", "", func() {
		at := f.Clock.Now()
		want.Status, want.RevokedAt, want.UpdatedAt = "revoked", &at, at
	})
	step("POST", path+"/revoke", "{}", func() {})
	for _, change := range []string{`{"status":"active"}`, `{"name":"x"}`} {
		a := send(t, f.ControlPlane, request{"PATCH", path, change, nil})
		if p := wholeProblem(t, a); a.status != 409 || p.Code != "key_revoked" {
			t.Errorf("PATCH %s of a revoked key: got %d %s, want 409 key_revoked", change, a.status, p.Code)
		}
	}
	step("GET", path, "", func() {})
}

// The secret of a key and the text of a token appear in the one reply that makes them: in no later answer, no
// log, no metric and no byte of the database.
func TestSecretsAreShownOnce(t *testing.T) {
	f := newFixture(t)
	reply := acquireOK(t, f, gateMessage(f.key.Secret, "op-1", 1))
	secrets := []string{f.key.Secret, f.AdminToken, f.GateToken}
	var seen strings.Builder
	for _, r := range []request{
		{"GET", "/v1/keys", "", nil}, {"GET", "/v1/keys/{key}", "", nil}, {"GET", "/v1/accounts/{account}/entries", "", nil},
		{"PATCH", "/v1/keys/{key}", `{"name":"n"}`, nil}, {"POST", "/v1/keys/{key}/revoke", "", nil},
		{"PATCH", "/v1/keys/{key}", `{"status":"` + f.key.Secret + `"}`, nil},
		{"POST", "/v1/keys", `{"` + f.key.Secret + `":1}`, nil},
		{"POST", "/v1/keys", `{"account_id":"` + f.key.Secret + `","scheme":"genrex","name":"x"}`, nil},
		{"GET", "/v1/keys/" + f.key.Secret, "", nil},
		{"GET", "/v1/keys?" + f.key.Secret, "", nil},
		{"GET", "/v1/keys?cursor=" + f.key.Secret, "", nil},
		{"GET", "/" + f.key.Secret, "", nil},
		{"GET", "/v1/keys", "", map[string][]string{"Authorization": {"Bearer " + f.key.Secret}}},
		{"GET", "/v1/keys", "", map[string][]string{"Authorization": {"Bearer " + f.GateToken}}},
		{f.key.Secret, "/v1/keys", "", nil},
	} {
		r.path = f.fill(r.path)
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
