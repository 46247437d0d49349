// Command platform makes calls of WASI and Emscripten, without the SDK, where the environment variable AT says (start,
// allocate or request); CALL is poll_oneoff or notify. It logs the answers.
package main

import (
	"fmt"
	"os"
	"unsafe"
)

func main() {}

//go:wasmimport env proxy_log
func proxyLog(level uint32, data unsafe.Pointer, size uint32) uint32

//go:wasmimport env emscripten_notify_memory_growth
func notifyGrowth(index uint32)

//go:wasmimport env proxy_get_header_map_pairs
func getPairs(kind uint32, data, size unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 poll_oneoff
func pollOneoff(in, out unsafe.Pointer, count uint32, events unsafe.Pointer) uint32

var (
	place   = os.Getenv("AT")
	pending [][]byte // keeps what the host was given alive
)

func init() { at("start") }

func at(here string) {
	if here != place {
		return
	}
	switch os.Getenv("CALL") {
	case "poll_oneoff":
		var in [48]byte
		var out [32]byte
		in[0] = 7 // the caller's own mark
		events := uint32(99)
		errno := pollOneoff(unsafe.Pointer(&in), unsafe.Pointer(&out), 1, unsafe.Pointer(&events))
		say("poll_oneoff %d, %d events, mark %d", errno, events, out[0])
	case "notify":
		notifyGrowth(0)
		say("notified")
	}
}

func say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	proxyLog(2, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

//go:wasmexport proxy_abi_version_0_2_0
func abiVersion() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	at("allocate")
	buf := make([]byte, size)
	pending = append(pending[max(0, len(pending)-3):], buf)
	return unsafe.Pointer(&buf[0])
}

//go:wasmexport proxy_on_request_headers
func requestHeaders(_, _, _ uint32) uint32 {
	at("request")
	var data *byte
	var size uint32
	getPairs(0, unsafe.Pointer(&data), unsafe.Pointer(&size))
	return 0
}
