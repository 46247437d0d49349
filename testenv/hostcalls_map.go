package testenv

// writableMap returns the map that the guest may change now, or nil. Asking for the trailers of a message without any makes
// them, where the guest may add some.
func (vm *wasmVM) writableMap(t mapType) *headerMap {
	if m := vm.openMap(t); m != nil {
		return m
	}
	x := vm.currentContext()
	switch {
	case x == nil:
	case t == mapRequestTrailers:
		return x.makeTrailers(toUpstream)
	case t == mapResponseTrailers:
		return x.makeTrailers(toClient)
	}
	return nil
}

// openMap returns the map of a step that the guest has not let go, or nil.
func (vm *wasmVM) openMap(t mapType) *headerMap {
	x := vm.currentContext()
	if x == nil {
		return nil
	}
	switch {
	case t == mapRequestHeaders && x.request().headersOpen:
		return x.request().headers
	case t == mapRequestTrailers && x.request().trailersOpen:
		return x.request().trailers
	case t == mapResponseHeaders && x.response().headersOpen:
		return x.response().headers
	case t == mapResponseTrailers && x.response().trailersOpen:
		return x.response().trailers
	}
	return nil
}

// readableMap returns the map that the guest may read now, or nil. The maps of a callout's answer
// are the root context's, whichever context asks; in proxy_on_log the access log's maps are open.
func (vm *wasmVM) readableMap(t mapType) *headerMap {
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
	if x := vm.currentContext(); x != nil && x.logging {
		latest := &x.stream.latest
		switch t {
		case mapRequestHeaders:
			return latest[toUpstream].headers
		case mapResponseHeaders:
			return latest[toClient].headers
		case mapResponseTrailers:
			return latest[toClient].trailers
		}
		return nil // there are no request trailers in the access log
	}
	return vm.openMap(t)
}

func (vm *wasmVM) proxyGetHeaderMapValue(p params) status {
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
		if x := vm.currentContext(); x != nil && x.logging {
			return statusNotFound
		}
		return statusBadArgument
	}
	value, ok := m.get(lower(string(name)))
	if !ok {
		return statusNotFound
	}
	return vm.giveString(value, p.u32(3), p.u32(4))
}

func (vm *wasmVM) proxyAddHeaderMapValue(p params) status {
	return vm.changeMap(p, (*headerMap).add)
}

func (vm *wasmVM) proxyReplaceHeaderMapValue(p params) status {
	return vm.changeMap(p, (*headerMap).replace)
}

func (vm *wasmVM) changeMap(p params, change func(m *headerMap, name, value string)) status {
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

func (vm *wasmVM) proxyRemoveHeaderMapValue(p params) status {
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
func (vm *wasmVM) proxyGetHeaderMapPairs(p params) status {
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

func (vm *wasmVM) proxySetHeaderMapPairs(p params) status {
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

func (vm *wasmVM) proxyGetHeaderMapSize(p params) status {
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
