package main

import (
	"syscall"
	"time"
)

// threadTime is how long the calling thread has been running. The goroutine has to be locked to it.
func threadTime() time.Duration {
	const ofThread = 1 // RUSAGE_THREAD
	var used syscall.Rusage
	if err := syscall.Getrusage(ofThread, &used); err != nil {
		panic(err) // the kernel knows it since 2.6.26
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
