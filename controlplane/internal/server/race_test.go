//go:build race

package server_test

// slowed is how many times fewer random requests are made under the race detector: it makes each some ten times slower, and
// looks at how goroutines meet, not at what a server makes of its input. The tests without it make all of them.
const slowed = 20
