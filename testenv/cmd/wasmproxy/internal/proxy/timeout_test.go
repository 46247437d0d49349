package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

const (
	// short is a timeout that tests wait for.
	short = 250 * time.Millisecond
	// ample is one that does not pass while what must come before it comes, on a busy machine.
	ample = 2 * time.Second
)

func idleAfter(d time.Duration) func(*bootstrap.Config) {
	return func(c *bootstrap.Config) { c.HTTP.StreamIdleTimeout = d }
}

// answerTo sends bytes as they are on a connection and reads the answer.
func (f *fixture) answerTo(conn net.Conn, request string) answer {
	f.t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		f.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Error(err)
	}
	return answer{resp, string(body)}
}

func TestIdleStreamBeforeTheResponse(t *testing.T) {
	side := withSide(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	const stalled = "Content-Length: 100\r\n\r\nabc"
	tests := []struct {
		name, path, guest, rest string
		limit                   time.Duration
		status                  int
		by                      string
	}{
		{"the body stalls", "/read", "", stalled, short, 408, "guest"},
		{"the body never begins", "/read", "", "Transfer-Encoding: chunked\r\n\r\n", short, 408, "guest"},
		{"the body stalls in the filter", "/read", "buffer", stalled, short, 408, "guest"},
		{"the body stalls and the filter waits", "/read", "call:/silent", stalled, short, 408, "guest"},
		{"the filter waits", "/read", "call:/silent", "\r\n", short, 504, "guest"},
		{"the upstream is silent", "/silent", "", "Content-Length: 3\r\n\r\nabc", short, 504, "guest"},
		{"the upstream is silent and the filter holds the answer", "/silent", "hold-response", "\r\n", short, 504, ""},
		{"the filter holds the response", "/read", "hold-response", "\r\n", ample, 504, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if r.URL.Path == "/silent" {
					<-r.Context().Done()
				}
			}), func(c *bootstrap.Config) {
				side(c)
				idleAfter(tt.limit)(c)
				c.Filters[0].Configuration = []byte("tick=60000") // something might resume a stream
			})
			got := f.answerTo(f.dial(), fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nX-Guest: %s\r\n%s", tt.path, tt.guest, tt.rest))
			if got.StatusCode != tt.status || got.body != "stream timeout" || got.Header.Get("X-Response-By") != tt.by {
				t.Errorf("got %d %q by %q", got.StatusCode, got.body, got.Header.Get("X-Response-By"))
			}
			if got.Close != (tt.status == 408) {
				t.Errorf("close = %t", got.Close)
			}
			f.wantLogged(fmt.Sprintf("%d SI", tt.status))
			eventually(t, "the stream ends", func() bool { return f.metric("guest.ended") == 1 })
		})
	}
}

func TestIdleStreamAfterTheResponseHasBegun(t *testing.T) {
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}), idleAfter(ample))
	conn := f.dial()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF || string(body) != "part" {
		t.Errorf("got %q, %v; want the client to see that the body is cut", body, err)
	}
	f.wantLogged("200 SI")
}

// A client that takes nothing must not hold its upstream, its VM's stream and a goroutine for ever.
func TestIdleStreamOfAClientThatDoesNotRead(t *testing.T) {
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		piece := make([]byte, 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}), idleAfter(short))
	fmt.Fprint(f.dial(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f.wantLogged("200 SI")
}

// The timer runs from the last byte, whichever side sent it, not from the first.
func TestStreamThatMovesIsNotIdle(t *testing.T) {
	tests := []struct {
		name string
		up   bool
	}{{"request", true}, {"response", false}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			moved, next, stop := make(chan error), make(chan bool), make(chan struct{})
			defer close(stop)
			f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).EnableFullDuplex()
				w.(http.Flusher).Flush()
				buf := make([]byte, 1)
				for more := true; more; {
					var err error
					if tt.up {
						_, err = r.Body.Read(buf)
					} else {
						_, err = w.Write(buf)
						w.(http.Flusher).Flush()
					}
					select {
					case moved <- err:
						more = <-next
					case <-stop:
						return
					}
				}
				_, _ = io.Copy(io.Discard, r.Body) // a full duplex handler must, or net/http panics
			}), idleAfter(ample))
			pr, pw := io.Pipe()
			resp, err := f.client.Do(f.request("POST", "/", pr))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			buf := make([]byte, 1)
			for begun, more := time.Now(), true; more; next <- more {
				if tt.up {
					_, err = pw.Write(buf)
				} else {
					_, err = io.ReadFull(resp.Body, buf)
				}
				if err != nil {
					t.Fatalf("after %s: %v", time.Since(begun), err)
				}
				if err := receive(t, "a byte", moved); err != nil {
					close(next)
					t.Fatalf("at the upstream after %s: %v", time.Since(begun), err)
				}
				more = time.Since(begun) < ample*5/4
			}
			pw.Close()
			if _, err := io.ReadAll(resp.Body); err != nil {
				t.Error(err)
			}
			f.wantLogged("200 -")
		})
	}
}

