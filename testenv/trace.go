package testenv

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// traceLine is one thing that happened at the border between host and guest.
type traceLine struct {
	at     time.Duration
	thread int
	where  string // plugin and context
	text   string
}

func (l traceLine) String() string {
	thread := "w" + strconv.Itoa(l.thread)
	switch l.thread {
	case MainThread:
		thread = "main"
	case CanaryThread:
		thread = "canary"
	}
	return fmt.Sprintf("%s %s %s %s", l.at, thread, l.where, l.text)
}

// traceLines is how many lines a host remembers.
const traceLines = 512

// traceRing holds the newest lines. It is safe for concurrent use: a watchdog reads what a guest is still writing.
type traceRing struct {
	mu    sync.Mutex
	lines []traceLine
	next  int
}

func (r *traceRing) add(l traceLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < traceLines {
		r.lines = append(r.lines, l)
		return
	}
	r.lines[r.next] = l
	r.next = (r.next + 1) % traceLines
}

// String lists the lines, oldest first.
func (r *traceRing) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for i := range r.lines {
		b.WriteString("\t" + r.lines[(r.next+i)%len(r.lines)].String() + "\n")
	}
	return b.String()
}

// called notes a hostcall. Names are shown, values only by their length: they may be secrets.
func (r *recorder) called(vm *wasmVM, h *hostcall, args []uint64, result uint64) {
	if r == nil {
		return
	}
	line := append(append(r.line[:0], "  "...), strings.TrimPrefix(h.name, "proxy_")...)
	separator := "("
	for i, kind := range []byte(h.sig) {
		if kind == 'i' {
			continue
		}
		line = append(line, separator...)
		separator = ", "
		switch kind {
		case 'd':
			line = strconv.AppendInt(line, int64(int32(args[i])), 10)
		case 'l':
			line = strconv.AppendInt(line, int64(args[i]), 10)
		case 'n':
			name, _ := vm.memory().Read(uint32(args[i]), uint32(args[i+1]))
			line = strconv.AppendQuote(line, string(name))
		case 'v':
			line = append(strconv.AppendUint(line, uint64(uint32(args[i+1])), 10), " bytes"...)
		}
	}
	if separator != "(" {
		line = append(line, ')')
	}
	if !h.void {
		line = append(append(line, " = "...), status(result).String()...)
	}
	r.line = line
	r.note(vm.w.opts.thread, vm.actingName(), string(line))
}

// statusNames are proxy-wasm's WasmResult.
var statusNames = map[status]string{
	statusOK: "Ok", statusNotFound: "NotFound", statusBadArgument: "BadArgument",
	statusInvalidMemoryAccess: "InvalidMemoryAccess", statusEmpty: "Empty", statusCASMismatch: "CasMismatch",
	statusInternalFailure: "InternalFailure", statusBrokenConnection: "BrokenConnection",
	statusUnimplemented: "Unimplemented",
}

// String names the status as proxy-wasm's WasmResult does.
func (s status) String() string {
	if name, ok := statusNames[s]; ok {
		return name
	}
	return strconv.FormatUint(uint64(s), 10)
}
