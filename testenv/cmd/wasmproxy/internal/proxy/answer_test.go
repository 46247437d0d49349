package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

func TestLocalReplies(t *testing.T) {
	f := start(t, echo, nil)
	tests := []struct {
		guest, method, body string
		status              int
		want                string
	}{
		{"deny", "GET", "", 403, "denied\n"},
		{"deny", "POST", "x", 403, "denied\n"},
		{"deny-body", "POST", "x", 422, "bad body\n"},
		{"deny-response", "GET", "", 451, "withheld\n"},
		{"deny-response", "POST", "x", 451, "withheld\n"},
	}
	for _, tt := range tests {
		t.Run(tt.guest+tt.method, func(t *testing.T) {
			got := f.do(tt.method, "/", tt.body, "X-Guest", tt.guest)
			if got.StatusCode != tt.status || got.body != tt.want {
				t.Errorf("got %d %q, want %d %q", got.StatusCode, got.body, tt.status, tt.want)
			}
			if got.Close {
				t.Error("the connection was not kept")
			}
		})
	}
	if _, err := f.try("POST", "/", "x", "X-Guest", "deny-response-body"); err == nil {
		t.Error("an answer after the response has begun went unnoticed by the client")
	}
}

// A client that is still sending must get its answer, not a reset, and the rest of its body must
// not be taken for another request.
func TestLocalReplyToAClientThatStillSends(t *testing.T) {
	f := start(t, echo, nil)
	conn := f.dial()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a\r\nX-Guest: deny\r\nContent-Length: 1000000\r\n\r\n")
	fmt.Fprint(conn, "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 403 || string(body) != "denied\n" || !resp.Close {
		t.Errorf("got %d %q, close %v", resp.StatusCode, body, resp.Close)
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("another answer on the connection: %q, %v", rest, err)
	}
	eventually(t, "the stream ends", func() bool { return f.metric("guest.ended") == 1 })
}

// An upload too large to wait for is cut, but not before the client could read why.
func TestLocalReplyToALargeUpload(t *testing.T) {
	f := start(t, echo, nil)
	conn := f.dial()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a\r\nX-Guest: deny\r\nTransfer-Encoding: chunked\r\n\r\n")
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		piece := fmt.Appendf(nil, "10000\r\n%s\r\n", strings.Repeat("x", 0x10000))
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != 403 || string(body) != "denied\n" || err != nil {
		t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
	}
	close(stop)
	conn.Close()
	receive(t, "the upload stops", stopped)
	eventually(t, "the stream ends", func() bool { return f.metric("guest.ended") == 1 })
}

func TestCallouts(t *testing.T) {
	side := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			_, _ = w.Write(make([]byte, 1<<20+1))
		case "/slow":
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		case "/cut":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "part")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/chunked":
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "chunked")
		default:
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(201)
			fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.RequestURI, body)
		}
	})
	f := start(t, echo, withSide(t, side))
	tests := []struct{ path, want string }{
		{"/ask?x=%2f", fmt.Sprintf("201 %d", len("POST side /ask?x=%2f ask"))},
		{"/chunked", "200 7"},
		{"/slow", fmt.Sprintf("504 %d", len("upstream request timeout"))},
		{"/big", "none 0"},
		{"/cut", "none 0"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			got := f.do("GET", "/", "", "X-Guest", "call:"+tt.path)
			if v := got.Header.Get("Echo-X-Call"); v != tt.want {
				t.Errorf("the filter saw %q, want %q", v, tt.want)
			}
		})
	}
}

func TestCalloutToNobody(t *testing.T) {
	f := start(t, echo, func(c *bootstrap.Config) { c.Clusters = append(c.Clusters, clusterOf("side", "127.0.0.1:1")) })
	got := f.do("GET", "/", "", "X-Guest", "call:/")
	if v := got.Header.Get("Echo-X-Call"); !strings.HasPrefix(v, "503 ") {
		t.Errorf("the filter saw %q, want Envoy's 503", v)
	}
	f = start(t, echo, nil)
	if got := f.do("GET", "/", "", "X-Guest", "call:/"); got.StatusCode != 500 {
		t.Errorf("unknown cluster: %d, want the guest's 500", got.StatusCode)
	}
}

func TestPausedForGood(t *testing.T) {
	f := start(t, echo, nil)
	if got := f.do("GET", "/", "", "X-Guest", "pause"); got.StatusCode != 503 {
		t.Errorf("got %d, want 503: nothing can resume the stream", got.StatusCode)
	}
}

func TestTicks(t *testing.T) { ticksArrive(t, "tick=5", "") }

// A request may set the period, also while a long one runs.
func TestTicksSetByARequest(t *testing.T) {
	for _, configuration := range []string{"", "tick=3600000"} {
		t.Run(configuration, func(t *testing.T) { ticksArrive(t, configuration, "tick") })
	}
}

func ticksArrive(t *testing.T, configuration, guest string) {
	t.Helper()
	ticks := make(chan string)
	stop := make(chan struct{})
	side := withSide(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case ticks <- r.URL.Path:
		case <-stop:
		}
	}))
	defer close(stop)
	f := start(t, echo, func(c *bootstrap.Config) {
		side(c)
		c.Filters[0].Configuration = []byte(configuration)
	})
	if guest != "" {
		f.do("GET", "/", "", "X-Guest", guest)
	}
	for range 3 {
		if path := receive(t, "a tick", ticks); path != "/tick" {
			t.Errorf("path %q", path)
		}
	}
}

func TestUpstreamSwitchesProtocolsUnasked(t *testing.T) {
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
	}), nil)
	if got := f.do("POST", "/", "x"); got.StatusCode != 503 {
		t.Errorf("got %d, want 503", got.StatusCode)
	}
}
