package testenv

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// params are the arguments of a hostcall as wasm passed them.
type params []uint64

func (p params) u32(i int) uint32 { return uint32(p[i]) }
func (p params) i32(i int) int32  { return int32(uint32(p[i])) }

// hostcall is a function of the host: one method of VM behind one import.
type hostcall struct {
	name   string
	sig    string // one letter per parameter: i for i32, l for i64
	void   bool
	abi021 bool // offered to modules of ABI 0.2.1 alone
	// Where it may be called besides a running guest: Envoy answers any other call there by
	// ending the VM.
	starting, alloc bool
	call            func(*VM, params) uint32
}

func bind[T ~uint32](name, sig string, method func(*VM, params) T) hostcall {
	return hostcall{name: name, sig: sig, call: func(vm *VM, p params) uint32 { return uint32(method(vm, p)) }}
}

func (h hostcall) whileStarting() hostcall { h.starting = true; return h }

func (h hostcall) whileAllocating() hostcall { h.starting, h.alloc = true, true; return h }

func (h hostcall) sinceABI021() hostcall { h.abi021 = true; return h }

// proxyCalls are the imports of module env: those of ABI 0.2.0 and 0.2.1 that
// proxy-wasm-cpp-host registers, and two of Emscripten.
var proxyCalls = []hostcall{
	bind("proxy_log", "iii", (*VM).proxyLog).whileAllocating(),
	bind("proxy_get_log_level", "i", (*VM).proxyGetLogLevel).sinceABI021(),
	bind("proxy_get_status", "iii", (*VM).proxyGetStatus),
	bind("proxy_get_property", "iiii", (*VM).proxyGetProperty),
	bind("proxy_set_property", "iiii", (*VM).proxySetProperty),
	bind("proxy_send_local_response", "iiiiiiii", (*VM).proxySendLocalResponse),
	bind("proxy_continue_stream", "i", (*VM).proxyContinueStream),
	bind("proxy_close_stream", "i", (*VM).proxyCloseStream),
	bind("proxy_get_shared_data", "iiiii", (*VM).proxyGetSharedData),
	bind("proxy_set_shared_data", "iiiii", (*VM).proxySetSharedData),
	bind("proxy_register_shared_queue", "iii", (*VM).proxyRegisterSharedQueue),
	bind("proxy_resolve_shared_queue", "iiiii", (*VM).proxyResolveSharedQueue),
	bind("proxy_enqueue_shared_queue", "iii", (*VM).proxyEnqueueSharedQueue),
	bind("proxy_dequeue_shared_queue", "iii", (*VM).proxyDequeueSharedQueue),
	bind("proxy_get_header_map_value", "iiiii", (*VM).proxyGetHeaderMapValue),
	bind("proxy_add_header_map_value", "iiiii", (*VM).proxyAddHeaderMapValue),
	bind("proxy_replace_header_map_value", "iiiii", (*VM).proxyReplaceHeaderMapValue),
	bind("proxy_remove_header_map_value", "iii", (*VM).proxyRemoveHeaderMapValue),
	bind("proxy_get_header_map_pairs", "iii", (*VM).proxyGetHeaderMapPairs),
	bind("proxy_set_header_map_pairs", "iii", (*VM).proxySetHeaderMapPairs),
	bind("proxy_get_header_map_size", "ii", (*VM).proxyGetHeaderMapSize),
	bind("proxy_get_buffer_status", "iii", (*VM).proxyGetBufferStatus),
	bind("proxy_get_buffer_bytes", "iiiii", (*VM).proxyGetBufferBytes),
	bind("proxy_set_buffer_bytes", "iiiii", (*VM).proxySetBufferBytes),
	bind("proxy_http_call", "iiiiiiiiii", (*VM).proxyHTTPCall),
	bind("proxy_grpc_call", "iiiiiiiiiiii", (*VM).proxyGRPCCall),
	bind("proxy_grpc_stream", "iiiiiiiii", (*VM).proxyGRPCStream),
	bind("proxy_grpc_send", "iiii", (*VM).proxyGRPCSend),
	bind("proxy_grpc_close", "i", (*VM).proxyGRPCClose),
	bind("proxy_grpc_cancel", "i", (*VM).proxyGRPCCancel),
	bind("proxy_set_tick_period_milliseconds", "i", (*VM).proxySetTickPeriod),
	bind("proxy_get_current_time_nanoseconds", "i", (*VM).proxyGetCurrentTime),
	bind("proxy_define_metric", "iiii", (*VM).proxyDefineMetric),
	bind("proxy_increment_metric", "il", (*VM).proxyIncrementMetric),
	bind("proxy_record_metric", "il", (*VM).proxyRecordMetric),
	bind("proxy_get_metric", "ii", (*VM).proxyGetMetric),
	bind("proxy_set_effective_context", "i", (*VM).proxySetEffectiveContext),
	bind("proxy_done", "", (*VM).proxyDone),
	bind("proxy_call_foreign_function", "iiiiii", (*VM).proxyCallForeignFunction),
	bind("pthread_equal", "ii", (*VM).pthreadEqual).whileStarting(),
	voidCall("emscripten_notify_memory_growth", "i", (*VM).notifyMemoryGrowth),
}

func voidCall(name, sig string, method func(*VM, params) errno) hostcall {
	h := bind(name, sig, method).whileAllocating()
	h.void = true
	return h
}

// wasiModules are the two names under which Envoy offers its WASI functions.
var wasiModules = []string{"wasi_snapshot_preview1", "wasi_unstable"}

// offered says whether Envoy 1.33 has the function for a module of that ABI.
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
		vm := ctx.Value(vmKey{}).(*VM)
		if vm.phase != phaseRunning && !h.allowed(vm) {
			panic(fmt.Errorf("%w: %s", ErrRestricted, h.name))
		}
		result := h.call(vm, stack)
		if !h.void {
			stack[0] = uint64(result)
		}
	}
}

func (h hostcall) allowed(vm *VM) bool {
	if vm.phase == phaseAlloc {
		return h.alloc || h.name == "poll_oneoff" && vm.opts.PollOneoff != PollENOSYS
	}
	return h.starting
}
