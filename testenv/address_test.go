package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rawServer answers every connection with the same bytes once its request has come, and closes it. Requests come out
// of the channel as they were on the wire.
func rawServer(t *testing.T, answer string) (address string, requests <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 128)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				seen <- readRawRequest(conn)
				_, _ = io.WriteString(conn, answer)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().String(), seen
}

// readRawRequest reads up to the end of one request; a chunked body must not hold the line "0".
func readRawRequest(conn net.Conn) string {
	r := bufio.NewReader(conn)
	var request strings.Builder
	until := func(last string) {
		for {
			line, err := r.ReadString('\n')
			request.WriteString(line)
			if err != nil || line == last {
				return
			}
		}
	}
	until("\r\n")
	head := request.String()
	if strings.Contains(head, "\r\nTransfer-Encoding: chunked\r\n") {
		until("0\r\n")
		until("\r\n")
	} else if _, after, ok := strings.Cut(head, "\r\nContent-Length: "); ok {
		var length int64
		_, _ = fmt.Sscan(after, &length)
		_, _ = io.CopyN(&request, r, length)
	}
	return request.String()
}

func addressed(method, path string, more ...Header) *CalloutRequest {
	return &CalloutRequest{
		Cluster: "control",
		Headers: append([]Header{{":method", method}, {":path", path}, {":authority", "control.example:1"}}, more...),
	}
}

