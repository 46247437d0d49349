package testenv

import (
	"cmp"
	"context"
	"time"
)

// vmSlot is the place of one VM, filled again after its death as the plugins' policy allows.
type vmSlot struct {
	plugins []Plugin
	vm      *wasmVM
	loaded  time.Duration // monotonic time of the last start, successful or not
}

// load makes the VM, in which no plugin has started yet.
func (s *vmSlot) load(ctx context.Context, w *Worker) (*wasmVM, error) {
	s.loaded = w.opts.Monotonic()
	return w.newVM(ctx, s.plugins)
}

// reload makes a VM with all its plugins started. If that fails the old one stays.
func (s *vmSlot) reload(ctx context.Context, w *Worker) error {
	vm, err := s.load(ctx, w)
	if err != nil {
		return err
	}
	for _, p := range vm.plugins {
		if err := p.start(); err != nil {
			_ = vm.release(ctx) // the error that matters is the one being returned
			return err
		}
	}
	s.vm = vm
	return nil
}

// revive starts a new VM for a plugin whose VM has died, if its policy has it and it is time to: the backoff, drawn anew
// each time from one to one and a half times its base, counts from the last start (wasm.cc maybeReloadHandleIfNeeded). A
// VM that does not start leaves the dead one. Envoy starts the plugins of a VM again one by one, each with its own next
// stream; here they start together.
func (p *slotPlugin) revive(w *Worker) {
	s, plugin := p.slot, p.slot.plugins[p.index]
	if s.vm.dead == nil || plugin.FailurePolicy != FailReload {
		return
	}
	name, base := plugin.Name, cmp.Or(plugin.ReloadBackoff, w.opts.ReloadBackoff)
	if w.opts.Monotonic()-s.loaded < base+w.opts.jitter(base/2) {
		w.count(name, "vm_reload_backoff")
		return
	}
	old, ctx := s.vm, context.Background()
	if err := s.reload(ctx, w); err != nil {
		w.count(name, "vm_reload_failure")
		w.log(name, LevelError, "filter VM not restarted: "+err.Error())
		return
	}
	w.count(name, "vm_reload_success")
	w.log(name, LevelInfo, "filter VM restarted")
	if err := old.release(ctx); err != nil {
		w.log(name, LevelError, "dead filter VM not released: "+err.Error())
	}
}

// slotPlugin is a place in the filter chain.
type slotPlugin struct {
	slot  *vmSlot
	index int // of the plugin inside the VM
}

func (p *slotPlugin) current() *pluginContext { return p.slot.vm.plugins[p.index] }

// start starts the plugin, and its VM if it is the first one in it.
func (p *slotPlugin) start(ctx context.Context, w *Worker) (err error) {
	if p.slot.vm == nil {
		if p.slot.vm, err = p.slot.load(ctx, w); err != nil {
			return err
		}
	}
	return p.current().start()
}

// place adds a plugin to the chain, into a VM that it can share.
func (w *Worker) place(p Plugin) {
	for _, s := range w.slots {
		if s.plugins[0].sharesVM(p, w.opts.Profile) {
			w.chain = append(w.chain, &slotPlugin{slot: s, index: len(s.plugins)})
			s.plugins = append(s.plugins, p)
			return
		}
	}
	s := &vmSlot{plugins: []Plugin{p}}
	w.slots = append(w.slots, s)
	w.chain = append(w.chain, &slotPlugin{slot: s})
}
