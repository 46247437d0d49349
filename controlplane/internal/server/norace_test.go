//go:build !race

package server_test

const slowed = 1
