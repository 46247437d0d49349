package testenv

import (
	"encoding/binary"
	"slices"
	"strings"
)

// filterStatePrefix is what Envoy puts before the name of a property that a filter sets.
const filterStatePrefix = "wasm."

// property answers a path whose parts are separated by NUL.
func (vm *VM) property(path string) ([]byte, bool) {
	path = strings.TrimSuffix(path, "\x00")
	dotted := strings.ReplaceAll(path, "\x00", ".")
	switch dotted {
	case "plugin_name":
		return []byte(vm.opts.PluginName), true
	case "plugin_root_id":
		return []byte(vm.opts.RootID), true
	case "plugin_vm_id":
		return []byte(vm.opts.VMID), true
	case "node.id":
		return []byte(vm.opts.NodeID), true
	}
	s := vm.currentStream()
	if s == nil || path == "" {
		return nil, false
	}
	if value, ok := s.opts.Properties[dotted]; ok {
		return value, true
	}
	if value, ok := s.requestAttribute(dotted); ok {
		return []byte(value), true
	}
	if code, ok := s.responseCode(dotted); ok {
		return code, true
	}
	value, ok := s.filterState[filterStatePrefix+path]
	return value, ok
}

// requestAttribute works out the basic attributes of a request from its headers.
func (s *Stream) requestAttribute(path string) (string, bool) {
	if s.request.headers == nil {
		return "", false
	}
	if name, ok := strings.CutPrefix(path, "request.headers."); ok {
		return s.request.headers.get(lower(name))
	}
	headers := map[string]string{
		"request.path": ":path", "request.url_path": ":path", "request.host": ":authority",
		"request.scheme": ":scheme", "request.method": ":method", "request.id": "x-request-id",
		"request.referer": "referer", "request.useragent": "user-agent",
	}
	name, ok := headers[path]
	if !ok {
		return "", false
	}
	value, ok := s.request.headers.get(name)
	if path == "request.url_path" {
		value, _, _ = strings.Cut(value, "?")
	}
	return value, ok
}

// responseCode answers response.code as Envoy serialises integers: eight bytes, little-endian.
func (s *Stream) responseCode(path string) ([]byte, bool) {
	if path != "response.code" || s.response.headers == nil {
		return nil, false
	}
	code, err := (&CalloutResponse{Headers: s.response.headers.pairs}).statusOf()
	if err != nil {
		return nil, false
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(code)), true
}

func (vm *VM) setProperty(name string, value []byte) status {
	s := vm.currentStream()
	if s == nil {
		return statusNotFound
	}
	if s.filterState == nil {
		s.filterState = map[string][]byte{}
	}
	s.filterState[filterStatePrefix+name] = slices.Clone(value)
	return statusOK
}
