package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

const acmeScheme = `{"acme": {"type": "secret_key", "secret": {"prefix": "acme-", "length": 40, "alphabet": "base62"}, "secret_header": "x-acme-key"}}`

// A scheme of which no code knows is issued and judged by a process that was given its file; the published ones
// are then as unknown as any other.
func TestServeWithSchemes(t *testing.T) {
	dir := t.TempDir()
	file, db := filepath.Join(dir, "schemes.json"), filepath.Join(dir, "t.db")
	if err := os.WriteFile(file, []byte(acmeScheme), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*process{
		"flag":        start(t, append(loopback(db), "--schemes", file)),
		"environment": start(t, loopback(filepath.Join(dir, "env.db")), "TOLLGATE_SCHEMES="+file),
	} {
		t.Run(name, func(t *testing.T) {
			db := db
			if name == "environment" {
				db = filepath.Join(dir, "env.db")
			}
			a := newAdmin(t, p, db)
			var account, key struct{ ID, Secret string }
			a.post(t, "/v1/accounts", `{"name":"n","status":"active"}`, 201, &account)
			a.post(t, "/v1/accounts/"+account.ID+"/credits", `{"amount":1}`, 201, new(any))
			a.post(t, "/v1/keys", `{"account_id":"`+account.ID+`","scheme":"acme","name":"n"}`, 201, &key)
			if !strings.HasPrefix(key.Secret, "acme-") || len(key.Secret) != 45 {
				t.Error("not a secret of the scheme")
			}
			a.post(t, "/v1/keys", `{"account_id":"`+account.ID+`","scheme":"genrex","name":"n"}`, 422, new(any))
			gate := newToken(t, db, "gate")
			for i, want := range []string{`"granted"`, `"insufficient_credits"`} {
				message := fmt.Sprintf(`{"gate":"g","boot":"b","op_id":"b-%d","scheme":"acme","digests":["%s"],"cost":1,"want":1,"mode":"strict"}`,
					i, apikey.DigestOf(key.Secret).Hex())
				if code, body := post(t, "http://"+p.addrs["gate"]+api.AcquirePath, gate, message); code != 200 || !strings.Contains(string(body), want) {
					t.Errorf("acquire: got %d %s, want %s", code, body, want)
				}
			}
		})
	}
}

// A bad file refuses to start before anything is made, and every problem is named; no value is repeated.
func TestBadSchemesRefuseToStart(t *testing.T) {
	dir := t.TempDir()
	const secret = "grx_sk_c0ffee00c0ffee00c0ffee00c0ffee00c0ffee0012345678"
	for _, tt := range []struct {
		name, content string
		stderr        []string
	}{
		{"no JSON", secret, []string{"malformed"}},
		{"empty", "", []string{"JSON"}},
		{"array", "[]", []string{"an object"}},
		{"no scheme", "{}", []string{"at least one scheme"}},
		{"same name twice", `{"a":{"preset":"genrex"},"a":{"preset":"genrex"}}`, []string{"a: ", "repeated"}},
		{"whole filter configuration", `{"schemes":` + acmeScheme + `}`, []string{"schemes.acme"}},
		{"two problems", `{"a":{"preset":"genrex","colour":"` + secret + `"},"b":{"type":"` + secret + `"}}`, []string{"a.colour", "b.type"}},
		{"too long", strings.Repeat(" ", 3<<20), []string{"1 MiB"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file, db := filepath.Join(dir, "bad.json"), filepath.Join(dir, "data", "t.db")
			if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got := finish(t, command(t, append([]string{"serve", "--schemes", file}, loopback(db)...)...))
			if got.code != 1 || got.stdout != "" || strings.Contains(got.stderr, "c0ffee") || strings.Contains(got.stderr, "goroutine") {
				t.Errorf("exit code %d\nstdout: %s\nstderr: %s", got.code, got.stdout, got.stderr)
			}
			for _, want := range append(tt.stderr, file) {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("stderr lacks %q: %s", want, got.stderr)
				}
			}
			if _, err := os.Stat(filepath.Dir(db)); err == nil {
				t.Error("the database's directory was made")
			}
		})
	}
	got := finish(t, command(t, append([]string{"serve", "--schemes", filepath.Join(dir, "none.json")}, loopback(filepath.Join(dir, "t.db"))...)...))
	if got.code != 1 || !strings.Contains(got.stderr, "none.json") {
		t.Errorf("missing file: exit code %d, stderr %s", got.code, got.stderr)
	}
}
