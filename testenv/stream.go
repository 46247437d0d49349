package testenv

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrStepOrder reports steps out of order: body or trailers before headers, or anything after the end of the message.
var ErrStepOrder = errors.New("step out of order")

// StreamOptions describe one HTTP stream.
type StreamOptions struct {
	// Attributes answer proxy_get_property; those of the request's headers are worked out from them.
	Attributes Attributes
	// MaxBufferBytes bounds what a filter can buffer of a body; 0 means DefaultMaxBufferBytes. Beyond it a request is
	// answered with 413, a response with 500 or, once its headers have left the filters, reset.
	MaxBufferBytes int
}

func (o StreamOptions) withDefaults() (StreamOptions, error) {
	if o.MaxBufferBytes < 0 {
		return o, fmt.Errorf("%w: MaxBufferBytes %d is negative", ErrOptions, o.MaxBufferBytes)
	}
	if err := o.Attributes.check(); err != nil {
		return o, fmt.Errorf("%w: Attributes: %w", ErrOptions, err)
	}
	setDefault(&o.MaxBufferBytes, DefaultMaxBufferBytes)
	return o, nil
}

// StepResult is what a step lets through. Local is set, and nothing else, when a filter answered the stream itself; it is
// handed out once.
type StepResult struct {
	// Headers are the map after the filters' changes, of header and trailer steps.
	Headers []Header
	// Body is what to forward now: of a body step, and of a trailer step when a filter had been buffering. It may be empty
	// while a filter buffers.
	Body []byte
	// Local is the filters' own response, to be sent instead of anything of the upstream's.
	Local *LocalResponse
}

// Stream is one HTTP request and its response passing through a worker's filters, for programs that wait for each step.
// Request and response steps may run concurrently, steps of one direction must not.
type Stream struct {
	c *chain

	// The rest is guarded by the worker's lock.
	flows      [2]flow // by direction
	localTaken bool
}

// flow is one direction of a Stream: what came in, and what has left the chain and was not handed out yet.
type flow struct {
	begun, ended      bool
	headers, trailers []Header
	body              []byte
	passed            [partTrailers + 1]bool // which parts have left
	whole             bool                   // the end has left
	wake              chan struct{}          // closed when something changes; nil when no step waits
}

// NewStream adds a stream. The filters learn of it with the first step, or with Done. The error is ErrClosed or
// ErrOptions; a worker with a dead VM still makes streams, which it treats by the plugin's failure policy.
func (w *Worker) NewStream(_ context.Context, o StreamOptions) (*Stream, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, fmt.Errorf("new stream: %w", ErrClosed)
	}
	s := &Stream{}
	s.c = w.newChain(o, s)
	return s, nil
}

// RequestHeaders passes the request's headers, pseudo headers included, through the filters. It blocks, like every step,
// until the filters let the step pass, answer the stream themselves or die, or until ctx ends, which leaves the stream to
// Done. Errors are ErrStreamClosed, ErrStreamReset, ErrAbandoned, ErrStepOrder or the context's.
func (s *Stream) RequestHeaders(ctx context.Context, headers []Header, endOfStream bool) (StepResult, error) {
	return s.step(ctx, toUpstream, piece{part: partHeaders, headers: headers, end: endOfStream})
}

// RequestBody passes a chunk of the request's body. While a filter buffers, a step that is not the last returns at once
// with nothing to forward.
func (s *Stream) RequestBody(ctx context.Context, chunk []byte, endOfStream bool) (StepResult, error) {
	return s.step(ctx, toUpstream, piece{part: partBody, body: chunk, end: endOfStream})
}

// RequestTrailers passes the request's trailers; they end the request.
func (s *Stream) RequestTrailers(ctx context.Context, trailers []Header) (StepResult, error) {
	return s.step(ctx, toUpstream, piece{part: partTrailers, headers: trailers, end: true})
}

