package testenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Defaults of WorkerOptions, in the units of their fields.
const (
	DefaultMemoryLimitPages = 4096
	DefaultMaxBufferBytes   = 1 << 20
	DefaultMaxCalloutBytes  = 32 << 20
	DefaultReloadBackoff    = time.Second
)

const wasmMaxPages = 65536

// Sentinels of a worker's life.
var (
	// ErrOptions reports an option that nothing can be made from.
	ErrOptions = errors.New("invalid options")
	// ErrClosed reports the use of a Worker after Close.
	ErrClosed = errors.New("the worker is closed")
)

// WorkerOptions are a worker's surroundings. The zero value has no clusters and the real clocks.
type WorkerOptions struct {
	// Profile is whose habits the worker has; the zero value is Envoy133.
	Profile Profile
	// Clusters are the upstreams a callout may name. A name with a nil Cluster exists but cannot be sent to:
	// proxy_http_call answers InternalFailure.
	Clusters map[string]Cluster
	// Node answers the properties xds.node.*, of streams and of plugins.
	Node Node
	// Log receives what the plugins log, also through standard output (info) and standard error (error), whose pieces come
	// joined into whole lines. It runs while the worker is locked and must not call into it. Nil drops everything.
	Log func(plugin string, level Level, message string)
	// OnFault receives what a filter must never do but a host survives: an error wrapping ErrUnimplemented or ErrMisuse. It
	// runs while the worker is locked. Nil drops them.
	OnFault func(error)
	// OnDeath receives the error, wrapping ErrTrap, of each VM that dies. It runs while the worker is locked.
	OnDeath func(error)
	// Metrics, SharedData and SharedQueues are the worker's own when nil; give several workers the same to let them
	// count and share together.
	Metrics      *Metrics
	SharedData   *SharedData
	SharedQueues *SharedQueues
	// Now is the wall clock (WASI clock 0) and Monotonic the monotonic one (WASI clock 1), which also paces ticks and
	// reloads; nil means the real ones.
	Now       func() time.Time
	Monotonic func() time.Duration
	// Rand answers random_get; nil means crypto/rand.
	Rand io.Reader
	// MemoryLimitPages bounds the linear memory of each VM in pages of 64 KiB, reserved up front so that growth never
	// copies; 0 means DefaultMemoryLimitPages.
	MemoryLimitPages uint32
	// MaxCalloutBytes bounds the body of a callout's answer; a longer one is a reset. 0 means DefaultMaxCalloutBytes.
	MaxCalloutBytes int
	// ReloadBackoff is that of plugins without one of their own; 0 means DefaultReloadBackoff.
	ReloadBackoff time.Duration
	// InlineHeaders names headers that this build of Envoy registered as inline: repeats of them arrive joined by a
	// comma as one value.
	InlineHeaders []string

	// The rest is the Host's.
	record *recorder
	thread int                                    // the worker's number in records
	timers func(*pluginContext)                   // told of every change of a tick
	send   func(c *callout, target Cluster)       // starts a callout; nil sends it on a goroutine
	post   func(run func())                       // runs something later on this worker; nil uses a goroutine
	yield  func()                                 // may let other workers run
	watch  *watchdog                              // is told of guests that run; nil in real time
	jitter func(most time.Duration) time.Duration // a part of most that chance chooses
}

