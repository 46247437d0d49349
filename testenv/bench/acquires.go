package main

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// callers is how many connections ask at once where the goal is for so many.
const callers = 64

// spread takes neighbouring numbers far apart.
const spread = 7919

// secret is that of a key which the store's BenchmarkFill has made.
func secret(number int) string { return fmt.Sprintf("grx_sk_%048d", number) }

// acquires sends acquires of the keys in turn: one credit each, or leases of want credits.
func (b *bench) acquires(cp controlPlane, name, mode string, keys, want int) *client {
	digests := make([]string, keys)
	for i := range digests {
		digests[i] = fmt.Sprintf("%x", sha256.Sum256([]byte(secret(i))))
	}
	before, rest, _ := strings.Cut(cp.post("/gate/v1/acquire", fmt.Sprintf(`{"gate":"bench","boot":"%[1]s","op_id":"%[1]s-%[2]s",`+
		`"scheme":"genrex","digests":["%[3]s"],"cost":1,"want":%[4]d,"mode":"%[5]s"}`, name, opDigits, digests[0], want, mode)), opDigits)
	between, after, _ := strings.Cut(rest, digests[0])
	return b.client(cp.gate, callers, `"verdict":"granted"`, func(dst []byte, number int) []byte {
		dst = append(dst, before...)
		dst = strconv.AppendInt(dst, firstOp+int64(number), 10)
		dst = append(dst, between...)
		dst = append(dst, digests[number*spread%keys]...)
		return append(dst, after...)
	})
}

// opDigits is the place of an operation's number in a request: from firstOp on, all have as many digits.
const (
	opDigits = "1000000000"
	firstOp  = 1_000_000_000
)

// acquireDominates is from perf of a control plane under this load with 10,000 accounts, 2026-11-27.
const acquireDominates = "of the control plane's processor time the store's writer, 40 % (deciding 10 %, inserting entries and wallets 15 %, " +
	"commit 12 %, of it 4 % fsync), looking up keys 17 %, the messages' strict JSON 3 %, collecting garbage 2 %, and HTTP for most of the rest"

// measureAcquires holds the control plane, over HTTP, against databases that a gate could ask by itself.
func measureAcquires(b *bench) string {
	const rounds, each = 5, 4096
	s, program := b.store(), b.build("tollgate", "./controlplane")
	hot, _ := s.filled(1, 1)
	many, _ := s.filled(manyAccounts, manyAccounts)
	leased := b.copyFile(many, filepath.Join(s.dir, "leased.db"))
	spendings := &spendings{}
	send := func(name, database, mode string, keys, want int) func() time.Duration {
		cp := b.controlPlane(program, database)
		return spendings.of(name, cp.pid, b.acquires(cp, mode, mode, keys, want), each)
	}
	const strict, hotStrict, lease = "control plane, strict, 10,000 accounts", "control plane, strict, one hot account",
		"control plane, leases of up to 100 credits, 10,000 accounts"
	ours := []way{
		{strict, send(strict, many, "strict", manyAccounts, 1), atLeast(2).but(acquireDominates)},
		{hotStrict, send(hotStrict, hot, "strict", 1, 1), atLeast(2).but(acquireDominates)},
		{lease, send(lease, leased, "lease", manyAccounts, 100), nil},
	}
	t := table{title: "64 callers", unit: unit{"acquires/s", 0}, perSecond: true, rounds: b.rounds(rounds)}
	text := "The control plane is asked over HTTP on loopback, keep-alive, by a client in Go without allocations: `tollgate serve`, " +
		"`synchronous=FULL`. The databases take the same debit over a Unix socket, without HTTP, from their own benchmark programs: PostgreSQL 15 " +
		"as one prepared statement, a transaction each, from pgbench, `fsync` and `synchronous_commit` on; Redis as one Lua script, from " +
		"redis-benchmark without pipelining, `appendfsync always`. They do not authenticate who asks, nor check what they are sent.\n\n"
	if postgresInstalled() {
		p := b.postgres()
		t.baseline = "PostgreSQL, 10,000 accounts"
		t.ways = []way{
			{t.baseline, p.debits(manyAccounts, callers, each/callers, spendings.named(t.baseline, 0)), nil},
			{"PostgreSQL, one hot account", p.debits(1, callers, each/callers/4, spendings.named("PostgreSQL, one hot account", 0)), nil},
		}
	} else {
		t.baseline = ours[0].name
		for i := range ours {
			ours[i].goal = nil
		}
		text += "PostgreSQL 15 is not installed.\n\n"
	}
	if redisInstalled() {
		r := b.redis()
		many, one := "Redis, 10,000 accounts", "Redis, one hot account"
		t.ways = append(t.ways,
			way{many, r.debits(manyAccounts, callers, each, spendings.named(many, r.pid)), nil},
			way{one, r.debits(1, callers, each, spendings.named(one, r.pid)), nil})
		t.more = []column{{baseline: many}}
	} else {
		text += "Redis is not installed.\n\n"
	}
	t.ways = append(t.ways, ours...)
	return text + t.measure() + "\n" + spendings.table(t.ways)
}

// measureKeys shows what it costs to have many keys.
func measureKeys(b *bench) string {
	const each = 4096
	s, program := b.store(), b.build("tollgate", "./controlplane")
	t := table{title: "64 callers, strict", unit: unit{"acquires/s", 0}, perSecond: true, rounds: b.rounds(5), baseline: "10,000 keys"}
	var text string
	databases := []struct {
		name, path string
		keys       int
	}{{t.baseline, "", 10_000}, {"100,000 keys", "", 100_000}, {"1,000,000 keys", "", 1_000_000}}
	for i := range databases {
		d := &databases[i]
		var took time.Duration
		d.path, took = s.filled(manyAccounts, d.keys)
		text += fmt.Sprintf("A database with %s of 10,000 accounts was filled in %s.\n", d.name, took.Round(100*time.Millisecond))
	}
	var admins []*admin
	for _, d := range databases {
		cp := b.controlPlane(program, d.path)
		c := b.acquires(cp, "keys", "strict", d.keys, 1)
		t.ways = append(t.ways, way{d.name, func() time.Duration { return c.send(each) }, nil})
		admins = append(admins, b.admin(cp, d.name))
	}
	return text + "\n" + t.measure() + "\n" + b.lists(admins)
}
