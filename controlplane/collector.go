package main

import (
	"os"
	"runtime/debug"
)

// garbagePercent is how much garbage a server lets lie before it collects, in percent of what is in use. In use is little,
// keys and wallets that are remembered, so that at Go's default of 100 collections take a fourteenth of an acquire's time.
const garbagePercent = 400

// tuneCollector leaves the collector alone if the operator has set it.
func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}
