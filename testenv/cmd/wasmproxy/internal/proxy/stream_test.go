package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

// Each event must reach the client before the upstream makes the next.
func TestEventStreamArrivesEventByEvent(t *testing.T) {
	seen := make(chan string)
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for i := range 3 {
			<-seen
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
	}), nil)
	resp, err := f.client.Do(f.request("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for i := range 3 {
		seen <- "headers or the event before"
		line, err := lines.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
			t.Fatalf("got %q, %v; want %q", line, err, want)
		}
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Errorf("after the last event: %v, want EOF", err)
	}
}

// Each chunk must reach the upstream before the client sends the next, and the answer may begin
// before the request ends.
func TestRequestAndResponseStreamAtTheSameTime(t *testing.T) {
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 16)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				_, _ = w.Write(buf[:n])
				w.(http.Flusher).Flush()
			}
			if err != nil {
				return
			}
		}
	}), nil)
	pr, pw := io.Pipe()
	answered := make(chan *http.Response, 1)
	go func() {
		resp, err := f.client.Do(f.request("POST", "/", pr))
		if err != nil {
			t.Error(err)
		}
		answered <- resp
	}()
	if _, err := io.WriteString(pw, "ping-0"); err != nil {
		t.Fatal(err)
	}
	resp := receive(t, "an answer before the request's end", answered)
	defer resp.Body.Close()
	buf := make([]byte, 6)
	for i := range 3 {
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != fmt.Sprintf("ping-%d", i) {
			t.Fatalf("round %d: %q, %v", i, buf, err)
		}
		if i < 2 {
			fmt.Fprintf(pw, "ping-%d", i+1)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("rest %q, %v", rest, err)
	}
}

func TestLargeBodyBothWays(t *testing.T) {
	f := start(t, echo, nil)
	body := strings.Repeat("0123456789abcdef", 512<<10/16*5)
	got := f.do("PUT", "/", body)
	if got.body != body {
		t.Errorf("%d bytes came back, want %d", len(got.body), len(body))
	}
	if got.Header.Get("Echo-Length") != fmt.Sprint(len(body)) {
		t.Errorf("the upstream saw length %s", got.Header.Get("Echo-Length"))
	}
}

func TestFilterBuffersTheBody(t *testing.T) {
	f := start(t, echo, nil)
	pr, pw := io.Pipe()
	go func() {
		for range 4 {
			_, _ = io.WriteString(pw, "abc")
		}
		pw.Close()
	}()
	resp, err := f.client.Do(f.request("POST", "/", pr, "X-Guest", "buffer"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "ABCABCABCABC" {
		t.Errorf("the upstream saw %q", body)
	}
}

func TestTrailers(t *testing.T) {
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		w.(http.Flusher).Flush()
		for _, name := range []string{"X-Client-Trailer", "X-Guest-Trailer", "X-Secret"} {
			if v := r.Trailer.Values(name); len(v) > 0 {
				w.Header()[http.TrailerPrefix+"X-Echo-"+name] = v
			}
		}
	})
	tests := []struct {
		name string
		on   bool
		want http.Header
	}{
		{"enabled", true, http.Header{
			"X-Echo-X-Client-Trailer": {"sent"}, "X-Echo-X-Guest-Trailer": {"request"}, "X-Guest-Trailer": {"response"},
		}},
		{"dropped as Envoy does by default", false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, upstream, func(c *bootstrap.Config) { c.HTTP.Trailers, c.Clusters[0].Trailers = tt.on, tt.on })
			req := f.request("POST", "/", io.NopCloser(strings.NewReader("body")))
			req.Trailer = http.Header{"X-Client-Trailer": {"sent"}, "X-Secret": {"one", "two"}}
			resp, err := f.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "body" {
				t.Fatalf("body %q, %v", body, err)
			}
			if diff := cmp.Diff(tt.want, resp.Trailer); diff != "" {
				t.Errorf("trailers (-want +got):\n%s", diff)
			}
		})
	}
}

// The filter has the body until the trailers come, and then both are its to change.
func TestTrailersOfAFilterThatHeldTheBody(t *testing.T) {
	got := make(chan string, 1)
	f := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- fmt.Sprint(string(body), r.Trailer)
	}), func(c *bootstrap.Config) { c.HTTP.Trailers, c.Clusters[0].Trailers = true, true })
	f.raw("POST / HTTP/1.1\r\nHost: a\r\nX-Guest: buffer\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"4\r\nbody\r\n0\r\nX-Secret: one\r\nX-Kept: 1\r\nx-secret: two\r\n\r\n")
	if v, want := receive(t, "the request", got), "bodymap[X-Guest-Trailer:[request] X-Kept:[1]]"; v != want {
		t.Errorf("the upstream got %s, want %s", v, want)
	}
}

