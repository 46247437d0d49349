package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/accesslog"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/proxy"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

var guestDir string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wasmproxy-guest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	guestDir = dir
	return m.Run()
}

var guestWASM = sync.OnceValues(func() ([]byte, error) {
	out := filepath.Join(guestDir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/guest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build guest: %w: %s", err, text)
	}
	return os.ReadFile(out)
})

// buffer collects what several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// clock is real time, which the test can put forward.
type clock struct {
	start  time.Time
	offset atomic.Int64 // in nanoseconds
}

func (c *clock) monotonic() time.Duration {
	return time.Since(c.start) + time.Duration(c.offset.Load())
}

func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// fixture is a proxy with the guest in it, in front of an upstream.
type fixture struct {
	t         *testing.T
	proxy     *proxy.Proxy
	addr      string
	client    *http.Client
	accessLog *buffer
	log       *buffer
	clock     *clock
}

// start runs a proxy whose cluster "up" is the handler. Edit changes the configuration first.
func start(t *testing.T, upstream http.Handler, edit func(*bootstrap.Config)) *fixture {
	t.Helper()
	wasm, err := guestWASM()
	if err != nil {
		t.Fatal(err)
	}
	format, err := accesslog.Parse("%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% in=%BYTES_RECEIVED% out=%BYTES_SENT% state=%FILTER_STATE(wasm.guest:PLAIN)%\n", false)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &bootstrap.Config{
		NodeID:          "node-1",
		Domains:         []string{"*"},
		VirtualHostName: "vh",
		Routes:          []bootstrap.Route{{Name: "all", Prefix: "/", Cluster: "up", Timeout: patience}},
		Filters:         []bootstrap.WasmFilter{{Plugin: testenv.Plugin{Name: "guest"}, Code: wasm, Source: "guest.wasm"}},
		Clusters:        []bootstrap.Cluster{clusterOf("up", serverOf(t, upstream))},
		AccessLogs:      []bootstrap.AccessLog{{Format: format}},
		HTTP: bootstrap.HTTPOptions{
			NormalizePath: true, MergeSlashes: true, RejectEscapedSlashes: true,
			Underscores: bootstrap.RejectRequest, MaxHeaderBytes: 60 << 10, MaxHeaders: 100,
		},
	}
	if edit != nil {
		edit(cfg)
	}
	f := &fixture{t: t, accessLog: &buffer{}, log: &buffer{}, clock: &clock{start: time.Now()}}
	f.proxy, err = proxy.New(t.Context(), proxy.Options{
		Config: cfg, VMs: 2, AccessLog: f.accessLog, Monotonic: f.clock.monotonic,
		Log: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.serve()
	return f
}

func (f *fixture) serve() {
	f.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.proxy.Serve(l) }()
	transport := &http.Transport{DisableCompression: true}
	f.client = &http.Client{Transport: transport, Timeout: patience}
	f.t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := f.proxy.Drain(ctx); err != nil {
			f.t.Error(err)
		}
		if err := <-served; err != nil {
			f.t.Error(err)
		}
		if err := f.proxy.Close(ctx); err != nil {
			f.t.Error(err)
		}
	})
}

// serverOf is a real server on loopback; it returns its host:port.
func serverOf(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func clusterOf(name string, endpoints ...string) bootstrap.Cluster {
	return bootstrap.Cluster{Name: name, Endpoints: endpoints, Network: "tcp", ConnectTimeout: 2 * time.Second}
}

// withSide adds the cluster "side", which the guest calls.
func withSide(t *testing.T, h http.Handler) func(*bootstrap.Config) {
	t.Helper()
	addr := serverOf(t, h)
	return func(c *bootstrap.Config) { c.Clusters = append(c.Clusters, clusterOf("side", addr)) }
}

// answer is a response that has been read whole.
type answer struct {
	*http.Response
	body string
}

// do sends a request; headers are name, value, name, value.
func (f *fixture) do(method, path, body string, headers ...string) answer {
	f.t.Helper()
	got, err := f.try(method, path, body, headers...)
	if err != nil {
		f.t.Fatal(err)
	}
	return got
}

// try is do for other goroutines than the test's.
func (f *fixture) try(method, path, body string, headers ...string) (answer, error) {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	resp, err := f.client.Do(f.request(method, path, content, headers...))
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp, string(data)}, err
}

func (f *fixture) request(method, path string, body io.Reader, headers ...string) *http.Request {
	req, err := http.NewRequestWithContext(f.t.Context(), method, "http://"+f.addr+path, body)
	if err != nil {
		panic(err) // a fault of the test itself
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

// wantLogged waits for text in the access log, which is written after the answer.
func (f *fixture) wantLogged(text string) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%q in the access log", text), func() bool { return strings.Contains(f.accessLog.String(), text) })
}

// dial opens a raw connection to the proxy.
func (f *fixture) dial() net.Conn {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		f.t.Fatal(err)
	}
	return conn
}

// raw sends bytes as they are and returns the status line of what comes back.
func (f *fixture) raw(request string) string {
	f.t.Helper()
	conn := f.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		f.t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func (f *fixture) metric(name string) int64 {
	v, _ := f.proxy.Metrics().Value(name)
	return v
}

// stats is what Prometheus would scrape.
func (f *fixture) stats() string {
	rec := httptest.NewRecorder()
	f.proxy.StatsHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	return rec.Body.String()
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// receive waits for a value on ch.
func receive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("never happened: %s", what)
		panic("unreachable")
	}
}

// echo answers 200 with the request's body, and repeats the request's headers as "echo-…".
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	for name, values := range r.Header {
		for _, v := range values {
			w.Header().Add("Echo-"+name, v)
		}
	}
	w.Header().Set("Echo-Uri", r.RequestURI)
	w.Header().Set("Echo-Host", r.Host)
	w.Header().Set("Echo-Method", r.Method)
	w.Header().Set("Echo-Length", fmt.Sprint(r.ContentLength))
	body, _ := io.ReadAll(r.Body)
	_, _ = w.Write(body)
})
