//go:build race

package store

import "flag"

// The race detector makes everything some ten times slower, and looks at how goroutines meet and not at what the ledger
// makes of random numbers: the tests without it draw all of them.
func init() {
	if err := flag.Set("rapid.checks", "10"); err != nil {
		panic(err)
	}
}
