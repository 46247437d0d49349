package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/accesslog"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

var (
	errLocalReply      = errors.New("a filter answered the request")
	errUpstreamTimeout = errors.New("upstream request timeout")
	errStreamIdle      = errors.New("stream timeout")
)

// Response flags of the access log, as Envoy abbreviates them.
const (
	flagClientGone      = "DC"
	flagNoRoute         = "NR"
	flagConnectFailure  = "UF"
	flagUpstreamReset   = "UC"
	flagUpstreamTimeout = "UT"
	flagProtocolError   = "DPE"
	flagStreamIdle      = "SI"
)

// exchange is one request and its answer.
type exchange struct {
	p  *Proxy
	w  http.ResponseWriter
	rc *http.ResponseController
	r  *http.Request
	// ctx ends when the client leaves, and with errStreamIdle as its cause when the stream has
	// been idle for too long.
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   *idleTimer
	stream *testenv.Stream // nil while no filter has seen the request
	body   *clientBody
	route  *bootstrap.Route
	// stopUpstream ends the upstream request with a cause.
	stopUpstream context.CancelCauseFunc
	timeoutOnce  sync.Once
	// local takes, at most once, what a filter answered while the body was on its way.
	local      chan *testenv.LocalResponse
	malformed  atomic.Bool // the client's body cannot be read on
	responding bool        // filters have been given a response's headers
	started    atomic.Bool // wrote, for the idle timer
	wrote      bool        // the response's headers have been written
	closing    bool        // the connection is not to be used again
	abort      bool        // the connection must be cut: what was written is not a whole answer
	record     accesslog.Record
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.active.Add(1)
	defer p.active.Done()
	x := &exchange{
		p: p, w: w, rc: http.NewResponseController(w), r: r,
		stopUpstream: func(error) {},
		local:        make(chan *testenv.LocalResponse, 1),
		record: accesslog.Record{
			Start: time.Now(), Protocol: r.Proto, DownstreamRemote: r.RemoteAddr,
			Request: []testenv.Header{{":method", r.Method}, {":path", r.RequestURI}, {":authority", r.Host}},
		},
	}
	// Without this net/http swallows a request body that is still arriving once the answer
	// begins; this proxy reads and answers at the same time.
	if err := x.rc.EnableFullDuplex(); err != nil {
		p.log.Error("full duplex not available", "error", err)
	}
	x.ctx, x.cancel = context.WithCancelCause(r.Context())
	x.idle = newIdleTimer(p.cfg.HTTP.StreamIdleTimeout, x.expire)
	defer x.end()
	x.serve()
}

func (x *exchange) serve() {
	headers, ref := admit(x.r, &x.p.cfg.HTTP)
	x.body = newClientBody(x.r, x.idle)
	if ref != nil {
		x.closing = true
		x.refuse(ref)
		return
	}
	x.record.Request = headers
	var err error
	x.stream, err = x.p.nextWorker().NewStream(x.ctx, testenv.StreamOptions{Attributes: x.attributes(headers)})
	if err != nil {
		x.filterFailed(err)
		return
	}
	res, err := x.stream.RequestHeaders(x.ctx, headers, x.body == nil)
	switch {
	case err != nil:
		x.filterFailed(err)
	case res.Local != nil:
		x.answer(res.Local)
	default:
		x.record.Request = res.Headers
		x.forward(res.Headers)
	}
}

// forward sends the request on and relays what comes back.
func (x *exchange) forward(headers []testenv.Header) {
	for _, name := range []string{":method", ":path", ":authority"} {
		if value(headers, name) == "" {
			x.reply(http.StatusServiceUnavailable, "missing required header: "+name, "", "filter_removed_required_request_headers")
			return
		}
	}
	x.route = x.p.match(headers)
	if x.route == nil {
		x.reply(http.StatusNotFound, "", flagNoRoute, "route_not_found")
		return
	}
	c := x.p.clusters[x.route.Cluster]
	x.record.RouteName, x.record.UpstreamCluster = x.route.Name, x.route.Cluster
	x.record.UpstreamHost = c.pick()

	ctx, cancel := context.WithCancelCause(x.ctx)
	x.stopUpstream = cancel
	req := newRequest(ctx, x.record.UpstreamHost, headers)
	if x.body == nil {
		x.startTimeout()
	} else {
		body := &upstreamBody{x: x}
		if c.trailers {
			req.Trailer = http.Header{}
			body.trailers = req.Trailer
		}
		req.Body, req.ContentLength = body, contentLength(headers)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		x.upstreamFailed(ctx, err)
		return
	}
	defer resp.Body.Close()
	x.relay(ctx, resp, c.trailers)
}

// startTimeout starts the route's timeout, once the request has been sent whole.
func (x *exchange) startTimeout() {
	if x.route.Timeout <= 0 {
		return
	}
	x.timeoutOnce.Do(func() {
		stop := x.stopUpstream
		timer := time.AfterFunc(x.route.Timeout, func() { stop(errUpstreamTimeout) })
		context.AfterFunc(x.ctx, func() { timer.Stop() })
	})
}

