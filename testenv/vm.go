package testenv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Sentinels of a VM's life.
var (
	// ErrConfigurationRefused reports a filter that returned false from proxy_on_vm_start or proxy_on_configure. The
	// error carries what the filter logged meanwhile.
	ErrConfigurationRefused = errors.New("the filter refused its configuration")
	// ErrTrap reports a VM that died: a wasm trap, a Go panic, an exit, or a hostcall made where Envoy forbids it.
	ErrTrap = errors.New("the filter's VM died")
	// ErrRestricted is the trap of a hostcall that Envoy forbids at that moment.
	ErrRestricted = errors.New("hostcall not allowed here")
	// ErrUnimplemented is the fault of a hostcall that Envoy has and this host does not.
	ErrUnimplemented = errors.New("hostcall not implemented by testenv")
)

// errTimeStands is the trap of a guest that would wait for ever in virtual time.
var errTimeStands = errors.New("the guest waits for time that does not pass inside a callback")

// phase says which hostcalls are allowed.
type phase int

const (
	phaseRunning  phase = iota
	phaseStarting       // in _initialize or _start
	phaseAlloc          // in the guest's allocator
)

// wasmVM is one instance of a module with the plugins in it. Its worker's lock guards it.
type wasmVM struct {
	w   *Worker
	ctx context.Context // carries the VM to host functions; never ends

	module    api.Module
	callbacks [callbackCount]api.Function
	answers   [callbackCount]bool // which callbacks have a result
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
	startLog      *strings.Builder       // what was logged while the VM or a plugin starts; nil otherwise
	pending       [LevelError + 1][]byte // what was written to standard output and error since the last newline
	polls         int                    // calls of poll_oneoff since the guest was entered
	running       string                 // the export that runs, for the watchdog

	plugins    []*pluginContext
	nextID     uint32
	contexts   map[uint32]*httpContext
	metrics    map[uint32]*Metric
	lastMetric [3]uint32

	callouts    map[uint32]*callout
	lastToken   uint32
	callAnswer  *callAnswer
	callStatus  uint32
	callMessage string
}

type vmKey struct{}

// vmContext carries a VM to host functions, which ask for it in every call, as wazero asks for what it may find.
type vmContext struct {
	context.Context // never ends
	vm              *wasmVM
}

func (c vmContext) Value(key any) any {
	if key == (vmKey{}) {
		return c.vm
	}
	return nil
}

// newVM instantiates the module of plugins, which share it. None of them has started.
func (w *Worker) newVM(ctx context.Context, plugins []Plugin) (*wasmVM, error) {
	rt, err := plugins[0].Filter.runtimeFor(ctx, w.opts.MemoryLimitPages)
	if err != nil {
		return nil, err
	}
	vm := &wasmVM{
		w: w, startLog: &strings.Builder{}, nextID: 1,
		contexts: map[uint32]*httpContext{}, metrics: map[uint32]*Metric{}, callouts: map[uint32]*callout{},
	}
	vm.ctx = vmContext{context.Background(), vm}
	for _, p := range plugins {
		vm.plugins = append(vm.plugins, &pluginContext{Plugin: p, vm: vm, id: vm.newID()})
	}
	if err := vm.start(rt); err != nil {
		_ = vm.release(ctx) // the error that matters is the one being returned
		return nil, err
	}
	return vm, nil
}

func (vm *wasmVM) start(rt *filterRuntime) error {
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	module, err := instantiate(withReservedMemory(vm.ctx), rt, config)
	if err != nil {
		return fmt.Errorf("instantiate the filter: %w", err)
	}
	vm.module = module
	for i, name := range callbackExports {
		if fn := module.ExportedFunction(name); fn != nil {
			vm.callbacks[i], vm.answers[i] = fn, len(fn.Definition().ResultTypes()) > 0
		}
	}
	if vm.malloc = module.ExportedFunction("malloc"); vm.malloc == nil {
		vm.malloc = module.ExportedFunction("proxy_on_memory_allocate")
	}
	return vm.initialize()
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

func (vm *wasmVM) initialize() error {
	vm.phase = phaseStarting
	defer func() { vm.phase = phaseRunning }()
	defer vm.flush()
	for _, name := range []string{"_initialize", "_start"} {
		fn := vm.module.ExportedFunction(name)
		if fn == nil {
			continue
		}
		if err := vm.run(name, func() error { _, err := fn.Call(vm.ctx); return err }); err != nil {
			return vm.startFailure(fmt.Errorf("%w: in %s%s: %w", ErrTrap, name, vm.lostText(), err))
		}
		return vm.runMain(name)
	}
	return nil
}

// runMain calls main of a reactor that exports it, as cpp-host does after _initialize (wasm.cc startVm).
func (vm *wasmVM) runMain(after string) error {
	fn := vm.module.ExportedFunction("main")
	if after != "_initialize" || fn == nil {
		return nil
	}
	args := make([]uint64, len(fn.Definition().ParamTypes()))
	if err := vm.run("main", func() error { _, err := fn.Call(vm.ctx, args...); return err }); err != nil {
		return vm.startFailure(fmt.Errorf("%w: in main%s: %w", ErrTrap, vm.lostText(), err))
	}
	return nil
}

// maxStartLog bounds what a refusal quotes: the trace of a Go panic is long.
const maxStartLog = 4 << 10

func (vm *wasmVM) noteStart(texts ...string) {
	if vm.startLog == nil {
		return
	}
	for _, text := range texts {
		room := max(maxStartLog-vm.startLog.Len(), 0)
		vm.startLog.WriteString(text[:min(len(text), room)])
	}
}

// release frees the instance; callouts end without a callback.
func (vm *wasmVM) release(ctx context.Context) error {
	vm.closed = true
	vm.cancelCallouts()
	vm.w.opts.SharedQueues.forget(vm)
	if vm.module == nil {
		return nil
	}
	if err := vm.module.Close(ctx); err != nil {
		return fmt.Errorf("close the filter's instance: %w", err)
	}
	return nil
}

// newID returns an id that no context of the VM has; 0 is the VM's own.
func (vm *wasmVM) newID() uint32 {
	for {
		id := vm.nextID
		vm.nextID++
		_, taken := vm.contexts[id]
		if !taken && id != 0 && (len(vm.plugins) == 0 || id > vm.plugins[len(vm.plugins)-1].id) {
			return id
		}
	}
}

// plugin returns the plugin whose root context has the id, or nil.
func (vm *wasmVM) plugin(id uint32) *pluginContext {
	for _, p := range vm.plugins {
		if p.id == id {
			return p
		}
	}
	return nil
}
