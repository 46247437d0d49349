package testenv

import (
	"slices"
)

// buffer returns the bytes of a buffer the guest may read now, and where they may be changed;
// false when there is no such buffer.
func (vm *VM) buffer(t bufferType) (data []byte, change *[]byte, ok bool) {
	s := vm.currentStream()
	switch t {
	case bufferRequestBody, bufferResponseBody:
		if s == nil {
			return nil, nil, true
		}
		sd := &s.request
		if t == bufferResponseBody {
			sd = &s.response
		}
		if !sd.bodyOpen {
			return nil, nil, true
		}
		return sd.body, &sd.body, true
	case bufferCallBody:
		if vm.callAnswer == nil {
			return nil, nil, false
		}
		return vm.callAnswer.body, nil, true
	case bufferVMConfig:
		return vm.opts.VMConfiguration, nil, true
	case bufferPluginConfig:
		return vm.opts.PluginConfiguration, nil, vm.configuring
	}
	return nil, nil, false
}

func (vm *VM) proxyGetBufferStatus(p params) status {
	t := bufferType(p.u32(0))
	if t > bufferMax {
		return statusBadArgument
	}
	data, _, ok := vm.buffer(t)
	if !ok {
		return statusNotFound
	}
	if st := vm.giveUint32(uint32(len(data)), p.u32(1)); st != statusOK {
		return st
	}
	return vm.giveUint32(0, p.u32(2))
}

// proxyGetBufferBytes answers OK and writes nothing when there is nothing to read: Envoy neither
// allocates nor stores then.
func (vm *VM) proxyGetBufferBytes(p params) status {
	t, start, length := bufferType(p.u32(0)), uint64(p.u32(1)), uint64(p.u32(2))
	if t > bufferMax {
		return statusBadArgument
	}
	data, _, ok := vm.buffer(t)
	if !ok {
		return statusNotFound
	}
	if start > uint64(len(data)) {
		return statusBadArgument
	}
	end := min(start+length, uint64(len(data)))
	if end == start {
		return statusOK
	}
	return vm.giveBytes(data[start:end], p.u32(3), p.u32(4))
}

// proxySetBufferBytes replaces a prefix of the body or appends to it; Envoy refuses the rest.
func (vm *VM) proxySetBufferBytes(p params) status {
	t, start, length := bufferType(p.u32(0)), uint64(p.u32(1)), uint64(p.u32(2))
	if t > bufferMax {
		return statusBadArgument
	}
	_, body, ok := vm.buffer(t)
	if !ok {
		return statusNotFound
	}
	data, ok := vm.read(p, 3)
	if !ok {
		return statusInvalidMemoryAccess
	}
	if body == nil {
		return statusBadArgument
	}
	switch size := uint64(len(*body)); {
	case start == 0:
		*body = slices.Concat(data, (*body)[min(length, size):])
	case start >= size:
		*body = slices.Concat(*body, data)
	default:
		return statusBadArgument
	}
	return statusOK
}

// proxyContinueStream takes effect when the guest has returned, but the request's maps are closed
// to it at once, whichever direction is continued.
func (vm *VM) proxyContinueStream(p params) status {
	direction := p.u32(0)
	if direction > streamTypeResponse {
		return statusBadArgument
	}
	s := vm.currentStream()
	if s == nil {
		return statusOK
	}
	sd := &s.request
	if direction == streamTypeResponse {
		sd = &s.response
	}
	s.request.headersOpen, s.request.trailersOpen = false, false
	vm.deferred = append(vm.deferred, func() { s.resume(sd) })
	return statusOK
}

// proxyCloseStream resets an HTTP stream once the guest has returned; for the directions of TCP
// streams there is nothing to close.
func (vm *VM) proxyCloseStream(p params) status {
	direction := p.u32(0)
	if direction > streamTypeMax {
		return statusBadArgument
	}
	s := vm.currentStream()
	if s != nil && direction <= streamTypeResponse {
		vm.deferred = append(vm.deferred, func() { s.end(ErrStreamReset) })
	}
	return statusOK
}

// proxySendLocalResponse takes effect when the guest has returned, and stops that step whatever
// the guest returns. Outside a stream it is silently nothing, as in Envoy.
func (vm *VM) proxySendLocalResponse(p params) status {
	details, ok := vm.read(p, 1)
	body, ok2 := vm.read(p, 3)
	pairs, ok3 := vm.read(p, 5)
	if !ok || !ok2 || !ok3 {
		return statusInvalidMemoryAccess
	}
	vm.stopIteration = true
	s := vm.currentStream()
	if s == nil {
		return statusOK
	}
	resp := &LocalResponse{
		Status: p.u32(0), Headers: parsePairs(pairs), Body: slices.Clone(body),
		Details: string(details), GRPCStatus: p.i32(7),
	}
	vm.deferred = append(vm.deferred, func() { s.sendLocal(resp) })
	return statusOK
}

func (vm *VM) proxyHTTPCall(p params) status {
	cluster, ok := vm.read(p, 0)
	headers, ok2 := vm.read(p, 2)
	body, ok3 := vm.read(p, 4)
	trailers, ok4 := vm.read(p, 6)
	if !ok || !ok2 || !ok3 || !ok4 {
		return statusInvalidMemoryAccess
	}
	out := p.u32(9)
	if st := vm.giveUint32(0, out); st != statusOK {
		return st
	}
	token, st := vm.httpCall(string(cluster), parsePairs(headers), slices.Clone(body), parsePairs(trailers), p.i32(8))
	if st != statusOK {
		return st
	}
	return vm.giveUint32(token, out)
}
