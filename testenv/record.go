package testenv

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Threads that are no worker's, in the records of a Host.
const (
	// MainThread is the number of Envoy's main thread, which holds VMs that tick and serve no streams.
	MainThread = 0
	// CanaryThread is the number under which the VMs are recorded that Envoy starts and ends to try a configuration.
	CanaryThread = -1
)

// CalloutRecord is one callout that a filter sent. Status is what its callback saw: 0 while the answer is outstanding,
// for a reset and for a callout that was cancelled.
type CalloutRecord struct {
	// Worker is the number of the worker that sent it, from 1, or MainThread or CanaryThread.
	Worker  int
	Plugin  string
	Cluster string
	Headers []Header
	Body    []byte
	Status  int
	// Sent is the monotonic time of the call.
	Sent time.Duration
	// Answered is set once the callback has run.
	Answered bool
}

// Header returns the first value of a request header, "" when there is none. The name is to be lower case.
func (c CalloutRecord) Header(name string) string { return firstHeader(c.Headers, name) }

// String is the callout as Want.Callouts has it: cluster, method, path, status.
func (c CalloutRecord) String() string {
	return fmt.Sprintf("%s %s %s %d", c.Cluster, c.Header(":method"), c.Header(":path"), c.Status)
}

// LogRecord is one message that a filter logged.
type LogRecord struct {
	Worker  int // as in CalloutRecord
	Plugin  string
	Level   Level
	Message string
}

// String is level and message.
func (l LogRecord) String() string { return l.Level.String() + ": " + l.Message }

// recorder keeps what a Host shows to tests. A nil recorder, that of a worker made without a Host, keeps nothing. It is
// not safe for concurrent use: one event at a time writes to it.
type recorder struct {
	now        func() time.Duration
	transcript io.Writer // gets every line as it is noted; may be nil
	callouts   []*CalloutRecord
	logs       []LogRecord
	trace      traceRing
	line       []byte // where a line is put together
}

// streamRecord is the part of a record that belongs to one stream.
type streamRecord struct {
	callouts []*CalloutRecord
	logs     []LogRecord
}

func (r *recorder) calloutStarted(vm *wasmVM, req *CalloutRequest) *CalloutRecord {
	if r == nil {
		return nil
	}
	record := &CalloutRecord{
		Worker: vm.w.opts.thread, Plugin: vm.currentPlugin().Name, Cluster: req.Cluster,
		Headers: slices.Clone(req.Headers), Body: slices.Clone(req.Body), Sent: r.now(),
	}
	r.callouts = append(r.callouts, record)
	if x := vm.currentContext(); x != nil && x.stream.record != nil {
		x.stream.record.callouts = append(x.stream.record.callouts, record)
	}
	return record
}

func (r *recorder) calloutEnded(record *CalloutRecord, resp *CalloutResponse) {
	if r == nil {
		return
	}
	record.Answered = true
	if resp != nil {
		record.Status, _ = strconv.Atoi(firstHeader(resp.Headers, ":status")) // an answer without one reads as 0
	}
	r.note(record.Worker, cmp.Or(record.Plugin, "plugin"), ". callout answered: "+record.String())
}

func (r *recorder) logged(vm *wasmVM, level Level, message string) {
	if r == nil {
		return
	}
	l := LogRecord{Worker: vm.w.opts.thread, Plugin: vm.currentPlugin().Name, Level: level, Message: message}
	r.logs = append(r.logs, l)
	if x := vm.currentContext(); x != nil && x.stream.record != nil {
		x.stream.record.logs = append(x.stream.record.logs, l)
	}
	r.note(vm.w.opts.thread, vm.actingName(), "log "+level.String()+": "+message)
}

// entered notes a callback, left what it returned.
func (r *recorder) entered(vm *wasmVM, cb callback, contextID uint32, args []uint64) {
	if r == nil {
		return
	}
	line := append(append(r.line[:0], "> "...), strings.TrimPrefix(callbackExports[cb], "proxy_")...)
	separator := "("
	for _, a := range args {
		line = strconv.AppendUint(append(line, separator...), a, 10)
		separator = ", "
	}
	if len(args) > 0 {
		line = append(line, ')')
	}
	r.line = line
	r.note(vm.w.opts.thread, vm.contextName(contextID), string(line))
}

func (r *recorder) left(vm *wasmVM, cb callback, contextID uint32, result uint64) {
	if r == nil {
		return
	}
	r.note(vm.w.opts.thread, vm.contextName(contextID),
		"< "+strings.TrimPrefix(callbackExports[cb], "proxy_")+" = "+strconv.FormatUint(result, 10))
}

func (r *recorder) died(vm *wasmVM, err error) {
	if r != nil {
		text, _, _ := strings.Cut(err.Error(), "\n") // what follows is the guest's stack
		text = strings.TrimPrefix(text, ErrTrap.Error()+": ")
		r.note(vm.w.opts.thread, vm.plugins[0].label(), "VM died: "+text)
	}
}

// note keeps a line.
func (r *recorder) note(thread int, where, text string) {
	if r == nil {
		return
	}
	l := traceLine{at: r.now(), thread: thread, where: where, text: text}
	r.trace.add(l)
	if r.transcript != nil {
		_, _ = fmt.Fprintln(r.transcript, l) // a test's own writer: it will see what is missing
	}
}

// contextName is how records name a context.
func (vm *wasmVM) contextName(id uint32) string {
	if x, ok := vm.contexts[id]; ok {
		return x.String()
	}
	if p := vm.plugin(id); p != nil {
		return p.label()
	}
	return "vm"
}

func (vm *wasmVM) actingName() string { return vm.contextName(vm.acting()) }

func copyCallouts(records []*CalloutRecord) []CalloutRecord {
	list := make([]CalloutRecord, len(records))
	for i, record := range records {
		list[i] = *record
	}
	return list
}

func firstHeader(headers []Header, name string) string {
	if i := slices.IndexFunc(headers, func(h Header) bool { return h[0] == name }); i >= 0 {
		return headers[i][1]
	}
	return ""
}
