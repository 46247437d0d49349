package testenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Sentinels of a stream's steps.
var (
	// ErrStreamClosed reports a step on a stream that is Done, or whose local response was
	// already handed out.
	ErrStreamClosed = errors.New("the stream is closed")
	// ErrStreamReset reports a stream that the host resets: the filter closed it, answered after
	// the response had begun, or buffered a response beyond the limit.
	ErrStreamReset = errors.New("the stream was reset")
	// ErrAbandoned reports a paused stream that nothing can end: its VM has no callout
	// outstanding and no tick period.
	ErrAbandoned = errors.New("the filter paused the stream and nothing is left to resume it")
	// ErrSecondLocalResponse is the fault of a filter that answers one stream twice. Envoy hangs
	// such a stream; here the first response stands.
	ErrSecondLocalResponse = errors.New("second local response on one stream")
	// ErrStepOrder reports steps out of order: body or trailers before headers, or anything
	// after the end of the stream.
	ErrStepOrder = errors.New("step out of order")
)

// StreamOptions describe one HTTP stream.
type StreamOptions struct {
	// Properties answer proxy_get_property, keyed by the path joined with ".": "source.address",
	// "xds.route_name". The basic request attributes are worked out from the headers when absent.
	Properties map[string][]byte
	// MaxBufferBytes bounds what the filter can buffer of a body; 0 means DefaultMaxBufferBytes.
	// Beyond it a request is answered with 413 and a response reset.
	MaxBufferBytes int
}

// StepResult is what a step lets through. Local is set, and nothing else, when the filter
// answered the stream itself; it is handed out once.
type StepResult struct {
	// Headers are the map after the filter's changes, of header and trailer steps.
	Headers []Header
	// Body is what to forward now: of a body step, and of a trailer step when the filter had
	// been buffering. It may be empty while the filter buffers.
	Body []byte
	// Local is the filter's own response, to be sent instead of anything of the upstream's.
	Local *LocalResponse
}

// LocalResponse is a response that the filter, or the host on its behalf, made. Headers include
// :status and have been through the filter's own response path.
type LocalResponse struct {
	Status     uint32
	Headers    []Header
	Body       []byte
	Details    string
	GRPCStatus int32 // -1 when none was given
}

type stepKind int

const (
	stepNone stepKind = iota
	stepHeaders
	stepBody
	stepTrailers
)

// side is one direction of a stream.
type side struct {
	headers, trailers *headerMap // as the filter left them
	body              []byte     // what the filter sees
	carry             []byte     // released by a resume while no step was waiting
	buffering         bool
	begun, ended      bool

	// Whether hostcalls reach the maps and the body: Envoy drops its pointers when it goes on.
	headersOpen, bodyOpen, trailersOpen bool

	paused stepKind
	wake   chan struct{} // closed when the step that waits can go on; nil when none waits
}

// Stream is one HTTP request and its response passing through the filter. Request and response
// steps may run concurrently, steps of one direction must not.
type Stream struct {
	vm    *VM
	id    uint32
	opts  StreamOptions
	trace *trace

	// The rest is guarded by vm.mu.
	request, response side
	filterState       map[string][]byte
	created           bool
	head, grpc        bool // what the request was when it came: a local response depends on it
	logging           bool
	done              bool
	err               error
	local             *localReply
	localTaken        bool
}

// NewStream adds a stream. The filter learns of it with the first step, or with Done. The error
// is ErrClosed, or ErrOptions; a dead VM still makes streams, which it answers with 503.
func (vm *VM) NewStream(_ context.Context, o StreamOptions) (*Stream, error) {
	if o.MaxBufferBytes < 0 {
		return nil, fmt.Errorf("%w: MaxBufferBytes %d is negative", ErrOptions, o.MaxBufferBytes)
	}
	if o.MaxBufferBytes == 0 {
		o.MaxBufferBytes = DefaultMaxBufferBytes
	}
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if vm.closed {
		return nil, fmt.Errorf("new stream: %w", ErrClosed)
	}
	s := &Stream{vm: vm, id: vm.newStreamID(), opts: o}
	vm.streams[s.id] = s
	if vm.dead != nil {
		s.failClosed()
	}
	return s, nil
}

func (vm *VM) newStreamID() uint32 {
	for {
		id := vm.nextID
		vm.nextID++
		if _, taken := vm.streams[id]; !taken && id > rootContextID {
			return id
		}
	}
}

