package testenv

// writableMap returns the map that the guest may change now, or nil.
func (vm *VM) writableMap(t mapType) *headerMap {
	s := vm.currentStream()
	if s == nil {
		return nil
	}
	switch {
	case t == mapRequestHeaders && s.request.headersOpen:
		return s.request.headers
	case t == mapRequestTrailers && s.request.trailersOpen:
		return s.request.trailers
	case t == mapResponseHeaders && s.response.headersOpen:
		return s.response.headers
	case t == mapResponseTrailers && s.response.trailersOpen:
		return s.response.trailers
	}
	return nil
}

// readableMap returns the map that the guest may read now, or nil. The maps of a callout's answer
// are the root context's, whichever context asks; in proxy_on_log the access log's maps are open.
func (vm *VM) readableMap(t mapType) *headerMap {
	switch t {
	case mapCallHeaders, mapCallTrailers:
		if vm.callAnswer == nil {
			return nil
		}
		if t == mapCallHeaders {
			return vm.callAnswer.headers
		}
		return vm.callAnswer.trailers
	}
	if s := vm.currentStream(); s != nil && s.logging {
		switch t {
		case mapRequestHeaders:
			return s.request.headers
		case mapResponseHeaders:
			return s.response.headers
		case mapResponseTrailers:
			return s.response.trailers
		}
	}
	return vm.writableMap(t)
}

func (vm *VM) proxyGetHeaderMapValue(p params) status {
	t := mapType(p.u32(0))
	if t > mapMax {
		return statusBadArgument
	}
	name, ok := vm.read(p, 1)
	if !ok {
		return statusInvalidMemoryAccess
	}
	m := vm.readableMap(t)
	if m == nil {
		return statusBadArgument
	}
	value, ok := m.get(lower(string(name)))
	if !ok {
		return statusNotFound
	}
	return vm.giveString(value, p.u32(3), p.u32(4))
}

func (vm *VM) proxyAddHeaderMapValue(p params) status {
	return vm.changeMap(p, (*headerMap).add)
}

func (vm *VM) proxyReplaceHeaderMapValue(p params) status {
	return vm.changeMap(p, (*headerMap).replace)
}

func (vm *VM) changeMap(p params, change func(m *headerMap, name, value string)) status {
	t := mapType(p.u32(0))
	if t > mapMax {
		return statusBadArgument
	}
	name, ok := vm.read(p, 1)
	value, ok2 := vm.read(p, 3)
	if !ok || !ok2 {
		return statusInvalidMemoryAccess
	}
	m := vm.writableMap(t)
	if m == nil {
		return statusBadArgument
	}
	change(m, string(name), string(value))
	return statusOK
}

func (vm *VM) proxyRemoveHeaderMapValue(p params) status {
	t := mapType(p.u32(0))
	if t > mapMax {
		return statusBadArgument
	}
	name, ok := vm.read(p, 1)
	if !ok {
		return statusInvalidMemoryAccess
	}
	m := vm.writableMap(t)
	if m == nil {
		return statusBadArgument
	}
	m.remove(string(name))
	return statusOK
}

// proxyGetHeaderMapPairs answers OK and no bytes for a map that is not there: Envoy tells a
// missing map from an empty one in the single-value calls alone.
func (vm *VM) proxyGetHeaderMapPairs(p params) status {
	t := mapType(p.u32(0))
	if t > mapMax {
		return statusBadArgument
	}
	m := vm.readableMap(t)
	if m == nil || len(m.pairs) == 0 {
		return vm.giveBytes(nil, p.u32(1), p.u32(2))
	}
	return vm.give(pairsSize(m.pairs), p.u32(1), p.u32(2), func(buf []byte) { putPairs(buf, m.pairs) })
}

func (vm *VM) proxySetHeaderMapPairs(p params) status {
	t := mapType(p.u32(0))
	if t > mapMax {
		return statusBadArgument
	}
	data, ok := vm.read(p, 1)
	if !ok {
		return statusInvalidMemoryAccess
	}
	m := vm.writableMap(t)
	if m == nil {
		return statusBadArgument
	}
	m.setAll(parsePairs(data))
	return statusOK
}

func (vm *VM) proxyGetHeaderMapSize(p params) status {
	t := mapType(p.u32(0))
	if t > mapMax {
		return statusBadArgument
	}
	m := vm.writableMap(t)
	if m == nil {
		return statusBadArgument
	}
	return vm.giveUint32(m.byteSize(), p.u32(1))
}
