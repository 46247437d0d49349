package testenv

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// errno is the result of a WASI function.
type errno uint32

const (
	errnoSuccess errno = 0
	errnoBADF    errno = 8
	errnoFAULT   errno = 21
	errnoIO      errno = 29
	errnoNOENT   errno = 44
	errnoNOSYS   errno = 52
	errnoNOTSUP  errno = 58
)

// wasiCalls are the WASI functions of proxy-wasm-cpp-host at c4d7bb0, which Envoy 1.33 carries,
// and no others. All may be called while the module starts.
var wasiCalls = []hostcall{
	bind("args_get", "ii", (*VM).argsGet).whileStarting(),
	bind("args_sizes_get", "ii", (*VM).argsSizesGet).whileStarting(),
	bind("clock_time_get", "ili", (*VM).clockTimeGet).whileAllocating(),
	bind("environ_get", "ii", (*VM).environGet).whileStarting(),
	bind("environ_sizes_get", "ii", (*VM).environSizesGet).whileStarting(),
	bind("fd_close", "i", (*VM).fdClose).whileStarting(),
	bind("fd_fdstat_get", "ii", (*VM).fdFdstatGet).whileStarting(),
	bind("fd_fdstat_set_flags", "ii", (*VM).fdFdstatSetFlags).whileStarting(),
	bind("fd_prestat_dir_name", "iii", (*VM).fdPrestatDirName).whileStarting(),
	bind("fd_prestat_get", "ii", (*VM).fdPrestatGet).whileStarting(),
	bind("fd_read", "iiii", (*VM).fdRead).whileStarting(),
	bind("fd_seek", "ilii", (*VM).fdSeek).whileStarting(),
	bind("fd_write", "iiii", (*VM).fdWrite).whileAllocating(),
	bind("path_open", "iiiiillii", (*VM).pathOpen).whileStarting(),
	bind("poll_oneoff", "iiii", (*VM).pollOneoff).whileStarting(),
	exitCall("proc_exit", "i", (*VM).procExit),
	bind("random_get", "ii", (*VM).randomGet).whileStarting(),
	bind("sched_yield", "", (*VM).schedYield).whileStarting(),
}

func exitCall(name, sig string, method func(*VM, params) errno) hostcall {
	h := bind(name, sig, method).whileStarting()
	h.void = true
	return h
}

func (vm *VM) argsGet(params) errno { return errnoSuccess }

func (vm *VM) argsSizesGet(p params) errno { return vm.wasiPair(p, 0, 0) }

// wasiPair stores two sizes where the first two parameters point.
func (vm *VM) wasiPair(p params, a, b uint32) errno {
	if !vm.memory().WriteUint32Le(p.u32(0), a) || !vm.memory().WriteUint32Le(p.u32(1), b) {
		return errnoFAULT
	}
	return errnoSuccess
}

// clockTimeGet answers the wall clock (0) and the monotonic clock (1).
func (vm *VM) clockTimeGet(p params) errno {
	var ns uint64
	switch p.u32(0) {
	case 0:
		ns = uint64(vm.opts.Now().UnixNano())
	case 1:
		ns = uint64(vm.opts.Monotonic().Nanoseconds())
	default:
		return errnoNOTSUP
	}
	if !vm.memory().WriteUint64Le(p.u32(2), ns) {
		return errnoFAULT
	}
	return errnoSuccess
}

// environ lists the environment in a stable order.
func (vm *VM) environ() []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(vm.opts.Env)) {
		list = append(list, k+"="+vm.opts.Env[k]+"\x00")
	}
	return list
}

func (vm *VM) environSizesGet(p params) errno {
	list := vm.environ()
	return vm.wasiPair(p, uint32(len(list)), uint32(len(strings.Join(list, ""))))
}

