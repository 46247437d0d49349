package testenv

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// standIn is a test that a Host may fail. Its Fatalf and FailNow end the goroutine, as a test's do.
type standIn struct {
	testing.TB
	mu       sync.Mutex
	failed   bool
	errors   []string
	logs     []string
	cleanups []func()
	panicked any
}

// stand runs f as such a test would, its cleanups too, and returns what became of it.
func stand(t *testing.T, f func(s *standIn)) *standIn {
	t.Helper()
	s := &standIn{TB: t}
	s.run(func() { f(s) })
	for _, cleanup := range slices.Backward(s.cleanups) {
		s.run(cleanup)
	}
	return s
}

func (s *standIn) run(f func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if v := recover(); v != nil {
				s.panicked, s.failed = v, true
			}
		}()
		f()
	}()
	<-ended
}

func (s *standIn) Helper() {}

func (s *standIn) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
	s.errors = append(s.errors, fmt.Sprintf(format, args...))
}

func (s *standIn) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	runtime.Goexit()
}

func (s *standIn) FailNow() {
	s.failed = true
	runtime.Goexit()
}

func (s *standIn) Logf(format string, args ...any) {
	s.logs = append(s.logs, fmt.Sprintf(format, args...))
}
func (s *standIn) Failed() bool     { return s.failed }
func (s *standIn) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

// told is every error.
func (s *standIn) told() string { return strings.Join(s.errors, "\n") }
