package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// postgresBin is where Debian has the programs of PostgreSQL 15.
const postgresBin = "/usr/lib/postgresql/15/bin"

// postgresSchema has the tables that a debit needs, as the control plane has them.
const postgresSchema = `
CREATE TABLE accounts (id text PRIMARY KEY, status text NOT NULL);
CREATE TABLE wallets (account_id text PRIMARY KEY REFERENCES accounts (id), available bigint NOT NULL CHECK (available >= 0),
	spent bigint NOT NULL CHECK (spent >= 0));
CREATE TABLE key_digests (digest bytea PRIMARY KEY, key_id text NOT NULL, account_id text NOT NULL REFERENCES accounts (id),
	status text NOT NULL);
CREATE TABLE operations (op_id text PRIMARY KEY, verdict text NOT NULL, account_id text NOT NULL, key_id text NOT NULL,
	credits bigint NOT NULL, available bigint NOT NULL, created timestamptz NOT NULL);
CREATE TABLE entries (account_id text NOT NULL REFERENCES accounts (id), id bigint GENERATED ALWAYS AS IDENTITY,
	transaction_id text NOT NULL, kind text NOT NULL, bucket text NOT NULL, delta bigint NOT NULL, balance bigint NOT NULL,
	key_id text NOT NULL, op_id text NOT NULL, created timestamptz NOT NULL, PRIMARY KEY (account_id, id));
INSERT INTO accounts SELECT 'acct_' || lpad(i::text, 26, '0'), 'active' FROM generate_series(1, %[1]d) i;
INSERT INTO wallets SELECT id, 1::bigint << 40, 0 FROM accounts;
INSERT INTO key_digests SELECT sha256(i::text::bytea), 'key_' || lpad(i::text, 26, '0'), 'acct_' || lpad(i::text, 26, '0'), 'active'
	FROM generate_series(1, %[1]d) i;
VACUUM ANALYZE;
`

// postgresDebit is one debit in one statement, which is a transaction: as few round trips as there can be.
const postgresDebit = `
\set number random(1, %d)
\set op random(1, 9000000000000000000)
WITH k AS (SELECT d.key_id, a.id FROM key_digests d JOIN accounts a ON a.id = d.account_id
		WHERE d.digest = sha256(:number::text::bytea) AND d.status = 'active' AND a.status = 'active'),
	w AS (UPDATE wallets SET available = available - 1, spent = spent + 1 FROM k WHERE account_id = k.id AND available >= 1
		RETURNING account_id, key_id, available, spent),
	o AS (INSERT INTO operations SELECT 'boot-' || :op, 'granted', account_id, key_id, 1, available, now() FROM w),
	e AS (INSERT INTO entries (account_id, transaction_id, kind, bucket, delta, balance, key_id, op_id, created)
		SELECT account_id, 'txn_' || :op, 'debit', 'available', -1, available, key_id, 'boot-' || :op, now() FROM w
		UNION ALL SELECT account_id, 'txn_' || :op, 'debit', 'spent', 1, spent, key_id, 'boot-' || :op, now() FROM w)
SELECT available FROM w;
`

// postgres is a cluster of its own, on a Unix socket in its directory.
type postgres struct {
	b   *bench
	dir string
}

func postgresInstalled() bool {
	_, err := os.Stat(filepath.Join(postgresBin, "pgbench"))
	return err == nil
}

// postgres starts a cluster that syncs each commit.
func (b *bench) postgres() *postgres {
	dir, err := os.MkdirTemp(b.dir, "postgres-")
	b.check(err)
	p := &postgres{b: b, dir: dir}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		owner := p.owner()
		b.check(os.Chmod(b.dir, 0o755))
		b.check(os.Chown(dir, int(owner.Uid), int(owner.Gid)))
	}
	p.command("initdb", "-D", dir+"/data", "-A", "trust", "-E", "UTF8", "--locale=C", "-U", "postgres")
	b.start(p.program("postgres", "-D", dir+"/data", "-k", dir, "-c", "listen_addresses=", "-c", "fsync=on", "-c", "synchronous_commit=on",
		"-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB", "-c", "log_checkpoints=off"),
		func(line string) bool { return strings.Contains(line, "ready to accept connections") })
	p.command("psql", "-q", "-h", dir, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-c", "CREATE DATABASE bench")
	schema := filepath.Join(dir, "schema.sql")
	b.check(os.WriteFile(schema, fmt.Appendf(nil, postgresSchema, manyAccounts), 0o644))
	p.command("psql", "-q", "-h", dir, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-d", "bench", "-f", schema)
	return p
}

// owner is who runs PostgreSQL if this program is root's.
func (p *postgres) owner() *syscall.Credential {
	u, err := user.Lookup("postgres")
	p.b.check(err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	p.b.check(err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	p.b.check(err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (p *postgres) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(postgresBin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.owner()}
	}
	return cmd
}

// command runs a program to its end and returns what it has printed.
func (p *postgres) command(name string, args ...string) string {
	return p.output(p.program(name, args...))
}

func (p *postgres) output(cmd *exec.Cmd) string {
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.b.Fatalf("%s: %w\n%s", cmd.Path, err, out)
	}
	return string(out)
}

var tpsPattern = regexp.MustCompile(`tps = ([0-9.]+) \(without`)

// debits returns a round of so many debits on each of so many connections, over so many accounts.
func (p *postgres) debits(accounts, connections, each int, spent *spending) func() time.Duration {
	script := filepath.Join(p.dir, fmt.Sprintf("debit-%d.sql", accounts))
	p.b.check(os.WriteFile(script, fmt.Appendf(nil, postgresDebit, accounts), 0o644))
	return func() time.Duration {
		cmd := p.program("pgbench", "-h", p.dir, "-U", "postgres", "-n", "-M", "prepared", "-f", script, "-c", strconv.Itoa(connections),
			"-j", "2", "-t", strconv.Itoa(each), "bench")
		spent.begin()
		out := p.output(cmd)
		spent.end(usedBy(cmd.ProcessState), connections*each)
		found := tpsPattern.FindStringSubmatch(out)
		if found == nil || !strings.Contains(out, "number of failed transactions: 0 ") {
			p.b.Fatalf("pgbench:\n%s", out)
		}
		tps, err := strconv.ParseFloat(found[1], 64)
		p.b.check(err)
		return time.Duration(float64(time.Second) / tps)
	}
}
