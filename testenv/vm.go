package testenv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Sentinels of a VM's life.
var (
	// ErrConfigurationRefused reports a filter that returned false from proxy_on_vm_start or
	// proxy_on_configure. The error carries what the filter logged meanwhile.
	ErrConfigurationRefused = errors.New("the filter refused its configuration")
	// ErrTrap reports a VM that died: a wasm trap, a Go panic, an exit, or a hostcall made where
	// Envoy forbids it. A dead VM never runs again.
	ErrTrap = errors.New("the filter's VM died")
	// ErrRestricted is the trap of a hostcall that Envoy forbids at that moment.
	ErrRestricted = errors.New("hostcall not allowed here")
	// ErrUnimplemented is the fault of a hostcall that Envoy has and this host does not.
	ErrUnimplemented = errors.New("hostcall not implemented by testenv")
	// ErrClosed reports the use of a VM after Close.
	ErrClosed = errors.New("the VM is closed")
)

// phase says which hostcalls are allowed.
type phase int

const (
	phaseRunning  phase = iota
	phaseStarting       // in _initialize or _start
	phaseAlloc          // in the guest's allocator
)

// VM is one instance of a filter with one plugin in it, as an Envoy worker holds it. Its methods
// are safe for concurrent use: one goroutine at a time is inside the guest.
type VM struct {
	opts Options
	ctx  context.Context // carries the VM to host functions; never ends

	mu        sync.Mutex
	module    api.Module
	callbacks [callbackCount]api.Function
	malloc    api.Function
	stack     [8]uint64
	allocated [1]uint64
	dead      error
	closed    bool

	phase         phase
	current       uint32
	effective     uint32
	stopIteration bool
	deferred      []func()

	configuring bool // the plugin configuration can be read
	tick        time.Duration
	startLog    *strings.Builder // what was logged until the start ended; nil afterwards

	nextID     uint32
	streams    map[uint32]*Stream
	waiting    map[*Stream]struct{}
	metrics    map[uint32]*Metric
	lastMetric [3]uint32

	callouts    map[uint32]*callout
	lastToken   uint32
	sending     sync.WaitGroup
	callAnswer  *callAnswer
	callStatus  uint32
	callMessage string
}

type vmKey struct{}

// NewVM instantiates the filter and starts its plugin: _initialize or _start, then
// proxy_on_context_create of the root context, proxy_on_vm_start, proxy_on_configure. The error
// wraps ErrOptions, ErrConfigurationRefused or ErrTrap. Close the VM when done with it.
func (f *Filter) NewVM(ctx context.Context, o Options) (*VM, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	rt, err := f.runtimeFor(ctx, opts.MemoryLimitPages)
	if err != nil {
		return nil, err
	}
	vm := &VM{
		opts: opts, nextID: rootContextID, startLog: &strings.Builder{},
		streams: map[uint32]*Stream{}, waiting: map[*Stream]struct{}{},
		metrics: map[uint32]*Metric{}, callouts: map[uint32]*callout{},
	}
	vm.ctx = context.WithValue(context.Background(), vmKey{}, vm)
	vm.mu.Lock()
	err = vm.start(rt)
	vm.startLog = nil
	vm.mu.Unlock()
	if err != nil {
		vm.release(ctx)
		return nil, err
	}
	return vm, nil
}

func (vm *VM) start(rt *filterRuntime) error {
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	module, err := instantiate(withReservedMemory(vm.ctx), rt, config)
	if err != nil {
		return fmt.Errorf("instantiate the filter: %w", err)
	}
	vm.module = module
	for i, name := range callbackExports {
		vm.callbacks[i] = module.ExportedFunction(name)
	}
	if vm.malloc = module.ExportedFunction("malloc"); vm.malloc == nil {
		vm.malloc = module.ExportedFunction("proxy_on_memory_allocate")
	}
	if err := vm.initialize(); err != nil {
		return err
	}
	return vm.configure()
}

// instantiate turns a panic of the memory reservation into an error.
func instantiate(ctx context.Context, rt *filterRuntime, config wazero.ModuleConfig) (m api.Module, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("reserve linear memory: %v", r)
		}
	}()
	return rt.runtime.InstantiateModule(ctx, rt.compiled, config)
}

