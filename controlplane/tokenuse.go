package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/server"
)

// recordEvery is how often it is written down which tokens were used.
const recordEvery = time.Minute

// startRecorder has srv write down when tokens were used, every now and then until ctx ends, and once more when the
// function that it returns is called.
func startRecorder(ctx context.Context, srv *server.Server, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	record := func(ctx context.Context) {
		if err := srv.RecordTokenUses(ctx); err != nil && ctx.Err() == nil {
			log.Error("record uses of tokens", "error", err)
		}
	}
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(recordEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				record(ctx)
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
		last, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		record(last)
	}
}