// relay passes the upstream's response through the filters to the client.
func (x *exchange) relay(upstream context.Context, resp *http.Response, trailers bool) {
	if resp.StatusCode < 200 {
		x.reply(http.StatusServiceUnavailable, "upstream switched protocols unasked", flagUpstreamReset, "upstream_protocol_error")
		return
	}
	x.responding = true
	end := x.r.Method == http.MethodHead || !bodyAllowed(resp.StatusCode) || resp.ContentLength == 0
	res, err := x.stream.ResponseHeaders(x.ctx, responseHeaders(resp), end)
	switch {
	case err != nil:
		x.filterFailed(err)
		return
	case res.Local != nil:
		x.answer(res.Local)
		return
	}
	x.record.Details = "via_upstream"
	x.writeHeaders(res.Headers, statusOf(res.Headers, http.StatusBadGateway))
	if end {
		return
	}
	// The length promises that the body follows at once; without one there may be nothing to
	// send for a long time, and the client must not wait for its headers.
	if resp.ContentLength < 0 {
		x.flush()
	}
	x.relayBody(upstream, resp, trailers)
}

func (x *exchange) relayBody(upstream context.Context, resp *http.Response, trailers bool) {
	buf := chunkPool.Get().(*[chunkBytes]byte)
	defer chunkPool.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		if n > 0 {
			x.idle.touch()
		}
		if n > 0 && !x.write(x.stream.ResponseBody(x.ctx, buf[:n], false)) {
			return
		}
		switch {
		case err == io.EOF:
			x.finishBody(resp, trailers)
			return
		case err != nil:
			x.abort = true
			if !x.interrupted() {
				x.record.Flags, x.record.Details = x.upstreamFault(upstream, err)
			}
			return
		}
	}
}

func (x *exchange) finishBody(resp *http.Response, trailers bool) {
	list := trailerList(resp.Trailer)
	if len(list) == 0 || !trailers || !x.p.cfg.HTTP.Trailers {
		x.write(x.stream.ResponseBody(x.ctx, nil, true))
		return
	}
	res, err := x.stream.ResponseTrailers(x.ctx, list)
	if !x.write(res, err) {
		return
	}
	for _, h := range res.Headers {
		if !hopByHop[h[0]] {
			x.w.Header().Add(http.TrailerPrefix+h[0], h[1])
		}
	}
}

// write sends what a response step lets through; false ends the response.
func (x *exchange) write(res testenv.StepResult, err error) bool {
	if err == nil && res.Local != nil {
		err = testenv.ErrStreamReset
	}
	if err != nil {
		x.filterFailed(err)
		return false
	}
	if len(res.Body) == 0 {
		return true
	}
	n, err := x.w.Write(res.Body)
	x.record.BytesSent += int64(n)
	if err != nil {
		if !x.interrupted() {
			x.clientGone()
		}
		return false
	}
	x.flush()
	return true
}

// expire ends a stream on which nothing has moved for too long: what waits for the client, a filter
// or the upstream sees ctx end, and a write to a client that does not read is cut.
func (x *exchange) expire() {
	x.cancel(errStreamIdle)
	if x.started.Load() {
		_ = x.rc.SetWriteDeadline(longAgo) // fails where the connection is gone, and the write with it
	}
}

// flush hands what was written to the client. An error shows again at the next write.
func (x *exchange) flush() { _ = x.rc.Flush() }

// attributes are what filters may ask for beyond what is in the headers.
func (x *exchange) attributes(headers []testenv.Header) testenv.Attributes {
	a := testenv.Attributes{
		Source:     x.r.RemoteAddr,
		Request:    testenv.RequestAttributes{Protocol: x.r.Proto, Time: x.record.Start},
		Connection: testenv.Connection{ID: connectionID(x.r.Context())},
	}
	if addr, ok := x.r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		a.Destination = addr.String()
	}
	if route := x.p.match(headers); route != nil {
		a.Route = &testenv.Route{Name: route.Name, Cluster: route.Cluster, VirtualHost: x.p.cfg.VirtualHostName}
	}
	return a
}

// end closes what the exchange opened, writes the access log, and cuts the connection if need be.
func (x *exchange) end() {
	x.idle.stop()
	x.stopUpstream(nil)
	x.cancel(nil)
	if limit := x.p.cfg.HTTP.StreamIdleTimeout; limit > 0 && !x.abort {
		// What is left to send is net/http's, which lifts the deadline again. An error means
		// that the connection is gone.
		_ = x.rc.SetWriteDeadline(time.Now().Add(limit))
	}
	if x.wrote && !x.abort && !x.body.isComplete() {
		x.flush()
		x.body.drain(lingerTime, lingerBytes)
	}
	x.body.close(x.rc)
	if x.stream != nil {
		_ = x.stream.Done(context.Background()) // of a VM that died of it OnDeath has been told
		x.record.FilterState = x.stream.FilterState()
	}
	x.record.Duration = time.Since(x.record.Start)
	x.record.BytesReceived = x.body.bytes()
	x.p.writeRecord(&x.record)
	if x.abort {
		panic(http.ErrAbortHandler)
	}
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func lengthHeader(n int) testenv.Header { return testenv.Header{"content-length", strconv.Itoa(n)} }
