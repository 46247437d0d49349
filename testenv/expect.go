package testenv

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// expectation is a sentinel that a test allows, and whether anything has wrapped it.
type expectation struct {
	sentinel error
	met      bool
	optional bool // the Host's own: it need not come
}

// Expect allows errors that wrap any of the sentinels, ErrTrap, ErrAbandoned, ErrUnimplemented, ErrMisuse and those that
// they wrap, from now on and any number of times. It also wants each of them: a sentinel that nothing has wrapped by the
// end of the test fails it. On Envoy 1.33 the stream whose step kills the VM, and those that come later, hang instead of
// getting an answer: a test of a trap there expects ErrAbandoned too.
func (h *Host) Expect(sentinels ...error) {
	h.lock()
	defer h.mu.Unlock()
	for _, s := range sentinels {
		h.expected = append(h.expected, &expectation{sentinel: s})
	}
}

// expects says whether the test allows the error, and notes that it came.
func (h *Host) expects(err error) bool {
	allowed := false
	for _, e := range h.expected {
		if errors.Is(err, e.sentinel) {
			e.met, allowed = true, true
		}
	}
	return allowed
}

// unmet are the sentinels that should have come, as text.
func (h *Host) unmet() []string {
	var texts []string
	for _, e := range h.expected {
		if text := fmt.Sprintf("%q", e.sentinel); !e.met && !e.optional && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// unless fails the test for an error that it did not expect. It may run inside the loop, with the lock held.
func (h *Host) unless(err error) {
	if err != nil && !h.expects(err) {
		h.test().Errorf("testenv: %v", err)
	}
}

// test is who hears of what goes wrong now: the test that waits for a stream, else the Host's own.
func (h *Host) test() testing.TB {
	if h.waiting != nil {
		return h.waiting
	}
	return h.t
}
