package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

// errFailed is the answer of a worker whose VM is dead and may not be made again now.
var errFailed = errors.New("the filter's VM is dead")

// tickIdle is how often a VM without a tick period is asked whether it has one by now.
const tickIdle = 100 * time.Millisecond

// worker is one VM of one filter, made again after its death as the filter's policy allows.
type worker struct {
	filter  *testenv.Filter
	options testenv.Options
	policy  bootstrap.FailurePolicy
	backoff time.Duration
	now     func() time.Time
	log     *slog.Logger

	mu      sync.Mutex
	vm      *testenv.VM
	started time.Time
	wait    time.Duration // from started until the next start is allowed
	noted   bool          // the death of vm has been logged
}

// start makes the first VM.
func (w *worker) start(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.startLocked(ctx)
}

func (w *worker) startLocked(ctx context.Context) error {
	w.started = w.now()
	// Between one and one and a half times the base, so that workers that died together do not
	// come back together.
	w.wait = w.backoff + rand.N(w.backoff/2+1)
	vm, err := w.filter.NewVM(ctx, w.options)
	if err != nil {
		return fmt.Errorf("start filter %s: %w", w.options.PluginName, err)
	}
	w.vm, w.noted = vm, false
	return nil
}

// current returns a VM that is alive, making one if it is time to. The error is errFailed.
func (w *worker) current(ctx context.Context) (*testenv.VM, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.checkDeathLocked() {
		return w.vm, nil
	}
	if w.policy != bootstrap.FailReload || w.now().Sub(w.started) < w.wait {
		return nil, errFailed
	}
	old := w.vm
	if err := w.startLocked(ctx); err != nil {
		w.log.Error("filter VM not restarted", "error", err)
		return nil, errFailed
	}
	w.log.Info("filter VM restarted")
	if err := old.Close(ctx); err != nil {
		w.log.Error("dead filter VM not released", "error", err)
	}
	return w.vm, nil
}

// noteDeath logs that the VM has died, once for each.
func (w *worker) noteDeath() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkDeathLocked()
}

// checkDeathLocked reports whether the VM is dead, and logs it the first time.
func (w *worker) checkDeathLocked() bool {
	dead := w.vm.Dead()
	if dead != nil && !w.noted {
		w.noted = true
		w.log.Error("filter VM died", "error", dead)
	}
	return dead != nil
}

// runTicks calls the filter's tick until ctx ends.
func (w *worker) runTicks(ctx context.Context) {
	timer := time.NewTimer(w.untilTick())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// The error is the VM's death; the next request mends it.
		if err := w.newest().Tick(ctx); err != nil {
			w.noteDeath()
		}
		timer.Reset(w.untilTick())
	}
}

func (w *worker) untilTick() time.Duration {
	if period := w.newest().TickPeriod(); period > 0 {
		return period
	}
	return tickIdle
}

// newest returns the last VM made, alive or not.
func (w *worker) newest() *testenv.VM {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.vm
}

func (w *worker) close(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.vm == nil {
		return nil
	}
	return w.vm.Close(ctx)
}
