//go:build !wasip1

package filter

import "unsafe"

// The filter runs on wasip1 alone. Elsewhere it compiles, for tools that read it, and there is no host.
const noHost int32 = 12

func hostHeaderPairs(int32, unsafe.Pointer, *int32) int32               { return noHost }
func hostHeaderValue(int32, *byte, int32, unsafe.Pointer, *int32) int32 { return noHost }
func hostProperty(*byte, int32, unsafe.Pointer, *int32) int32           { return noHost }
func hostSetProperty(*byte, int32, *byte, int32) int32                  { return noHost }
func hostAddHeader(int32, *byte, int32, *byte, int32) int32             { return noHost }
func hostRemoveHeader(int32, *byte, int32) int32                        { return noHost }
func hostIncrementMetric(int32, int64) int32                            { return noHost }
func hostClock(int32, int64, *uint64) int32                             { return noHost }
