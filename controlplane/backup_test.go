package main

import (
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
)

// stop ends a serving process as an operator does.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.end(); code != 0 {
		t.Fatalf("serve: exit code %d:\n%s", code, strings.Join(p.lines, "\n"))
	}
}

// The way of an operator: back up beside a running server, lose the rest, restore, serve again.
func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	db, backup := filepath.Join(dir, "t.db"), filepath.Join(dir, "b.db")
	p := startParty(t, db, nil)
	p.acquire(t, "1", 5)
	got := finish(t, command(t, "backup", "--db", db, "--out", backup))
	if got.code != 0 || !strings.Contains(got.stdout, "backup: "+backup+"\nbytes: ") || !strings.HasSuffix(got.stdout, "entries: 4\noperations: 1\nok\n") || got.stderr != "" {
		t.Fatalf("backup: %+v", got)
	}
	if again := finish(t, command(t, "backup", "--db", db, "--out", backup)); again.code != 1 || !strings.Contains(again.stderr, "exists already") {
		t.Errorf("backup over a backup: %+v", again)
	}
	if sound := finish(t, command(t, "verify", "--db", backup)); sound.code != 0 {
		t.Errorf("verify of the backup: %+v", sound)
	}
	p.admin.post(t, "/v1/accounts/"+p.account+"/credits", `{"amount":1000}`, 201)
	restore := []string{"restore", "--from", backup, "--db", db}
	if live := finish(t, command(t, append(restore, "--replace")...)); live.code != 1 || !strings.Contains(live.stderr, "another tollgate serve uses this database") {
		t.Errorf("restore under a server: %+v", live)
	}
	p.stop(t)
	if there := finish(t, command(t, restore...)); there.code != 1 || !strings.Contains(there.stderr, "exists already; --replace keeps it aside") {
		t.Errorf("restore over a database: %+v", there)
	}
	done := finish(t, command(t, append(restore, "--replace")...))
	aside := regexp.MustCompile(`\nok\nepoch: \d{13}\nreplaced: (.*)\n$`).FindStringSubmatch(done.stdout)
	if done.code != 0 || aside == nil {
		t.Fatalf("restore: %+v", done)
	}
	if got := finish(t, command(t, "token", "create", "--db", db, "--role=viewer", "--name=n")); got.code != 0 || got.stderr != "" {
		t.Errorf("a command that serves nothing: %+v", got)
	}
	again := start(t, loopback(db))
	if !strings.Contains(strings.Join(again.lines, "\n"), "restored from a backup") {
		t.Errorf("serve says nothing of the restore:\n%s", strings.Join(again.lines, "\n"))
	}
	p.admin.root, p.gate.root = "http://"+again.addrs["admin"], "http://"+again.addrs["gate"]
	if w := p.admin.do(t, http.MethodGet, "/v1/accounts/"+p.account+"/wallet", "", 200); w["granted"] != 100.0 || w["reserved"] != 5.0 {
		t.Errorf("wallet %v", w)
	}
	if lease := p.acquire(t, "2", 5)["lease"].(map[string]any); lease["credits"] != 1.0 {
		t.Errorf("right after a restore a lease of %v credits", lease["credits"])
	}
	again.stop(t)
	for _, path := range []string{db, aside[1]} {
		if got := finish(t, command(t, "verify", "--db", path)); got.code != 0 {
			t.Errorf("verify %s: %+v", path, got)
		}
	}
	// Where a copy is made, there are hidden files until it is done.
	if names, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(names) != 0 {
		t.Errorf("left behind: %q, %v", names, err)
	}
}

func TestBackupRefusals(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign.db")
	damage(t, foreign, "CREATE TABLE t (x)")
	out := filepath.Join(dir, "out")
	for _, tt := range []struct {
		name, stderr string
		args         []string
		code         int
	}{
		{"backup of nothing", "no such file", []string{"backup", "--db", filepath.Join(dir, "none"), "--out", out}, 1},
		{"backup to nothing", "--out", []string{"backup", "--db", foreign}, 2},
		{"backup to no name", "--out: expected a file name", []string{"backup", "--db", foreign, "--out="}, 2},
		{"backup to a missing directory", "no such file", []string{"backup", "--db", foreign, "--out", filepath.Join(dir, "none", "b")}, 1},
		{"restore of nothing", "no such file", []string{"restore", "--from", filepath.Join(dir, "none"), "--db", out}, 1},
		{"restore from nothing", "--from", []string{"restore", "--db", out}, 2},
		{"restore of another program's", "no database of Tollgate's", []string{"restore", "--from", foreign, "--db", out}, 1},
		{"migrate nothing", "no such file", []string{"migrate", "--db", filepath.Join(dir, "none")}, 1},
		{"migrate another program's", "no database of Tollgate's", []string{"migrate", "--db", foreign}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := finish(t, command(t, tt.args...))
			if got.code != tt.code || got.stdout != "" || !strings.Contains(got.stderr, tt.stderr) || strings.Contains(got.stderr, "goroutine") {
				t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", got.code, tt.code, got.stdout, got.stderr)
			}
		})
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something was left behind")
	}
}

