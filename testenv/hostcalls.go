package testenv

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// read returns the bytes that parameters i (address) and i+1 (length) name; they are valid until
// the guest runs again.
func (vm *wasmVM) read(p params, i int) ([]byte, bool) {
	return vm.memory().Read(p.u32(i), p.u32(i+1))
}

func (vm *wasmVM) proxyLog(p params) status {
	level := Level(p.u32(0))
	if level > LevelCritical {
		return statusBadArgument
	}
	message, ok := vm.read(p, 1)
	if !ok {
		return statusInvalidMemoryAccess
	}
	text := string(message)
	vm.noteStart(level.String(), ": ", text, "\n")
	vm.log(level, text)
	return statusOK
}

func (vm *wasmVM) proxyGetLogLevel(p params) status {
	return vm.giveUint32(uint32(LevelTrace), p.u32(0))
}

func (vm *wasmVM) proxyGetStatus(p params) status {
	if st := vm.giveUint32(vm.callStatus, p.u32(0)); st != statusOK {
		return st
	}
	return vm.giveString(vm.callMessage, p.u32(1), p.u32(2))
}

func (vm *wasmVM) proxyGetProperty(p params) status {
	path, ok := vm.read(p, 0)
	if !ok {
		return statusInvalidMemoryAccess
	}
	value, st := vm.property(pathParts(string(path)))
	if st != statusOK {
		return st
	}
	return vm.giveBytes(value, p.u32(2), p.u32(3))
}

func (vm *wasmVM) proxySetProperty(p params) status {
	name, ok := vm.read(p, 0)
	value, ok2 := vm.read(p, 2)
	if !ok || !ok2 {
		return statusInvalidMemoryAccess
	}
	return vm.setProperty(string(name), slices.Clone(value))
}

func (vm *wasmVM) proxyGetSharedData(p params) status {
	key, ok := vm.read(p, 0)
	if !ok {
		return statusInvalidMemoryAccess
	}
	vm.yield()
	data, cas, st := vm.w.opts.SharedData.get(vm.vmID(), string(key))
	if st != statusOK {
		return st
	}
	if st := vm.giveString(data, p.u32(2), p.u32(3)); st != statusOK {
		return st
	}
	return vm.giveUint32(cas, p.u32(4))
}

func (vm *wasmVM) proxySetSharedData(p params) status {
	key, ok := vm.read(p, 0)
	value, ok2 := vm.read(p, 2)
	if !ok || !ok2 {
		return statusInvalidMemoryAccess
	}
	k, v := string(key), string(value)
	vm.yield()
	return vm.w.opts.SharedData.set(vm.vmID(), k, v, p.u32(4))
}

func (vm *wasmVM) proxyGRPCCall(params) status { return vm.unimplemented("proxy_grpc_call") }

func (vm *wasmVM) proxyGRPCStream(params) status { return vm.unimplemented("proxy_grpc_stream") }

func (vm *wasmVM) proxyGRPCSend(params) status { return vm.unimplemented("proxy_grpc_send") }

func (vm *wasmVM) proxyGRPCClose(params) status { return vm.unimplemented("proxy_grpc_close") }

func (vm *wasmVM) proxyGRPCCancel(params) status { return vm.unimplemented("proxy_grpc_cancel") }

func (vm *wasmVM) proxyCallForeignFunction(p params) status {
	name, ok := vm.read(p, 0)
	if !ok {
		return statusInvalidMemoryAccess
	}
	return vm.unimplemented("proxy_call_foreign_function " + string(name))
}

func (vm *wasmVM) proxySetTickPeriod(p params) status {
	vm.currentPlugin().setTick(time.Duration(p.u32(0)) * time.Millisecond)
	return statusOK
}

func (vm *wasmVM) proxyGetCurrentTime(p params) status {
	return vm.giveUint64(uint64(vm.w.opts.Now().UnixNano()), p.u32(0))
}

// The low two bits of a metric's id are its kind.
const metricIDStep = 4

func (vm *wasmVM) proxyDefineMetric(p params) status {
	kind := MetricKind(p.u32(0))
	if kind > Histogram {
		return statusBadArgument
	}
	name, ok := vm.read(p, 1)
	if !ok {
		return statusInvalidMemoryAccess
	}
	if len(vm.metrics) >= math.MaxUint16 {
		return statusInternalFailure
	}
	vm.lastMetric[kind] += metricIDStep
	id := vm.lastMetric[kind] | uint32(kind)
	vm.metrics[id] = vm.w.opts.Metrics.define(string(name), kind)
	return vm.giveUint32(id, p.u32(3))
}

func (vm *wasmVM) proxyIncrementMetric(p params) status {
	if MetricKind(p.u32(0)%metricIDStep) >= Histogram {
		return statusBadArgument
	}
	m, ok := vm.metrics[p.u32(0)]
	if !ok {
		return statusNotFound
	}
	if m.Kind == Counter && int64(p[1]) <= 0 {
		vm.w.misused(MisuseCounterDecrement, fmt.Sprintf("%s by %d", m.Name, int64(p[1])))
	}
	return vm.w.opts.Metrics.increment(m, int64(p[1]))
}

func (vm *wasmVM) proxyRecordMetric(p params) status {
	m, ok := vm.metrics[p.u32(0)]
	if !ok {
		return statusNotFound
	}
	vm.w.opts.Metrics.record(m, p[1])
	return statusOK
}

func (vm *wasmVM) proxyGetMetric(p params) status {
	if MetricKind(p.u32(0)%metricIDStep) >= Histogram {
		return statusBadArgument
	}
	m, ok := vm.metrics[p.u32(0)]
	if !ok {
		return statusNotFound
	}
	return vm.giveUint64(vm.w.opts.Metrics.value(m), p.u32(1))
}

func (vm *wasmVM) proxySetEffectiveContext(p params) status {
	id := p.u32(0)
	if _, open := vm.contexts[id]; !open && id != 0 && vm.plugin(id) == nil {
		return statusBadArgument
	}
	vm.effective = id
	return statusOK
}

// proxyDone is only for a plugin whose proxy_on_done asked for more time. A worker gives none, so no plugin is ever in
// that state while it runs.
func (vm *wasmVM) proxyDone(params) status { return statusNotFound }

func (vm *wasmVM) pthreadEqual(p params) errno { return errno(flag(p.u32(0) == p.u32(1))) }

func (vm *wasmVM) notifyMemoryGrowth(params) errno { return errnoSuccess }
