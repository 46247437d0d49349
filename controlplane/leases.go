package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// leaseFlags say how leases are granted.
type leaseFlags struct {
	LeaseTTL        time.Duration `env:"TOLLGATE_LEASE_TTL" default:"10s" placeholder:"TIME" help:"How long a gate may spend a lease, 1ms to 1h (${default})."`
	LeaseGrace      time.Duration `env:"TOLLGATE_LEASE_GRACE" placeholder:"TIME" help:"How long after that its last report is waited for, a tenth of the ttl to 24h; by default twice the ttl, and 30s at least."`
	LeaseMaxCredits int64         `env:"TOLLGATE_LEASE_MAX_CREDITS" default:"1000" placeholder:"N" help:"The most credits that one lease holds, but for one request that costs more (${default})."`
	Unreported      string        `env:"TOLLGATE_UNREPORTED" default:"refund" enum:"refund,charge" placeholder:"POLICY" help:"What becomes of credits that were not reported by then: refund never charges too much, charge never lets too much be used (${default})."`
}

// Validate is called by kong.
func (f *leaseFlags) Validate() error {
	var err error
	if f.LeaseTTL < time.Millisecond || f.LeaseTTL > api.MaxTTLMillis*time.Millisecond {
		err = errors.New("--lease-ttl: expected 1ms to 1h")
	}
	if f.LeaseGrace != 0 && (f.LeaseGrace < f.LeaseTTL/10 || f.LeaseGrace > 24*time.Hour) {
		err = errors.Join(err, errors.New("--lease-grace: expected a tenth of the ttl to 24h"))
	}
	if f.LeaseMaxCredits < 1 || f.LeaseMaxCredits > api.MaxCredits {
		err = errors.Join(err, fmt.Errorf("--lease-max-credits: expected 1 to %d", int64(api.MaxCredits)))
	}
	return err
}

func (f *leaseFlags) options() store.LeaseOptions {
	return store.LeaseOptions{
		TTL: f.LeaseTTL, Grace: f.LeaseGrace, MaxCredits: f.LeaseMaxCredits, Unreported: store.Policy(f.Unreported),
	}
}

// How often the janitor looks for leases to close, how many of them at a time, and how often it deletes or folds what is
// old.
const (
	closeEvery  = time.Second
	closeAtOnce = 500
	pruneEvery  = time.Minute
)

// startJanitor closes the leases whose time is over, records when keys were used, deletes what nobody needs any more and
// folds usage that is older than keepUsage, until the function that it returns is called or ctx ends.
func startJanitor(ctx context.Context, st *store.Store, keepUsage time.Duration, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		closing, pruning := time.NewTicker(closeEvery), time.NewTicker(pruneEvery)
		defer closing.Stop()
		defer pruning.Stop()
		for {
			var err error
			select {
			case <-ctx.Done():
				return
			case <-closing.C:
				err = closeExpired(ctx, st)
			case <-pruning.C:
				err = errors.Join(st.NoteUses(ctx), st.Prune(ctx), foldUsage(ctx, st, keepUsage))
			}
			if err != nil && ctx.Err() == nil {
				log.Error("janitor", "error", err)
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// closeExpired goes on as long as there is more to close than it closes at once.
func closeExpired(ctx context.Context, st *store.Store) error {
	for {
		n, err := st.CloseExpired(ctx, closeAtOnce)
		if err != nil || n < closeAtOnce {
			return err
		}
	}
}
