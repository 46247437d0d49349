package testenv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/testenv/internal/eventloop"
)

// Defaults of Options, in virtual time. Both are Envoy's.
const (
	DefaultRouteTimeout      = 15 * time.Second
	DefaultStreamIdleTimeout = 5 * time.Minute
)

// Start is the wall time at which a Host begins without a Clock of its own.
var Start = time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)

// Options are the Envoy that a Host stands for. The zero value has one worker, no clusters and an upstream that echoes the
// body, or says "ok" to an empty one.
type Options struct {
	// Profile is whose habits it has; the zero value is Envoy133.
	Profile Profile
	// Workers is the number of worker threads; 0 means 1.
	Workers int
	// MainThread adds the VMs that Envoy holds on its main thread: they tick, and serve no streams.
	MainThread bool
	// Seed decides everything that chance decides: which worker serves a request, the order of what is due at the same
	// time, where one worker's hostcalls fall between another's, and the filter's own random numbers. The same seed and
	// the same calls give the same run, byte for byte.
	Seed uint64
	// Clock is the virtual time; nil means a new one at Start. Move it with the Host's methods.
	Clock *Clock
	// Clusters are the upstreams a callout may name, as in WorkerOptions; Scripts among them go by virtual time. See
	// Cluster for how a Host calls them.
	Clusters map[string]Cluster
	// Upstream answers what is forwarded. It may be a Script.
	Upstream Cluster
	// RouteTimeout is how long the upstream may take; 0 means DefaultRouteTimeout.
	RouteTimeout time.Duration
	// StreamIdleTimeout is how long a stream may stand still before the test fails for it; 0 means
	// DefaultStreamIdleTimeout.
	StreamIdleTimeout time.Duration
	// Node answers the properties xds.node.*.
	Node Node
	// MemoryLimitPages, MaxCalloutBytes, ReloadBackoff and InlineHeaders are as in WorkerOptions.
	MemoryLimitPages uint32
	MaxCalloutBytes  int
	ReloadBackoff    time.Duration
	InlineHeaders    []string
	// MaxBufferBytes bounds what a filter can buffer of a body; 0 means DefaultMaxBufferBytes. Beyond it a request is
	// answered with 413, a response with 500 or, once its headers have left the filters, reset.
	MaxBufferBytes int
	// Log receives what the filters log. It runs inside the Host and must not use it.
	Log func(LogRecord)
	// Transcript receives a line for each callback, hostcall and message.
	Transcript io.Writer
}

// Host is an Envoy inside a test: workers with VMs, a filter chain, clusters, an upstream and a clock, all in virtual
// time. It runs only while one of its methods does. It fails the test by itself for what no filter may do: traps,
// streams that nothing resumes, hostcalls it lacks, what the profile faults, and streams still open when the test ends;
// Expect takes single ones out. It tells the test that waits for a stream, in Do, Check or Wait, and otherwise the one that
// it was made with. When that fails it prints the last hostcalls. A guest that does not return for 30 s of real time ends
// the process, with the same; without a single hostcall meanwhile, the timeout of go test may have to.
//
// Its methods may be called from several goroutines, one of which runs at a time. What it calls itself, handlers, Plans and
// Options.Log, must not use it: that panics, or on a goroutine of their own waits until patience ends.
type Host struct {
	t       testing.TB
	opts    Options
	plugins []Plugin
	clock   *Clock
	loop    *eventloop.Loop
	record  *recorder
	metrics *Metrics
	shared  *SharedData
	queues  *SharedQueues

	mu       sync.Mutex
	workers  []*Worker // by thread; MainThread may be nil
	open     map[*Exchange]struct{}
	expected []*expectation
	waiting  testing.TB // the test that waits for a stream; nil when none does
	watch    *watchdog
	closed   bool
}

// Load reads and compiles a filter. A file that is missing or that Envoy would not load ends the test.
func Load(t testing.TB, path string) *Filter {
	t.Helper()
	wasm, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read the compiled filter: %v: build it first", err)
	}
	f, err := Compile(context.Background(), wasm)
	if err != nil {
		t.Fatalf("compile %s: %v", path, err)
	}
	return f
}

