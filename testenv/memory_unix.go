//go:build unix

package testenv

import (
	"context"
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// withReservedMemory makes modules instantiated under ctx keep their linear memory outside the
// Go heap: the whole limit is reserved as address space, pages appear when touched, and closing
// the module gives them back at once. On the heap each VM would cost its full limit in clearing
// (and, under the race detector, in shadow memory).
func withReservedMemory(ctx context.Context) context.Context {
	return experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(reserve))
}

type reservedMemory struct{ buf []byte }

func reserve(_, limit uint64) experimental.LinearMemory {
	if limit == 0 {
		return &reservedMemory{}
	}
	buf, err := syscall.Mmap(-1, 0, int(limit), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		// The interface has no error; a memory that cannot be given its first page makes
		// instantiation panic, which instantiate turns into an error.
		return &reservedMemory{}
	}
	return &reservedMemory{buf: buf}
}

// Reallocate grows in place within the reservation.
func (m *reservedMemory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.buf)) {
		return nil
	}
	return m.buf[:size]
}

// Free returns the reservation to the system.
func (m *reservedMemory) Free() {
	if m.buf != nil {
		_ = syscall.Munmap(m.buf) // fails only for an address that Mmap did not return
		m.buf = nil
	}
}
