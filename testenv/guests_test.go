package testenv

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// guests are the built ones, by name.
var guests struct {
	sync.Mutex
	built map[string]func() (string, error)
}

// guestPath builds testdata/guests/<name>, once per process.
func guestPath(t testing.TB, name string) string {
	t.Helper()
	guests.Lock()
	if guests.built == nil {
		guests.built = map[string]func() (string, error){}
	}
	build, ok := guests.built[name]
	if !ok {
		build = sync.OnceValues(func() (string, error) { return buildGuest(name) })
		guests.built[name] = build
	}
	guests.Unlock()
	path, err := build()
	if err != nil {
		t.Fatalf("build guest %s: %v", name, err)
	}
	return path
}

func buildGuest(name string) (string, error) {
	out := filepath.Join(guestDir, name+".wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-buildmode=c-shared", "-o", out, "./testdata/guests/"+name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, text)
	}
	return out, nil
}

func guest(t testing.TB, name string) *Filter {
	t.Helper()
	return Load(t, guestPath(t, name))
}

// newGuest starts one guest in a Host.
func newGuest(t testing.TB, name, configuration string, o Options) *Host {
	t.Helper()
	return New(t, o, Plugin{Filter: guest(t, name), Name: name, Configuration: []byte(configuration)})
}

// messages are the texts of log records.
func messages(records []LogRecord) []string {
	var list []string
	for _, r := range records {
		list = append(list, r.Message)
	}
	return list
}

// wantMessages fails t unless exactly these messages were logged, in order.
func wantMessages(t testing.TB, got []LogRecord, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, messages(got)); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
}

// saying are the messages that begin with a word.
func saying(word string, records []LogRecord) []string {
	var list []string
	for _, m := range messages(records) {
		if strings.HasPrefix(m, word) {
			list = append(list, m)
		}
	}
	return list
}

// upstream is a Cluster that always answers the same.
func upstream(resp CalloutResponse) Cluster {
	return clusterFunc(func(context.Context, *CalloutRequest) (*CalloutResponse, error) {
		return &CalloutResponse{Headers: slices.Clone(resp.Headers), Body: resp.Body, Trailers: resp.Trailers}, nil
	})
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
