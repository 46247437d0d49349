package testenv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrReset is what a Cluster returns when the connection broke after the answer had begun: the
// filter's callback then gets no headers and no body. Any other error is a connection that never
// answered, which Envoy's router turns into a 503 of its own.
var ErrReset = errors.New("connection reset")

// Cluster is an upstream that callouts can be sent to. Call runs on its own goroutine and may be
// called concurrently; it should return when ctx ends, and a late answer is dropped. The request
// and its slices belong to Call.
type Cluster interface {
	Call(ctx context.Context, req *CalloutRequest) (*CalloutResponse, error)
}

// CalloutRequest is one request that the filter sends by itself. Headers include the pseudo
// headers, with content-length set when there is a body. Timeout 0 means none.
type CalloutRequest struct {
	Cluster  string
	Headers  []Header
	Body     []byte
	Trailers []Header
	Timeout  time.Duration
}

// CalloutResponse is the answer. Headers must include :status.
type CalloutResponse struct {
	Headers  []Header
	Body     []byte
	Trailers []Header
}

// callout is a request in flight, known to the guest by its token.
type callout struct {
	token  uint32
	cancel context.CancelFunc
	record *CalloutRecord
}

// callAnswer is the answer that the callback's hostcalls read.
type callAnswer struct {
	headers, trailers *headerMap
	body              []byte
}

// httpCall checks and starts a callout; the caller holds the lock.
func (vm *VM) httpCall(cluster string, headers []Header, body []byte, trailers []Header, timeoutMS int32) (uint32, status) {
	if timeoutMS < 0 {
		return 0, statusBadArgument
	}
	target, known := vm.opts.Clusters[cluster]
	if !known {
		return 0, statusBadArgument
	}
	m := newHeaderMap(headers, nil)
	for _, required := range []string{":path", ":method", ":authority"} {
		if _, ok := m.get(required); !ok {
			return 0, statusBadArgument
		}
	}
	if target == nil {
		return 0, statusInternalFailure
	}
	if len(body) > 0 {
		m.replace("content-length", strconv.Itoa(len(body)))
	}
	req := &CalloutRequest{
		Cluster: cluster, Headers: m.pairs, Body: body,
		Trailers: newHeaderMap(trailers, nil).pairs,
		Timeout:  time.Duration(timeoutMS) * time.Millisecond,
	}
	return vm.startCallout(target, req), statusOK
}

func (vm *VM) startCallout(target Cluster, req *CalloutRequest) uint32 {
	ctx, cancel := context.WithCancel(context.Background())
	if req.Timeout > 0 {
		ctx, cancel = context.WithTimeout(context.Background(), req.Timeout)
	}
	c := &callout{token: vm.nextToken(), cancel: cancel}
	vm.callouts[c.token] = c
	c.record = vm.opts.record.calloutStarted(vm.currentStream(), req)
	vm.sending.Add(1)
	go func() {
		defer vm.sending.Done()
		defer cancel()
		vm.deliver(c, await(ctx, target, req, vm.opts.MaxCalloutBytes))
	}()
	return c.token
}

func (vm *VM) nextToken() uint32 {
	for {
		vm.lastToken++
		if _, taken := vm.callouts[vm.lastToken]; !taken && vm.lastToken != 0 {
			return vm.lastToken
		}
	}
}

// await calls the cluster and turns what happened into what Envoy's async client reports; nil is
// a reset.
func await(ctx context.Context, target Cluster, req *CalloutRequest, limit int) *CalloutResponse {
	type outcome struct {
		resp *CalloutResponse
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		resp, err := target.Call(ctx, req)
		done <- outcome{resp, err}
	}()
	var o outcome
	select {
	case o = <-done:
	case <-ctx.Done():
		o.err = ctx.Err()
	}
	switch {
	case errors.Is(o.err, ErrReset):
		return nil
	case errors.Is(o.err, context.DeadlineExceeded):
		return routerReply(504, "upstream request timeout")
	case o.err != nil:
		return routerReply(503, "upstream connect error or disconnect/reset before headers. reset reason: connection failure")
	case o.resp == nil || len(o.resp.Body) > limit:
		return nil
	}
	return o.resp
}

// routerReply is an answer that Envoy's router makes in the cluster's place.
func routerReply(code int, body string) *CalloutResponse {
	return &CalloutResponse{
		Headers: []Header{
			{":status", strconv.Itoa(code)},
			{"content-length", strconv.Itoa(len(body))},
			{"content-type", "text/plain"},
		},
		Body: []byte(body),
	}
}

// deliver calls the guest back, unless its VM died or closed meanwhile. The callback runs on the
// root context, whichever stream sent the callout.
func (vm *VM) deliver(c *callout, resp *CalloutResponse) {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if vm.callouts[c.token] != c {
		return
	}
	vm.opts.record.calloutEnded(c.record, resp)
	var headers, trailers int
	if resp == nil {
		vm.callAnswer = &callAnswer{headers: &headerMap{}, trailers: &headerMap{}}
		vm.callStatus, vm.callMessage = uint32(statusBrokenConnection), "reset"
	} else {
		vm.callAnswer = &callAnswer{
			headers: newHeaderMap(resp.Headers, nil), trailers: newHeaderMap(resp.Trailers, nil), body: resp.Body,
		}
		headers, trailers = len(resp.Headers), len(resp.Trailers)
	}
	body := len(vm.callAnswer.body)
	vm.call(onHTTPCallResponse, rootContextID, uint64(c.token), uint64(headers), uint64(body), uint64(trailers))
	vm.callAnswer, vm.callMessage = nil, ""
	delete(vm.callouts, c.token)
	vm.abandonIfStuck()
}

// cancelCallouts ends every callout without a callback.
func (vm *VM) cancelCallouts() {
	for token, c := range vm.callouts {
		c.cancel()
		delete(vm.callouts, token)
	}
}

// statusOf reads the :status of an answer.
func (r *CalloutResponse) statusOf() (int, error) {
	for _, h := range r.Headers {
		if h[0] == ":status" {
			code, err := strconv.Atoi(h[1])
			if err != nil {
				return 0, fmt.Errorf("read :status %q: %w", h[1], err)
			}
			return code, nil
		}
	}
	return 0, errors.New("no :status in the answer")
}
