//go:build !linux

package main

import "time"

var threadBegan = time.Now()

// threadTime is the time that has passed: here threads are not told theirs.
func threadTime() time.Duration { return time.Since(threadBegan) }