func TestMalformedBody(t *testing.T) {
	const head = "POST %s HTTP/1.1\r\nHost: a\r\nX-Guest: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
	tests := []struct{ name, guest, body string }{
		{"no size", "", "zz\r\n"},
		{"a wrong end of a chunk", "", "3\r\nabcd\r\n"},
		{"after a good chunk", "", "3\r\nabc\r\n-1\r\n"},
		{"in the filter", "buffer", "3\r\nabc\r\n-1\r\n"},
		{"in the trailers", "", "0\r\nno colon\r\n\r\n"},
		{"an underscore in the trailers", "", "0\r\nx_api_key: k\r\n\r\n"},
	}
	f := start(t, echo, func(c *bootstrap.Config) { c.HTTP.Trailers = true })
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := fmt.Sprintf("/%d", i)
			got := f.answerTo(f.dial(), fmt.Sprintf(head, path, tt.guest)+tt.body)
			if got.StatusCode != 400 || got.body != "Bad Request" || got.Header.Get("X-Response-By") != "guest" || !got.Close {
				t.Errorf("got %d %q by %q, close %t", got.StatusCode, got.body, got.Header.Get("X-Response-By"), got.Close)
			}
			f.wantLogged("POST " + path + " 400 DPE")
		})
	}
}

func TestMalformedBodyAfterTheResponseHasBegun(t *testing.T) {
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.(http.Flusher).Flush()
		_, _ = io.Copy(w, r.Body)
	}), nil)
	conn := f.dial()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "zz\r\n")
	if body, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF {
		t.Errorf("got %q, %v; want the client to see that the body is cut", body, err)
	}
	f.wantLogged("200 DPE")
}

// A client that leaves in the middle of its body is not the upstream's fault.
func TestTruncatedBody(t *testing.T) {
	for name, head := range map[string]string{
		"length": "Content-Length: 10\r\n\r\nabc",
		"chunk":  "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"chunks": "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, echo, nil)
			conn := f.dial()
			fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+head)
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
				t.Errorf("got %q, %v; want the connection closed", rest, err)
			}
			f.wantLogged("POST / 0 DC")
		})
	}
}

func TestLateHead(t *testing.T) {
	f := start(t, echo, func(c *bootstrap.Config) { c.HTTP.HeaderReadTimeout = short })
	const late = "HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\nContent-Length: 22\r\nConnection: close\r\n\r\nrequest header timeout"
	tests := []struct{ name, sent, want string }{
		{"nothing", "", ""},
		{"part of a head", "GET / HTTP/1.1\r\nHost: a", late},
		{"part of the next head", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n", late},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := f.dial()
			fmt.Fprint(conn, tt.sent)
			got, err := io.ReadAll(conn)
			if err != nil {
				t.Error(err)
			}
			if _, after, ok := strings.Cut(tt.sent, "\r\n\r\n"); ok && after != "" {
				i := strings.LastIndex(string(got), "HTTP/1.1 ")
				if !strings.HasPrefix(string(got), "HTTP/1.1 200") || i <= 0 {
					t.Fatalf("got %q, want an answer before", got)
				}
				got = got[i:]
			}
			if string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// While a request is served, net/http reads ahead and calls that read off. That must not look like
// a head that is late, even when the next one has begun to arrive.
func TestPipelinedHeadIsNotLate(t *testing.T) {
	release := make(chan struct{})
	f := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/1" {
			<-release
		}
		_, _ = io.WriteString(w, r.URL.Path)
	}), func(c *bootstrap.Config) { c.HTTP.HeaderReadTimeout = patience })
	conn := f.dial()
	fmt.Fprint(conn, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n")
	eventually(t, "the first request is served", func() bool { return f.metric("guest.started") == 1 })
	close(release)
	in := bufio.NewReader(conn)
	for _, want := range []string{"/1", "/2"} {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != want || err != nil {
			t.Fatalf("got %d %q, %v; want the answer of %s", resp.StatusCode, body, err, want)
		}
		fmt.Fprint(conn, "Host: a\r\nConnection: close\r\n\r\n")
	}
}
