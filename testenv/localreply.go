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

// finishHeaders adds to a local response what Envoy adds once the filter's own headers are in:
// status, the body's length and type, or the trailers-only form for a gRPC request.
func (s *Stream) finishHeaders(resp *LocalResponse) {
	m := &headerMap{inline: s.vm.opts.InlineHeaders}
	if s.grpc {
		m.add(":status", "200")
	} else {
		m.add(":status", strconv.FormatUint(uint64(resp.Status), 10))
	}
	for _, h := range resp.Headers {
		m.add(h[0], h[1])
	}
	switch {
	case s.grpc:
		s.finishGRPC(m, resp)
	case len(resp.Body) == 0:
		m.remove("content-length")
		m.remove("content-type")
	default:
		m.replace("content-length", strconv.Itoa(len(resp.Body)))
		if _, ok := m.get("content-type"); !ok {
			m.add("content-type", "text/plain")
		}
	}
	if s.head || s.grpc {
		resp.Body = nil
	}
	resp.Headers = m.pairs
}

func (s *Stream) finishGRPC(m *headerMap, resp *LocalResponse) {
	m.replace("content-type", grpcType)
	if code, _ := m.get("grpc-status"); code == "" {
		m.replace("grpc-status", strconv.Itoa(int(grpcCode(resp))))
	}
	if len(resp.Body) > 0 && !s.head {
		m.replace("grpc-message", percentEncode(resp.Body))
	}
	m.remove("content-length")
}

const grpcType = "application/grpc"

// isGRPC is Envoy's test of a request, to be made before any filter has changed it:
// application/grpc-web and the like are not gRPC.
func isGRPC(m *headerMap) bool {
	if _, ok := m.get(":path"); !ok {
		return false
	}
	contentType, _ := m.get("content-type")
	rest, ok := strings.CutPrefix(contentType, grpcType)
	return ok && (rest == "" || rest[0] == '+')
}

// percentEncode escapes the bytes of a grpc-message that Envoy escapes.
func percentEncode(message []byte) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for _, c := range message {
		if c < ' ' || c >= '~' || c == '%' {
			out.Write([]byte{'%', digits[c>>4], digits[c&15]})
			continue
		}
		out.WriteByte(c)
	}
	return out.String()
}

func grpcCode(resp *LocalResponse) int32 {
	if resp.GRPCStatus < 0 || resp.GRPCStatus > 16 {
		return grpcStatusOf(resp.Status)
	}
	return resp.GRPCStatus
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
