package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// storePackage has the benchmarks of the ledger's store: this program must not import it.
const storePackage = "./controlplane/internal/store"

// fillEnv names the variable with the directory in which the store's BenchmarkFill leaves its databases.
const fillEnv = "TOLLGATE_BENCH_DIR"

// store runs the store's benchmarks.
type store struct {
	b *bench
	// program are its compiled tests, dir where the filled databases are.
	program, dir string
}

func (b *bench) store() *store {
	dir, err := os.MkdirTemp(b.dir, "filled-")
	b.check(err)
	b.check(os.Chmod(dir, 0o755))
	return &store{b: b, program: b.build("store.test", storePackage), dir: dir}
}

var metricPattern = regexp.MustCompile(`([0-9.e+]+) ([^\s]+/(?:s|op))`)

// run runs the one benchmark of that name so many times over and returns one of its metrics.
func (s *store) run(name, metric string, times int) float64 {
	parts := strings.Split(name, "/")
	cmd := exec.Command(s.program, "-test.run", "^$", "-test.bench", "^Benchmark"+strings.Join(parts, "$/^")+"$",
		"-test.benchtime", strconv.Itoa(times)+"x")
	cmd.Env = append(os.Environ(), fillEnv+"="+s.dir)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.b.Fatalf("benchmark %s: %w\n%s", name, err, out)
	}
	for _, found := range metricPattern.FindAllStringSubmatch(string(out), -1) {
		if found[2] == metric {
			value, err := strconv.ParseFloat(found[1], 64)
			s.b.check(err)
			return value
		}
	}
	s.b.Fatalf("benchmark %s: no %s in\n%s", name, metric, out)
	return 0
}

// filled makes a database of so many accounts and keys and returns its path.
func (s *store) filled(accounts, keys int) (path string, took time.Duration) {
	ns := s.run(fmt.Sprintf("Fill/accounts=%d/keys=%d", accounts, keys), "ns/op", 1)
	return filepath.Join(s.dir, strconv.Itoa(keys)+".db"), time.Duration(ns)
}

const manyAccounts = 10_000

// manyDominates is from a CPU profile of the store's benchmark at 256 callers, 2026-11-27.
const manyDominates = "a wallet and two entries of its own for each debit. Of the processor time 31 % goes into inserting them (entries 19 %, " +
	"wallets 10 %), 22 % into deciding and recording operations, 16 % into the commit (4 % fsync), 10 % into looking up keys; for much of the " +
	"time both processors wait for the disk"

// measureDebits holds the store's batches against itself with batches of one.
func measureDebits(b *bench) string {
	s := b.store()
	var tables []string
	for _, accounts := range []struct {
		name      string
		number    int
		dominates string
	}{{"one hot account", 1, "the statements"}, {"10,000 accounts", manyAccounts, manyDominates}} {
		s.filled(accounts.number, accounts.number)
		for _, load := range []struct {
			callers, single, batched int
			goal                     float64
		}{{64, 400, 4000, 6}, {256, 600, 6000, 8}, {1024, 2048, 10240, 10}} {
			round := func(batch, times int) func() time.Duration {
				name := fmt.Sprintf("Acquire/accounts=%d/callers=%d/batch=%d", accounts.number, load.callers, batch)
				return func() time.Duration {
					return time.Duration(float64(time.Second) / s.run(name, "debits/s", times))
				}
			}
			tables = append(tables, table{
				title: fmt.Sprintf("%d callers, %s", load.callers, accounts.name), unit: unit{"debits/s", 0}, perSecond: true,
				rounds: b.rounds(4), baseline: "one transaction per debit",
				ways: []way{
					{"one transaction per debit", round(1, load.single), nil},
					{"batches", round(512, load.batched), atLeast(load.goal).but(accounts.dominates)},
				},
			}.measure())
		}
	}
	return "Strict debits in the store, in one process: key, balance, record of the operation, two entries and the wallet; " +
		"`synchronous=FULL`.\n\n" + strings.Join(tables, "\n")
}
