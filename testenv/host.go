package testenv

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// stepTimeout bounds one stream of Host.Do: a test that waits longer hangs.
const stepTimeout = 30 * time.Second

// Host is a VM inside a test, with an upstream behind it. It fails the test by itself for what no
// filter may do: traps, abandoned streams, hostcalls this host lacks, second local responses, and
// streams still open when the test ends; Expect takes single ones out. Its methods are safe for
// concurrent use.
type Host struct {
	t      testing.TB
	vm     *VM
	record *recorder
	opts   Options

	mu       sync.Mutex
	expected []error
}

// Request is what a client sends. Method defaults to GET, Path to /, Host to gate.test, Scheme to
// http. Headers follow the pseudo headers in the order given.
type Request struct {
	Method, Path, Host, Scheme string
	Headers                    []Header
	Body                       []byte
	// ChunkSize cuts the body into several steps; 0 passes it as one.
	ChunkSize  int
	Trailers   []Header
	Properties map[string][]byte
}

// Response is what the client gets, and what happened on the way. Status is 0 when the stream
// ended without a response, with Err saying why.
type Response struct {
	Status  int
	Headers []Header
	Body    []byte
	// Local says that the filter, or the host for it, answered; Details are then the local
	// response's.
	Local       bool
	Details     string
	FilterState map[string]string
	Callouts    []CalloutRecord
	Logs        []LogRecord
	Upstream    *UpstreamRequest // nil when the upstream was not reached
	Err         error
}

// Header returns the first value of a header, "" when there is none. The name is to be lower
// case.
func (r Response) Header(name string) string { return firstHeader(r.Headers, name) }

// UpstreamRequest is what reached the upstream, pseudo headers included.
type UpstreamRequest struct {
	Headers  []Header
	Body     []byte
	Trailers []Header
}

// Header returns the first value of a header, "" when there is none. The name is to be lower
// case; ":path" and ":method" are headers too.
func (u *UpstreamRequest) Header(name string) string { return firstHeader(u.Headers, name) }

// New loads a compiled filter and starts it. A file that is missing, a module Envoy would not
// load or a configuration the filter refuses ends the test. The VM closes with the test.
func New(t testing.TB, wasmPath string, o Options) *Host {
	t.Helper()
	wasm, err := os.ReadFile(wasmPath)
	if err != nil {
		t.Fatalf("read the compiled filter: %v: run make wasm", err)
	}
	f, err := Compile(t.Context(), wasm)
	if err != nil {
		t.Fatalf("compile %s: %v", wasmPath, err)
	}
	return NewHost(t, f, o)
}

// NewHost is New for a filter that is compiled already.
func NewHost(t testing.TB, f *Filter, o Options) *Host {
	t.Helper()
	h := &Host{t: t, record: &recorder{}}
	onFault := o.OnFault
	o.OnFault = func(err error) {
		h.unless(err)
		if onFault != nil {
			onFault(err)
		}
	}
	o.record = h.record
	if o.Upstream == nil {
		o.Upstream = http.HandlerFunc(echo)
	}
	vm, err := f.NewVM(t.Context(), o)
	if err != nil {
		t.Fatalf("start the filter: %v", err)
	}
	h.vm, h.opts = vm, o
	t.Cleanup(h.close)
	return h
}

// echo answers with the request's body, or "ok".
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if len(body) == 0 {
		body = []byte("ok")
	}
	_, _ = w.Write(body) // the answer is kept in memory
}

// VM returns the VM, to tick it or to run streams step by step. Streams made there count as
// leaked too unless they are Done.
func (h *Host) VM() *VM { return h.vm }

// Expect lets errors that match any of the sentinels pass: ErrTrap, ErrAbandoned,
// ErrUnimplemented, ErrSecondLocalResponse.
func (h *Host) Expect(sentinels ...error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expected = append(h.expected, sentinels...)
}

// ExpectTrap lets the VM die.
func (h *Host) ExpectTrap() { h.Expect(ErrTrap) }

// Metric returns a metric's value as Metrics.Value does, 0 when the filter never defined it.
func (h *Host) Metric(name string) int64 {
	v, _ := h.vm.Metrics().Value(name)
	return v
}

// Logs returns everything the filter logged.
func (h *Host) Logs() []LogRecord { return h.record.allLogs() }

// Callouts returns every callout the filter sent, in order.
func (h *Host) Callouts() []CalloutRecord { return h.record.allCallouts() }

// CalloutCount returns the number of callouts the filter sent.
func (h *Host) CalloutCount() int { return len(h.record.allCallouts()) }

// Tick calls the filter's tick handler once, if it has set a period.
func (h *Host) Tick() {
	h.t.Helper()
	if err := h.vm.Tick(context.Background()); err != nil {
		h.unless(err)
	}
}

// unless fails the test for an error that it did not expect.
func (h *Host) unless(err error) {
	h.t.Helper()
	h.mu.Lock()
	expected := slices.ContainsFunc(h.expected, func(e error) bool { return errors.Is(err, e) })
	h.mu.Unlock()
	if !expected {
		h.t.Errorf("testenv: %v", err)
	}
}

func (h *Host) close() {
	if n := h.vm.Streams(); n > 0 {
		h.t.Errorf("testenv: %d streams were never Done", n)
	}
	if err := h.vm.Dead(); err != nil {
		h.unless(err)
	}
	if err := h.vm.Close(context.Background()); err != nil {
		h.t.Errorf("testenv: %v", err)
	}
	if err := h.vm.Dead(); err != nil {
		h.unless(err)
	}
}

// Do runs one whole stream: the request through the filter to the upstream, the answer back,
// then Done. It may be called from many goroutines.
func (h *Host) Do(t testing.TB, r Request) Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	s, err := h.vm.NewStream(ctx, StreamOptions{Properties: r.Properties})
	if err != nil {
		t.Errorf("testenv: %v", err)
		return Response{Err: err}
	}
	s.trace = &trace{}
	x := &exchange{stream: s, upstream: h.opts.Upstream, request: r.withDefaults()}
	resp := x.run(ctx)
	if resp.Err != nil && !errors.Is(resp.Err, ErrStreamReset) {
		h.unless(resp.Err)
	}
	if err := s.Done(ctx); err != nil {
		h.unless(err)
	}
	resp.FilterState = map[string]string{}
	for k, v := range s.FilterState() {
		resp.FilterState[k] = string(v)
	}
	resp.Callouts, resp.Logs = h.record.of(s.trace)
	return resp
}

func (r Request) withDefaults() Request {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&r.Method, http.MethodGet)
	set(&r.Path, "/")
	set(&r.Host, "gate.test")
	set(&r.Scheme, "http")
	return r
}

// headers are the request's, with content-length for a body as clients send it.
func (r Request) headers() []Header {
	list := []Header{{":authority", r.Host}, {":path", r.Path}, {":method", r.Method}, {":scheme", r.Scheme}}
	list = append(list, r.Headers...)
	if len(r.Body) > 0 && firstHeader(r.Headers, "content-length") == "" {
		list = append(list, Header{"content-length", strconv.Itoa(len(r.Body))})
	}
	return list
}