// ResponseHeaders passes the upstream's response headers, :status included.
func (s *Stream) ResponseHeaders(ctx context.Context, headers []Header, endOfStream bool) (StepResult, error) {
	return s.step(ctx, toClient, piece{part: partHeaders, headers: headers, end: endOfStream})
}

// ResponseBody passes a chunk of the response's body.
func (s *Stream) ResponseBody(ctx context.Context, chunk []byte, endOfStream bool) (StepResult, error) {
	return s.step(ctx, toClient, piece{part: partBody, body: chunk, end: endOfStream})
}

// ResponseTrailers passes the response's trailers; they end the response.
func (s *Stream) ResponseTrailers(ctx context.Context, trailers []Header) (StepResult, error) {
	return s.step(ctx, toClient, piece{part: partTrailers, headers: trailers, end: true})
}

// FilterState returns a copy of what the filters stored with proxy_set_property, keyed as Envoy keys it: "wasm." and the
// name.
func (s *Stream) FilterState() map[string][]byte {
	s.c.w.mu.Lock()
	defer s.c.w.mu.Unlock()
	return s.c.stateCopy()
}

// Done ends the stream: proxy_on_log of every filter, then proxy_on_done and proxy_on_delete of each. A step still waiting
// returns ErrStreamClosed; callouts go on and their callbacks reach the VM. It is idempotent and never fails but where a
// VM died in one of these callbacks, with an error wrapping ErrTrap.
func (s *Stream) Done(context.Context) error {
	w := s.c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.c.closed {
		return nil
	}
	var alive []*wasmVM
	for _, x := range s.c.filters {
		if x.vm.dead == nil && !w.closed {
			alive = append(alive, x.vm)
		}
	}
	s.c.done()
	s.wakeAll()
	w.abandonIfStuck()
	for _, vm := range alive {
		if vm.dead != nil {
			return vm.dead
		}
	}
	return nil
}

func (s *Stream) step(ctx context.Context, dir direction, in piece) (StepResult, error) {
	w := s.c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	f := &s.flows[dir]
	if over, r, err := s.over(); over {
		return r, err
	}
	if f.ended || f.begun != (in.part != partHeaders) {
		return StepResult{}, ErrStepOrder
	}
	f.begun, f.ended = true, in.end
	f.passed[in.part] = false
	s.c.accept(dir, in)
	for !s.settled(f, in) {
		w.abandonIfStuck()
		if s.settled(f, in) {
			break
		}
		if err := s.wait(ctx, f); err != nil {
			return StepResult{}, err
		}
	}
	w.abandonIfStuck()
	if over, r, err := s.over(); over {
		return r, err
	}
	return f.take(in.part), nil
}

// settled says whether a step can return: its part has left the chain, or nothing more will. A chunk of body need not
// leave, unless it is the last.
func (s *Stream) settled(f *flow, in piece) bool {
	switch {
	case s.c.closed || s.c.err != nil || s.c.finished:
		return true
	case s.c.local != nil:
		return false
	case in.part == partBody:
		return !in.end || f.whole
	default:
		return f.passed[in.part]
	}
}

// over says whether the stream has ended already, and with what.
func (s *Stream) over() (bool, StepResult, error) {
	switch {
	case s.c.err != nil:
		return true, StepResult{}, s.c.err
	case s.localTaken || s.c.closed:
		return true, StepResult{}, ErrStreamClosed
	case s.c.finished:
		s.localTaken = true
		l := *s.c.local
		l.Headers = slices.Clone(l.Headers)
		return true, StepResult{Local: &l}, nil
	}
	return false, StepResult{}, nil
}

// wait gives up the lock until something leaves the chain or ctx ends.
func (s *Stream) wait(ctx context.Context, f *flow) error {
	wake := make(chan struct{})
	f.wake = wake
	s.c.w.mayStick = true
	s.c.w.mu.Unlock()
	var err error
	select {
	case <-wake:
	case <-ctx.Done():
		err = fmt.Errorf("wait for the filter to resume: %w", ctx.Err())
	}
	s.c.w.mu.Lock()
	if f.wake == wake {
		f.wake = nil
		return err
	}
	return nil
}

