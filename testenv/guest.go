package testenv

import (
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero/api"
)

// The functions of this file need the worker's lock.

// vmID separates what VMs share.
func (vm *wasmVM) vmID() string { return vm.plugins[0].VMID }

// call enters the guest on behalf of a context and runs, after it, what hostcalls deferred. The
// result is 0 for a missing export and after the VM died, and actionStopIteration when a local
// response was sent, whatever the guest returned.
func (vm *wasmVM) call(cb callback, contextID uint32, args ...uint64) uint64 {
	result, _ := vm.enter(cb, contextID, args)
	return result
}

// ask is call for a callback that answers yes or no; a missing export says yes.
func (vm *wasmVM) ask(cb callback, contextID uint32, args ...uint64) bool {
	result, called := vm.enter(cb, contextID, args)
	return !called || result != 0
}

func (vm *wasmVM) enter(cb callback, contextID uint32, args []uint64) (uint64, bool) {
	fn := vm.callbacks[cb]
	if fn == nil || vm.dead != nil || vm.closed {
		return 0, false
	}
	vm.w.opts.record.entered(vm, cb, contextID, args)
	current, effective := vm.current, vm.effective
	vm.current, vm.effective = contextID, 0
	stack := append(append(vm.stack[:0], uint64(contextID)), args...)
	err := vm.callWithStack(fn, callbackExports[cb], stack)
	vm.flush()
	vm.current, vm.effective = current, effective
	if err != nil {
		name := vm.pluginOf(contextID).label()
		vm.die(fmt.Errorf("%w: in %s of %s%s: %w", ErrTrap, callbackExports[cb], name, vm.lostText(), err))
		if x, ok := vm.contexts[contextID]; ok {
			x.fail()
		}
		return 0, false
	}
	var result uint64
	if vm.answers[cb] {
		result = uint64(uint32(stack[0]))
	}
	vm.w.opts.record.left(vm, cb, contextID, result)
	if vm.stopIteration {
		vm.stopIteration = false
		result = actionStopIteration
	}
	vm.runDeferred()
	return result, true
}

// callWithStack is run for a callback.
func (vm *wasmVM) callWithStack(fn api.Function, export string, stack []uint64) error {
	vm.polls, vm.running = 0, export
	vm.w.opts.watch.enter(vm.plugins[0].label(), export, 0)
	defer vm.w.opts.watch.leave()
	return fn.CallWithStack(vm.ctx, stack)
}

// run lets the guest run an export, under the eyes of the watchdog.
func (vm *wasmVM) run(export string, enter func() error) error {
	vm.polls, vm.running = 0, export
	vm.w.opts.watch.enter(vm.plugins[0].label(), export, 0)
	defer vm.w.opts.watch.leave()
	return enter()
}

// lostText is what to add to the trap of a guest that was answered ENOSYS by poll_oneoff: Go's runtime polls before it
// prints a panic, and throws instead.
func (vm *wasmVM) lostText() string {
	if vm.polls == 0 || vm.w.opts.Profile.PollOneoff != PollENOSYS {
		return ""
	}
	return ", after poll_oneoff was answered ENOSYS (a Go panic loses its text on Envoy 1.33: run under Envoy140 to see it)"
}

func (vm *wasmVM) runDeferred() {
	for len(vm.deferred) > 0 {
		action := vm.deferred[0]
		vm.deferred = slices.Delete(vm.deferred, 0, 1)
		action()
	}
}

// die marks the VM dead: no guest code of it runs again. Streams that it holds hear nothing; what comes to them next fails
// them.
func (vm *wasmVM) die(err error) {
	if vm.dead != nil {
		return
	}
	vm.dead = err
	vm.deferred, vm.stopIteration = nil, false
	vm.cancelCallouts()
	vm.w.opts.SharedQueues.forget(vm)
	vm.w.opts.record.died(vm, err)
	if vm.w.opts.OnDeath != nil {
		vm.w.opts.OnDeath(err)
	}
}

// acting is the id of the context that hostcalls act on: the effective one if the guest set one that still lives, else
// the one being called.
func (vm *wasmVM) acting() uint32 {
	if vm.effective != 0 {
		if _, open := vm.contexts[vm.effective]; open || vm.plugin(vm.effective) != nil {
			return vm.effective
		}
	}
	return vm.current
}

