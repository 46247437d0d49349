package testenv

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
)

// exchange is one request and its response on their way through a stream.
type exchange struct {
	stream   *Stream
	upstream http.Handler
	request  Request

	forward  UpstreamRequest
	response Response
}

// errLocal stops the exchange at a local response, which is in response by then.
var errLocal = errors.New("answered locally")

// run never fails: what went wrong is in the response.
func (x *exchange) run(ctx context.Context) Response {
	err := x.send(ctx)
	if err == nil {
		err = x.answer(ctx)
	}
	if err != nil && !errors.Is(err, errLocal) {
		x.response.Status, x.response.Headers, x.response.Body = 0, nil, nil
		x.response.Err = err
	}
	return x.response
}

// settle takes over a local response.
func (x *exchange) settle(r StepResult, err error) (StepResult, error) {
	if err != nil {
		return r, err
	}
	if l := r.Local; l != nil {
		x.response.Status, x.response.Headers, x.response.Body = int(l.Status), l.Headers, l.Body
		x.response.Local, x.response.Details = true, l.Details
		return r, errLocal
	}
	return r, nil
}

// send passes the request through the filter.
func (x *exchange) send(ctx context.Context) error {
	q := x.request
	end := len(q.Body) == 0 && len(q.Trailers) == 0
	r, err := x.settle(x.stream.RequestHeaders(ctx, q.headers(), end))
	if err != nil {
		return err
	}
	x.forward.Headers = r.Headers
	for chunk, last := range chunks(q.Body, q.ChunkSize) {
		r, err = x.settle(x.stream.RequestBody(ctx, chunk, last && len(q.Trailers) == 0))
		if err != nil {
			return err
		}
		x.forward.Body = append(x.forward.Body, r.Body...)
	}
	if len(q.Trailers) == 0 {
		return nil
	}
	r, err = x.settle(x.stream.RequestTrailers(ctx, q.Trailers))
	x.forward.Body = append(x.forward.Body, r.Body...)
	x.forward.Trailers = r.Headers
	return err
}

// answer asks the upstream and passes what it says through the filter.
func (x *exchange) answer(ctx context.Context) error {
	x.response.Upstream = &x.forward
	up, err := serve(ctx, x.upstream, x.forward.Headers, x.forward.Body, x.forward.Trailers)
	if errors.Is(err, errAborted) || errors.Is(err, ErrReset) {
		up = routerReply(http.StatusServiceUnavailable, "upstream connect error or disconnect/reset before headers. reset reason: connection termination")
	} else if err != nil {
		return err
	}
	end := len(up.Body) == 0 && len(up.Trailers) == 0
	r, err := x.settle(x.stream.ResponseHeaders(ctx, up.Headers, end))
	if err != nil {
		return err
	}
	x.response.Headers = r.Headers
	x.response.Status, err = strconv.Atoi(firstHeader(r.Headers, ":status"))
	if err != nil {
		return err
	}
	if len(up.Body) > 0 {
		r, err = x.settle(x.stream.ResponseBody(ctx, up.Body, len(up.Trailers) == 0))
		if err != nil {
			return err
		}
		x.response.Body = append(x.response.Body, r.Body...)
	}
	if len(up.Trailers) > 0 {
		r, err = x.settle(x.stream.ResponseTrailers(ctx, up.Trailers))
		x.response.Body = append(x.response.Body, r.Body...)
	}
	return err
}

// chunks yields the pieces of a body and whether each is the last.
func chunks(body []byte, size int) func(yield func([]byte, bool) bool) {
	if size <= 0 {
		size = len(body)
	}
	return func(yield func([]byte, bool) bool) {
		for chunk := range slices.Chunk(body, max(size, 1)) {
			body = body[len(chunk):]
			if !yield(chunk, len(body) == 0) {
				return
			}
		}
	}
}