// New starts a Host with the given filter chain, in the order in which a request passes it. As Envoy does, it first starts
// each plugin in a canary VM, which it kills at once, without proxy_on_done. A configuration that a filter refuses ends the
// test. The Host closes with the test.
func New(t testing.TB, o Options, chain ...Plugin) *Host {
	t.Helper()
	h := newHost(t, o, chain)
	t.Cleanup(h.close)
	if err := h.start(); err != nil {
		t.Fatalf("start the filters: %v", err)
	}
	return h
}

func newHost(t testing.TB, o Options, chain []Plugin) *Host {
	t.Helper()
	if err := o.check(); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	setDefault(&o.Workers, 1)
	setDefault(&o.RouteTimeout, DefaultRouteTimeout)
	setDefault(&o.StreamIdleTimeout, DefaultStreamIdleTimeout)
	if o.Clock == nil {
		o.Clock = NewClock(Start)
	}
	if o.Upstream == nil {
		o.Upstream = HandlerCluster(http.HandlerFunc(echo))
	}
	h := &Host{
		t: t, opts: o, plugins: chain, clock: o.Clock, loop: eventloop.New(o.Clock, o.Seed, lanes(o)),
		record:  &recorder{now: o.Clock.Monotonic, transcript: o.Transcript},
		metrics: NewMetrics(), shared: NewSharedData(), queues: NewSharedQueues(), open: map[*Exchange]struct{}{},
	}
	h.watch = watch(patience, h.story)
	return h
}

// check says which option is none. The rest is checked by the workers.
func (o Options) check() error {
	switch {
	case o.Workers < 0:
		return fmt.Errorf("%w: Workers %d is negative", ErrOptions, o.Workers)
	case o.RouteTimeout < 0:
		return fmt.Errorf("%w: RouteTimeout %v is negative", ErrOptions, o.RouteTimeout)
	case o.StreamIdleTimeout < 0:
		return fmt.Errorf("%w: StreamIdleTimeout %v is negative", ErrOptions, o.StreamIdleTimeout)
	case o.MaxBufferBytes < 0:
		return fmt.Errorf("%w: MaxBufferBytes %d is negative", ErrOptions, o.MaxBufferBytes)
	}
	return nil
}

// story is what a failing test prints: the last hostcalls, if there were any.
func (h *Host) story() string {
	lines := h.record.trace.String()
	if lines == "" {
		return fmt.Sprintf("%s, seed %d, before the first hostcall", h.t.Name(), h.opts.Seed)
	}
	return fmt.Sprintf("%s, the last hostcalls (seed %d):\n%s", h.t.Name(), h.opts.Seed, lines)
}

// lanes is how many threads of the loop the options need: one alone runs without switching stacks.
func lanes(o Options) int {
	if o.MainThread {
		return o.Workers + 1
	}
	return o.Workers
}

// at schedules something on a worker's thread.
func (h *Host) at(after time.Duration, worker int, run func()) *eventloop.Event {
	lane := worker - 1
	if h.opts.MainThread {
		lane = worker
	}
	return h.loop.At(h.clock.Monotonic()+after, max(lane, 0), run)
}

// echo answers with the request's body, or "ok".
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if len(body) == 0 {
		body = []byte("ok")
	}
	_, _ = w.Write(body) // the answer is kept in memory
}

// start runs the canaries and starts the VMs of every thread.
func (h *Host) start() error {
	ctx := context.Background()
	for _, p := range h.plugins {
		canary, err := NewWorker(ctx, h.workerOptions(CanaryThread), p)
		if err != nil {
			return fmt.Errorf("canary: %w", err)
		}
		if err := canary.kill(ctx); err != nil {
			return fmt.Errorf("canary: %w", err)
		}
	}
	workers := make([]*Worker, h.opts.Workers+1)
	for thread := range workers {
		if thread == MainThread && !h.opts.MainThread {
			continue
		}
		w, err := NewWorker(ctx, h.workerOptions(thread), h.plugins...)
		if err != nil {
			return errors.Join(err, killAll(ctx, workers))
		}
		workers[thread] = w
	}
	h.workers = workers
	return nil
}

// killAll frees the workers of a start that failed half-way.
func killAll(ctx context.Context, workers []*Worker) error {
	var errs []error
	for _, w := range workers {
		if w != nil {
			errs = append(errs, w.kill(ctx))
		}
	}
	return errors.Join(errs...)
}

