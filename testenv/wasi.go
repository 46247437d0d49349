package testenv

import (
	"bytes"
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
	errnoNOTDIR  errno = 20
	errnoFAULT   errno = 21
	errnoINVAL   errno = 28
	errnoIO      errno = 29
	errnoNOENT   errno = 44
	errnoNOSYS   errno = 52
	errnoNOTSUP  errno = 58
)

// wasiCalls are the WASI functions of proxy-wasm-cpp-host at c4d7bb0, which Envoy 1.33 carries, followed by those that
// later releases offer to let modules load.
var wasiCalls = []hostcall{
	bind("args_get", "ii", (*wasmVM).argsGet),
	bind("args_sizes_get", "ii", (*wasmVM).argsSizesGet),
	bind("clock_time_get", "ili", (*wasmVM).clockTimeGet),
	bind("environ_get", "ii", (*wasmVM).environGet),
	bind("environ_sizes_get", "ii", (*wasmVM).environSizesGet),
	bind("fd_close", "i", (*wasmVM).fdClose),
	bind("fd_fdstat_get", "ii", (*wasmVM).fdFdstatGet),
	bind("fd_fdstat_set_flags", "ii", (*wasmVM).fdFdstatSetFlags),
	bind("fd_prestat_dir_name", "iii", (*wasmVM).fdPrestatDirName),
	bind("fd_prestat_get", "ii", (*wasmVM).fdPrestatGet),
	bind("fd_read", "iiii", (*wasmVM).fdRead),
	bind("fd_seek", "ilii", (*wasmVM).fdSeek),
	bind("fd_write", "iiii", (*wasmVM).fdWrite),
	bind("path_open", "iiiiillii", (*wasmVM).pathOpen),
	bind("poll_oneoff", "iiii", (*wasmVM).pollOneoff),
	withoutResult("proc_exit", "i", (*wasmVM).procExit),
	bind("random_get", "ii", (*wasmVM).randomGet),
	bind("sched_yield", "", (*wasmVM).schedYield),

	bind("clock_res_get", "ii", (*wasmVM).clockResGet),
	constant("fd_advise", "illi", errnoSuccess),
	logDescriptor("fd_allocate", "ill"),
	logDescriptor("fd_datasync", "i"),
	logDescriptor("fd_fdstat_set_rights", "ill"),
	constant("fd_filestat_get", "ii", errnoBADF),
	logDescriptor("fd_filestat_set_size", "il"),
	logDescriptor("fd_filestat_set_times", "illi"),
	constant("fd_pread", "iiili", errnoNOSYS),
	bind("fd_pwrite", "iiili", (*wasmVM).fdPwrite),
	constant("fd_readdir", "iiili", errnoNOTDIR),
	constant("fd_renumber", "ii", errnoNOTSUP),
	logDescriptor("fd_sync", "i"),
	bind("fd_tell", "ii", (*wasmVM).fdTell),
	constant("path_create_directory", "iii", errnoNOTSUP),
	constant("path_filestat_get", "iiiii", errnoNOTSUP),
	constant("path_filestat_set_times", "iiiilli", errnoNOTSUP),
	constant("path_link", "iiiiiii", errnoNOTSUP),
	constant("path_readlink", "iiiiii", errnoNOTSUP),
	constant("path_remove_directory", "iii", errnoNOTSUP),
	constant("path_rename", "iiiiii", errnoNOTSUP),
	constant("path_symlink", "iiiii", errnoNOTSUP),
	constant("path_unlink_file", "iii", errnoNOTSUP),
	constant("sock_accept", "iii", errnoNOTSUP),
	constant("sock_recv", "iiiiii", errnoNOTSUP),
	constant("sock_send", "iiiii", errnoNOTSUP),
	constant("sock_shutdown", "ii", errnoNOTSUP),
}

// constant is a function that only answers.
func constant(name, sig string, answer errno) hostcall {
	return bind(name, sig, func(*wasmVM, params) errno { return answer })
}

// logDescriptor is a function that succeeds on the two descriptors that lead to the log and does nothing.
func logDescriptor(name, sig string) hostcall { return bind(name, sig, (*wasmVM).onLogDescriptor) }

func (vm *wasmVM) onLogDescriptor(p params) errno {
	if fd := p.u32(0); fd != 1 && fd != 2 {
		return errnoBADF
	}
	return errnoSuccess
}

// clockResGet answers a nanosecond for the two clocks there are.
func (vm *wasmVM) clockResGet(p params) errno {
	if p.u32(0) > 1 {
		return errnoNOTSUP
	}
	if !vm.memory().WriteUint64Le(p.u32(1), 1) {
		return errnoFAULT
	}
	return errnoSuccess
}

func (vm *wasmVM) fdTell(p params) errno {
	if e := vm.onLogDescriptor(p); e != errnoSuccess {
		return e
	}
	if !vm.memory().WriteUint64Le(p.u32(1), 0) {
		return errnoFAULT
	}
	return errnoSuccess
}

