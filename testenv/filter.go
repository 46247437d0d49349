package testenv

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Sentinels of Compile.
var (
	// ErrMissingImport reports that a module needs functions which Envoy does not offer, or not in that release.
	ErrMissingImport = errors.New("import that Envoy does not offer")
	// ErrABIVersion reports a module without the version export of an ABI this host speaks.
	ErrABIVersion = errors.New("no proxy-wasm ABI version 0.2.0 or 0.2.1 exported")
	// ErrModule reports bytes that are no usable WebAssembly module.
	ErrModule = errors.New("unusable wasm module")
)

// Filter is a compiled module, from which any number of VMs can be made. It is safe for
// concurrent use and lives as long as the process.
type Filter struct {
	wasm    []byte
	imports []string
	wasi    []string // of imports, those of WASI

	mu       sync.Mutex
	runtimes map[uint32]*filterRuntime // by memory limit in pages, a runtime's own setting
}

// filterRuntime is the module compiled for one memory limit, with the host's functions linked in.
type filterRuntime struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
}

// compiled holds every filter of this process by the hash of its bytes: compiling takes seconds
// and tests load the same file over and over.
var compiled struct {
	sync.Mutex
	filters map[[sha256.Size]byte]*filterSlot
}

type filterSlot struct {
	sync.Mutex
	filter *Filter
}

// Compile checks and compiles a module, for every Profile. The same bytes are compiled once per process and kept on disk
// for the next one, in the folder tollgate-testenv of os.UserCacheDir, where that can be written; the first compilation of
// a process removes from it what is older than 30 days. The error wraps ErrModule, ErrABIVersion or ErrMissingImport; the
// last names each missing import. Compile keeps no reference to wasm.
func Compile(ctx context.Context, wasm []byte) (*Filter, error) {
	slot := slotOf(sha256.Sum256(wasm))
	slot.Lock()
	defer slot.Unlock()
	if slot.filter != nil {
		return slot.filter, nil
	}
	f := &Filter{wasm: slices.Clone(wasm), runtimes: map[uint32]*filterRuntime{}}
	rt, err := f.runtimeFor(ctx, DefaultMemoryLimitPages)
	if err != nil {
		return nil, err
	}
	for _, fn := range rt.compiled.ImportedFunctions() {
		module, name, _ := fn.Import()
		f.imports = append(f.imports, module+"."+name)
		if slices.Contains(wasiModules, module) {
			f.wasi = append(f.wasi, name)
		}
	}
	slices.Sort(f.imports)
	f.imports = slices.Compact(f.imports)
	slot.filter = f
	return f, nil
}

func slotOf(key [sha256.Size]byte) *filterSlot {
	compiled.Lock()
	defer compiled.Unlock()
	if compiled.filters == nil {
		compiled.filters = map[[sha256.Size]byte]*filterSlot{}
	}
	slot, ok := compiled.filters[key]
	if !ok {
		slot = &filterSlot{}
		compiled.filters[key] = slot
	}
	return slot
}

// Imports returns the functions the module imports as "module.name", sorted.
func (f *Filter) Imports() []string { return slices.Clone(f.imports) }

// checkImports refuses a module that needs more of WASI than the profile's Envoy offers.
func (f *Filter) checkImports(p Profile) error {
	var missing []string
	for _, name := range f.wasi {
		if !p.OffersWASI(name) {
			missing = append(missing, wasiModules[0]+"."+name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("%w: %v: %s", ErrMissingImport, p, strings.Join(missing, ", "))
	}
	return nil
}

// runtimeFor returns the runtime for one memory limit, made on first use.
func (f *Filter) runtimeFor(ctx context.Context, pages uint32) (*filterRuntime, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rt, ok := f.runtimes[pages]; ok {
		return rt, nil
	}
	config := wazero.NewRuntimeConfig().
		WithMemoryLimitPages(pages).
		WithMemoryCapacityFromMax(true).
		WithCompilationCache(compilationCache())
	runtime := wazero.NewRuntimeWithConfig(ctx, config)
	rt, err := f.link(ctx, runtime)
	if err != nil {
		_ = runtime.Close(ctx) // the error that matters is the one being returned
		return nil, err
	}
	f.runtimes[pages] = rt
	return rt, nil
}

func (f *Filter) link(ctx context.Context, runtime wazero.Runtime) (*filterRuntime, error) {
	module, err := runtime.CompileModule(ctx, f.wasm)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModule, err)
	}
	if err := checkABI(module); err != nil {
		return nil, err
	}
	if err := instantiateHost(ctx, runtime); err != nil {
		return nil, fmt.Errorf("link host functions: %w", err)
	}
	return &filterRuntime{runtime: runtime, compiled: module}, nil
}

// checkABI refuses a module that no Envoy would load.
func checkABI(module wazero.CompiledModule) error {
	exports := module.ExportedFunctions()
	_, abi020 := exports["proxy_abi_version_0_2_0"]
	_, abi021 := exports["proxy_abi_version_0_2_1"]
	if !abi020 && !abi021 {
		return ErrABIVersion
	}
	if !exported(exports, "malloc") && !exported(exports, "proxy_on_memory_allocate") {
		return fmt.Errorf("%w: neither malloc nor proxy_on_memory_allocate is exported", ErrModule)
	}
	if len(module.ExportedMemories()) == 0 {
		return fmt.Errorf("%w: no memory is exported", ErrModule)
	}
	var missing []string
	for _, fn := range module.ImportedFunctions() {
		moduleName, name, _ := fn.Import()
		if !offered(moduleName, name, abi021) {
			missing = append(missing, moduleName+"."+name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("%w: %s", ErrMissingImport, strings.Join(missing, ", "))
	}
	return nil
}

func exported(exports map[string]api.FunctionDefinition, name string) bool {
	_, ok := exports[name]
	return ok
}
