package testenv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// ErrKilled is the end that Kill gives a VM. It wraps ErrTrap.
var ErrKilled = fmt.Errorf("%w: killed by the test", ErrTrap)

// Kill lets the VMs of a worker (from 1, or MainThread) die as of a trap. The test need not expect it.
func (h *Host) Kill(worker int) {
	h.t.Helper()
	h.lock()
	defer h.mu.Unlock()
	w := h.worker(h.t, worker)
	h.expected = append(h.expected, &expectation{sentinel: ErrKilled, optional: true})
	for _, s := range w.slots {
		if s.vm.dead == nil {
			s.vm.die(ErrKilled)
		}
	}
	h.loop.RunReady()
}

// worker ends the test t for a number that no worker has.
func (h *Host) worker(t testing.TB, number int) *Worker {
	t.Helper()
	switch {
	case number == MainThread && !h.opts.MainThread:
		t.Fatalf("testenv: there are no VMs on the main thread: set Options.MainThread")
	case number < 0 || number >= len(h.workers):
		t.Fatalf("testenv: no worker %d; there are 1 to %d", number, h.opts.Workers)
	}
	return h.workers[number]
}

// Replace is a change of configuration: every thread starts the new chain, then ends the old plugins, whose callouts are
// cancelled and whose open streams are reset. Metrics stay, and so do shared data and queues of each vm_id that the new
// chain has too. A chain that does not start ends the test.
func (h *Host) Replace(chain ...Plugin) {
	h.t.Helper()
	h.lock()
	defer h.mu.Unlock()
	old, before := h.workers, h.plugins
	h.plugins = chain
	if err := h.start(); err != nil {
		h.t.Fatalf("replace the filters: %v", err)
	}
	h.end(old)
	h.forget(before)
	h.loop.RunReady()
}

// forget deletes what the VMs shared of each vm_id that no plugin has any more.
func (h *Host) forget(before []Plugin) {
	for _, p := range before {
		if !slices.ContainsFunc(h.plugins, func(q Plugin) bool { return q.VMID == p.VMID }) {
			h.shared.deleteVMID(p.VMID)
			h.queues.deleteVMID(p.VMID)
		}
	}
}

func (h *Host) end(workers []*Worker) {
	h.t.Helper()
	for _, w := range workers {
		if w == nil {
			continue
		}
		if err := w.Close(context.Background()); err != nil {
			h.t.Errorf("testenv: %v", err)
		}
	}
}

func (h *Host) close() {
	h.lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	defer h.watch.stop()
	if n := len(h.open); n > 0 && !h.t.Failed() {
		h.t.Errorf("testenv: %d streams were still open at the end of the test", n)
	}
	h.end(h.workers)
	h.loop.Close()
	if unmet := h.unmet(); len(unmet) > 0 && !h.t.Failed() {
		h.t.Errorf("testenv: expected, and nothing of it came: %s", strings.Join(unmet, ", "))
	}
	if h.t.Failed() {
		h.t.Logf("testenv: %s", h.story())
	}
}
