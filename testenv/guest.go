package testenv

import (
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero/api"
)

// The functions of this file need the VM's lock.

// call enters the guest on behalf of a context and runs, after it, what hostcalls deferred. The
// result is 0 for a missing export and after the VM died, and actionStopIteration when a local
// response was sent, whatever the guest returned.
func (vm *VM) call(cb callback, contextID uint32, args ...uint64) uint64 {
	result, _ := vm.enter(cb, contextID, args)
	return result
}

// ask is call for a callback that answers yes or no; a missing export says yes.
func (vm *VM) ask(cb callback, contextID uint32, args ...uint64) bool {
	result, called := vm.enter(cb, contextID, args)
	return !called || result != 0
}

func (vm *VM) enter(cb callback, contextID uint32, args []uint64) (uint64, bool) {
	fn := vm.callbacks[cb]
	if fn == nil || vm.dead != nil || vm.closed {
		return 0, false
	}
	current, effective := vm.current, vm.effective
	vm.current, vm.effective = contextID, 0
	stack := append(append(vm.stack[:0], uint64(contextID)), args...)
	err := fn.CallWithStack(vm.ctx, stack)
	vm.current, vm.effective = current, effective
	if err != nil {
		vm.die(fmt.Errorf("%w: in %s: %w", ErrTrap, callbackExports[cb], err))
		return 0, false
	}
	result := uint64(uint32(stack[0]))
	if len(fn.Definition().ResultTypes()) == 0 {
		result = 0
	}
	if vm.stopIteration {
		vm.stopIteration = false
		result = actionStopIteration
	}
	vm.runDeferred()
	return result, true
}

func (vm *VM) runDeferred() {
	for len(vm.deferred) > 0 {
		action := vm.deferred[0]
		vm.deferred = slices.Delete(vm.deferred, 0, 1)
		action()
	}
}

// die marks the VM dead and answers 503 on every stream, as Envoy does when it fails closed.
func (vm *VM) die(err error) {
	if vm.dead != nil {
		return
	}
	vm.dead = err
	vm.deferred, vm.stopIteration = nil, false
	vm.cancelCallouts()
	for _, s := range vm.streams {
		s.failClosed()
	}
}

// currentStream is the stream that hostcalls act on: of the effective context if the guest set
// one that still lives, else of the context being called. It is nil for the root context.
func (vm *VM) currentStream() *Stream {
	if vm.effective == rootContextID {
		return nil
	}
	if vm.effective != 0 {
		if s, ok := vm.streams[vm.effective]; ok {
			return s
		}
	}
	return vm.streams[vm.current]
}

// alloc asks the guest's allocator for size bytes, which must not be 0: the SDK panics on it, and
// Envoy never asks. A failing allocator unwinds the guest.
func (vm *VM) alloc(size uint32) (uint32, []byte) {
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
func (vm *VM) giveBytes(data []byte, ptrOut, sizeOut uint32) status {
	return vm.give(len(data), ptrOut, sizeOut, func(buf []byte) { copy(buf, data) })
}

func (vm *VM) giveString(data string, ptrOut, sizeOut uint32) status {
	return vm.give(len(data), ptrOut, sizeOut, func(buf []byte) { copy(buf, data) })
}

func (vm *VM) give(size int, ptrOut, sizeOut uint32, fill func([]byte)) status {
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

func (vm *VM) giveUint32(v, out uint32) status {
	if !vm.memory().WriteUint32Le(out, v) {
		return statusInvalidMemoryAccess
	}
	return statusOK
}

func (vm *VM) giveUint64(v uint64, out uint32) status {
	if !vm.memory().WriteUint64Le(out, v) {
		return statusInvalidMemoryAccess
	}
	return statusOK
}

func (vm *VM) memory() api.Memory { return vm.module.Memory() }

// log hands a message to the owner of the VM.
func (vm *VM) log(level Level, message string) {
	vm.opts.record.logged(vm.currentStream(), level, message)
	if vm.opts.Log != nil {
		vm.opts.Log(level, message)
	}
}

// fault reports what a filter must not do and this host survives.
func (vm *VM) fault(err error) {
	if vm.opts.OnFault != nil {
		vm.opts.OnFault(err)
	}
}

// unimplemented reports a hostcall this host lacks and is its answer.
func (vm *VM) unimplemented(name string) status {
	vm.fault(fmt.Errorf("%w: %s", ErrUnimplemented, name))
	return statusUnimplemented
}