func (vm *VM) initialize() error {
	vm.phase = phaseStarting
	defer func() { vm.phase = phaseRunning }()
	for _, name := range []string{"_initialize", "_start"} {
		fn := vm.module.ExportedFunction(name)
		if fn == nil {
			continue
		}
		if _, err := fn.Call(vm.ctx); err != nil {
			return vm.startFailure(fmt.Errorf("%w: in %s: %w", ErrTrap, name, err))
		}
		return nil
	}
	return nil
}

func (vm *VM) configure() error {
	vm.nextID++
	vm.configuring = true
	vm.call(onContextCreate, rootContextID, 0)
	vm.configuring = false
	ok := vm.ask(onVMStart, rootContextID, uint64(len(vm.opts.VMConfiguration)))
	if vm.dead == nil && !ok {
		return vm.startFailure(fmt.Errorf("%w: proxy_on_vm_start returned false", ErrConfigurationRefused))
	}
	vm.configuring = true
	ok = vm.ask(onConfigure, rootContextID, uint64(len(vm.opts.PluginConfiguration)))
	vm.configuring = false
	if vm.dead != nil {
		return vm.startFailure(vm.dead)
	}
	if !ok {
		return vm.startFailure(fmt.Errorf("%w: proxy_on_configure returned false", ErrConfigurationRefused))
	}
	return nil
}

// startFailure adds what the filter logged: without it a refusal cannot be understood.
func (vm *VM) startFailure(err error) error {
	if vm.startLog.Len() == 0 {
		return err
	}
	return fmt.Errorf("%w; the filter logged: %s", err, strings.TrimSuffix(vm.startLog.String(), "\n"))
}

// maxStartLog bounds what a refusal quotes: the trace of a Go panic is long.
const maxStartLog = 4 << 10

func (vm *VM) noteStart(texts ...string) {
	if vm.startLog == nil {
		return
	}
	for _, text := range texts {
		room := max(maxStartLog-vm.startLog.Len(), 0)
		vm.startLog.WriteString(text[:min(len(text), room)])
	}
}

// Close ends the plugin: proxy_on_done of the root context and, unless that asks for more time,
// which it does not get, proxy_on_delete. Streams still open end with ErrStreamClosed, callouts
// are cancelled without a callback. It is idempotent.
func (vm *VM) Close(ctx context.Context) error {
	vm.mu.Lock()
	if vm.closed {
		vm.mu.Unlock()
		return nil
	}
	if vm.ask(onDone, rootContextID) {
		vm.call(onDelete, rootContextID)
	}
	for _, s := range vm.streams {
		s.end(ErrStreamClosed)
	}
	vm.mu.Unlock()
	return vm.release(ctx)
}

// release frees the instance. Callouts are waited for as far as this host's own goroutines go; a
// Cluster that ignores its context may still be running.
func (vm *VM) release(ctx context.Context) error {
	vm.mu.Lock()
	vm.closed = true
	vm.cancelCallouts()
	var err error
	if vm.module != nil {
		if err = vm.module.Close(ctx); err != nil {
			err = fmt.Errorf("close the filter's instance: %w", err)
		}
	}
	vm.mu.Unlock()
	vm.sending.Wait()
	return err
}

// Tick calls proxy_on_tick, if the filter has set a tick period. The error wraps ErrTrap or
// ErrClosed.
func (vm *VM) Tick(context.Context) error {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if err := vm.usable(); err != nil {
		return err
	}
	if vm.tick > 0 {
		vm.call(onTick, rootContextID)
		vm.abandonIfStuck()
	}
	return vm.dead
}

// TickPeriod returns the period the filter has asked for, 0 when none.
func (vm *VM) TickPeriod() time.Duration {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	return vm.tick
}

// MemoryBytes returns the size of the guest's linear memory, 0 after Close.
func (vm *VM) MemoryBytes() uint64 {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if vm.closed || vm.module == nil {
		return 0
	}
	return uint64(vm.module.Memory().Size())
}

// Streams returns the number of streams that are not Done.
func (vm *VM) Streams() int {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	return len(vm.streams)
}

// Dead returns nil, or an error wrapping ErrTrap once the VM has died.
func (vm *VM) Dead() error {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	return vm.dead
}

// Metrics returns the metrics that this VM counts in.
func (vm *VM) Metrics() *Metrics { return vm.opts.Metrics }

func (vm *VM) usable() error {
	if vm.closed {
		return ErrClosed
	}
	return vm.dead
}
