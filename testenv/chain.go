package testenv

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Sentinels of a stream's end.
var (
	// ErrStreamClosed reports a step on a stream that is Done, or whose local response was already handed out.
	ErrStreamClosed = errors.New("the stream is closed")
	// ErrStreamReset reports a stream that the host resets: the filter closed it, answered after the response had begun,
	// or buffered a response beyond the limit.
	ErrStreamReset = errors.New("the stream was reset")
	// ErrAbandoned reports a paused stream that nothing can end: its VMs have no callout outstanding and no tick period.
	ErrAbandoned = errors.New("the filter paused the stream and nothing is left to resume it")
)

// sink is who a stream belongs to: it takes what leaves the chain. It runs under the worker's lock.
type sink interface {
	out(direction, piece)
	// ended tells of a reset. Nothing comes after it.
	ended(error)
}

// chain is one stream with its filters: what Envoy calls a filter manager. A request passes the filters in their order, a
// response in reverse. The worker's lock guards it.
type chain struct {
	w      *Worker
	number uint64 // of the worker's streams
	began  time.Time
	opts   StreamOptions
	sink   sink
	// filters are in the order of requests.
	filters     []*httpContext
	filterState map[string][]byte
	record      *streamRecord
	received    [2]int64 // bytes of body that came, by direction
	// latest are the maps as the filter left them that saw them last, by direction: what the access log shows.
	latest [2]struct{ headers, trailers *headerMap }

	head, grpc bool // what the request was when it came: a local response depends on it
	// responding is set once a response has entered the chain, left once its headers have left it.
	responding, left bool
	// prepared is a local response made inside a step of the request, which goes its way after the step.
	prepared *LocalResponse
	stepping bool
	// local is the response that was made here; finished once it has left the chain whole.
	local    *LocalResponse
	finished bool
	bypass   bool // local goes to the client past the filters
	closed   bool
	err      error
}

// newChain makes a stream through every plugin of the worker that is not left out.
func (w *Worker) newChain(o StreamOptions, to sink) *chain {
	w.made++
	c := &chain{w: w, number: w.made, began: w.opts.Now(), opts: o, sink: to}
	for _, place := range w.chain {
		place.revive(w)
		p := place.current()
		if p.vm.dead != nil && p.FailurePolicy == FailOpen {
			continue
		}
		x := &httpContext{vm: p.vm, plugin: p, id: p.vm.newID(), stream: c}
		p.vm.contexts[x.id] = x
		c.filters = append(c.filters, x)
	}
	w.streams[c] = struct{}{}
	return c
}

// accept lets a piece of the request or of the upstream's response enter the chain. A local response takes the place of
// the upstream's: what comes of that one afterwards is dropped.
func (c *chain) accept(dir direction, in piece) {
	if dir == toClient && c.local != nil {
		return
	}
	if in.part == partHeaders {
		in.fresh = c.begin(dir, in.headers)
	}
	c.received[dir] += int64(len(in.body))
	if c.flowing(dir) {
		c.push(dir, c.first(dir), in)
	}
}

func (c *chain) begin(dir direction, headers []Header) *headerMap {
	m := newHeaderMap(headers, c.w.opts.InlineHeaders)
	c.latest[dir].headers = m
	if dir == toClient {
		c.responding = true
		return m
	}
	method, _ := m.get(":method")
	c.head, c.grpc = method == http.MethodHead, isGRPC(m)
	return m
}

// flowing says whether pieces still move: a request stops at a local response, everything at the end.
func (c *chain) flowing(dir direction) bool {
	switch {
	case c.closed || c.err != nil || c.finished:
		return false
	case dir == toUpstream:
		return c.local == nil && c.prepared == nil
	default:
		return !c.bypass
	}
}

func (c *chain) first(dir direction) int {
	if dir == toUpstream {
		return 0
	}
	return len(c.filters) - 1
}

// push gives a piece to the filter at index i, or to the sink past the last.
func (c *chain) push(dir direction, i int, in piece) {
	if i < 0 || i >= len(c.filters) {
		c.leave(dir, in)
		return
	}
	x := c.filters[i]
	if len(x.sides[dir].inbox) == 0 && !x.blocked(dir) && c.flowing(dir) {
		c.forward(dir, x, c.step(dir, x, in))
	} else {
		x.take(dir, in)
	}
	c.pump(dir, x)
}

// pump feeds a filter with what waits before it, until it keeps something back.
func (c *chain) pump(dir direction, x *httpContext) {
	sd := &x.sides[dir]
	for len(sd.inbox) > 0 && !x.blocked(dir) && c.flowing(dir) {
		in := sd.inbox[0]
		sd.inbox = sd.inbox[1:]
		c.forward(dir, x, c.step(dir, x, in))
	}
}

// step gives a piece to a filter. A local response that comes of a request's step begins its way afterwards.
func (c *chain) step(dir direction, x *httpContext, in piece) []piece {
	if dir == toClient {
		return x.step(dir, in)
	}
	outer := c.stepping
	c.stepping = true
	out := x.step(dir, in)
	c.stepping = outer
	if c.prepared != nil && !outer {
		c.execute(c.prepared)
	}
	return out
}

// forward passes on what filter x let through.
func (c *chain) forward(dir direction, x *httpContext, out []piece) {
	i := slices.Index(c.filters, x)
	for _, p := range out {
		if !c.flowing(dir) {
			return
		}
		if dir == toUpstream {
			c.push(dir, i+1, p)
		} else {
			c.push(dir, i-1, p)
		}
	}
}

// leave hands a piece out.
func (c *chain) leave(dir direction, p piece) {
	if dir == toClient {
		c.left = true
		if c.local != nil {
			c.leaveLocal(p)
			return
		}
	}
	c.sink.out(dir, p)
}

// overflows says whether a filter buffers more than the limit, and then ends the stream. A request gets the 413 of Envoy's
// connection manager, a response whose headers have left is reset.
func (c *chain) overflows(dir direction, buffered int) bool {
	if buffered <= c.opts.MaxBufferBytes || !c.flowing(dir) {
		return false
	}
	switch {
	case dir == toUpstream:
		c.answer(&LocalResponse{
			Status: 413, Body: []byte("Payload Too Large"), Details: "request_payload_too_large", GRPCStatus: -1,
		})
	case c.left:
		c.reset(fmt.Errorf("%w: response body over %d bytes", ErrStreamReset, c.opts.MaxBufferBytes))
	default:
		c.answer(&LocalResponse{
			Status: 500, Body: []byte("Internal Server Error"), Details: "response_payload_too_large", GRPCStatus: -1,
		})
	}
	return true
}

// reset ends the stream without a response.
func (c *chain) reset(err error) {
	if c.err == nil && !c.closed {
		c.err = err
		c.sink.ended(err)
	}
}

// done ends the stream: every filter's proxy_on_log, then each one's proxy_on_done and proxy_on_delete.
func (c *chain) done() {
	if c.closed {
		return
	}
	c.closed = true // what filters do in these callbacks moves nothing any more
	for _, x := range c.filters {
		x.log()
	}
	for _, x := range c.filters {
		x.done()
	}
	delete(c.w.streams, c)
}
