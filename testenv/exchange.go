package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tollgate/tollgate/testenv/internal/eventloop"
)

// Response is what the client gets, and what happened on the way. Status is 0 when the stream ended without a response,
// with Err saying why.
type Response struct {
	Status   int
	Headers  []Header
	Body     []byte
	Trailers []Header
	// Local says that a filter, or the host for it, answered; Details are then the local response's.
	Local       bool
	Details     string
	FilterState map[string]string
	Callouts    []CalloutRecord
	Logs        []LogRecord
	// Upstream is the request as it left the filter chain, also where the upstream was then not reached: a Script may
	// lose it on its way. It is nil when the whole request did not leave the chain.
	Upstream *UpstreamRequest
	// Err wraps ErrStreamReset, ErrStreamClosed (the client left) or ErrAbandoned.
	Err error
	// Took is the virtual time from the request to the end of the response.
	Took time.Duration

	method, path string // the request's
}

// Header returns the first value of a header, "" when there is none. The name is to be lower case.
func (r Response) Header(name string) string { return firstHeader(r.Headers, name) }

// UpstreamRequest is a request as it left the filter chain on its way to the upstream, pseudo headers included.
type UpstreamRequest struct {
	Headers  []Header
	Body     []byte
	Trailers []Header
}

// Header returns the first value of a header, "" when there is none. The name is to be lower case; ":path" and ":method"
// are headers too.
func (u *UpstreamRequest) Header(name string) string { return firstHeader(u.Headers, name) }

// Exchange is one request on its way through a Host. It moves while the Host runs.
type Exchange struct {
	h       *Host
	worker  *Worker
	request Request
	opts    StreamOptions
	chain   *chain

	forward  UpstreamRequest
	response Response
	began    time.Duration
	moved    time.Duration // when a piece last entered or left the chain
	complete bool          // the response is whole, or there will be none
	done     bool          // the filters have been told
	timeout  *eventloop.Event
}

// Do sends a request and runs until its stream has ended, moving time only as far as that takes.
func (h *Host) Do(t testing.TB, r Request) Response {
	t.Helper()
	return h.exchange(t, r).Wait(t)
}

// Start sends a request. Nothing moves until the Host runs: in Wait, Do, Settle or Advance.
func (h *Host) Start(r Request) *Exchange {
	h.t.Helper()
	return h.exchange(h.t, r)
}

// exchange is Start, for a test that a request which cannot be sent ends.
func (h *Host) exchange(t testing.TB, r Request) *Exchange {
	t.Helper()
	h.lock()
	defer h.mu.Unlock()
	r = r.withDefaults()
	o, err := StreamOptions{Attributes: r.Attributes, MaxBufferBytes: h.opts.MaxBufferBytes}.withDefaults()
	if err := errors.Join(r.check(), err); err != nil {
		t.Fatalf("testenv: %s %s: %v", r.Method, r.Path, err)
	}
	if r.Worker == 0 {
		r.Worker = 1 + h.loop.Rand().IntN(h.opts.Workers)
	}
	now := h.clock.Monotonic()
	x := &Exchange{h: h, worker: h.worker(t, r.Worker), request: r, opts: o, began: now, moved: now}
	h.open[x] = struct{}{}
	x.post(0, x.begin)
	return x
}

// Wait runs the Host until the stream has ended and returns what came of it. A stream that stands still for
// Options.StreamIdleTimeout, or that nothing can move any more, fails t unless ErrAbandoned is expected.
func (x *Exchange) Wait(t testing.TB) Response {
	t.Helper()
	h := x.h
	h.lock()
	defer h.mu.Unlock()
	if h.closed && !x.done {
		t.Fatalf("testenv: %s %s on a Host whose test has ended", x.request.Method, x.request.Path)
	}
	defer func(outer testing.TB) { h.waiting = outer }(h.waiting)
	h.waiting = t
	for !x.done {
		limit := x.moved + h.opts.StreamIdleTimeout
		before := x.moved
		err := h.loop.RunUntil(func() bool { return x.done || x.moved != before }, limit)
		if err != nil && !x.done {
			x.abandon(err)
		}
	}
	return x.result()
}

// Ended says whether the stream has ended.
func (x *Exchange) Ended() bool {
	x.h.lock()
	defer x.h.mu.Unlock()
	return x.done
}

// Reset is a client that goes away now: the filters hear of it at once.
func (x *Exchange) Reset() {
	h := x.h
	h.lock()
	defer h.mu.Unlock()
	if x.done {
		return
	}
	x.post(0, func() { x.finish(fmt.Errorf("%w: the client went away", ErrStreamClosed)) })
	h.loop.RunReady()
}

// abandon ends a stream that will not end by itself.
func (x *Exchange) abandon(why error) {
	err := fmt.Errorf("%w: %s %s: %w", x.hangs(), x.request.Method, x.request.Path, why)
	x.h.unless(err)
	x.post(0, func() { x.finish(err) })
	x.h.loop.RunReady()
}

// hangs is why a stream stands still: ErrAbandoned, or what wraps it for a stream that a dead VM holds.
func (x *Exchange) hangs() error {
	if x.chain == nil {
		return ErrAbandoned
	}
	dead := func(f *httpContext) bool { return f.vm.dead != nil && f.holds() }
	i := slices.IndexFunc(x.chain.filters, dead)
	if i < 0 {
		return ErrAbandoned
	}
	return deserted{plugin: x.chain.filters[i].plugin.label(), profile: x.worker.opts.Profile}
}