func TestAnswersWithoutBody(t *testing.T) {
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.WriteHeader(304)
		case "/empty":
			w.Header().Set("Content-Length", "0")
		default:
			w.Header().Set("Content-Length", "1234")
		}
	}), nil)
	tests := []struct {
		method, path string
		status       int
		length       int64
	}{
		{"HEAD", "/length", 200, 1234},
		{"GET", "/204", 204, 0},
		{"GET", "/304", 304, 0},
		{"GET", "/empty", 200, 0},
	}
	for _, tt := range tests {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			got := f.do(tt.method, tt.path, "")
			if got.StatusCode != tt.status || got.ContentLength != tt.length || got.body != "" {
				t.Errorf("got %d, length %d, body %q", got.StatusCode, got.ContentLength, got.body)
			}
			if got.Header.Get("X-Response-End") != "true" {
				t.Error("the filter was not told that no body follows")
			}
		})
	}
	if got := f.do("HEAD", "/", "", "X-Guest", "deny"); got.StatusCode != 403 || got.ContentLength != int64(len("denied\n")) {
		t.Errorf("local reply to HEAD: %d, length %d", got.StatusCode, got.ContentLength)
	}
}

func TestExpectContinue(t *testing.T) {
	f := start(t, echo, nil)
	conn := f.dial()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("got %q, %v; want 100 Continue", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "hello")
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "hello" {
		t.Errorf("body %q", body)
	}
	if v := resp.Header.Get("Echo-Expect"); v != "" {
		t.Errorf("the upstream saw Expect: %s", v)
	}
}

func TestClientLeavesWhileTheFilterHoldsTheRequest(t *testing.T) {
	asked := make(chan struct{}, 1)
	f := start(t, echo, withSide(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	})))
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			before := f.metric("guest.ended")
			conn := f.dial()
			fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: a\r\nX-Guest: call:/slow\r\nContent-Length: 3\r\n\r\nabc", method)
			receive(t, "the callout", asked)
			conn.Close()
			eventually(t, "the stream ends", func() bool { return f.metric("guest.ended") == before+1 })
		})
	}
	f.wantLogged("0 DC")
}

func TestClientLeavesWhileTheUpstreamWorks(t *testing.T) {
	started, left := make(chan struct{}), make(chan struct{})
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		close(started)
		<-r.Context().Done()
		close(left)
	}), nil)
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := f.client.Do(f.request("GET", "/", nil).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	receive(t, "the upstream starts", started)
	cancel()
	receive(t, "the upstream's request is cancelled", left)
	eventually(t, "the stream ends", func() bool { return f.metric("guest.ended") == 1 })
}

func TestUpstreamBreaksOff(t *testing.T) {
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}), nil)
	_, err := f.try("GET", "/", "")
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error = %v, want the client to see that the body is cut", err)
	}
	f.wantLogged("200 UC")
}

func TestUpstreamNotThere(t *testing.T) {
	f := start(t, nil, func(c *bootstrap.Config) { c.Clusters = []bootstrap.Cluster{clusterOf("up", "127.0.0.1:1")} })
	got := f.do("POST", "/", "x")
	if got.StatusCode != 503 || !strings.Contains(got.body, "remote connection failure") {
		t.Errorf("got %d %q", got.StatusCode, got.body)
	}
	if got.Header.Get("X-Response-By") != "guest" {
		t.Error("the 503 did not pass the filter's response path")
	}
	f.wantLogged("503 UF")
}

func TestUpstreamHangsUpBeforeAnswering(t *testing.T) {
	f := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), nil)
	got := f.do("POST", "/", "x")
	if got.StatusCode != 503 || !strings.Contains(got.body, "connection termination") {
		t.Errorf("got %d %q", got.StatusCode, got.body)
	}
	f.wantLogged("503 UC")
}

// A request that may have been acted upon must not be sent again.
func TestUpstreamSeesARequestOnce(t *testing.T) {
	seen := make(chan string, 10)
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.URL.Path
		if r.URL.Path == "/cut" {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}
	}), nil)
	f.do("POST", "/warm", "x")
	f.do("POST", "/cut", "x")
	if len(seen) != 2 {
		t.Errorf("the upstream saw %d requests, want 2", len(seen))
	}
}

func TestUpstreamTimeout(t *testing.T) {
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/midway" {
			_, _ = io.WriteString(w, "part")
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
	f := start(t, upstream, func(c *bootstrap.Config) { c.Routes[0].Timeout = 50 * time.Millisecond })
	for _, body := range []string{"", "x"} {
		got := f.do("POST", "/", body)
		if got.StatusCode != 504 || got.body != "upstream request timeout" || got.Header.Get("X-Response-By") != "guest" {
			t.Errorf("body %q: got %d %q by %q", body, got.StatusCode, got.body, got.Header.Get("X-Response-By"))
		}
	}
	f.wantLogged("504 UT")
	if _, err := f.try("GET", "/midway", ""); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("midway: error = %v, want a cut body", err)
	}
	f.wantLogged("200 UT")
}
