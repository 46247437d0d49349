package testenv

import (
	"context"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// params are the arguments of a hostcall as wasm passed them.
type params []uint64

func (p params) u32(i int) uint32 { return uint32(p[i]) }
func (p params) i32(i int) int32  { return int32(uint32(p[i])) }

// hostcall is a function of the host: one method of wasmVM behind one import.
type hostcall struct {
	name string
	// sig has one letter per parameter: l for i64, any other for i32. What a trace shows of it: d and l the number, n the
	// text whose address this is and whose length follows, v only that length, i nothing.
	sig    string
	void   bool
	abi021 bool // offered to modules of ABI 0.2.1 alone
	traced bool // stands in traces
	call   func(*wasmVM, params) uint32
}

func bind[T ~uint32](name, sig string, method func(*wasmVM, params) T) hostcall {
	return hostcall{
		name: name, sig: sig, traced: strings.HasPrefix(name, "proxy_") && name != "proxy_log",
		call: func(vm *wasmVM, p params) uint32 { return uint32(method(vm, p)) },
	}
}

func (h hostcall) sinceABI021() hostcall { h.abi021 = true; return h }

// proxyCalls are the imports of module env: those of ABI 0.2.0 and 0.2.1 that
// proxy-wasm-cpp-host registers, and two of Emscripten.
var proxyCalls = []hostcall{
	bind("proxy_log", "dii", (*wasmVM).proxyLog),
	bind("proxy_get_log_level", "i", (*wasmVM).proxyGetLogLevel).sinceABI021(),
	bind("proxy_get_status", "iii", (*wasmVM).proxyGetStatus),
	bind("proxy_get_property", "niii", (*wasmVM).proxyGetProperty),
	bind("proxy_set_property", "nivi", (*wasmVM).proxySetProperty),
	bind("proxy_send_local_response", "dnivivid", (*wasmVM).proxySendLocalResponse),
	bind("proxy_continue_stream", "d", (*wasmVM).proxyContinueStream),
	bind("proxy_close_stream", "d", (*wasmVM).proxyCloseStream),
	bind("proxy_get_shared_data", "niiii", (*wasmVM).proxyGetSharedData),
	bind("proxy_set_shared_data", "nivid", (*wasmVM).proxySetSharedData),
	bind("proxy_register_shared_queue", "nii", (*wasmVM).proxyRegisterSharedQueue),
	bind("proxy_resolve_shared_queue", "ninii", (*wasmVM).proxyResolveSharedQueue),
	bind("proxy_enqueue_shared_queue", "dvi", (*wasmVM).proxyEnqueueSharedQueue),
	bind("proxy_dequeue_shared_queue", "dii", (*wasmVM).proxyDequeueSharedQueue),
	bind("proxy_get_header_map_value", "dniii", (*wasmVM).proxyGetHeaderMapValue),
	bind("proxy_add_header_map_value", "dnivi", (*wasmVM).proxyAddHeaderMapValue),
	bind("proxy_replace_header_map_value", "dnivi", (*wasmVM).proxyReplaceHeaderMapValue),
	bind("proxy_remove_header_map_value", "dni", (*wasmVM).proxyRemoveHeaderMapValue),
	bind("proxy_get_header_map_pairs", "dii", (*wasmVM).proxyGetHeaderMapPairs),
	bind("proxy_set_header_map_pairs", "dvi", (*wasmVM).proxySetHeaderMapPairs),
	bind("proxy_get_header_map_size", "di", (*wasmVM).proxyGetHeaderMapSize),
	bind("proxy_get_buffer_status", "dii", (*wasmVM).proxyGetBufferStatus),
	bind("proxy_get_buffer_bytes", "dddii", (*wasmVM).proxyGetBufferBytes),
	bind("proxy_set_buffer_bytes", "dddvi", (*wasmVM).proxySetBufferBytes),
	bind("proxy_http_call", "nivivividi", (*wasmVM).proxyHTTPCall),
	bind("proxy_grpc_call", "vininivividi", (*wasmVM).proxyGRPCCall),
	bind("proxy_grpc_stream", "vininivii", (*wasmVM).proxyGRPCStream),
	bind("proxy_grpc_send", "dvid", (*wasmVM).proxyGRPCSend),
	bind("proxy_grpc_close", "d", (*wasmVM).proxyGRPCClose),
	bind("proxy_grpc_cancel", "d", (*wasmVM).proxyGRPCCancel),
	bind("proxy_set_tick_period_milliseconds", "d", (*wasmVM).proxySetTickPeriod),
	bind("proxy_get_current_time_nanoseconds", "i", (*wasmVM).proxyGetCurrentTime),
	bind("proxy_define_metric", "dnii", (*wasmVM).proxyDefineMetric),
	bind("proxy_increment_metric", "dl", (*wasmVM).proxyIncrementMetric),
	bind("proxy_record_metric", "dl", (*wasmVM).proxyRecordMetric),
	bind("proxy_get_metric", "di", (*wasmVM).proxyGetMetric),
	bind("proxy_set_effective_context", "d", (*wasmVM).proxySetEffectiveContext),
	bind("proxy_done", "", (*wasmVM).proxyDone),
	bind("proxy_call_foreign_function", "niviii", (*wasmVM).proxyCallForeignFunction),
	bind("pthread_equal", "ii", (*wasmVM).pthreadEqual),
	withoutResult("emscripten_notify_memory_growth", "i", (*wasmVM).notifyMemoryGrowth),
}

// withoutResult is a function that answers nothing.
func withoutResult(name, sig string, method func(*wasmVM, params) errno) hostcall {
	h := bind(name, sig, method)
	h.void = true
	return h
}

// wasiModules are the two names under which Envoy offers its WASI functions.
var wasiModules = []string{"wasi_snapshot_preview1", "wasi_unstable"}

// offered says whether any Envoy has the function for a module of that ABI.
func offered(module, name string, abi021 bool) bool {
	calls := wasiCalls
	switch module {
	case "env":
		calls = proxyCalls
	case wasiModules[0], wasiModules[1]:
	default:
		return false
	}
	for _, h := range calls {
		if h.name == name {
			return abi021 || !h.abi021
		}
	}
	return false
}

// instantiateHost links every host function into a runtime. They find their VM through the
// context, so that all VMs of the runtime share them.
func instantiateHost(ctx context.Context, runtime wazero.Runtime) error {
	modules := map[string][]hostcall{"env": proxyCalls, wasiModules[0]: wasiCalls, wasiModules[1]: wasiCalls}
	for module, calls := range modules {
		builder := runtime.NewHostModuleBuilder(module)
		for _, h := range calls {
			var results []api.ValueType
			if !h.void {
				results = []api.ValueType{api.ValueTypeI32}
			}
			builder.NewFunctionBuilder().WithGoFunction(h.function(), valueTypes(h.sig), results).Export(h.name)
		}
		if _, err := builder.Instantiate(ctx); err != nil {
			return fmt.Errorf("module %s: %w", module, err)
		}
	}
	return nil
}

func valueTypes(sig string) []api.ValueType {
	types := make([]api.ValueType, len(sig))
	for i, c := range sig {
		types[i] = api.ValueTypeI32
		if c == 'l' {
			types[i] = api.ValueTypeI64
		}
	}
	return types
}

// function is the adapter from wazero to the method.
func (h hostcall) function() api.GoFunc {
	return func(ctx context.Context, stack []uint64) {
		vm := ctx.Value(vmKey{}).(*wasmVM)
		if vm.phase != phaseRunning && !h.allowed(vm) {
			panic(fmt.Errorf("%w: %s", ErrRestricted, h.name))
		}
		result := h.call(vm, stack)
		if h.traced {
			vm.w.opts.record.called(vm, &h, stack, uint64(result))
		}
		if !h.void {
			stack[0] = uint64(result)
		}
	}
}

// allowed says whether Envoy lets the guest make the call in the VM's phase; otherwise it ends the VM.
func (h hostcall) allowed(vm *wasmVM) bool {
	if vm.phase == phaseAlloc {
		return vm.w.opts.Profile.AllowsAllocating(h.name)
	}
	return vm.w.opts.Profile.AllowsStarting(h.name)
}
