package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tollgate/tollgate/testenv"
)

// maxTickWait is how long a worker goes without being asked when its next tick is due: every request may change it.
const maxTickWait = 100 * time.Millisecond

// profile is whose habits the filters meet: the imports of Envoy 1.33 and its poll_oneoff, so that what runs here runs
// there and on everything newer, but an answer to requests whose VM has died. There 1.33 lets clients wait until they
// give up, which an operator's proxy must not.
func profile() testenv.Profile {
	p := testenv.Envoy133
	p.Name, p.TrapAnswers = "", true
	return p
}

// startWorkers starts o.VMs workers, each with a VM of every filter.
func (p *Proxy) startWorkers(ctx context.Context, o Options) error {
	plugins, err := p.compile(ctx)
	if err != nil {
		return err
	}
	options := testenv.WorkerOptions{
		Profile:         profile(),
		Clusters:        make(map[string]testenv.Cluster, len(p.clusters)),
		Node:            testenv.Node{ID: p.cfg.NodeID},
		Metrics:         p.metrics,
		SharedData:      testenv.NewSharedData(),
		SharedQueues:    testenv.NewSharedQueues(),
		Monotonic:       o.Monotonic,
		MaxCalloutBytes: maxCalloutBody,
	}
	for name, c := range p.clusters {
		options.Clusters[name] = c
	}
	for i := range o.VMs {
		log := o.Log.With("vm", i)
		options.Log = func(filter string, l testenv.Level, msg string) {
			log.Log(context.Background(), slogLevel(l), msg, "filter", filter)
		}
		options.OnFault = func(err error) { log.Error("filter fault", "error", err) }
		options.OnDeath = func(err error) { log.Error("filter VM died", "error", err) }
		w, err := testenv.NewWorker(ctx, options, plugins...)
		if err != nil {
			return fmt.Errorf("start filters: %w", err)
		}
		p.workers = append(p.workers, w)
	}
	return nil
}

func (p *Proxy) compile(ctx context.Context) ([]testenv.Plugin, error) {
	plugins := make([]testenv.Plugin, len(p.cfg.Filters))
	for i, f := range p.cfg.Filters {
		compiled, err := testenv.Compile(ctx, f.Code)
		if err != nil {
			return nil, fmt.Errorf("load filter %s from %s: %w", f.Name, f.Source, err)
		}
		plugins[i] = f.Plugin
		plugins[i].Filter = compiled
	}
	return plugins, nil
}

func slogLevel(l testenv.Level) slog.Level {
	switch l {
	case testenv.LevelTrace, testenv.LevelDebug:
		return slog.LevelDebug
	case testenv.LevelInfo:
		return slog.LevelInfo
	case testenv.LevelWarn:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// runTicks calls the ticks of a worker's filters until ctx ends.
func runTicks(ctx context.Context, w *testenv.Worker) {
	timer := time.NewTimer(untilTick(w))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		_ = w.Tick(ctx) // of a VM that died of it OnDeath has been told
		timer.Reset(untilTick(w))
	}
}

func untilTick(w *testenv.Worker) time.Duration {
	if until, ticks := w.UntilTick(); ticks {
		return min(until, maxTickWait)
	}
	return maxTickWait
}