// deserted is the ErrAbandoned of a stream that no filter paused: the VM of one died instead.
type deserted struct {
	plugin  string
	profile Profile
}

func (d deserted) Error() string {
	return fmt.Sprintf("the stream hangs: its filter's VM (%s) died and %v answers nothing", d.plugin, d.profile)
}

// Is makes it an ErrAbandoned.
func (d deserted) Is(target error) bool { return target == ErrAbandoned }

// post runs something on the stream's worker.
func (x *Exchange) post(after time.Duration, run func()) {
	x.h.at(after, x.worker.opts.thread, func() {
		if !x.done {
			run()
		}
	})
}

func (x *Exchange) begin() {
	if x.worker.closed { // the filters were replaced meanwhile
		x.worker = x.h.workers[x.request.Worker]
	}
	x.chain = x.worker.newChain(x.opts, x)
	x.chain.record = &streamRecord{}
	pieces := x.request.pieces()
	x.sendPiece(toUpstream, pieces, x.request.ChunkGap)
}

// sendPiece lets the first piece enter the chain now, and the rest one by one.
func (x *Exchange) sendPiece(dir direction, pieces []piece, gap time.Duration) {
	x.moved = x.h.clock.Monotonic()
	x.chain.accept(dir, pieces[0])
	if len(pieces) > 1 && !x.complete {
		x.post(gap, func() { x.sendPiece(dir, pieces[1:], gap) })
	}
}

// out takes what leaves the chain. The upstream is asked once the request is whole.
func (x *Exchange) out(dir direction, p piece) {
	x.moved = x.h.clock.Monotonic()
	if dir == toUpstream {
		f := &x.forward
		keepPiece(p, &f.Headers, &f.Body, &f.Trailers)
		if p.end {
			x.ask()
		}
		return
	}
	r := &x.response
	if l := x.chain.local; l != nil && x.chain.finished {
		r.Headers, r.Body, r.Trailers, r.Local, r.Details = l.Headers, l.Body, l.Trailers, true, l.Details
	} else {
		keepPiece(p, &r.Headers, &r.Body, &r.Trailers)
	}
	if p.end {
		x.complete = true
		x.post(0, func() { x.finish(nil) })
	}
}

func keepPiece(p piece, headers *[]Header, body *[]byte, trailers *[]Header) {
	switch p.part {
	case partHeaders:
		*headers = p.headers
	case partBody:
		*body = append(*body, p.body...)
	case partTrailers:
		*trailers = p.headers
	}
}

// ended is the stream's reset.
func (x *Exchange) ended(err error) {
	x.complete = true
	x.post(0, func() { x.finish(err) })
}

// finish tells the filters that the stream has ended.
func (x *Exchange) finish(err error) {
	if x.done {
		return
	}
	x.done, x.complete = true, true
	x.h.loop.Cancel(x.timeout)
	delete(x.h.open, x)
	x.response.Took = x.h.clock.Monotonic() - x.began
	if x.response.Err = err; err != nil {
		x.response.Headers, x.response.Body, x.response.Trailers = nil, nil, nil
	}
	x.h.record.note(x.worker.opts.thread, "stream", ". ended: "+x.String())
	if x.chain != nil {
		x.chain.done()
	}
}

// String is the request and what came of it so far.
func (x *Exchange) String() string {
	s := x.request.Method + " " + x.request.Path + " " + firstHeader(x.response.Headers, ":status")
	if x.response.Err != nil {
		s += x.response.Err.Error()
	}
	return s
}

// result is the response with everything that was noted of the stream.
func (x *Exchange) result() Response {
	r := x.response
	r.method, r.path = x.request.Method, x.request.Path
	r.Status, _ = strconv.Atoi(firstHeader(r.Headers, ":status")) // what is no number reads as 0
	r.FilterState = map[string]string{}
	if x.chain != nil {
		for k, v := range x.chain.filterState {
			r.FilterState[k] = string(v)
		}
		r.Callouts, r.Logs = copyCallouts(x.chain.record.callouts), slices.Clone(x.chain.record.logs)
	}
	return r
}

func (x *Exchange) ask() {
	h := x.h
	x.response.Upstream = &x.forward
	thread := x.worker.opts.thread
	answered := false
	reply := func(resp *CalloutResponse, err error) {
		if x.done || x.complete || answered {
			return
		}
		answered = true
		resp = reported(resp, err, int(^uint(0)>>1))
		if resp == nil {
			resp = routerReply(http.StatusServiceUnavailable, "upstream connect error or disconnect/reset before headers. reset reason: connection termination")
		}
		x.sendPiece(toClient, responsePieces(resp, x.request.ResponseChunkSize), 0)
	}
	x.timeout = h.at(h.opts.RouteTimeout, thread, func() { reply(nil, context.DeadlineExceeded) })
	req := &CalloutRequest{
		Cluster: "upstream", Headers: x.forward.Headers, Body: x.forward.Body, Trailers: x.forward.Trailers,
		Timeout: h.opts.RouteTimeout,
	}
	h.play(h.opts.Upstream, req, func(resp *CalloutResponse, err error, after time.Duration) {
		h.at(after, thread, func() {
			h.loop.Cancel(x.timeout)
			reply(resp, err)
		})
	})
}
