package testenv

// The methods of this file are the hostcalls of shared queues.

func (vm *wasmVM) proxyRegisterSharedQueue(p params) status {
	name, ok := vm.read(p, 0)
	if !ok {
		return statusInvalidMemoryAccess
	}
	key := string(name)
	vm.yield()
	plugin := vm.currentPlugin()
	token := vm.w.opts.SharedQueues.register(vm.vmID(), key, vm, func(token uint32) {
		vm.w.aside(func() { vm.call(onQueueReady, plugin.id, uint64(token)) })
	})
	return vm.giveUint32(token, p.u32(2))
}

// proxyResolveSharedQueue looks in the VM's own vm_id when the guest names none.
func (vm *wasmVM) proxyResolveSharedQueue(p params) status {
	vmID, ok := vm.read(p, 0)
	name, ok2 := vm.read(p, 2)
	if !ok || !ok2 {
		return statusInvalidMemoryAccess
	}
	owner, key := string(vmID), string(name)
	if owner == "" {
		owner = vm.vmID()
	}
	vm.yield()
	token, st := vm.w.opts.SharedQueues.resolve(owner, key)
	if st != statusOK {
		return st
	}
	return vm.giveUint32(token, p.u32(4))
}

func (vm *wasmVM) proxyEnqueueSharedQueue(p params) status {
	value, ok := vm.read(p, 1)
	if !ok {
		return statusInvalidMemoryAccess
	}
	data := string(value)
	vm.yield()
	return vm.w.opts.SharedQueues.enqueue(p.u32(0), data)
}

func (vm *wasmVM) proxyDequeueSharedQueue(p params) status {
	vm.yield()
	value, st := vm.w.opts.SharedQueues.dequeue(p.u32(0))
	if st != statusOK {
		return st
	}
	return vm.giveString(value, p.u32(1), p.u32(2))
}
