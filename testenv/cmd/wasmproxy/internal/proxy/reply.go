package proxy

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/tollgate/tollgate/testenv"
)

const resetText = "upstream connect error or disconnect/reset before headers. reset reason: "

// refuse answers in place of the connection manager: no filter sees it.
func (x *exchange) refuse(ref *refusal) {
	if x.record.Details == "" {
		x.record.Details = "refused: " + ref.reason
	}
	x.answer(plainReply(ref.status, ref.reason+"\n"))
}

// reply answers in place of the router: filters see the answer on their response path. One that
// would hold it where ctx is over already is passed by.
func (x *exchange) reply(status int, text, flags, details string) {
	x.record.Flags, x.record.Details = flags, details
	x.responding = true
	l, err := x.respond(plainReply(status, text))
	if err != nil {
		x.filterFailed(err)
		return
	}
	x.answer(l)
}

// respond passes an answer that no upstream gave through the filters, one of which may answer instead.
func (x *exchange) respond(l *testenv.LocalResponse) (*testenv.LocalResponse, error) {
	res, err := x.stream.ResponseHeaders(x.ctx, l.Headers, len(l.Body) == 0)
	if err != nil || res.Local != nil {
		return res.Local, err
	}
	l.Headers = res.Headers
	if len(l.Body) == 0 {
		return l, nil
	}
	res, err = x.stream.ResponseBody(x.ctx, l.Body, true)
	l.Body = res.Body
	return l, err
}

func plainReply(status int, text string) *testenv.LocalResponse {
	l := &testenv.LocalResponse{
		Status:  uint32(status),
		Headers: []testenv.Header{{":status", strconv.Itoa(status)}},
		Body:    []byte(text),
	}
	if text != "" {
		l.Headers = append(l.Headers, lengthHeader(len(text)), testenv.Header{"content-type", "text/plain"})
	}
	return l
}

// answer sends a whole response that came from no upstream.
func (x *exchange) answer(l *testenv.LocalResponse) {
	x.stopUpstream(errLocalReply)
	if x.wrote {
		x.abort = true
		return
	}
	if x.record.Details == "" {
		x.record.Details = l.Details
	}
	x.body.drain(settleTime, settleBytes)
	status := statusOf(l.Headers, http.StatusInternalServerError)
	body := l.Body
	if x.r.Method == http.MethodHead || !bodyAllowed(status) {
		body = nil
	} else if contentLength(l.Headers) != int64(len(body)) {
		l.Headers = append(remove(l.Headers, "content-length"), lengthHeader(len(body)))
	}
	x.writeHeaders(l.Headers, status)
	n, err := x.w.Write(body)
	x.record.BytesSent += int64(n)
	if err != nil && len(body) > 0 {
		x.abort = true
	}
}

// writeHeaders starts the response.
func (x *exchange) writeHeaders(headers []testenv.Header, status int) {
	h := x.w.Header()
	copyHeaders(h, headers)
	if n := contentLength(headers); n >= 0 && status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(int(n)))
	} else {
		h.Del("Content-Length")
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or net/http guesses one
	}
	if x.closing || !x.body.isComplete() {
		h.Set("Connection", "close")
	}
	x.wrote = true
	x.started.Store(true)
	x.idle.touch()
	x.record.Status, x.record.Response = status, headers
	x.w.WriteHeader(status)
}

// filterFailed ends an exchange that a filter's stream could not carry on.
func (x *exchange) filterFailed(err error) {
	if l := x.takeLocal(err); l != nil {
		x.answer(l)
		return
	}
	if x.interrupted() {
		return
	}
	switch {
	case x.wrote || errors.Is(err, testenv.ErrStreamReset):
		x.record.Details = "filter_reset"
		x.abort = true
	default:
		x.p.log.Error("filter stream failed", "error", err)
		x.refuse(&refusal{http.StatusServiceUnavailable, "filter unavailable"})
	}
}

// takeLocal returns what a filter answered while the body was on its way, nil if none did. A stream that is closed has been
// answered: then the step of the body that got the answer is about to hand it over.
func (x *exchange) takeLocal(err error) *testenv.LocalResponse {
	if errors.Is(err, testenv.ErrStreamClosed) {
		select {
		case l := <-x.local:
			return l
		case <-x.ctx.Done():
			return nil
		}
	}
	select {
	case l := <-x.local:
		return l
	default:
		return nil
	}
}

// upstreamFailed answers for an upstream that gave no response.
func (x *exchange) upstreamFailed(upstream context.Context, err error) {
	if l := x.takeLocal(err); l != nil {
		x.answer(l)
		return
	}
	if x.interrupted() {
		return
	}
	if isFilterError(err) {
		x.filterFailed(err)
		return
	}
	flags, details := x.upstreamFault(upstream, err)
	switch flags {
	case flagUpstreamTimeout:
		x.reply(http.StatusGatewayTimeout, "upstream request timeout", flags, details)
	case flagConnectFailure:
		x.reply(http.StatusServiceUnavailable, resetText+"remote connection failure", flags, details)
	default:
		x.reply(http.StatusServiceUnavailable, resetText+"connection termination", flags, details)
	}
}

func isFilterError(err error) bool {
	for _, e := range []error{testenv.ErrStreamReset, testenv.ErrStreamClosed, testenv.ErrAbandoned, testenv.ErrStepOrder} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// upstreamFault sorts an error of the upstream connection into flags and details.
func (x *exchange) upstreamFault(upstream context.Context, err error) (flags, details string) {
	switch {
	case errors.Is(context.Cause(upstream), errUpstreamTimeout):
		return flagUpstreamTimeout, "response_timeout"
	case errors.Is(err, errConnect):
		return flagConnectFailure, "upstream_reset_before_response_started{connection_failure}"
	case x.wrote:
		return flagUpstreamReset, "upstream_reset_after_response_started{connection_termination}"
	}
	return flagUpstreamReset, "upstream_reset_before_response_started{connection_termination}"
}

// interrupted ends an exchange that the client or the idle timer cut short, whatever failed for it,
// and reports whether one of them did.
func (x *exchange) interrupted() bool {
	switch {
	// First, because net/http takes a write that the timer cut for a client that left.
	case errors.Is(context.Cause(x.ctx), errStreamIdle):
		status := http.StatusGatewayTimeout
		if !x.body.isComplete() {
			status = http.StatusRequestTimeout
		}
		x.endEarly(status, "stream timeout", flagStreamIdle, "stream_idle_timeout")
	case x.r.Context().Err() != nil:
		x.clientGone()
	case x.malformed.Load():
		x.closing = true
		x.endEarly(http.StatusBadRequest, "Bad Request", flagProtocolError, "http1.codec_error")
	default:
		return false
	}
	return true
}

// endEarly answers in place of the connection manager: through the filters, past them where they
// have seen a response already, and by a cut where the client has.
func (x *exchange) endEarly(status int, text, flags, details string) {
	x.record.Flags, x.record.Details = flags, details
	switch {
	case x.wrote:
		x.abort = true
	case x.responding:
		x.answer(plainReply(status, text))
	default:
		x.reply(status, text, flags, details)
	}
}

func (x *exchange) clientGone() {
	x.record.Flags, x.record.Details = flagClientGone, "downstream_remote_disconnect"
	x.abort = true
}