// RequestHeaders passes the request's headers, pseudo headers included, through the filter. It
// blocks, like every step, until the filter lets the step pass, answers the stream itself or
// dies, or until ctx ends, which leaves the stream to Done. Errors are ErrStreamClosed,
// ErrStreamReset, ErrAbandoned, ErrStepOrder or the context's.
func (s *Stream) RequestHeaders(ctx context.Context, headers []Header, endOfStream bool) (StepResult, error) {
	return s.headersStep(ctx, onRequestHeaders, headers, endOfStream)
}

// RequestBody passes a chunk of the request's body. While the filter buffers, a step that is not
// the last returns at once with nothing to forward.
func (s *Stream) RequestBody(ctx context.Context, chunk []byte, endOfStream bool) (StepResult, error) {
	return s.bodyStep(ctx, onRequestBody, chunk, endOfStream)
}

// RequestTrailers passes the request's trailers; they end the request.
func (s *Stream) RequestTrailers(ctx context.Context, trailers []Header) (StepResult, error) {
	return s.trailersStep(ctx, onRequestTrailers, trailers)
}

// ResponseHeaders passes the upstream's response headers, :status included.
func (s *Stream) ResponseHeaders(ctx context.Context, headers []Header, endOfStream bool) (StepResult, error) {
	return s.headersStep(ctx, onResponseHeaders, headers, endOfStream)
}

// ResponseBody passes a chunk of the response's body.
func (s *Stream) ResponseBody(ctx context.Context, chunk []byte, endOfStream bool) (StepResult, error) {
	return s.bodyStep(ctx, onResponseBody, chunk, endOfStream)
}

// ResponseTrailers passes the response's trailers; they end the response.
func (s *Stream) ResponseTrailers(ctx context.Context, trailers []Header) (StepResult, error) {
	return s.trailersStep(ctx, onResponseTrailers, trailers)
}

// FilterState returns a copy of what the filter stored with proxy_set_property, keyed as Envoy
// keys it: "wasm." and the name.
func (s *Stream) FilterState() map[string][]byte {
	s.vm.mu.Lock()
	defer s.vm.mu.Unlock()
	state := make(map[string][]byte, len(s.filterState))
	for k, v := range s.filterState {
		state[k] = slices.Clone(v)
	}
	return state
}

// Done ends the stream: proxy_on_log, proxy_on_done, proxy_on_delete. A step still waiting returns
// ErrStreamClosed; callouts go on and their callbacks reach the VM. It is idempotent and never
// fails but on a VM that died in one of these callbacks, with an error wrapping ErrTrap.
func (s *Stream) Done(context.Context) error {
	vm := s.vm
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if s.done {
		return nil
	}
	s.done = true
	alive := vm.dead == nil && !vm.closed
	s.create()
	s.logging = true
	vm.call(onLog, s.id)
	s.logging = false
	vm.call(onDone, s.id)
	vm.call(onDelete, s.id)
	delete(vm.streams, s.id)
	s.end(ErrStreamClosed)
	vm.abandonIfStuck()
	if alive && vm.dead != nil {
		return vm.dead
	}
	return nil
}

// create tells the guest of the stream, once. Envoy does it with the first headers, or for the
// access log of a stream that never had any.
func (s *Stream) create() {
	if !s.created {
		s.created = true
		s.vm.call(onContextCreate, s.id, uint64(rootContextID))
	}
}

// end makes every step, now and later, return err.
func (s *Stream) end(err error) {
	if s.err == nil {
		s.err = err
	}
	s.wakeAll()
}

func (s *Stream) wakeAll() {
	for _, sd := range []*side{&s.request, &s.response} {
		sd.paused = stepNone
		if sd.wake != nil {
			close(sd.wake)
			sd.wake = nil
		}
	}
	delete(s.vm.waiting, s)
}

// failClosed answers 503 in the place of a dead VM.
func (s *Stream) failClosed() {
	if s.done || s.err != nil || s.localTaken {
		return
	}
	if s.local != nil && s.local.finished {
		return
	}
	s.local = &localReply{finished: true, resp: LocalResponse{
		Status: 503, Headers: []Header{{":status", "503"}}, Details: "wasm_fail_stream", GRPCStatus: 14,
	}}
	s.wakeAll()
}

// abandonIfStuck ends the waiting streams of a VM on which nothing can happen any more.
func (vm *VM) abandonIfStuck() {
	if len(vm.callouts) > 0 || vm.tick > 0 || vm.dead != nil {
		return
	}
	for s := range maps.Clone(vm.waiting) {
		s.end(ErrAbandoned)
	}
}