func TestAddressSendsWhatTheFilterWrote(t *testing.T) {
	t.Parallel()
	withBody := func(req *CalloutRequest, body string, trailers ...Header) *CalloutRequest {
		req.Body, req.Trailers = []byte(body), trailers
		return req
	}
	const host = "Host: control.example:1\r\n"
	tests := []struct {
		name string
		req  *CalloutRequest
		want string
	}{
		{"nothing added", addressed("GET", "/"), "GET / HTTP/1.1\r\n" + host + "\r\n"},
		{
			"repeats in order", addressed("GET", "/", Header{"x-b", "2"}, Header{"x-a", "z"}, Header{"x-b", "1"}),
			"GET / HTTP/1.1\r\n" + host + "X-A: z\r\nX-B: 2\r\nX-B: 1\r\n\r\n",
		},
		{
			"the filter's own user agent and encoding", addressed("GET", "/", Header{"user-agent", "f/1"}, Header{"accept-encoding", "br"}),
			"GET / HTTP/1.1\r\n" + host + "User-Agent: f/1\r\nAccept-Encoding: br\r\n\r\n",
		},
		{"head", addressed("HEAD", "/x"), "HEAD /x HTTP/1.1\r\n" + host + "\r\n"},
		{"unknown method", addressed("PURGE", "/x"), "PURGE /x HTTP/1.1\r\n" + host + "\r\n"},
		{"path with escapes", addressed("GET", "/a%2Fb%2f%20/../c;d=é?q=%zz&r=\"|\"#f"), "GET /a%2Fb%2f%20/../c;d=é?q=%zz&r=\"|\"#f HTTP/1.1\r\n" + host + "\r\n"},
		{"path of two slashes", addressed("GET", "//other.example/a%2Fb?c=//d"), "GET //other.example/a%2Fb?c=//d HTTP/1.1\r\n" + host + "\r\n"},
		{"path of two slashes, empty query", addressed("GET", "//a?"), "GET //a? HTTP/1.1\r\n" + host + "\r\n"},
		{"bare question mark", addressed("GET", "/a?"), "GET /a? HTTP/1.1\r\n" + host + "\r\n"},
		{"asterisk", addressed("OPTIONS", "*"), "OPTIONS * HTTP/1.1\r\n" + host + "\r\n"},
		{
			"body", withBody(addressed("POST", "/", Header{"content-length", "5"}), "hello"),
			"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello",
		},
		{"body of a GET", withBody(addressed("GET", "/"), "hello"), "GET / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello"},
		{
			"trailers", withBody(addressed("POST", "/", Header{"content-length", "5"}), "hello", Header{"x-t", "1"}, Header{"x-t", "2"}),
			"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\nX-T: 2\r\n\r\n",
		},
		{
			"trailers without a body", withBody(addressed("GET", "/"), "", Header{"x-t", "1"}),
			"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n0\r\nX-T: 1\r\n\r\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address, requests := rawServer(t, "HTTP/1.1 204 No Content\r\n\r\n")
			if _, err := AddressCluster(address).Call(t.Context(), tt.req); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, <-requests); diff != "" {
				t.Errorf("on the wire (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAddressReadsAnswers(t *testing.T) {
	t.Parallel()
	status := func(code string, more ...Header) []Header { return append([]Header{{":status", code}}, more...) }
	tests := []struct {
		name, method, answer string
		want                 *CalloutResponse
	}{
		{
			"headers", "GET", "HTTP/1.1 200 Fine\r\nX-B: 1\r\nSet-Cookie: b=2\r\nSET-COOKIE: a=1\r\nContent-Length: 2\r\n\r\nok",
			&CalloutResponse{Headers: status("200", Header{"content-length", "2"}, Header{"set-cookie", "b=2"}, Header{"set-cookie", "a=1"}, Header{"x-b", "1"}), Body: []byte("ok")},
		},
		{
			"chunked with trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Z\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\nX-Z: 1\r\nX-A: 2\r\nX-A: 1\r\n\r\n",
			&CalloutResponse{Headers: status("200", Header{"transfer-encoding", "chunked"}), Body: []byte("ok!"), Trailers: []Header{{"x-a", "2"}, {"x-a", "1"}, {"x-z", "1"}}},
		},
		{
			"trailer that never came", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Z\r\n\r\n0\r\n\r\n",
			&CalloutResponse{Headers: status("200", Header{"transfer-encoding", "chunked"})},
		},
		{
			"after informational answers", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
			&CalloutResponse{Headers: status("200", Header{"content-length", "2"}), Body: []byte("ok")},
		},
		{"answer to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", &CalloutResponse{Headers: status("200", Header{"content-length", "5"})}},
		{"no content", "GET", "HTTP/1.1 204 No Content\r\n\r\n", &CalloutResponse{Headers: status("204")}},
		{"until the connection closes", "GET", "HTTP/1.1 200 OK\r\n\r\nall of it", &CalloutResponse{Headers: status("200"), Body: []byte("all of it")}},
		{
			"redirect", "GET", "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
			&CalloutResponse{Headers: status("302", Header{"content-length", "0"}, Header{"location", "/elsewhere"})},
		},
		{
			"compressed", "GET", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nzip",
			&CalloutResponse{Headers: status("200", Header{"content-encoding", "gzip"}, Header{"content-length", "3"}), Body: []byte("zip")},
		},
		{
			"body at the limit", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n0123456789abcdef",
			&CalloutResponse{Headers: status("200", Header{"content-length", "16"}), Body: []byte("0123456789abcdef")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address, _ := rawServer(t, tt.answer)
			got, err := limited(address, 16).Call(t.Context(), addressed(tt.method, "/"))
			if err != nil {
				t.Fatal(err)
			}
			got.Body = append([]byte(nil), got.Body...) // nil for empty
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func limited(address string, bytes int) Cluster {
	c := AddressCluster(address).(*addressCluster)
	c.limit = bytes
	return c
}

// What broke after the answer began is a reset; what broke before is the router's own 503.
func TestAddressTellsResetsFromFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, answer string
		reset        bool
	}{
		{"broken in the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123", true},
		{"broken before the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", true},
		{"broken in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123", true},
		{"broken between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n", true},
		{"broken in the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n0\r\nX-T: ", true},
		{"chunk of no size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", true},
		{"body over the limit", "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n0123456789abcdefg", true},
		{"chunked over the limit", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n", true},
		{"no answer", "", false},
		{"broken in the status line", "HTTP/1.1 20", false},
		{"broken in the headers", "HTTP/1.1 200 OK\r\nX-A: 1\r\n", false},
		{"broken after an informational answer", "HTTP/1.1 103 Early Hints\r\n\r\n", false},
		{"not HTTP", "SSH-2.0-x\r\n\r\n", false},
		{"switched protocols", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false},
		{"headers over the limit", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", addressMaxAnswerHeaders) + "\r\n\r\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address, requests := rawServer(t, tt.answer)
			resp, err := limited(address, 16).Call(t.Context(), addressed("GET", "/"))
			if err == nil || errors.Is(err, ErrReset) != tt.reset || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Call = %v, %v; want a reset: %v", resp, err, tt.reset)
			}
			if len(requests) != 1 {
				t.Errorf("the server got %d requests", len(requests))
			}
		})
	}
}

func TestAddressRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, address := range []string{l.Addr().String(), "127.0.0.1", ""} {
		if _, err := AddressCluster(address).Call(t.Context(), addressed("GET", "/")); err == nil || errors.Is(err, ErrReset) {
			t.Errorf("address %q: %v", address, err)
		}
	}
}

// What HTTP/1.1 cannot carry never leaves.
func TestAddressRefusesRequests(t *testing.T) {
	t.Parallel()
	address, requests := rawServer(t, "HTTP/1.1 204 No Content\r\n\r\n")
	trailer := addressed("POST", "/")
	trailer.Trailers = []Header{{"content-length", "1"}}
	for _, req := range []*CalloutRequest{
		addressed("GET", "/\r\nx-smuggled: 1"), addressed("G T", "/"), addressed("GET", "/", Header{"x-a", "1\r\nx-smuggled: 1"}),
		addressed("GET", "/", Header{"x a", "1"}), trailer,
	} {
		if _, err := AddressCluster(address).Call(t.Context(), req); err == nil || errors.Is(err, ErrReset) {
			t.Errorf("%q: %v", req.Headers, err)
		}
	}
	for range len(requests) {
		if got := <-requests; got != "" {
			t.Errorf("the server got %q", got)
		}
	}
}

func TestAddressEndsWithItsContext(t *testing.T) {
	t.Parallel()
	began := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
		}
		if r.URL.Path == "/cancel" {
			began <- struct{}{}
		}
		<-r.Context().Done() // the connection went away
	}))
	t.Cleanup(srv.Close)
	c := AddressCluster(srv.Listener.Addr().String())
	for _, path := range []string{"/silent", "/begun"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := c.Call(ctx, addressed("GET", path))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrReset) {
			t.Errorf("%s: %v", path, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if _, err := c.Call(ctx, addressed("GET", "/cancel")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAddressOfARealServer(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			_, _ = io.Copy(w, io.LimitReader(endless{}, DefaultMaxCalloutBytes+1))
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Declared")
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.RequestURI, r.Host, body, r.Trailer.Get("X-T"))
		w.Header().Set("X-Declared", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	}))
	t.Cleanup(srv.Close)
	c := AddressCluster(srv.Listener.Addr().String())
	req := addressed("POST", "/a%2Fb?c")
	req.Body, req.Trailers = []byte("hello"), []Header{{"x-t", "t"}}
	resp, err := c.Call(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(resp.Body), "POST /a%2Fb?c control.example:1 hello t"; got != want || resp.Headers[0] != (Header{":status", "202"}) {
		t.Errorf("answer %q %q, want %q", resp.Headers, got, want)
	}
	if diff := cmp.Diff([]Header{{"x-declared", "1"}, {"x-late", "2"}}, resp.Trailers); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
	if _, err := c.Call(t.Context(), addressed("GET", "/large")); !errors.Is(err, ErrReset) {
		t.Errorf("a body over the limit: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A server that closes its connections without a word must not fail the call after, as it would over a kept one.
func TestAddressConcurrentAndRepeatedCalls(t *testing.T) {
	t.Parallel()
	address, requests := rawServer(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	c := AddressCluster(address)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 16 {
				if _, err := c.Call(t.Context(), addressed("GET", fmt.Sprintf("/%d/%d", i, j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for range len(requests) {
		seen[<-requests] = true
	}
	if len(seen) != 128 {
		t.Errorf("%d different requests arrived", len(seen))
	}
}