func (h *Host) workerOptions(thread int) WorkerOptions {
	o := h.opts
	w := WorkerOptions{
		Profile: o.Profile, Clusters: o.Clusters, Node: o.Node,
		Metrics: h.metrics, SharedData: h.shared, SharedQueues: h.queues,
		Now: h.clock.Now, Monotonic: h.clock.Monotonic, Rand: randomBytes{h.loop.Rand()},
		MemoryLimitPages: o.MemoryLimitPages, MaxCalloutBytes: o.MaxCalloutBytes,
		ReloadBackoff: o.ReloadBackoff, InlineHeaders: o.InlineHeaders,
		OnFault: h.unless, OnDeath: h.unless,
		record: h.record, watch: h.watch, thread: thread, send: h.send, timers: h.armTick,
		jitter: func(most time.Duration) time.Duration { return time.Duration(h.loop.Rand().Int64N(int64(most) + 1)) },
		post:   func(run func()) { h.at(0, thread, run) },
	}
	if o.Log != nil {
		w.Log = func(plugin string, level Level, message string) {
			o.Log(LogRecord{Worker: thread, Plugin: plugin, Level: level, Message: message})
		}
	}
	if lanes(o) > 1 {
		w.yield = h.loop.Yield
	}
	return w
}

// randomBytes is a Reader over a seeded source.
type randomBytes struct{ source *rand.Rand }

func (r randomBytes) Read(p []byte) (int, error) {
	var word [8]byte
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(word[:], r.source.Uint64())
		copy(p[i:], word[:])
	}
	return len(p), nil
}

// armTick schedules a plugin's next tick.
func (h *Host) armTick(p *pluginContext) {
	if p.tick == 0 || p.vm.w.opts.thread == CanaryThread {
		return
	}
	due := p.due
	h.at(due-h.clock.Monotonic(), p.vm.w.opts.thread, func() {
		if p.tick > 0 && p.due == due && p.vm.dead == nil && !p.vm.closed {
			p.fire()
		}
	})
}

// Now is the wall time.
func (h *Host) Now() time.Time { return h.clock.Now() }

// Clock returns the virtual time. Advance it with the Host's own method: what falls due on the way has to run.
func (h *Host) Clock() *Clock { return h.clock }

// Advance moves both clocks by d and runs everything that falls due on the way: ticks, answers, timeouts.
func (h *Host) Advance(d time.Duration) {
	h.t.Helper()
	if d < 0 {
		h.t.Fatalf("testenv: Advance(%v): time does not go back; StepWall moves the wall clock", d)
	}
	h.lock()
	defer h.mu.Unlock()
	h.loop.AdvanceTo(h.clock.Monotonic() + d)
}

// Settle runs what is due now, without moving time.
func (h *Host) Settle() {
	h.lock()
	defer h.mu.Unlock()
	h.loop.RunReady()
}

// Metric returns a metric's value over all VMs as Metrics.Value does, 0 when no filter defined it.
func (h *Host) Metric(name string) int64 {
	v, _ := h.metrics.Value(name)
	return v
}

// Metrics returns what the filters count, all VMs together.
func (h *Host) Metrics() *Metrics { return h.metrics }

// SharedData returns what the VMs share.
func (h *Host) SharedData() *SharedData { return h.shared }

// SharedQueues returns the queues of the VMs.
func (h *Host) SharedQueues() *SharedQueues { return h.queues }

// Logs returns everything the filters logged, canaries included.
func (h *Host) Logs() []LogRecord {
	h.lock()
	defer h.mu.Unlock()
	return slices.Clone(h.record.logs)
}

// Callouts returns every callout the filters sent, in order. Those of canaries are among them, with the Worker
// CanaryThread: nothing is asked for them, since a canary ends before its requests could leave.
func (h *Host) Callouts() []CalloutRecord {
	h.lock()
	defer h.mu.Unlock()
	return copyCallouts(h.record.callouts)
}

// DropRecords empties what Logs and Callouts return. They keep everything otherwise, which in a test of very many requests
// is all that grows. Responses keep theirs.
func (h *Host) DropRecords() {
	h.lock()
	defer h.mu.Unlock()
	h.record.logs, h.record.callouts = nil, nil
}

// MemoryBytes returns the linear memory of all live VMs.
func (h *Host) MemoryBytes() uint64 {
	h.lock()
	defer h.mu.Unlock()
	var total uint64
	for _, w := range h.workers {
		if w != nil {
			total += w.MemoryBytes()
		}
	}
	return total
}
