// Command deaf is a filter that hears of nothing: it has no function for any event of a stream, so that a proxy with it
// does what one without filters does.
package main

import "unsafe"

func main() {}

//go:wasmexport proxy_abi_version_0_2_1
func version() {}

var taken [][]byte

//go:wasmexport proxy_on_memory_allocate
func allocate(size int32) unsafe.Pointer {
	taken = append(taken, make([]byte, size))
	return unsafe.Pointer(unsafe.SliceData(taken[len(taken)-1]))
}
