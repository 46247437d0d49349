package main

import (
	"syscall"
	"time"
	"unsafe"
)

// threadTime is how long the calling thread has been running. The goroutine has to be locked to it. It is not of getrusage,
// which is told of the time that runs only with the scheduler's ticks.
func threadTime() time.Duration {
	const threadClock = 3 // CLOCK_THREAD_CPUTIME_ID
	var now syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, threadClock, uintptr(unsafe.Pointer(&now)), 0); errno != 0 {
		panic(errno) // there is no Linux without it
	}
	return time.Duration(now.Nano())
}
