package testenv

import (
	"math"
	"time"
)

// read returns the bytes that parameters i (address) and i+1 (length) name; they are valid until
// the guest runs again.
func (vm *VM) read(p params, i int) ([]byte, bool) {
	return vm.memory().Read(p.u32(i), p.u32(i+1))
}

func (vm *VM) proxyLog(p params) status {
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

func (vm *VM) proxyGetLogLevel(p params) status {
	return vm.giveUint32(uint32(LevelTrace), p.u32(0))
}

func (vm *VM) proxyGetStatus(p params) status {
	if st := vm.giveUint32(vm.callStatus, p.u32(0)); st != statusOK {
		return st
	}
	return vm.giveString(vm.callMessage, p.u32(1), p.u32(2))
}

func (vm *VM) proxyGetProperty(p params) status {
	path, ok := vm.read(p, 0)
	if !ok {
		return statusInvalidMemoryAccess
	}
	value, ok := vm.property(string(path))
	if !ok {
		return statusNotFound
	}
	return vm.giveBytes(value, p.u32(2), p.u32(3))
}

func (vm *VM) proxySetProperty(p params) status {
	name, ok := vm.read(p, 0)
	value, ok2 := vm.read(p, 2)
	if !ok || !ok2 {
		return statusInvalidMemoryAccess
	}
	return vm.setProperty(string(name), value)
}

func (vm *VM) proxyGetSharedData(p params) status {
	key, ok := vm.read(p, 0)
	if !ok {
		return statusInvalidMemoryAccess
	}
	data, cas, st := vm.opts.SharedData.get(vm.opts.VMID, string(key))
	if st != statusOK {
		return st
	}
	if st := vm.giveString(data, p.u32(2), p.u32(3)); st != statusOK {
		return st
	}
	return vm.giveUint32(cas, p.u32(4))
}

func (vm *VM) proxySetSharedData(p params) status {
	key, ok := vm.read(p, 0)
	value, ok2 := vm.read(p, 2)
	if !ok || !ok2 {
		return statusInvalidMemoryAccess
	}
	return vm.opts.SharedData.set(vm.opts.VMID, string(key), string(value), p.u32(4))
}

func (vm *VM) proxyRegisterSharedQueue(params) status {
	return vm.unimplemented("proxy_register_shared_queue")
}

func (vm *VM) proxyResolveSharedQueue(params) status {
	return vm.unimplemented("proxy_resolve_shared_queue")
}

func (vm *VM) proxyEnqueueSharedQueue(params) status {
	return vm.unimplemented("proxy_enqueue_shared_queue")
}

func (vm *VM) proxyDequeueSharedQueue(params) status {
	return vm.unimplemented("proxy_dequeue_shared_queue")
}

func (vm *VM) proxyGRPCCall(params) status { return vm.unimplemented("proxy_grpc_call") }

func (vm *VM) proxyGRPCStream(params) status { return vm.unimplemented("proxy_grpc_stream") }

func (vm *VM) proxyGRPCSend(params) status { return vm.unimplemented("proxy_grpc_send") }

func (vm *VM) proxyGRPCClose(params) status { return vm.unimplemented("proxy_grpc_close") }

func (vm *VM) proxyGRPCCancel(params) status { return vm.unimplemented("proxy_grpc_cancel") }

func (vm *VM) proxyCallForeignFunction(p params) status {
	name, ok := vm.read(p, 0)
	if !ok {
		return statusInvalidMemoryAccess
	}
	return vm.unimplemented("proxy_call_foreign_function " + string(name))
}

func (vm *VM) proxySetTickPeriod(p params) status {
	vm.tick = time.Duration(p.u32(0)) * time.Millisecond
	return statusOK
}

func (vm *VM) proxyGetCurrentTime(p params) status {
	return vm.giveUint64(uint64(vm.opts.Now().UnixNano()), p.u32(0))
}

// The low two bits of a metric's id are its kind.
const metricIDStep = 4

func (vm *VM) proxyDefineMetric(p params) status {
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
	vm.metrics[id] = vm.opts.Metrics.define(string(name), kind)
	return vm.giveUint32(id, p.u32(3))
}

func (vm *VM) proxyIncrementMetric(p params) status {
	if MetricKind(p.u32(0)%metricIDStep) >= Histogram {
		return statusBadArgument
	}
	m, ok := vm.metrics[p.u32(0)]
	if !ok {
		return statusNotFound
	}
	return vm.opts.Metrics.increment(m, int64(p[1]))
}

func (vm *VM) proxyRecordMetric(p params) status {
	m, ok := vm.metrics[p.u32(0)]
	if !ok {
		return statusNotFound
	}
	vm.opts.Metrics.record(m, p[1])
	return statusOK
}

func (vm *VM) proxyGetMetric(p params) status {
	if MetricKind(p.u32(0)%metricIDStep) >= Histogram {
		return statusBadArgument
	}
	m, ok := vm.metrics[p.u32(0)]
	if !ok {
		return statusNotFound
	}
	return vm.giveUint64(vm.opts.Metrics.value(m), p.u32(1))
}

func (vm *VM) proxySetEffectiveContext(p params) status {
	id := p.u32(0)
	if _, live := vm.streams[id]; !live && id != rootContextID && id != 0 {
		return statusBadArgument
	}
	vm.effective = id
	return statusOK
}

// proxyDone is only for a plugin whose proxy_on_done asked for more time. Close gives none, so no
// plugin is ever in that state while it runs.
func (vm *VM) proxyDone(params) status { return statusNotFound }

func (vm *VM) pthreadEqual(p params) errno { return errno(flag(p.u32(0) == p.u32(1))) }

func (vm *VM) notifyMemoryGrowth(params) errno { return errnoSuccess }
