package testenv

import (
	"fmt"
	"sync"
	"testing"
)

// faultLog stands in for the test that a Host would fail.
type faultLog struct {
	testing.TB
	mu   sync.Mutex
	list []string
}

func (f *faultLog) Helper() {}

func (f *faultLog) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (f *faultLog) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list
}

// fatalTB stands in for a test that is to end.
type fatalTB struct {
	testing.TB
	text string
}

func (f *fatalTB) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(f.text)
}
