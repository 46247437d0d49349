package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// doctor runs the command with --json and returns its checks by name.
func doctor(t *testing.T, code int, env []string, args ...string) map[string]check {
	t.Helper()
	cmd := command(t, append([]string{"doctor", "--json"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	got := finish(t, cmd)
	var all []check
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil || got.code != code {
		t.Fatalf("exit code %d, want %d, %v: %s %s", got.code, code, err, got.stdout, got.stderr)
	}
	found := map[string]check{}
	for _, c := range all {
		if _, twice := found[c.Name]; twice || c.Found == "" || c.Status != fine && c.Status != warning && c.Status != failing {
			t.Errorf("check %+v", c)
		}
		found[c.Name] = c
	}
	return found
}

// wantChecks holds the status of some checks.
func wantChecks(t *testing.T, found map[string]check, want map[string]verdict) {
	t.Helper()
	for name, status := range want {
		if got := found[name]; got.Status != status {
			t.Errorf("%s: %+v, want %s", name, got, status)
		} else if status != fine && got.Do == "" {
			t.Errorf("%s: %+v says nothing of what to do", name, got)
		}
	}
}

// Beside a server in use everything is in order, and the server says so itself where it is asked from elsewhere.
func TestDoctorBesideAServer(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "t.db")
	p := startParty(t, db, nil)
	p.acquire(t, "1", 5)
	found := doctor(t, 0, nil, "--db", db, "--ops-listen", p.addrs["ops"], "--books", "--backup-dir", dir)
	wantChecks(t, found, map[string]verdict{
		"listeners": fine, "schemes": fine, "space": fine, "server": fine, "database": fine, "log": fine, "schema": fine,
		"clock": fine, "tokens": fine, "gate g": fine, "books": fine, "backups": fine,
	})
	if got := doctor(t, 0, nil, "--db", db, "--ops-listen", "127.0.0.1:1")["server"]; got.Status != warning || !strings.Contains(got.Found, "none answers") {
		t.Errorf("at another address: %+v", got)
	}
	server := []string{"--server", "http://" + p.addrs["admin"]}
	found = doctor(t, 0, []string{"TOLLGATE_TOKEN=" + p.admin.token}, server...)
	wantChecks(t, found, map[string]verdict{"server": fine, "database": fine, "clock": fine, "gate g": fine})
	for token, text := range map[string]string{"": "expected a token", p.gate.token: "not accepted"} {
		if got := doctor(t, 1, []string{"TOLLGATE_TOKEN=" + token}, server...)["server"]; got.Status != failing || !strings.Contains(got.Found, text) {
			t.Errorf("with another token: %+v", got)
		}
	}
	table := finish(t, command(t, "doctor", "--db", db, "--ops-listen", p.addrs["ops"]))
	if table.code != 0 || !strings.Contains(table.stdout, "OK  server     ready at ") {
		t.Errorf("table: %+v", table)
	}
	if names, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(names) != 0 {
		t.Errorf("left behind: %q, %v", names, err)
	}
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "t.db")
	wantChecks(t, doctor(t, 1, nil, "--db", db, "--listen=nowhere", "--schemes", filepath.Join(dir, "none")),
		map[string]verdict{"database": failing, "listeners": failing, "schemes": failing})
	newToken(t, db, "gate")
	wantChecks(t, doctor(t, 1, nil, "--db", db, "--listen=0.0.0.0:8090", "--backup-dir", t.TempDir()),
		map[string]verdict{"tokens": failing, "gates": warning, "server": warning, "listeners": warning, "backups": warning})
	newToken(t, db, "owner")
	if err := os.Chmod(db, 0o644); err != nil {
		t.Fatal(err)
	}
	damage(t, db, `UPDATE meta SET value = value + 4096000 * 7200 WHERE name = 'ids'; UPDATE meta SET value = 1 WHERE name = 'learning_us';
		INSERT INTO lost_leases VALUES ('lease_1', 'g', 'b', 7, 1)`)
	wantChecks(t, doctor(t, 0, nil, "--db", db), map[string]verdict{
		"permissions": warning, "clock": warning, "restore": warning, "lost leases": warning, "tokens": fine,
	})
	damage(t, db, "INSERT INTO wallets (account_id) VALUES ('acct_none')")
	wantChecks(t, doctor(t, 0, nil, "--db", db), map[string]verdict{"database": fine})
	wantChecks(t, doctor(t, 1, nil, "--db", db, "--books"), map[string]verdict{"books": failing})
	damage(t, db, "DELETE FROM goose_db_version WHERE version_id >= 9")
	wantChecks(t, doctor(t, 1, nil, "--db", db), map[string]verdict{"schema": failing})
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no database\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	wantChecks(t, doctor(t, 1, nil, "--db", garbage), map[string]verdict{"database": failing})
	wantChecks(t, doctor(t, 1, nil, "--server", "ftp://x"), map[string]verdict{"server": failing})
	wantChecks(t, doctor(t, 1, nil, "--server", "http://127.0.0.1:1"), map[string]verdict{"server": failing})
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 3 << 29: "1.5 GiB", 1 << 62: "4.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
