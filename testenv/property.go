package testenv

import (
	"strconv"
	"strings"
)

// filterStatePrefix is what Envoy puts before the name of a property that a filter sets.
const filterStatePrefix = "wasm."

// property answers a path: attributes first, then the plugin's own names, then what filters of the stream have set
// (context.cc getProperty).
func (vm *wasmVM) property(path []string) ([]byte, status) {
	if len(path) == 0 {
		return nil, statusSerializationFailure
	}
	x := vm.currentContext()
	value, st := vm.attribute(x, path)
	if st != statusNotFound || len(path) > 1 && path[0] != "filter_state" && attributeRoots[path[0]] {
		return value, st
	}
	if own, ok := vm.currentPlugin().property(path[0]); ok {
		return property(own, path[1:])
	}
	if x == nil {
		return nil, statusNotFound
	}
	return x.stream.state(path)
}

// attribute answers what tests have said of the stream, and what follows from its headers.
func (vm *wasmVM) attribute(x *httpContext, path []string) ([]byte, status) {
	node := vm.w.opts.Node
	if x == nil {
		return node.lookup(path)
	}
	value, st := x.stream.opts.Attributes.lookup(node, path)
	if st != statusNotFound {
		return value, st
	}
	switch path[0] {
	case "request":
		return x.requestAttribute(path[1:])
	case "response":
		return x.responseAttribute(path[1:])
	}
	return nil, statusNotFound
}

func (p *pluginContext) property(name string) (string, bool) {
	switch name {
	case "plugin_name":
		return p.Name, true
	case "plugin_root_id":
		return p.RootID, true
	case "plugin_vm_id":
		return p.VMID, true
	}
	return "", false
}

// state answers filter state: by the plain name of what a filter set, or under filter_state by the whole key.
func (c *chain) state(path []string) ([]byte, status) {
	key := filterStatePrefix + path[0]
	if path[0] == "filter_state" {
		if len(path) == 1 {
			return nil, statusNotFound
		}
		key, path = path[1], path[1:]
	} else if attributeRoots[path[0]] {
		return nil, statusNotFound
	}
	value, ok := c.filterState[key]
	if !ok || len(path) > 1 {
		return nil, statusNotFound
	}
	return value, statusOK
}

// headerAttributes are the attributes of a request that are headers.
var headerAttributes = map[string]string{
	"path": ":path", "host": ":authority", "scheme": ":scheme", "method": ":method",
	"id": "x-request-id", "referer": "referer", "useragent": "user-agent",
}

// requestAttribute answers request.* from the stream, and from the headers as long as the filter can see them.
func (x *httpContext) requestAttribute(path []string) ([]byte, status) {
	if len(path) == 0 {
		return nil, statusNotFound
	}
	switch path[0] {
	case "time":
		return property(x.stream.began, path[1:])
	case "protocol":
		return property("HTTP/1.1", path[1:])
	case "duration":
		if x.logging {
			return property(x.vm.w.opts.Now().Sub(x.stream.began), path[1:])
		}
		return nil, statusNotFound
	}
	m := x.visibleHeaders(toUpstream)
	if m == nil {
		return nil, statusNotFound
	}
	if path[0] == "headers" && len(path) > 1 {
		return headerAttribute(m, path[1:])
	}
	target, _ := m.get(":path")
	target, _, _ = strings.Cut(target, "#")
	before, query, _ := strings.Cut(target, "?")
	switch path[0] {
	case "url_path":
		return property(before, path[1:])
	case "query":
		return property(query, path[1:])
	case "size":
		if size, ok := m.get("content-length"); ok {
			if n, err := strconv.ParseInt(size, 10, 64); err == nil {
				return property(n, path[1:])
			}
		}
		return property(x.stream.received[toUpstream], path[1:])
	case "total_size":
		return property(x.stream.received[toUpstream]+int64(m.byteSize()), path[1:])
	}
	value, ok := m.get(headerAttributes[path[0]])
	if !ok {
		return nil, statusNotFound
	}
	return property(value, path[1:])
}

// headerAttribute answers a header by name, repeats joined by a comma.
func headerAttribute(m *headerMap, path []string) ([]byte, status) {
	var values []string
	for _, h := range m.pairs {
		if h[0] == lower(path[0]) {
			values = append(values, h[1])
		}
	}
	if values == nil {
		return nil, statusNotFound
	}
	return property(strings.Join(values, ","), path[1:])
}

// responseAttribute answers response.* from the stream and the response's headers, once there are any.
func (x *httpContext) responseAttribute(path []string) ([]byte, status) {
	if len(path) == 0 {
		return nil, statusNotFound
	}
	m := x.response().headers
	if x.logging {
		m = x.stream.latest[toClient].headers
	}
	switch {
	case m == nil:
	case path[0] == "size":
		return property(x.stream.received[toClient], path[1:])
	case path[0] == "total_size":
		return property(x.stream.received[toClient]+int64(m.byteSize()), path[1:])
	case path[0] == "code_details":
		return property(x.stream.details(), path[1:])
	case path[0] == "code":
		text, _ := m.get(":status")
		if code, err := strconv.ParseInt(text, 10, 64); err == nil {
			return property(code, path[1:])
		}
	case path[0] == "headers" && len(path) > 1:
		if m := x.visibleHeaders(toClient); m != nil {
			return headerAttribute(m, path[1:])
		}
	}
	return nil, statusNotFound
}

// details says who made the response.
func (c *chain) details() string {
	if c.local != nil {
		return c.local.Details
	}
	return "via_upstream"
}

// visibleHeaders are the headers that the filter can see now: until they have passed, and again in the access log phase.
func (x *httpContext) visibleHeaders(dir direction) *headerMap {
	if x.logging {
		return x.stream.latest[dir].headers
	}
	if sd := &x.sides[dir]; sd.headersOpen {
		return sd.headers
	}
	return nil
}

// setProperty keeps a value in the stream's filter state, where every filter of the chain finds it.
func (vm *wasmVM) setProperty(name string, value []byte) status {
	x := vm.currentContext()
	if x == nil {
		return statusNotFound
	}
	if x.stream.filterState == nil {
		x.stream.filterState = map[string][]byte{}
	}
	x.stream.filterState[filterStatePrefix+name] = value
	return statusOK
}
