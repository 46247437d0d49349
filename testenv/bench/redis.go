package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// redisDebit is one debit: the operation once and for all, the key and its account, the balance, and two fields in the
// ledger. KEYS[1] is the operation and ARGV[1] a number that chooses among ARGV[2] accounts.
const redisDebit = `
local known = redis.call('GET', KEYS[1])
if known then return known end
local n = tonumber(ARGV[1]) % tonumber(ARGV[2])
local key = redis.call('HMGET', 'digest:' .. n, 'key', 'account', 'status')
if key[3] ~= 'active' then return 'inactive' end
local wallet = 'wallet:' .. key[2]
if tonumber(redis.call('GET', wallet) or '0') < 1 then return 'insufficient' end
local left = redis.call('DECRBY', wallet, 1)
redis.call('XADD', 'ledger', '*', 'account', key[2], 'key', key[1], 'op', KEYS[1], 'kind', 'debit', 'delta', -1, 'balance', left)
redis.call('SET', KEYS[1], left)
return left
`

const redisFill = `
for n = 0, tonumber(ARGV[1]) - 1 do
	redis.call('HSET', 'digest:' .. n, 'key', string.format('key_%026d', n), 'account', string.format('acct_%026d', n), 'status', 'active')
	redis.call('SET', 'wallet:' .. string.format('acct_%026d', n), 1000000000000)
end
return 'filled'
`

// redis is a server of its own, on a Unix socket in its directory.
type redis struct {
	b           *bench
	dir, socket string
	// debit is the name of the script.
	debit string
	pid   int
}

func redisInstalled() bool {
	for _, program := range []string{"redis-server", "redis-cli", "redis-benchmark"} {
		if _, err := exec.LookPath(program); err != nil {
			return false
		}
	}
	return true
}

// redis starts a server that syncs each write before it answers.
func (b *bench) redis() *redis {
	dir, err := os.MkdirTemp(b.dir, "redis-")
	b.check(err)
	r := &redis{b: b, dir: dir, socket: filepath.Join(dir, "redis.sock")}
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", r.socket, "--dir", dir, "--daemonize", "no", "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no")
	out, err := cmd.StdoutPipe()
	b.startTelling(cmd, out, err, func(line string) bool { return strings.Contains(line, "is now ready to accept connections at") })
	r.pid = cmd.Process.Pid
	if answer := r.cli("EVAL", redisFill, "0", strconv.Itoa(manyAccounts)); answer != "filled" {
		b.Fatalf("fill redis: %s", answer)
	}
	r.debit = r.cli("SCRIPT", "LOAD", redisDebit)
	if answer := r.cli("EVALSHA", r.debit, "1", "op:first", "1", "1"); answer != "999999999999" {
		b.Fatalf("a first debit in redis: %s", answer)
	}
	return r
}

func (r *redis) cli(args ...string) string {
	out, err := exec.Command("redis-cli", append([]string{"-s", r.socket}, args...)...).CombinedOutput()
	if err != nil {
		r.b.Fatalf("redis-cli: %w\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// debits returns a round of n debits on so many connections, over so many accounts. Redis-benchmark puts another number
// of twelve digits at each __rand_int__.
func (r *redis) debits(accounts, connections, n int, spent *spending) func() time.Duration {
	return func() time.Duration {
		before := r.entries()
		cmd := exec.Command("redis-benchmark", "-s", r.socket, "-c", strconv.Itoa(connections), "-n", strconv.Itoa(n), "-r", "2147483647",
			"--csv", "EVALSHA", r.debit, "1", "op:__rand_int__", "__rand_int__", strconv.Itoa(accounts))
		spent.begin()
		out, err := cmd.CombinedOutput()
		if err != nil {
			r.b.Fatalf("redis-benchmark: %w\n%s", err, out)
		}
		spent.end(usedBy(cmd.ProcessState), n)
		// An operation whose number came twice is no error, but must not happen often.
		if made := r.entries() - before; made < n-n/1000 {
			r.b.Fatalf("redis has made %d of %d debits:\n%s", made, n, out)
		}
		rows, err := csv.NewReader(strings.NewReader(string(out))).ReadAll()
		r.b.check(err)
		last := rows[len(rows)-1]
		if len(last) < 2 {
			r.b.Fatalf("redis-benchmark:\n%s", out)
		}
		rps, err := strconv.ParseFloat(last[1], 64)
		r.b.check(err)
		return time.Duration(float64(time.Second) / rps)
	}
}

// entries is how many the ledger has.
func (r *redis) entries() int {
	n, err := strconv.Atoi(r.cli("XLEN", "ledger"))
	if err != nil {
		r.b.Fatalf("redis: %w", fmt.Errorf("length of the ledger: %w", err))
	}
	return n
}
