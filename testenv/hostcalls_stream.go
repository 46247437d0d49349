package testenv

import (
	"fmt"
	"slices"
)

// buffer returns the bytes of a buffer the guest may read now, and where they may be changed;
// false when there is no such buffer.
func (vm *wasmVM) buffer(t bufferType) (data []byte, change *[]byte, ok bool) {
	x := vm.currentContext()
	switch t {
	case bufferRequestBody, bufferResponseBody:
		if x == nil {
			return nil, nil, true
		}
		sd := x.request()
		if t == bufferResponseBody {
			sd = x.response()
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
		return vm.plugins[0].VMConfiguration, nil, true
	case bufferPluginConfig:
		p := vm.currentPlugin()
		return p.Configuration, nil, p.configuring
	}
	return nil, nil, false
}

func (vm *wasmVM) proxyGetBufferStatus(p params) status {
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
func (vm *wasmVM) proxyGetBufferBytes(p params) status {
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
		if t < bufferVMConfig {
			vm.w.misused(MisuseEmptyBody, fmt.Sprintf("%d bytes from %d of a body of %d", length, start, len(data)))
		}
		return statusOK
	}
	return vm.giveBytes(data[start:end], p.u32(3), p.u32(4))
}

// proxySetBufferBytes replaces a prefix of the body or appends to it; Envoy refuses the rest.
func (vm *wasmVM) proxySetBufferBytes(p params) status {
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
func (vm *wasmVM) proxyContinueStream(p params) status {
	direction := p.u32(0)
	switch direction {
	case streamTypeDownstream: // of a TCP stream: nothing here
		return statusOK
	case streamTypeUpstream:
		return statusUnimplemented
	}
	if direction > streamTypeMax {
		return statusBadArgument
	}
	x := vm.currentContext()
	if x == nil {
		return statusOK
	}
	dir := toUpstream
	if direction == streamTypeResponse {
		dir = toClient
	}
	if x.sides[dir].stopped == partNone && !x.stream.responding {
		vm.w.misused(MisuseIdleContinue, fmt.Sprintf("direction %d", direction))
	}
	q := x.request()
	q.headersOpen, q.bodyOpen, q.trailersOpen = false, false, false
	vm.deferred = append(vm.deferred, func() { x.resume(dir) })
	return statusOK
}

// proxyCloseStream resets an HTTP stream once the guest has returned; for the directions of TCP
// streams there is nothing to close.
func (vm *wasmVM) proxyCloseStream(p params) status {
	direction := p.u32(0)
	if direction > streamTypeMax {
		return statusBadArgument
	}
	x := vm.currentContext()
	if x != nil && direction <= streamTypeResponse {
		vm.deferred = append(vm.deferred, func() { x.stream.reset(ErrStreamReset) })
	}
	return statusOK
}

// proxySendLocalResponse takes effect when the guest has returned, and stops that step whatever
// the guest returns. Outside a stream it is silently nothing, as in Envoy.
func (vm *wasmVM) proxySendLocalResponse(p params) status {
	details, ok := vm.read(p, 1)
	body, ok2 := vm.read(p, 3)
	pairs, ok3 := vm.read(p, 5)
	if !ok || !ok2 || !ok3 {
		return statusInvalidMemoryAccess
	}
	vm.stopIteration = true
	x := vm.currentContext()
	if x == nil {
		return statusOK
	}
	resp := &LocalResponse{
		Status: p.u32(0), Headers: parsePairs(pairs), Body: slices.Clone(body),
		Details: string(details), GRPCStatus: p.i32(7),
	}
	vm.deferred = append(vm.deferred, func() { x.stream.answer(resp) })
	return statusOK
}

func (vm *wasmVM) proxyHTTPCall(p params) status {
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