// fdPwrite is fd_write: a log has no offsets.
func (vm *wasmVM) fdPwrite(p params) errno {
	return vm.fdWrite(params{p[0], p[1], p[2], p[4]})
}

func (vm *wasmVM) argsGet(params) errno { return errnoSuccess }

func (vm *wasmVM) argsSizesGet(p params) errno { return vm.wasiPair(p, 0, 0) }

// wasiPair stores two sizes where the first two parameters point.
func (vm *wasmVM) wasiPair(p params, a, b uint32) errno {
	if !vm.memory().WriteUint32Le(p.u32(0), a) || !vm.memory().WriteUint32Le(p.u32(1), b) {
		return errnoFAULT
	}
	return errnoSuccess
}

// clockTimeGet answers the wall clock (0) and the monotonic clock (1).
func (vm *wasmVM) clockTimeGet(p params) errno {
	var ns uint64
	switch p.u32(0) {
	case 0:
		ns = uint64(vm.w.opts.Now().UnixNano())
	case 1:
		ns = uint64(vm.w.opts.Monotonic().Nanoseconds())
	default:
		return errnoNOTSUP
	}
	if !vm.memory().WriteUint64Le(p.u32(2), ns) {
		return errnoFAULT
	}
	return errnoSuccess
}

// environ lists the environment in a stable order.
func (vm *wasmVM) environ() []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(vm.plugins[0].Env)) {
		list = append(list, k+"="+vm.plugins[0].Env[k]+"\x00")
	}
	return list
}

func (vm *wasmVM) environSizesGet(p params) errno {
	list := vm.environ()
	return vm.wasiPair(p, uint32(len(list)), uint32(len(strings.Join(list, ""))))
}

func (vm *wasmVM) environGet(p params) errno {
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

func (vm *wasmVM) fdClose(params) errno { return errnoSuccess }

// fdFdstatGet knows the two descriptors that lead to the log, open for writing.
func (vm *wasmVM) fdFdstatGet(p params) errno {
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

func (vm *wasmVM) fdFdstatSetFlags(params) errno { return errnoNOSYS }

func (vm *wasmVM) fdPrestatGet(params) errno { return errnoBADF }

func (vm *wasmVM) fdPrestatDirName(params) errno { return errnoNOSYS }

func (vm *wasmVM) fdRead(params) errno { return errnoNOSYS }

func (vm *wasmVM) fdSeek(params) errno { return errnoSuccess }

func (vm *wasmVM) pathOpen(params) errno { return errnoNOENT }

// fdWrite sends standard output to the log at info and standard error at error, in whole lines: Go's runtime writes a line
// in many pieces. What has no newline yet waits until the guest returns.
func (vm *wasmVM) fdWrite(p params) errno {
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
	vm.noteStart(string(text))
	vm.written(level, text)
	if !vm.memory().WriteUint32Le(p.u32(3), uint32(len(text))) {
		return errnoFAULT
	}
	return errnoSuccess
}

// written adds to a descriptor's text and logs what of it is whole lines, as one message.
func (vm *wasmVM) written(level Level, text []byte) {
	pending := append(vm.pending[level], text...)
	if end := bytes.LastIndexByte(pending, '\n'); end >= 0 {
		vm.log(level, string(pending[:end]))
		pending = append(pending[:0], pending[end+1:]...)
	}
	vm.pending[level] = pending
}

// flush logs what was written without a newline at its end.
func (vm *wasmVM) flush() {
	for _, level := range []Level{LevelInfo, LevelError} {
		if text := vm.pending[level]; len(text) > 0 {
			vm.pending[level] = nil
			vm.log(level, string(text))
		}
	}
}

// maxPolls is how often a guest may poll in one callback while time stands still. Go's runtime polls a few times for a
// collection, and again and again while a goroutine sleeps.
const maxPolls = 100_000

// pollOneoff answers as the profile says. It never waits: waiting would stop an Envoy
// worker too.
func (vm *wasmVM) pollOneoff(p params) errno {
	if vm.polls++; vm.polls > maxPolls && vm.w.opts.watch != nil {
		panic(errTimeStands)
	}
	in, out, count, events := p.u32(0), p.u32(1), p.u32(2), p.u32(3)
	switch vm.w.opts.Profile.PollOneoff {
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

func (vm *wasmVM) procExit(p params) errno {
	panic(fmt.Errorf("proc_exit(%d)", p.u32(0)))
}

// maxRandom is the most bytes that one random_get may ask for.
const maxRandom = 64 << 10

func (vm *wasmVM) randomGet(p params) errno {
	if p.u32(1) > maxRandom {
		return errnoINVAL
	}
	buf, ok := vm.memory().Read(p.u32(0), p.u32(1))
	if !ok {
		return errnoFAULT
	}
	source := vm.w.opts.Rand
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

func (vm *wasmVM) schedYield(params) errno { return errnoSuccess }
