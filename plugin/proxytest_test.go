//go:build !wasip1

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestMain lets the test binary stand in for curl, so that the published examples can be run as published where
// no curl is installed.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "curl" {
		if err := curl(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "curl:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// curl does what the published examples need of it: -X, -H, -d and one address. It prints the whole response.
func curl(args []string, out io.Writer) error {
	method, body, url := http.MethodGet, "", ""
	headers := http.Header{}
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case (arg == "-X" || arg == "-H" || arg == "-d") && i+1 == len(args):
			return fmt.Errorf("%s has no value", arg)
		case arg == "-X":
			i++
			method = args[i]
		case arg == "-H":
			i++
			name, value, _ := strings.Cut(args[i], ":")
			headers.Add(name, strings.TrimSpace(value))
		case arg == "-d":
			i++
			body = args[i]
		case strings.HasPrefix(arg, "-") || url != "":
			return fmt.Errorf("unexpected argument %q", arg)
		default:
			url = arg
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

// Built files that these tests run, from the folder of this package.
const (
	proxyBinary    = "../build/wasmproxy"
	tollgateBinary = "../build/tollgate"
	envoyYAML      = "../envoy.yaml"
)

// proxyOptions say how a wasmproxy under test differs from the repository's envoy.yaml.
type proxyOptions struct {
	gateAddress, upstreamAddress, gateToken string
	// filter replaces the filter's configuration; nil keeps the file's own but for the timeout of callouts.
	filter []byte
	// underscores replaces headers_with_underscores_action; "" keeps the file's own.
	underscores string
}

// wasmproxy is a running proxy process. It stops by itself when the test ends.
type wasmproxy struct {
	*program
	// address and stats are host and port of its listeners.
	address, stats string
}

// startProxy runs build/wasmproxy on the repository's envoy.yaml with the ports of the test.
func startProxy(t testing.TB, o proxyOptions) *wasmproxy {
	t.Helper()
	p := &wasmproxy{address: freeAddress(t), stats: freeAddress(t)}
	config := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(config, bootstrap(t, p.address, o), 0o600); err != nil {
		t.Fatal(err)
	}
	p.program = start(t, []string{"TOLLGATE_GATE_TOKEN=" + o.gateToken}, proxyBinary, "--config", config, "--stats-listen", p.stats)
	p.await(t, "http://"+p.address+"/healthz")
	return p
}

// bootstrap is the repository's envoy.yaml, changed as o says and listening on address.
func bootstrap(t testing.TB, address string, o proxyOptions) []byte {
	t.Helper()
	text, err := os.ReadFile(envoyYAML)
	if err != nil {
		t.Fatal(err)
	}
	var root any
	if err := yaml.UnmarshalStrict(text, &root); err != nil {
		t.Fatal(err)
	}
	d := yamlNode{t, root}
	listener := d.at("static_resources", "listeners", 0)
	setPort(t, listener, address)
	clusters := d.at("static_resources", "clusters").value.([]any)
	for i := range clusters {
		c := yamlNode{t, clusters[i]}
		endpoint := c.at("load_assignment", "endpoints", 0, "lb_endpoints", 0, "endpoint")
		setPort(t, endpoint, map[any]string{"upstream": o.upstreamAddress, "tollgate": o.gateAddress}[c.at("name").value])
	}
	manager := listener.at("filter_chains", 0, "filters", 0, "typed_config")
	wasm := manager.at("http_filters", 0, "typed_config", "config")
	code, err := filepath.Abs(wasmPath)
	if err != nil {
		t.Fatal(err)
	}
	wasm.at("vm_config", "code", "local").set("filename", code)
	if o.filter != nil {
		var value any
		if err := json.Unmarshal(o.filter, &value); err != nil {
			t.Fatal(err)
		}
		wasm.at("configuration").set("value", value)
	} else {
		// A disk that stalls while other tests run must not turn an answer into a 503.
		wasm.at("configuration", "value", "control_plane").set("timeout_ms", 20_000)
	}
	if o.underscores != "" {
		manager.at("common_http_protocol_options").set("headers_with_underscores_action", o.underscores)
	}
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// yamlNode is a place in a decoded YAML file.
type yamlNode struct {
	t     testing.TB
	value any
}

// at follows names and indexes; a path that is not there ends the test.
func (d yamlNode) at(path ...any) yamlNode {
	d.t.Helper()
	for _, step := range path {
		switch v := d.value.(type) {
		case map[string]any:
			next, ok := v[fmt.Sprint(step)]
			if !ok {
				d.t.Fatalf("envoy.yaml: nothing at %v of %v", step, path)
			}
			d.value = next
		case []any:
			i, ok := step.(int)
			if !ok || i >= len(v) {
				d.t.Fatalf("envoy.yaml: nothing at %v of %v", step, path)
			}
			d.value = v[i]
		default:
			d.t.Fatalf("envoy.yaml: nothing below %v of %v", step, path)
		}
	}
	return d
}

func (d yamlNode) set(name string, value any) {
	d.t.Helper()
	m, ok := d.value.(map[string]any)
	if !ok {
		d.t.Fatalf("envoy.yaml: %s has no place", name)
	}
	m[name] = value
}

// setPort points the socket address below d to address.
func setPort(t testing.TB, d yamlNode, address string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	socket := d.at("address", "socket_address")
	socket.set("address", host)
	socket.set("port_value", number)
}

// recorder is an upstream that keeps what it was sent, by the header that names the request. It forgets what comes to
// /healthz, with which tests wait for a proxy.
type recorder struct {
	*httptest.Server
	mu       sync.Mutex
	requests map[string][]received
}

// received is one request as the upstream saw it, read to its end.
type received struct {
	*http.Request
	body string
}

// requestName is the header by which a test recognises its request at the upstream.
const requestName = "X-Test-Request"

func newRecorder(t testing.TB) *recorder {
	r := &recorder{requests: map[string][]received{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if q.URL.Path == "/healthz" {
			return
		}
		name := q.Header.Get(requestName)
		r.requests[name] = append(r.requests[name], received{q, string(body)})
	}))
	t.Cleanup(r.Close)
	return r
}

// of returns the requests that carried name.
func (r *recorder) of(name string) []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[name]
}

// hostPort is host and port of an http URL without a path.
func hostPort(url string) string { return strings.TrimPrefix(url, "http://") }