func (vm *VM) environGet(p params) errno {
	array, at := p.u32(0), p.u32(1)
	for _, entry := range vm.environ() {
		if !vm.memory().WriteUint32Le(array, at) || !vm.memory().WriteString(at, entry) {
			return errnoFAULT
		}
		array += 4
		at += uint32(len(entry))
	}
	return errnoSuccess
}

func (vm *VM) fdClose(params) errno { return errnoSuccess }

// fdFdstatGet knows the two descriptors that lead to the log, open for writing.
func (vm *VM) fdFdstatGet(p params) errno {
	if fd := p.u32(0); fd != 1 && fd != 2 {
		return errnoBADF
	}
	var stat [24]byte
	const rightsFDWrite = 64
	binary.LittleEndian.PutUint64(stat[8:], rightsFDWrite)
	if !vm.memory().Write(p.u32(1), stat[:]) {
		return errnoFAULT
	}
	return errnoSuccess
}

func (vm *VM) fdFdstatSetFlags(params) errno { return errnoNOSYS }

func (vm *VM) fdPrestatGet(params) errno { return errnoBADF }

func (vm *VM) fdPrestatDirName(params) errno { return errnoNOTSUP }

func (vm *VM) fdRead(params) errno { return errnoNOSYS }

func (vm *VM) fdSeek(params) errno { return errnoSuccess }

func (vm *VM) pathOpen(params) errno { return errnoNOENT }

// fdWrite sends standard output to the log at info and standard error at error, one message per
// call, without its last newline.
func (vm *VM) fdWrite(p params) errno {
	level := LevelInfo
	switch p.u32(0) {
	case 1:
	case 2:
		level = LevelError
	default:
		return errnoBADF
	}
	var text []byte
	for i := range p.u32(2) {
		iov, ok := vm.memory().Read(p.u32(1)+8*i, 8)
		if !ok {
			return errnoFAULT
		}
		part, ok := vm.memory().Read(binary.LittleEndian.Uint32(iov), binary.LittleEndian.Uint32(iov[4:]))
		if !ok {
			return errnoFAULT
		}
		text = append(text, part...)
	}
	if len(text) > 0 {
		vm.noteStart(string(text))
		vm.log(level, strings.TrimSuffix(string(text), "\n"))
	}
	if !vm.memory().WriteUint32Le(p.u32(3), uint32(len(text))) {
		return errnoFAULT
	}
	return errnoSuccess
}

// pollOneoff answers as Options.PollOneoff says. It never waits: waiting would stop an Envoy
// worker too.
func (vm *VM) pollOneoff(p params) errno {
	in, out, count, events := p.u32(0), p.u32(1), p.u32(2), p.u32(3)
	switch vm.opts.PollOneoff {
	case PollENOSYS:
		return errnoNOSYS
	case PollZero:
		count = 0
	}
	const subscriptionSize, eventSize = 48, 32
	for i := range count {
		sub, ok := vm.memory().Read(in+i*subscriptionSize, subscriptionSize)
		if !ok {
			return errnoFAULT
		}
		var event [eventSize]byte
		copy(event[:8], sub[:8])
		event[10] = sub[8]
		if !vm.memory().Write(out+i*eventSize, event[:]) {
			return errnoFAULT
		}
	}
	if !vm.memory().WriteUint32Le(events, count) {
		return errnoFAULT
	}
	return errnoSuccess
}

func (vm *VM) procExit(p params) errno {
	panic(fmt.Errorf("proc_exit(%d)", p.u32(0)))
}

func (vm *VM) randomGet(p params) errno {
	buf, ok := vm.memory().Read(p.u32(0), p.u32(1))
	if !ok {
		return errnoFAULT
	}
	source := vm.opts.Rand
	if source == nil {
		source = rand.Reader
	}
	for len(buf) > 0 {
		n, err := source.Read(buf)
		if err != nil && n == 0 {
			return errnoIO
		}
		buf = buf[n:]
	}
	return errnoSuccess
}

func (vm *VM) schedYield(params) errno { return errnoSuccess }
