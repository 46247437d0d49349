package store

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
)

// BenchmarkAcquire reports durable strict debits per second: of so many callers, on one account or spread over many, in
// batches and, for comparison, each in a transaction of its own.
func BenchmarkAcquire(b *testing.B) {
	for _, accounts := range []int{1, 10_000} {
		for _, callers := range []int{64, 256, 1024} {
			for _, batch := range []int{maxBatch, 1} {
				name := fmt.Sprintf("accounts=%d/callers=%d/batch=%d", accounts, callers, batch)
				b.Run(name, func(b *testing.B) { benchmarkAcquire(b, accounts, callers, batch) })
			}
		}
	}
}

func benchmarkAcquire(b *testing.B, accounts, callers, batch int) {
	s := filledStore(b, accounts)
	s.writer.mu.Lock()
	s.writer.maxBatch = batch
	s.writer.mu.Unlock()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	before := cpuTime(b)
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				// A prime far from the accounts' number: neighbours in time are none in the database.
				secret := filled(int(i * 7919 % int64(accounts)))
				reply, err := s.Acquire(b.Context(), acquireOf(secret, opID(int(i)), 1), charged)
				if err != nil || reply.Verdict != api.Granted {
					b.Errorf("acquire %d: %v, %v", i, reply.Verdict, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "debits/s")
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/debit")
	stats := s.Stats()
	var batches uint64
	for _, n := range stats.BatchJobs.Counts {
		batches += n
	}
	b.ReportMetric(stats.BatchJobs.Sum/float64(batches), "jobs/batch")
}

// filledStore opens a store on a file of its own that fill has made, with a key for each account, and that BenchmarkFill may
// have left.
func filledStore(b *testing.B, accounts int) *Store {
	b.Helper()
	path := filepath.Join(b.TempDir(), "tollgate.db")
	if data, err := os.ReadFile(filepath.Join(os.Getenv(fillEnv), filledName(accounts))); err == nil {
		must(b, os.WriteFile(path, data, 0o600))
	} else {
		fill(b, path, accounts, accounts)
	}
	s, err := Open(b.Context(), Options{Path: path, Log: slog.New(slog.DiscardHandler)})
	must(b, err)
	b.Cleanup(func() { must(b, s.Close()) })
	return s
}

// cpuTime is what the process has used so far: unlike the rate, it does not depend on what else the machine does.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
