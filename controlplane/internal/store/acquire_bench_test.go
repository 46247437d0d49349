package store

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
)

// BenchmarkAcquire reports durable debits per second of 64 callers on one account.
func BenchmarkAcquire(b *testing.B) {
	const callers = 64
	w := newWorld(b)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 1<<50)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				reply, err := w.Acquire(b.Context(), acquireOf("secret", opID(int(i)), 1), charged)
				if err != nil || reply.Verdict != api.Granted {
					b.Errorf("acquire %d: %v, %v", i, reply.Verdict, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "debits/s")
}