// withDefaults fills in what was left zero and refuses what cannot work.
func (o WorkerOptions) withDefaults() (WorkerOptions, error) {
	switch {
	case o.MemoryLimitPages > wasmMaxPages:
		return o, fmt.Errorf("%w: MemoryLimitPages %d is above %d", ErrOptions, o.MemoryLimitPages, wasmMaxPages)
	case o.MaxCalloutBytes < 0:
		return o, fmt.Errorf("%w: MaxCalloutBytes %d is negative", ErrOptions, o.MaxCalloutBytes)
	case o.ReloadBackoff < 0:
		return o, fmt.Errorf("%w: ReloadBackoff %v is negative", ErrOptions, o.ReloadBackoff)
	}
	o.Profile = o.Profile.orDefault()
	setDefault(&o.MemoryLimitPages, DefaultMemoryLimitPages)
	setDefault(&o.MaxCalloutBytes, DefaultMaxCalloutBytes)
	setDefault(&o.ReloadBackoff, DefaultReloadBackoff)
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.SharedData == nil {
		o.SharedData = NewSharedData()
	}
	if o.SharedQueues == nil {
		o.SharedQueues = NewSharedQueues()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Monotonic == nil {
		start := time.Now()
		// Go guests do not start at a reading of 0, which a coarse clock would give.
		o.Monotonic = func() time.Duration { return time.Since(start) + 1 }
	}
	if o.jitter == nil {
		o.jitter = func(most time.Duration) time.Duration { return rand.N(most + 1) }
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Worker is what one Envoy worker thread holds: a VM of each filter, and the chain of plugins that its streams pass. Its
// methods are safe for concurrent use: one goroutine at a time is inside a guest.
type Worker struct {
	opts WorkerOptions

	mu      sync.Mutex
	slots   []*vmSlot
	chain   []*slotPlugin // in the order of requests
	streams map[*chain]struct{}
	made    uint64 // streams so far
	closed  bool
	// mayStick is set whenever a filter stops a stream or a step begins to wait; unset, no stream can be stuck.
	mayStick bool
	sending  sync.WaitGroup
}

// NewWorker starts the plugins, in the order in which a request passes them: proxy_on_context_create, proxy_on_vm_start,
// proxy_on_configure, and before the first one of a VM _initialize or _start. The error wraps ErrOptions, ErrPlugin,
// ErrMissingImport (the profile lacks what the module imports), ErrModule, ErrConfigurationRefused or ErrTrap. Close the
// worker when done with it.
func NewWorker(ctx context.Context, o WorkerOptions, plugins ...Plugin) (*Worker, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &Worker{opts: opts, streams: map[*chain]struct{}{}}
	for _, p := range plugins {
		if err := p.check(opts.Profile); err != nil {
			return nil, err
		}
		w.place(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.chain {
		if err := p.start(ctx, w); err != nil {
			_ = w.release(ctx) // the error that matters is the one being returned
			return nil, err
		}
	}
	return w, nil
}

// Close ends the streams still open, with ErrStreamClosed for steps that wait, and then every plugin, which Envoy keeps
// as long as its streams: proxy_on_done of its root context and, unless that asks for more time, which it does not get,
// proxy_on_delete. Callouts are cancelled without a callback. It is idempotent.
func (w *Worker) Close(ctx context.Context) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	for _, c := range w.openStreams(func(*chain) bool { return true }) {
		c.reset(ErrStreamClosed)
		c.done()
	}
	for _, s := range w.slots {
		for _, p := range s.vm.plugins {
			p.end()
		}
	}
	err := w.release(ctx)
	w.mu.Unlock()
	w.sending.Wait()
	return err
}

// kill ends the worker as Envoy ends a canary: no callback runs.
func (w *Worker) kill(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.release(ctx)
}

// release frees the VMs. Goroutines of callouts end by themselves; a Cluster that ignores its context may run on.
func (w *Worker) release(ctx context.Context) error {
	w.closed = true
	var errs []error
	for _, s := range w.slots {
		if s.vm != nil {
			errs = append(errs, s.vm.release(ctx))
		}
	}
	return errors.Join(errs...)
}

// Tick calls proxy_on_tick of every plugin whose period has passed. The error wraps ErrTrap if a VM died of it, or is
// ErrClosed.
func (w *Worker) Tick(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	now := w.opts.Monotonic()
	var errs []error
	for _, s := range w.slots {
		if s.vm.dead != nil {
			continue
		}
		for _, p := range s.vm.plugins {
			if p.tick > 0 && p.due <= now {
				p.fire()
			}
		}
		errs = append(errs, s.vm.dead)
	}
	w.abandonIfStuck()
	return errors.Join(errs...)
}

// UntilTick returns how long it is until a plugin's next tick, and whether any is to come.
func (w *Worker) UntilTick() (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var next time.Duration
	found := false
	for _, s := range w.slots {
		for _, p := range s.vm.plugins {
			if p.tick > 0 && s.vm.dead == nil && (!found || p.due < next) {
				next, found = p.due, true
			}
		}
	}
	return max(next-w.opts.Monotonic(), 0), found
}

// MemoryBytes returns the size of the linear memory of all VMs together, 0 after Close.
func (w *Worker) MemoryBytes() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var total uint64
	for _, s := range w.slots {
		if !w.closed && s.vm != nil && s.vm.module != nil {
			total += uint64(s.vm.module.Memory().Size())
		}
	}
	return total
}

// Streams returns the number of streams that are not Done.
func (w *Worker) Streams() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.streams)
}

// Dead returns nil, or an error wrapping ErrTrap for each VM that has died and was not started again.
func (w *Worker) Dead() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, s := range w.slots {
		errs = append(errs, s.vm.dead)
	}
	return errors.Join(errs...)
}

// openStreams are the streams that match, in the order in which they came.
func (w *Worker) openStreams(match func(*chain) bool) []*chain {
	var open []*chain
	for c := range w.streams {
		if match(c) {
			open = append(open, c)
		}
	}
	slices.SortFunc(open, func(a, b *chain) int { return cmp.Compare(a.number, b.number) })
	return open
}

// aside runs something later on this worker.
func (w *Worker) aside(run func()) {
	if w.opts.post != nil {
		w.opts.post(run)
		return
	}
	w.sending.Go(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		run()
		w.abandonIfStuck()
	})
}

// Metrics returns the metrics that this worker counts in.
func (w *Worker) Metrics() *Metrics { return w.opts.Metrics }

// count moves one of Envoy's own statistics of a plugin (wasm.cc StatsHandler).
func (w *Worker) count(plugin, stat string) {
	w.opts.Metrics.count("wasm." + plugin + "." + stat)
}

// fault reports what a filter must not do and this host survives.
func (w *Worker) fault(where string, err error) {
	w.opts.record.note(w.opts.thread, where, "fault: "+err.Error())
	if w.opts.OnFault != nil {
		w.opts.OnFault(err)
	}
}

// misused is fault for a misuse, if the profile faults it.
func (w *Worker) misused(m Misuse, detail string) {
	if w.opts.Profile.Faults.Has(m) {
		w.fault("misuse", fmt.Errorf("%w: %v: %s", ErrMisuse, m, detail))
	}
}

func (w *Worker) log(plugin string, level Level, message string) {
	if w.opts.Log != nil {
		w.opts.Log(plugin, level, message)
	}
}
