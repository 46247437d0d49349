package testenv

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"
)

// ErrReset is what a Cluster returns when the connection broke after the answer had begun: the
// filter's callback then gets no headers and no body. Any other error is a connection that never
// answered, which Envoy's router turns into a 503 of its own.
var ErrReset = errors.New("connection reset")

// Cluster is an upstream that callouts can be sent to. The request and its slices belong to Call.
//
// A Worker runs each Call on a goroutine of its own, several at a time; it should return when ctx ends, and a late answer
// is dropped. A Host runs Call on the test's goroutine, one at a time, at one instant of virtual time: it must return at
// once, within 30 s of real time, when ctx ends, and must not use the Host.
type Cluster interface {
	Call(ctx context.Context, req *CalloutRequest) (*CalloutResponse, error)
}

// CalloutRequest is one request that the filter sends by itself. Headers include the pseudo headers and what Envoy's async
// client adds (async_client_impl.cc): content-length for a body, x-envoy-internal and, for a timeout,
// x-envoy-expected-rq-timeout-ms. Timeout 0 means none.
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
	token   uint32
	plugin  *pluginContext // whose root context is called back
	request *CalloutRequest
	cancel  func()
	record  *CalloutRecord
}

// callAnswer is the answer that the callback's hostcalls read.
type callAnswer struct {
	headers  *headerMap
	trailers *headerMap // nil for an answer without any
	body     []byte
}

// httpCall checks and starts a callout; the caller holds the lock.
func (vm *wasmVM) httpCall(cluster string, headers []Header, body []byte, trailers []Header, timeoutMS int32) (uint32, status) {
	if timeoutMS < 0 {
		return 0, statusBadArgument
	}
	target, known := vm.w.opts.Clusters[cluster]
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
	m.replace("x-envoy-internal", "true")
	if timeoutMS > 0 {
		m.replace("x-envoy-expected-rq-timeout-ms", strconv.Itoa(int(timeoutMS)))
	}
	req := &CalloutRequest{
		Cluster: cluster, Headers: m.pairs, Body: body,
		Trailers: newHeaderMap(trailers, nil).pairs,
		Timeout:  time.Duration(timeoutMS) * time.Millisecond,
	}
	return vm.startCallout(target, req), statusOK
}

func (vm *wasmVM) startCallout(target Cluster, req *CalloutRequest) uint32 {
	c := &callout{token: vm.nextToken(), plugin: vm.currentPlugin(), request: req, cancel: func() {}}
	vm.callouts[c.token] = c
	c.record = vm.w.opts.record.calloutStarted(vm, req)
	if vm.w.opts.send != nil {
		vm.w.opts.send(c, target)
	} else {
		vm.w.sendAside(c, target)
	}
	return c.token
}

// sendAside runs a callout on a goroutine, in real time.
func (w *Worker) sendAside(c *callout, target Cluster) {
	ctx, cancel := context.WithCancel(context.Background())
	if c.request.Timeout > 0 {
		ctx, cancel = context.WithTimeout(context.Background(), c.request.Timeout)
	}
	c.cancel = cancel
	w.sending.Go(func() {
		defer cancel()
		resp := await(ctx, target, c.request, w.opts.MaxCalloutBytes)
		w.mu.Lock()
		defer w.mu.Unlock()
		c.plugin.vm.deliver(c, resp)
		w.abandonIfStuck()
	})
}

func (vm *wasmVM) nextToken() uint32 {
	for {
		vm.lastToken++
		if _, taken := vm.callouts[vm.lastToken]; !taken && vm.lastToken != 0 {
			return vm.lastToken
		}
	}
}

// await calls the cluster and turns what happened into what Envoy's async client reports; nil is a reset.
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
	select {
	case o := <-done:
		return reported(o.resp, o.err, limit)
	case <-ctx.Done():
		return reported(nil, ctx.Err(), limit)
	}
}

// reported is what Envoy's async client makes of an upstream's answer or failure; nil is a reset.
func reported(resp *CalloutResponse, err error, limit int) *CalloutResponse {
	switch {
	case errors.Is(err, ErrReset):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return routerReply(504, "upstream request timeout")
	case err != nil:
		return routerReply(503, "upstream connect error or disconnect/reset before headers. reset reason: connection failure")
	case resp == nil || len(resp.Body) > limit:
		return nil
	}
	return resp
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

// deliver calls the guest back, unless its VM died or closed meanwhile. The callback runs on the plugin's root context,
// whichever stream sent the callout.
func (vm *wasmVM) deliver(c *callout, resp *CalloutResponse) {
	if vm.callouts[c.token] != c {
		return
	}
	vm.w.opts.record.calloutEnded(c.record, resp)
	var headers, body, trailers int
	if resp == nil {
		vm.callStatus, vm.callMessage = uint32(statusBrokenConnection), "reset"
	} else {
		headers, body, trailers = len(resp.Headers), len(resp.Body), len(resp.Trailers)
		vm.callAnswer = newCallAnswer(resp)
	}
	over := func() {
		vm.callAnswer, vm.callMessage = nil, ""
		delete(vm.callouts, c.token)
	}
	vm.deferred = append(vm.deferred, over) // before what the guest asks for: no other callback sees the answer
	vm.call(onHTTPCallResponse, c.plugin.id, uint64(c.token), uint64(headers), uint64(body), uint64(trailers))
	over() // nothing was deferred in a guest without the callback, or one that died in it
}

func newCallAnswer(resp *CalloutResponse) *callAnswer {
	a := &callAnswer{headers: newHeaderMap(resp.Headers, nil), body: resp.Body}
	if len(resp.Trailers) > 0 {
		a.trailers = newHeaderMap(resp.Trailers, nil)
	}
	return a
}

// cancelCallouts ends every callout without a callback, in the order of their tokens: a run must not depend on a map's.
func (vm *wasmVM) cancelCallouts() {
	for _, token := range slices.Sorted(maps.Keys(vm.callouts)) {
		vm.callouts[token].cancel()
		delete(vm.callouts, token)
	}
}
