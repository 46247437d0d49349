package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// admin is a client of a serving process.
type admin struct{ root, token string }

// newAdmin makes a token in the database that p serves.
func newAdmin(t *testing.T, p *process, db string) *admin {
	t.Helper()
	return &admin{"http://" + p.addrs["admin"], newToken(t, db, "owner")}
}

func newToken(t *testing.T, db, role string) string {
	t.Helper()
	got := finish(t, command(t, "token", "create", "--db", db, "--role", role, "--name", "n"))
	if got.code != 0 {
		t.Fatalf("token create: exit code %d: %s", got.code, got.stderr)
	}
	return strings.TrimSpace(got.stdout)
}

// post sends a JSON body and decodes the answer, which has to have the given status.
func (a *admin) post(t *testing.T, path, body string, status int, out any) {
	t.Helper()
	code, answer := post(t, a.root+path, a.token, body)
	if code != status {
		t.Fatalf("POST %s: got status %d, want %d: %s", path, code, status, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		t.Fatal(err)
	}
}

func post(t *testing.T, url, token, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

const soundBooks = "accounts: 1\ntransactions: 1\nentries: 2\noperations: 0\nok\n"

// Verify reads what a running server has committed, without stopping it, and a stopped one's file; damage is told
// line by line. It writes nothing, whatever it finds.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "t.db")
	p := start(t, loopback(db))
	a := newAdmin(t, p, db)
	var account struct{ ID string }
	a.post(t, "/v1/accounts", `{"name":"n","status":"active"}`, 201, &account)
	a.post(t, "/v1/accounts/"+account.ID+"/credits", `{"amount":42}`, 201, new(any))
	verify := func(when, db string) result {
		t.Helper()
		got := finish(t, command(t, "verify", "--db", db))
		if strings.Contains(got.stderr, "goroutine") {
			t.Errorf("%s: a stack: %s", when, got.stderr)
		}
		return got
	}
	if got := verify("beside a server", db); got.code != 0 || got.stdout != soundBooks || got.stderr != "" {
		t.Errorf("beside a server: exit code %d\nstdout: %s\nstderr: %s", got.code, got.stdout, got.stderr)
	}
	a.post(t, "/v1/accounts/"+account.ID+"/credits", `{"amount":1}`, 201, new(any))
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.end(); code != 0 {
		t.Fatalf("serve: exit code %d", code)
	}
	before := contents(t, db)
	if got := verify("after a server", db); got.code != 0 || !strings.HasSuffix(got.stdout, "entries: 4\noperations: 0\nok\n") {
		t.Errorf("after a server: exit code %d\nstdout: %s\nstderr: %s", got.code, got.stdout, got.stderr)
	}
	damage(t, db, "UPDATE wallets SET available = available + 7, funding = funding - 7 WHERE account_id = '"+account.ID+"'")
	damaged := contents(t, db)
	if bytes.Equal(before, damaged) {
		t.Fatal("nothing was damaged")
	}
	got := verify("damaged", db)
	if got.code != 1 || !strings.Contains(got.stdout, "\nproblem: ") || !strings.Contains(got.stdout, account.ID) || strings.Contains(got.stdout, "ok\n") {
		t.Errorf("damaged: exit code %d\nstdout: %s", got.code, got.stdout)
	}
	if !strings.Contains(got.stderr, "the books do not agree") {
		t.Errorf("damaged: stderr %s", got.stderr)
	}
	if !bytes.Equal(contents(t, db), damaged) {
		t.Error("verify changed the database")
	}
}

func TestVerifyRefusals(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no database\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign.db")
	damage(t, foreign, "CREATE TABLE t (x)")
	missing := filepath.Join(dir, "none", "t.db")
	for _, tt := range []struct {
		name, stderr string
		args         []string
		code         int
	}{
		{"missing", "no such file", []string{"--db", missing}, 1},
		{"directory", "found a directory", []string{"--db", dir}, 1},
		{"no database", "not a database", []string{"--db", garbage}, 1},
		{"database of another program", "schema", []string{"--db", foreign}, 1},
		{"empty db", "--db", []string{"--db="}, 2},
		{"unknown flag", "--fix", []string{"--fix"}, 2},
		{"an argument", "unexpected", []string{garbage}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := finish(t, command(t, append([]string{"verify"}, tt.args...)...))
			if got.code != tt.code || got.stdout != "" || !strings.Contains(got.stderr, tt.stderr) || strings.Contains(got.stderr, "goroutine") {
				t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", got.code, tt.code, got.stdout, got.stderr)
			}
		})
	}
	if _, err := os.Stat(filepath.Dir(missing)); err == nil {
		t.Error("the directory of a missing database was made")
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 2 {
		t.Errorf("left behind: %v %v", names, err)
	}
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// damage runs a statement that the server would not.
func damage(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", fmt.Sprintf("file:%s", path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
