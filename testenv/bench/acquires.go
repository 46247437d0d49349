package main

import (
	"crypto/sha256"
	"fmt"
	"os/exec"
	"path/filepath"
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
	return b.client(cp.gate, callers, `"verdict":"granted"`, func(number int) []byte {
		digest := sha256.Sum256([]byte(secret(number * spread % keys)))
		return cp.post("/gate/v1/acquire", fmt.Sprintf(`{"gate":"bench","boot":"%[1]s","op_id":"%[1]s-%[2]d","scheme":"genrex",`+
			`"digests":["%[3]x"],"cost":1,"want":%[4]d,"mode":"%[5]s"}`, name, number, digest, want, mode))
	})
}

// acquireDominates is from perf of a control plane under this load, 2026-11-22.
const acquireDominates = "the store's writer, 47 % of the control plane's CPU (commit 19 %, of it 13 % pages to the log; deciding 15 %; " +
	"entries and wallets 12 %), beside HTTP, 39 % (the messages' strict JSON 11 %); the client has the same two cores"

// measureAcquires holds the control plane, over HTTP, against databases that a gate could ask by itself.
func measureAcquires(b *bench) string {
	const rounds, each = 5, 4096
	s, program := b.store(), b.build("tollgate", "./controlplane")
	hot, _ := s.filled(1, 1)
	many, _ := s.filled(manyAccounts, manyAccounts)
	leased := b.copyFile(many, filepath.Join(s.dir, "leased.db"))
	strict := b.acquires(b.controlPlane(program, many), "strict", "strict", manyAccounts, 1)
	hotStrict := b.acquires(b.controlPlane(program, hot), "hot", "strict", 1, 1)
	lease := b.acquires(b.controlPlane(program, leased), "lease", "lease", manyAccounts, 100)
	send := func(c *client) func() time.Duration { return func() time.Duration { return c.send(each) } }
	ours := []way{
		{"control plane, strict, 10,000 accounts", send(strict), atLeast(2).but(acquireDominates)},
		{"control plane, strict, one hot account", send(hotStrict), atLeast(2).but(acquireDominates)},
		{"control plane, leases of up to 100 credits, 10,000 accounts", send(lease), nil},
	}
	t := table{title: "64 callers", unit: unit{"acquires/s", 0}, perSecond: true, rounds: b.rounds(rounds)}
	text := "Over HTTP on loopback, keep-alive, against `tollgate serve`; `synchronous=FULL`. PostgreSQL 15 takes the same debit as one " +
		"prepared statement, a transaction each, from pgbench on a Unix socket; `fsync` and `synchronous_commit` on.\n\n"
	if postgresInstalled() {
		p := b.postgres()
		t.baseline = "PostgreSQL, 10,000 accounts"
		t.ways = []way{
			{t.baseline, p.debits(manyAccounts, callers, each/callers), nil},
			{"PostgreSQL, one hot account", p.debits(1, callers, each/callers/4), nil},
		}
	} else {
		t.baseline = ours[0].name
		for i := range ours {
			ours[i].goal = nil
		}
		text += "PostgreSQL 15 is not installed.\n\n"
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		text += "Redis is not installed.\n\n"
	}
	t.ways = append(t.ways, ours...)
	return text + t.measure()
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
	for _, d := range databases {
		c := b.acquires(b.controlPlane(program, d.path), "keys", "strict", d.keys, 1)
		t.ways = append(t.ways, way{d.name, func() time.Duration { return c.send(each) }, nil})
	}
	return text + "\n" + t.measure()
}
