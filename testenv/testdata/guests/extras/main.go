// Command extras imports functions of WASI that releases of Envoy from 1.40 offer and older ones do not, and logs their
// answers on a request.
package main

import (
	"fmt"
	"unsafe"
)

func main() {}

//go:wasmimport env proxy_log
func proxyLog(level uint32, data unsafe.Pointer, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_tell
func fdTell(fd uint32, offset unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 sock_shutdown
func sockShutdown(fd, how uint32) uint32

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport malloc
func malloc(size uint32) unsafe.Pointer { return unsafe.Pointer(&make([]byte, size)[0]) }

//go:wasmexport proxy_on_request_headers
func requestHeaders(_, _, _ uint32) uint32 {
	offset := uint64(99)
	text := fmt.Sprintf("fd_tell %d %d, sock_shutdown %d", fdTell(1, unsafe.Pointer(&offset)), offset, sockShutdown(0, 0))
	proxyLog(2, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
	return 0
}
