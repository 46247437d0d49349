package testenv

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// LocalResponse is a response that a filter, or the host on its behalf, made. Headers include :status and have been through
// the filters' response path.
type LocalResponse struct {
	Status     uint32
	Headers    []Header
	Body       []byte
	Trailers   []Header // a filter of the response path added them
	Details    string
	GRPCStatus int32 // -1 when none was given
}

// answer gives the stream a local response as Envoy's filter manager does: through the response path of every filter
// while the upstream has not answered; past the filters while they hold headers of a response, be it the upstream's or an
// earlier local one; by a reset once headers have left. A local response that was made but has not begun its way stands,
// with the details of the later one.
func (c *chain) answer(resp *LocalResponse) {
	if c.closed || c.err != nil || c.finished {
		return
	}
	resp.Details = strings.ReplaceAll(resp.Details, " ", "_")
	if first := cmp.Or(c.local, c.prepared); first != nil {
		c.w.misused(MisuseSecondLocalResponse, fmt.Sprintf("status %d after %d", resp.Status, first.Status))
	}
	switch {
	case c.prepared != nil:
		c.prepared.Details = resp.Details
	case c.stepping && !c.responding:
		c.prepared = resp
	default:
		c.execute(resp)
	}
}

// execute lets a local response begin its way.
func (c *chain) execute(resp *LocalResponse) {
	c.prepared = nil
	if c.left {
		c.reset(fmt.Errorf("%w: local response after the response had begun", ErrStreamReset))
		return
	}
	c.finishHeaders(resp)
	c.bypass = c.responding
	c.local, c.responding = resp, true
	headers, body := resp.Headers, resp.Body
	resp.Headers, resp.Body = nil, nil
	c.latest[toClient].headers, c.latest[toClient].trailers = newHeaderMap(headers, nil), nil
	at := c.first(toClient)
	if c.bypass {
		at = -1
	}
	c.push(toClient, at, piece{part: partHeaders, headers: headers, end: len(body) == 0})
	if len(body) > 0 && c.local == resp && !c.finished {
		c.push(toClient, at, piece{part: partBody, body: body, end: true})
	}
}

// leaveLocal collects a local response until it is whole.
func (c *chain) leaveLocal(p piece) {
	switch p.part {
	case partHeaders:
		c.local.Headers = p.headers
	case partBody:
		c.local.Body = append(c.local.Body, p.body...)
	case partTrailers:
		c.local.Trailers = p.headers
	}
	if p.end {
		c.finished = true
		c.sink.out(toClient, piece{part: partNone, end: true})
	}
}

// finishHeaders adds to a local response what Envoy adds once the filter's own headers are in:
// status, the body's length and type, or the trailers-only form for a gRPC request.
func (c *chain) finishHeaders(resp *LocalResponse) {
	m := &headerMap{inline: c.w.opts.InlineHeaders}
	if c.grpc {
		m.add(":status", "200")
	} else {
		m.add(":status", strconv.FormatUint(uint64(resp.Status), 10))
	}
	for _, h := range resp.Headers {
		m.add(h[0], h[1])
	}
	switch {
	case c.grpc:
		c.finishGRPC(m, resp)
	case len(resp.Body) == 0:
		m.remove("content-length")
		m.remove("content-type")
	default:
		m.replace("content-length", strconv.Itoa(len(resp.Body)))
		if _, ok := m.get("content-type"); !ok {
			m.add("content-type", "text/plain")
		}
	}
	if c.head || c.grpc {
		resp.Body = nil
	}
	resp.Headers = m.pairs
}

func (c *chain) finishGRPC(m *headerMap, resp *LocalResponse) {
	m.replace("content-type", grpcType)
	if code, _ := m.get("grpc-status"); code == "" {
		m.replace("grpc-status", strconv.Itoa(int(grpcCode(resp))))
	}
	if len(resp.Body) > 0 && !c.head {
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