// oldSchema is that of the databases that old makes, and firstPending the migration after it.
const (
	oldSchema    = 8
	firstPending = "0009_operations.sql"
)

// old makes a database as an older program has left it.
func old(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("internal/store/migrations"))
	if err == nil {
		_, err = p.UpTo(t.Context(), oldSchema)
	}
	if err != nil {
		t.Fatal(err)
	}
	damage(t, path, "INSERT INTO accounts VALUES ('acct_1', 'Ada', 'active', 1, 2); INSERT INTO wallets (account_id) VALUES ('acct_1')")
}

// An older database is copied before it is migrated, by the command as by serve, and left alone by whoever may not.
func TestMigrate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		migrate func(t *testing.T, db string) string
		backups int
	}{
		{"migrate", func(t *testing.T, db string) string {
			got := finish(t, command(t, "migrate", "--db", db))
			if got.code != 0 {
				t.Fatalf("%+v", got)
			}
			return got.stdout
		}, 1},
		{"migrate without a backup", func(t *testing.T, db string) string {
			return finish(t, command(t, "migrate", "--db", db, "--no-backup")).stdout
		}, 0},
		{"serve", func(t *testing.T, db string) string {
			p := start(t, loopback(db))
			p.stop(t)
			return strings.Join(p.lines, "\n")
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := filepath.Join(t.TempDir(), "t.db")
			old(t, db)
			for _, args := range [][]string{
				{"token", "create", "--db", db, "--role=gate", "--name=n"}, {"verify", "--db", db}, append([]string{"serve", "--no-migrate"}, loopback(db)...),
			} {
				if got := finish(t, command(t, args...)); got.code != 1 || !strings.Contains(got.stderr, "see tollgate migrate --help") {
					t.Errorf("%s: %+v", args[0], got)
				}
			}
			said := tt.migrate(t, db)
			if !strings.Contains(said, firstPending) && !strings.Contains(said, "msg=migrated") {
				t.Errorf("it says %s", said)
			}
			backup := db + ".before-0009.bak"
			if tt.backups == 0 {
				if _, err := os.Stat(backup); err == nil {
					t.Error("there is a backup")
				}
			} else if got := finish(t, command(t, "restore", "--from", backup, "--db", db+".2")); got.code != 0 || !strings.Contains(said, backup) {
				t.Errorf("restore of the backup: %+v", got)
			}
			if got := finish(t, command(t, "verify", "--db", db)); got.code != 0 {
				t.Errorf("verify: %+v", got)
			}
			if got := finish(t, command(t, "migrate", "--db", db)); got.code != 0 || !regexp.MustCompile(`^schema: \d+\n$`).MatchString(got.stdout) {
				t.Errorf("migrate again: %+v", got)
			}
		})
	}
}

func TestMigrateUnderAServerIsRefused(t *testing.T) {
	db := filepath.Join(t.TempDir(), "t.db")
	start(t, loopback(db))
	if got := finish(t, command(t, "migrate", "--db", db)); got.code != 1 || !strings.Contains(got.stderr, "another tollgate serve uses this database") {
		t.Errorf("%+v", got)
	}
}

func TestBar(t *testing.T) {
	var got []string
	for _, done := range []int64{-1, 0, 1, 50, 99, 100, 200} {
		got = append(got, drawBar("copy", done, 100))
	}
	got = append(got, drawBar("verify", 0, 0))
	want := []string{
		"copy     [..............................]   0%", "copy     [..............................]   0%",
		"copy     [..............................]   0%", "copy     [###############...............]  50%",
		"copy     [#############################.]  96%", "copy     [##############################] 100%",
		"copy     [##############################] 100%", "verify   [##############################] 100%",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	b := newBar(file)
	b.show("copy", 1, 1)
	b.end()
	if info, err := file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("what is no terminal got %d bytes, %v", info.Size(), err)
	}
}

func TestLogFormat(t *testing.T) {
	for _, tt := range []struct {
		flags logFlags
		want  string
	}{
		{logFlags{"text", "info"}, "level=INFO msg=told n=1\n"},
		{logFlags{"json", "warn"}, ""},
		{logFlags{"json", "debug"}, `"level":"INFO","msg":"told","n":1}` + "\n"},
	} {
		var out strings.Builder
		tt.flags.logger(&out).Info("told", "n", 1)
		if !strings.HasSuffix(out.String(), tt.want) || tt.want == "" && out.Len() > 0 {
			t.Errorf("%v: %s", tt.flags, out.String())
		}
	}
}
