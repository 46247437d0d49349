// Command actions is a filter without the SDK that returns from its callbacks what its configuration says, numbers that the
// SDK has no names for included: the direction, what it returns for headers, for each chunk of a body and for trailers, as
// in "request 0 1,1,0 0". With each tick it lets go of the first stream.
package main

import (
	"fmt"
	"unsafe"
)

func main() {}

//go:wasmimport env proxy_log
func proxyLog(level uint32, data unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func getBufferBytes(kind, start, length uint32, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_tick_period_milliseconds
func setTickPeriod(period uint32) uint32

//go:wasmimport env proxy_set_effective_context
func setEffectiveContext(id uint32) uint32

//go:wasmimport env proxy_continue_stream
func continueStream(direction uint32) uint32

const firstStream = 2 // the plugin's own context is 1

var (
	direction         string
	headers, trailers uint32
	chunks            []uint32
	given             []byte // keeps what the host was given alive
)

func say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	proxyLog(2, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport malloc
func malloc(size uint32) unsafe.Pointer {
	given = make([]byte, size)
	return unsafe.Pointer(&given[0])
}

func buffer(kind uint32) string {
	var data *byte
	var size uint32
	getBufferBytes(kind, 0, 1<<20, unsafe.Pointer(&data), unsafe.Pointer(&size))
	if data == nil {
		return ""
	}
	return string(unsafe.Slice(data, size))
}

//go:wasmexport proxy_on_configure
func configure(_, _ uint32) uint32 {
	var list string
	if _, err := fmt.Sscan(buffer(7), &direction, &headers, &list, &trailers); err != nil {
		say("configuration: %v", err)
		return 0
	}
	for _, digit := range list {
		if digit != ',' {
			chunks = append(chunks, uint32(digit-'0'))
		}
	}
	setTickPeriod(1000)
	return 1
}

//go:wasmexport proxy_on_tick
func tick(uint32) {
	kind := uint32(0)
	if direction == "response" {
		kind = 1
	}
	if setEffectiveContext(firstStream) == 0 {
		continueStream(kind)
	}
}

func onBody(of string, kind, size, end uint32) uint32 {
	if of != direction {
		return 0
	}
	say("%s body %d %d %q", of, size, end, buffer(kind))
	if len(chunks) == 0 {
		return 0
	}
	action := chunks[0]
	chunks = chunks[1:]
	return action
}

func act(of string, action uint32) uint32 {
	if of != direction {
		return 0
	}
	return action
}

//go:wasmexport proxy_on_request_headers
func requestHeaders(_, _, _ uint32) uint32 { return act("request", headers) }

//go:wasmexport proxy_on_request_body
func requestBody(_, size, end uint32) uint32 { return onBody("request", 0, size, end) }

//go:wasmexport proxy_on_request_trailers
func requestTrailers(_, _ uint32) uint32 { return act("request", trailers) }

//go:wasmexport proxy_on_response_headers
func responseHeaders(_, _, _ uint32) uint32 { return act("response", headers) }

//go:wasmexport proxy_on_response_body
func responseBody(_, size, end uint32) uint32 { return onBody("response", 1, size, end) }

//go:wasmexport proxy_on_response_trailers
func responseTrailers(_, _ uint32) uint32 { return act("response", trailers) }
