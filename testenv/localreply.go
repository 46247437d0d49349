package testenv

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// localReply is a local response on its way through the filter's response path.
type localReply struct {
	resp     LocalResponse
	stage    stepKind // the last step it was given to
	stopped  bool     // the filter paused that step
	finished bool
}

// response returns a copy to hand out.
func (l *localReply) response() *LocalResponse {
	r := l.resp
	r.Headers = slices.Clone(r.Headers)
	return &r
}

// sendLocal answers the stream as Envoy's connection manager does for a filter: through the
// response path while the upstream has not answered, directly while the filter still holds the
// upstream's headers, by a reset once they have left.
func (s *Stream) sendLocal(resp *LocalResponse) {
	if s.done || s.err != nil {
		return
	}
	if s.local != nil {
		s.vm.fault(fmt.Errorf("%w: status %d after %d", ErrSecondLocalResponse, resp.Status, s.local.resp.Status))
		return
	}
	if s.response.begun && !s.response.headersOpen {
		s.end(fmt.Errorf("%w: local response after the response had begun", ErrStreamReset))
		return
	}
	s.finishHeaders(resp)
	s.local = &localReply{resp: *resp}
	s.request.paused, s.response.paused = stepNone, stepNone
	if s.response.begun {
		s.finishLocal()
		return
	}
	s.advanceLocal()
}

// finishHeaders adds to a local response what Envoy adds: status, the body's length and type, or
// the trailers-only form for a gRPC request.
func (s *Stream) finishHeaders(resp *LocalResponse) {
	m := &headerMap{inline: s.vm.opts.InlineHeaders}
	code := strconv.FormatUint(uint64(resp.Status), 10)
	if contentType, _ := s.requestHeader("content-type"); strings.HasPrefix(contentType, "application/grpc") {
		m.pairs = append([]Header{{":status", "200"}, {"content-type", "application/grpc"}}, grpcTrailers(resp)...)
		resp.Body = nil
		m.pairs = append(m.pairs, resp.Headers...)
		resp.Headers = m.pairs
		return
	}
	m.add(":status", code)
	for _, h := range resp.Headers {
		m.add(h[0], h[1])
	}
	if len(resp.Body) == 0 {
		m.remove("content-length")
		m.remove("content-type")
	} else {
		m.replace("content-length", strconv.Itoa(len(resp.Body)))
		if _, ok := m.get("content-type"); !ok {
			m.add("content-type", "text/plain")
		}
	}
	if method, _ := s.requestHeader(":method"); method == "HEAD" {
		resp.Body = nil
	}
	resp.Headers = m.pairs
}

func grpcTrailers(resp *LocalResponse) []Header {
	code := resp.GRPCStatus
	if code < 0 || code > 16 {
		code = grpcStatusOf(resp.Status)
	}
	trailers := []Header{{"grpc-status", strconv.Itoa(int(code))}}
	if len(resp.Body) > 0 {
		trailers = append(trailers, Header{"grpc-message", string(resp.Body)})
	}
	return trailers
}

// grpcStatusOf is the gRPC code that stands for an HTTP status.
func grpcStatusOf(status uint32) int32 {
	switch status {
	case 400:
		return 13
	case 401:
		return 16
	case 403:
		return 7
	case 404:
		return 12
	case 429, 502, 503, 504:
		return 14
	default:
		return 2
	}
}

func (s *Stream) requestHeader(name string) (string, bool) {
	if s.request.headers == nil {
		return "", false
	}
	return s.request.headers.get(name)
}

// advanceLocal gives the response to the filter, headers and then body, until it pauses or
// nothing is left.
func (s *Stream) advanceLocal() {
	l, sd := s.local, &s.response
	if l.stage == stepNone {
		l.stage = stepHeaders
		sd.begun, sd.ended = true, len(l.resp.Body) == 0
		sd.headers, sd.headersOpen = newHeaderMap(l.resp.Headers, nil), true
		action := s.vm.call(onResponseHeaders, s.id, uint64(len(sd.headers.pairs)), flag(sd.ended))
		if s.local != l || l.finished {
			return
		}
		if action != headersContinue && action != headersContinueEnd {
			l.stopped = true
			return
		}
	}
	if l.stage == stepHeaders && len(l.resp.Body) > 0 {
		l.stage = stepBody
		sd.headersOpen = false
		sd.body, sd.bodyOpen, sd.ended = slices.Clone(l.resp.Body), true, true
		action := s.vm.call(onResponseBody, s.id, uint64(len(sd.body)), 1)
		if s.local != l || l.finished {
			return
		}
		if action != dataContinue {
			l.stopped = true
			return
		}
	}
	s.collectLocal()
}

// continueLocal resumes a local response that the filter paused.
func (s *Stream) continueLocal() {
	if s.local.stopped {
		s.local.stopped = false
		s.advanceLocal()
	}
}

// collectLocal takes over what the filter made of the response and hands it out.
func (s *Stream) collectLocal() {
	l, sd := s.local, &s.response
	l.resp.Headers = sd.headers.pairs
	if l.stage == stepBody {
		l.resp.Body = sd.body
	}
	sd.headersOpen, sd.bodyOpen, sd.body = false, false, nil
	s.finishLocal()
}

func (s *Stream) finishLocal() {
	s.local.finished = true
	s.wakeAll()
}
