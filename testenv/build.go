package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// builds are the results of Build in this process, by directory, package and flags.
var builds sync.Map

type built struct {
	once sync.Once
	wasm []byte
	err  error
}

// Build compiles a Go filter with the go command on PATH: pkg is a path as go build takes it, relative to the test's
// folder, flags come before it. The same build is made once per process. A build that fails ends the test with what the
// compiler says.
//
// It builds with Go's own runtime. Such a filter may die in its collections on Envoy 1.33 (the default Profile), once a
// timer was started or poll_oneoff is reached, which answers ENOSYS there (golang/go#78513). An overlay, which flags can
// name, mends it: plugin/internal/overlay of this repository makes one for the filter here.
func Build(t testing.TB, pkg string, flags ...string) *Filter {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("build %s: %v", pkg, err)
	}
	key := strings.Join(append([]string{dir, pkg}, flags...), "\x00")
	entry, _ := builds.LoadOrStore(key, &built{})
	b := entry.(*built)
	b.once.Do(func() { b.wasm, b.err = buildWASM(pkg, flags) })
	if b.err != nil {
		t.Fatalf("build %s: %v", pkg, b.err)
	}
	f, err := Compile(t.Context(), b.wasm)
	if err != nil {
		t.Fatalf("compile %s: %v", pkg, err)
	}
	return f
}

func buildWASM(pkg string, flags []string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "testenv-build-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left of it is in the system's temporary folder
	out := filepath.Join(dir, "filter.wasm")
	args := append([]string{"build", "-buildmode=c-shared", "-trimpath", "-o", out}, flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	return os.ReadFile(out)
}