// currentContext is the stream's context that hostcalls act on, nil for a root context.
func (vm *wasmVM) currentContext() *httpContext { return vm.contexts[vm.acting()] }

// currentPlugin is the plugin that hostcalls act for; the VM's first for the VM's own context.
func (vm *wasmVM) currentPlugin() *pluginContext { return vm.pluginOf(vm.acting()) }

// pluginOf is the plugin that a context belongs to, the VM's first for an id that no context has.
func (vm *wasmVM) pluginOf(id uint32) *pluginContext {
	if x, ok := vm.contexts[id]; ok {
		return x.plugin
	}
	if p := vm.plugin(id); p != nil {
		return p
	}
	return vm.plugins[0]
}

// alloc asks the guest's allocator for size bytes, which must not be 0: the SDK panics on it, and
// Envoy never asks. A failing allocator unwinds the guest.
func (vm *wasmVM) alloc(size uint32) (uint32, []byte) {
	before, current, effective := vm.phase, vm.current, vm.effective
	vm.phase, vm.current, vm.effective = phaseAlloc, 0, 0
	vm.allocated[0] = uint64(size)
	err := vm.malloc.CallWithStack(vm.ctx, vm.allocated[:])
	vm.phase, vm.current, vm.effective = before, current, effective
	if err != nil {
		panic(fmt.Errorf("allocate %d bytes in the guest: %w", size, err))
	}
	ptr := uint32(vm.allocated[0])
	if ptr == 0 {
		return 0, nil
	}
	buf, ok := vm.module.Memory().Read(ptr, size)
	if !ok {
		return 0, nil
	}
	return ptr, buf
}

// giveBytes copies data into the guest and stores its address and length where the guest asked.
// Nothing is allocated for no data: the address is then 0.
func (vm *wasmVM) giveBytes(data []byte, ptrOut, sizeOut uint32) status {
	return vm.give(len(data), ptrOut, sizeOut, func(buf []byte) { copy(buf, data) })
}

func (vm *wasmVM) giveString(data string, ptrOut, sizeOut uint32) status {
	return vm.give(len(data), ptrOut, sizeOut, func(buf []byte) { copy(buf, data) })
}

func (vm *wasmVM) give(size int, ptrOut, sizeOut uint32, fill func([]byte)) status {
	var ptr uint32
	if size > 0 {
		var buf []byte
		if ptr, buf = vm.alloc(uint32(size)); buf == nil {
			return statusInvalidMemoryAccess
		}
		fill(buf)
	}
	if !vm.memory().WriteUint32Le(ptrOut, ptr) || !vm.memory().WriteUint32Le(sizeOut, uint32(size)) {
		return statusInvalidMemoryAccess
	}
	return statusOK
}

func (vm *wasmVM) giveUint32(v, out uint32) status {
	if !vm.memory().WriteUint32Le(out, v) {
		return statusInvalidMemoryAccess
	}
	return statusOK
}

func (vm *wasmVM) giveUint64(v uint64, out uint32) status {
	if !vm.memory().WriteUint64Le(out, v) {
		return statusInvalidMemoryAccess
	}
	return statusOK
}

func (vm *wasmVM) memory() api.Memory { return vm.module.Memory() }

// log hands a message to the owner of the worker.
func (vm *wasmVM) log(level Level, message string) {
	p := vm.currentPlugin()
	vm.w.opts.record.logged(vm, level, message)
	vm.w.log(p.Name, level, message)
}

// unimplemented reports a hostcall this host lacks and is its answer.
func (vm *wasmVM) unimplemented(name string) status {
	vm.w.fault(vm.actingName(), fmt.Errorf("%w: %s", ErrUnimplemented, name))
	return statusUnimplemented
}

// yield may let other workers run: the caller is about to touch what they share.
func (vm *wasmVM) yield() {
	if vm.w.opts.yield != nil {
		vm.w.opts.watch.leave()
		vm.w.opts.yield()
		vm.w.opts.watch.enter(vm.plugins[0].label(), vm.running, 0)
	}
}
