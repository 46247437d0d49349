package main

import (
	"runtime/debug"
	"testing"
)

func TestTuneCollector(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	for _, tt := range []struct {
		gogc string
		want int
	}{{"", garbagePercent}, {"100", 100}, {"off", 100}} {
		t.Setenv("GOGC", tt.gogc)
		tuneCollector()
		if got := debug.SetGCPercent(100); got != tt.want {
			t.Errorf("GOGC=%q: %d %%, want %d", tt.gogc, got, tt.want)
		}
	}
}
