//go:build !unix

package testenv

import "context"

// withReservedMemory leaves the memory to wazero, which reserves the limit on the Go heap.
func withReservedMemory(ctx context.Context) context.Context { return ctx }
