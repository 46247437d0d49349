package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asCommand makes this test binary behave as wasmproxy, so that signals and exit codes are real.
const asCommand = "WASMPROXY_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// writeConfig writes a bootstrap file for the guest in front of upstream and returns its path.
func writeConfig(t *testing.T, listen, upstream string) string {
	t.Helper()
	dir := t.TempDir()
	wasm := filepath.Join(dir, "guest.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", wasm, "./internal/proxy/testdata/guest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build guest: %v: %s", err, text)
	}
	host, port, err := net.SplitHostPort(upstream)
	if err != nil {
		t.Fatal(err)
	}
	_, listenPort, err := net.SplitHostPort(listen)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, configText, listenPort, wasm, host, port), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const configText = `
node: {id: n1}
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: %s}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          access_log:
          - typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format: {text_format_source: {inline_string: "%%REQ(:METHOD)%% %%REQ(:PATH)%% %%RESPONSE_CODE%%\n"}}
          route_config:
            virtual_hosts:
            - name: v
              domains: ["*"]
              routes: [{match: {prefix: /}, route: {cluster: up}}]
          http_filters:
          - name: w
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: guest
                vm_config:
                  runtime: envoy.wasm.runtime.v8
                  code: {local: {filename: %s}}
                  environment_variables: {host_env_keys: [GUEST_ENV]}
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: up
    load_assignment:
      cluster_name: up
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]
`

// command is wasmproxy in a process of its own.
type command struct {
	*exec.Cmd
	stdout bytes.Buffer
	log    *bufio.Scanner
	seen   strings.Builder
}

func startCommand(t *testing.T, args ...string) *command {
	t.Helper()
	c := &command{Cmd: exec.Command(os.Args[0], args...)}
	c.Env = append(os.Environ(), asCommand+"=1", "GUEST_ENV=from-the-host")
	c.Stdout = &c.stdout
	pipe, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.log = bufio.NewScanner(pipe)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	return c
}

// waitFor reads the log up to a line that matches, and returns the first group.
func (c *command) waitFor(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for c.log.Scan() {
		c.seen.WriteString(c.log.Text() + "\n")
		if m := re.FindStringSubmatch(c.log.Text()); m != nil {
			return m[len(m)-1]
		}
	}
	t.Fatalf("no log line matches %q in:\n%s", pattern, &c.seen)
	return ""
}

func TestServesAndStopsOnSIGTERM(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(started)
			<-release
		}
		fmt.Fprint(w, "from upstream, by way of "+r.Header.Get("X-By"))
	}))
	defer upstream.Close()
	config := writeConfig(t, "127.0.0.1:0", upstream.Listener.Addr().String())
	c := startCommand(t, "--config", config, "--vms", "1", "--stats-listen", "127.0.0.1:0")
	c.waitFor(t, `started with GUEST_ENV=from-the-host`)
	stats := c.waitFor(t, `serving stats.* address=(\S+)`)
	addr := c.waitFor(t, `msg=listening address=(\S+)`)
	client := &http.Client{Timeout: 20 * time.Second}

	if got := fetch(t, client, "http://"+addr+"/a"); got != "from upstream, by way of guest" {
		t.Errorf("got %q", got)
	}
	if got := fetch(t, client, "http://"+stats+"/metrics"); !strings.Contains(got, "guest_started 1") {
		t.Errorf("stats %q", got)
	}
	slow := make(chan string, 1)
	go func() {
		resp, err := client.Get("http://" + addr + "/slow")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		slow <- string(body)
	}()
	<-started
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.waitFor(t, `msg=draining`)
	close(release)
	if got := <-slow; got != "from upstream, by way of guest" {
		t.Errorf("the request in flight got %q", got)
	}
	for c.log.Scan() {
	}
	if err := c.Wait(); err != nil {
		t.Errorf("exit: %v, want 0", err)
	}
	if got, want := c.stdout.String(), "GET /a 200\nGET /slow 200\n"; got != want {
		t.Errorf("standard output %q, want the access log %q", got, want)
	}
}

func fetch(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown flag", []string{"--speed"}, "-speed"},
		{"argument", []string{"envoy.yaml"}, `unexpected argument "envoy.yaml"`},
		{"no VMs", []string{"--vms", "0"}, "--vms is 0, expected 1 to 1024"},
		{"not a number", []string{"--vms", "two"}, "vms"},
		{"negative drain", []string{"--drain-timeout", "-1s"}, "--drain-timeout is -1s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), tt.args, &stdout, &stderr); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if !strings.Contains(stderr.String(), tt.want) || stdout.Len() > 0 {
				t.Errorf("stderr %q, want %q in it; stdout %q", &stderr, tt.want, &stdout)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &stdout, &stderr); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if !strings.Contains(stdout.String(), "-drain-timeout") || stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
	}
}

func TestConfigErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	good := writeConfig(t, "127.0.0.1:0", "127.0.0.1:1")
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("admin: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no file", []string{"--config", "/nowhere.yaml"}, "/nowhere.yaml"},
		{"not understood", []string{"--config", broken}, "admin: not supported by wasmproxy"},
		{"port in use", []string{"--config", writeConfig(t, taken.Addr().String(), "127.0.0.1:1")}, "address already in use"},
		{"stats port in use", []string{"--config", good, "--vms", "1", "--stats-listen", taken.Addr().String()}, "open stats listener"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var stdout, stderr bytes.Buffer
			if code := run(ctx, tt.args, &stdout, &stderr); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("stderr %q, want %q in it", &stderr, tt.want)
			}
		})
	}
}