// take hands out what has left the chain.
func (f *flow) take(of part) StepResult {
	r := StepResult{Body: f.body}
	f.body = nil
	switch of {
	case partHeaders:
		r.Headers = f.headers
	case partTrailers:
		r.Headers = f.trailers
	}
	return r
}

func (s *Stream) ended(error) { s.wakeAll() }

func (s *Stream) out(dir direction, p piece) {
	f := &s.flows[dir]
	switch p.part {
	case partHeaders:
		f.headers = p.headers
	case partBody:
		f.body = append(f.body, p.body...)
	case partTrailers:
		f.trailers = p.headers
	}
	f.passed[p.part] = true
	f.whole = f.whole || p.end
	s.wakeAll()
}

func (s *Stream) wakeAll() {
	for i := range s.flows {
		if f := &s.flows[i]; f.wake != nil {
			close(f.wake)
			f.wake = nil
		}
	}
}

func (s *Stream) waits() bool {
	return s.flows[toUpstream].wake != nil || s.flows[toClient].wake != nil
}

// stateCopy returns a copy of the stream's filter state.
func (c *chain) stateCopy() map[string][]byte {
	state := make(map[string][]byte, len(c.filterState))
	for k, v := range c.filterState {
		state[k] = slices.Clone(v)
	}
	return state
}

// abandonIfStuck ends the streams that wait on a worker on which nothing can happen any more, and answers those that a
// dead VM holds: Envoy would let them wait for their next event, but a program has no use for that.
func (w *Worker) abandonIfStuck() {
	if slices.ContainsFunc(w.slots, func(s *vmSlot) bool { return s.vm.dead != nil }) {
		for _, c := range w.openStreams(func(c *chain) bool { return c.heldDead() != nil }) {
			if x := c.heldDead(); x != nil {
				x.fail()
			}
		}
	}
	if !w.mayStick || slices.ContainsFunc(w.slots, func(s *vmSlot) bool { return s.vm.active() }) {
		return
	}
	w.mayStick = len(w.openStreams((*chain).stopped)) > 0
	stuck := func(c *chain) bool {
		s, ok := c.sink.(*Stream)
		return ok && (s.waits() || c.held())
	}
	for _, c := range w.openStreams(stuck) {
		c.reset(ErrAbandoned)
	}
}

// stopped says whether a filter has stopped a direction, or a step waits.
func (c *chain) stopped() bool {
	s, ok := c.sink.(*Stream)
	return ok && s.waits() || slices.ContainsFunc(c.filters, func(x *httpContext) bool {
		return x.sides[toUpstream].stopped != partNone || x.sides[toClient].stopped != partNone
	})
}

// held says whether a filter keeps something back that its part of the stream is waiting for.
func (c *chain) held() bool { return slices.ContainsFunc(c.filters, (*httpContext).holds) }

// heldDead returns a filter that holds the stream and whose VM has died, or nil.
func (c *chain) heldDead() *httpContext {
	i := slices.IndexFunc(c.filters, func(x *httpContext) bool { return x.vm.dead != nil && !x.failed && x.holds() })
	if i < 0 {
		return nil
	}
	return c.filters[i]
}

func (x *httpContext) holds() bool {
	for i := range x.sides {
		dir, sd := direction(i), &x.sides[i]
		if x.stream.flowing(dir) && (x.blocked(dir) || sd.stopped == partBody && sd.ended) {
			return true
		}
	}
	return false
}

// active says whether something can still enter the VM by itself.
func (vm *wasmVM) active() bool {
	if vm.dead != nil {
		return false
	}
	if len(vm.callouts) > 0 {
		return true
	}
	for _, p := range vm.plugins {
		if p.tick > 0 {
			return true
		}
	}
	return vm.w.opts.SharedQueues.serves(vm)
}
