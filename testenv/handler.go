package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// HandlerCluster is a Cluster that h serves in process, through a real http.Request and ResponseWriter; the request's
// context ends with the callout's timeout, in real time. Answers to HEAD and with the status 204 or 304 have no body. A
// handler that panics with http.ErrAbortHandler breaks the connection: before it wrote anything that is a failed
// connection, afterwards a reset.
//
// A Host calls h on the test's goroutine, at one instant of virtual time: h must return at once (within 30 s of real time)
// and must not use the Host. A Script before it makes it slow.
func HandlerCluster(h http.Handler) Cluster { return handlerCluster{h} }

type handlerCluster struct{ handler http.Handler }

func (c handlerCluster) Call(ctx context.Context, req *CalloutRequest) (*CalloutResponse, error) {
	return serve(ctx, c.handler, req.Headers, req.Body, req.Trailers)
}

// errAborted is a handler that gave up before it answered.
var errAborted = errors.New("the handler aborted")

func serve(
	ctx context.Context, h http.Handler, headers []Header, body []byte, trailers []Header,
) (resp *CalloutResponse, err error) {
	req, err := newRequest(ctx, headers, body, trailers)
	if err != nil {
		return nil, err
	}
	w := &responseBuffer{header: http.Header{}, head: req.Method == http.MethodHead}
	defer func() {
		switch r := recover(); {
		case r == nil:
		case r != http.ErrAbortHandler:
			panic(r)
		case w.status != 0:
			resp, err = nil, ErrReset
		default:
			resp, err = nil, errAborted
		}
	}()
	h.ServeHTTP(w, req)
	return w.response(), nil
}

// newRequest makes the request a server would see from a header map.
func newRequest(ctx context.Context, headers []Header, body []byte, trailers []Header) (*http.Request, error) {
	m := newHeaderMap(headers, nil)
	method, _ := m.get(":method")
	authority, _ := m.get(":authority")
	path, _ := m.get(":path")
	target, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, fmt.Errorf("read :path: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "/", io.NopCloser(bytes.NewReader(body)))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.URL, req.RequestURI, req.Host = target, path, authority
	req.RemoteAddr = "127.0.0.1:1" // servers split it into host and port
	req.ContentLength = int64(len(body))
	if len(body) == 0 {
		req.Body = http.NoBody
	}
	for _, h := range m.pairs {
		if !strings.HasPrefix(h[0], ":") {
			req.Header.Add(h[0], h[1])
		}
	}
	if len(trailers) > 0 {
		req.Trailer = http.Header{}
		for _, t := range trailers {
			req.Trailer.Add(t[0], t[1])
		}
	}
	return req, nil
}

// responseBuffer is a ResponseWriter that keeps the whole answer.
type responseBuffer struct {
	header http.Header
	sent   http.Header // as of the moment the status was written
	status int
	body   bytes.Buffer
	head   bool // the request was HEAD: the body counts for the headers alone
}

func (w *responseBuffer) Header() http.Header { return w.header }

func (w *responseBuffer) WriteHeader(code int) {
	informational := code >= 100 && code < 200
	if w.status != 0 || informational {
		return
	}
	w.status, w.sent = code, w.header.Clone()
}

func (w *responseBuffer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.bodiless() {
		return 0, http.ErrBodyNotAllowed
	}
	return w.body.Write(p)
}

// bodiless says whether the status has no body.
func (w *responseBuffer) bodiless() bool {
	return w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// Flush sends the headers, as far as an answer in memory can.
func (w *responseBuffer) Flush() { w.WriteHeader(http.StatusOK) }

func (w *responseBuffer) response() *CalloutResponse {
	w.WriteHeader(http.StatusOK)
	declared := w.sent.Values("Trailer")
	w.sent.Del("Trailer")
	for name := range w.sent {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			w.sent.Del(name)
		}
	}
	if w.body.Len() > 0 && w.sent.Get("Content-Type") == "" {
		w.sent.Set("Content-Type", http.DetectContentType(w.body.Bytes()))
	}
	if w.sent.Get("Content-Length") == "" && !w.bodiless() && (!w.head || w.body.Len() > 0) {
		w.sent.Set("Content-Length", strconv.Itoa(w.body.Len()))
	}
	if w.head {
		w.body.Reset()
	}
	return &CalloutResponse{
		Headers:  append([]Header{{":status", strconv.Itoa(w.status)}}, sortedHeaders(w.sent)...),
		Body:     w.body.Bytes(),
		Trailers: w.trailers(declared),
	}
}

func (w *responseBuffer) trailers(declared []string) []Header {
	trailers := http.Header{}
	for _, names := range declared {
		for name := range strings.SplitSeq(names, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values, ok := w.header[name]; ok {
				trailers[name] = values
			}
		}
	}
	for name, values := range w.header {
		if after, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			trailers[http.CanonicalHeaderKey(after)] = values
		}
	}
	return sortedHeaders(trailers)
}

// sortedHeaders lists a header by name: http.Header keeps no order, and tests want one.
func sortedHeaders(h http.Header) []Header {
	var list []Header
	for name, values := range h {
		for _, v := range values {
			list = append(list, Header{lower(name), v})
		}
	}
	slices.SortStableFunc(list, func(a, b Header) int { return strings.Compare(a[0], b[0]) })
	return list
}
