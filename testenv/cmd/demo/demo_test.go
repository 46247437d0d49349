package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMain lets the test binary stand in for curl, so that the printed lines can be run as printed where no
// curl is installed.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "curl" {
		if err := curl(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "curl:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// curl does what the printed lines need of it: -i, -X, -H, -d and one address.
func curl(args []string, out io.Writer) error {
	method, body, url := http.MethodGet, "", ""
	headers := http.Header{}
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "-i":
		case "-X":
			i++
			method = args[i]
		case "-H":
			i++
			name, value, _ := strings.Cut(args[i], ":")
			headers.Add(name, strings.TrimSpace(value))
		case "-d":
			i++
			body = args[i]
		default:
			if strings.HasPrefix(args[i], "-") || url != "" {
				return fmt.Errorf("unexpected argument %q", args[i])
			}
			url = args[i]
		}
	}
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header = headers
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return response.Write(out)
}

// root is the repository, where build/ and envoy.yaml lie.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// freeAddress returns a loopback address that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// testOptions are those of `make run`, on ports of their own and with the given timeout of callouts.
func testOptions(t *testing.T, timeout time.Duration) options {
	t.Helper()
	top := root(t)
	o := options{
		tollgate:  filepath.Join(top, "build/tollgate"),
		wasmproxy: filepath.Join(top, "build/wasmproxy"),
		config:    filepath.Join(t.TempDir(), "envoy.yaml"),
		admin:     freeAddress(t), gate: freeAddress(t), ops: freeAddress(t),
		upstream: freeAddress(t), to: freeAddress(t),
	}
	for _, file := range []string{o.tollgate, o.wasmproxy, filepath.Join(top, "build/tollgate.wasm")} {
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("%v: run `make build`", err)
		}
	}
	text, err := os.ReadFile(filepath.Join(top, "envoy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	port := func(address string) string { return "port_value: " + address[strings.LastIndex(address, ":")+1:] + "}" }
	for _, change := range [][2]string{
		{"port_value: 10000}", port(o.to)},
		{"port_value: 8080}", port(o.upstream)},
		{"port_value: 8092}", port(o.gate)},
		{"timeout_ms: 500", fmt.Sprintf("timeout_ms: %d", timeout.Milliseconds())},
		{"filename: build/tollgate.wasm", "filename: " + filepath.Join(top, "build/tollgate.wasm")},
	} {
		if bytes.Count(text, []byte(change[0])) != 1 {
			t.Fatalf("envoy.yaml has %q not exactly once", change[0])
		}
		text = bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1)
	}
	if err := os.WriteFile(o.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// Every line that the demo prints is run by a shell as printed and has to bring what it promises; then
// everything stops.
func TestEveryPrintedLineDoesWhatItSays(t *testing.T) {
	o := testOptions(t, 3*time.Second)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "curl")); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	output, input := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, o, input)
		_ = input.CloseWithError(err)
		ended <- err
	}()

	ran := 0
	lines := bufio.NewScanner(output)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "ready") {
		expect, ok := strings.CutPrefix(lines.Text(), "expect ")
		if !ok {
			continue
		}
		if !lines.Scan() {
			break
		}
		cmd := exec.Command("sh", "-c", lines.Text())
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		got, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("expect %s: %v\n%s", expect, err, got)
		}
		expect, _, _ = strings.Cut(expect, ":")
		status, code, _ := strings.Cut(expect, " ")
		if !strings.Contains(string(got), "HTTP/1.1 "+status+" ") || !strings.Contains(string(got), code) {
			t.Errorf("expect %s, got:\n%s", expect, got)
		}
		ran++
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if ran < 22 {
		t.Errorf("ran %d lines, want all of them", ran)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("stop: %v", err)
	}
	for _, address := range []string{o.admin, o.gate, o.ops, o.upstream, o.to} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Errorf("%s is still in use after the stop: %v", address, err)
			continue
		}
		_ = l.Close()
	}
}

// Whatever is going on at once, an account's credits are what it gets: through real processes, sockets and a
// real file.
func TestManyClientsGetExactlyTheirCredits(t *testing.T) {
	const clients, credits, requests = 64, 1000, 1600
	// A disk that stalls must not turn a debit into a 503.
	o := testOptions(t, 30*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	var parts stack
	defer func() {
		if err := parts.stop(); err != nil {
			t.Error(err)
		}
	}()
	r, err := parts.launch(ctx, o, dir)
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{admin: admin{base: "http://" + o.admin, token: r.operator}, ctx: ctx}
	account := d.account("many clients", credits)
	key := d.key(account).Secret
	if d.err != nil {
		t.Fatal(d.err)
	}
	t.Logf("through %s", r.proxy.name)

	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	send := func() int {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+o.to+"/v1/document/create", strings.NewReader("{}"))
		if err != nil {
			t.Error(err)
			return 0
		}
		request.Header.Set("Authorization", "Bearer "+key)
		response, err := client.Do(request)
		if err != nil {
			t.Error(err)
			return 0
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		return response.StatusCode
	}
	var admitted atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for admitted.Load() < credits && !t.Failed() {
				switch status := send(); status {
				case http.StatusOK:
					admitted.Add(1)
				case http.StatusPaymentRequired:
					// Another VM holds what is left, until it is told to give it back.
					select {
					case <-ctx.Done():
						t.Errorf("%d requests admitted, want %d", admitted.Load(), credits)
					case <-time.After(20 * time.Millisecond):
					}
				default:
					t.Errorf("status %d", status)
				}
			}
		})
	}
	all.Wait()
	for range requests - credits {
		if status := send(); status != http.StatusPaymentRequired {
			t.Fatalf("status %d once %d credits were used, want 402", status, admitted.Load())
		}
	}
	var w struct{ Granted, Available, Reserved, Spent int64 }
	for w.Spent != credits && ctx.Err() == nil { // reports come once a second
		if err := d.call(ctx, http.MethodGet, "/v1/accounts/"+account+"/wallet", nil, &w); err != nil {
			t.Fatal(err)
		}
	}
	if w.Granted != credits || w.Available != 0 || w.Reserved != 0 || w.Spent != credits || admitted.Load() != credits {
		t.Errorf("%d admitted, wallet %+v, want %d and all of them spent", admitted.Load(), w, credits)
	}
}

func TestAPortInUseIsReported(t *testing.T) {
	o := testOptions(t, 3*time.Second)
	taken, err := net.Listen("tcp", o.gate)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = run(context.Background(), o, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("run = %v, want the address in use reported", err)
	}
}

func TestRecentEnvoy(t *testing.T) {
	tests := []struct {
		version string
		want    bool
	}{
		{"envoy  version: 8d1e2a9f/1.33.0/Clean/RELEASE/BoringSSL", true},
		{"envoy  version: 8d1e2a9f/1.40.1/Clean/RELEASE/BoringSSL", true},
		{"envoy  version: 8d1e2a9f/1.32.9/Clean/RELEASE/BoringSSL", false},
		{"envoy  version: 8d1e2a9f/2.0.0-dev/Clean/RELEASE/BoringSSL", true},
		{"something else", false},
		{"", false},
	}
	for _, tt := range tests {
		if got := recentEnvoy(tt.version); got != tt.want {
			t.Errorf("recentEnvoy(%q) = %v, want %v", tt.version, got, tt.want)
		}
	}
}
