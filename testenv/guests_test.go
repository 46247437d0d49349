package testenv

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// guestDir holds the guests that this process built.
var guestDir string

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "testenv-guests-")
	if err != nil {
		println(err.Error())
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	guestDir = dir
	return m.Run()
}

var (
	probeWASM = sync.OnceValues(func() (string, error) { return buildGuest("probe") })
	rawWASM   = sync.OnceValues(func() (string, error) { return buildGuest("raw") })
)

func buildGuest(name string) (string, error) {
	out := filepath.Join(guestDir, name+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/guests/"+name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	cmd.Stderr = os.Stderr
	return out, cmd.Run()
}

func guestPath(t testing.TB, guest func() (string, error)) string {
	t.Helper()
	path, err := guest()
	if err != nil {
		t.Fatalf("build guest: %v", err)
	}
	return path
}

// newProbe starts the probe guest in a Host.
func newProbe(t testing.TB, o Options) *Host {
	t.Helper()
	return New(t, guestPath(t, probeWASM), o)
}

// newRaw starts the raw guest in the given mode.
func newRaw(t testing.TB, mode string, o Options) *Host {
	t.Helper()
	o.PluginConfiguration = []byte(mode)
	return New(t, guestPath(t, rawWASM), o)
}

func guestFilter(t testing.TB, guest func() (string, error)) *Filter {
	t.Helper()
	wasm, err := os.ReadFile(guestPath(t, guest))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// messages are the texts of log records.
func messages(records []LogRecord) []string {
	var list []string
	for _, r := range records {
		list = append(list, r.Message)
	}
	return list
}

// do asks the probe guest to do something.
func do(what string, more ...Header) Request {
	return Request{Headers: append([]Header{{"x-do", what}}, more...)}
}

// clusterFunc is a Cluster made of a function.
type clusterFunc func(ctx context.Context, req *CalloutRequest) (*CalloutResponse, error)

func (f clusterFunc) Call(ctx context.Context, req *CalloutRequest) (*CalloutResponse, error) {
	return f(ctx, req)
}

// answering is a cluster whose handler writes a status and a body.
func answering(status int, body string) Cluster {
	return HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
}
