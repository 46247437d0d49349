package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/testenv"
)

// guests are the paths of the compiled filters.
type guests struct{ dir, tollgate, empty, sharing string }

// buildGuests compiles the guests of this folder; the filter itself has to be there. Call remove when done with them.
func buildGuests(tollgate string) (guests, error) {
	if _, err := os.Stat(tollgate); err != nil {
		return guests{}, fmt.Errorf("%w: run make wasm first", err)
	}
	dir, err := os.MkdirTemp("", "tollgate-bench-")
	if err != nil {
		return guests{}, err
	}
	g := guests{dir: dir, tollgate: tollgate, empty: filepath.Join(dir, "empty.wasm"), sharing: filepath.Join(dir, "sharing.wasm")}
	for _, out := range []string{g.empty, g.sharing} {
		name := filepath.Base(out[:len(out)-len(".wasm")])
		cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out,
			"./testenv/bench/testdata/guests/"+name)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
		if text, err := cmd.CombinedOutput(); err != nil {
			return guests{}, errors.Join(fmt.Errorf("build guest %s: %w\n%s", name, err, text), g.remove())
		}
	}
	return g, nil
}

// build compiles a program of this repository, or the tests of a package, and returns its path.
func (b *bench) build(name, pkg string, flags ...string) string {
	out := filepath.Join(b.dir, name)
	args := []string{"build"}
	if strings.HasSuffix(name, ".test") {
		args = []string{"test", "-c"}
	}
	text, err := exec.Command("go", append(append(args, flags...), "-o", out, pkg)...).CombinedOutput()
	if err != nil {
		b.Fatalf("build %s: %w\n%s", pkg, err, text)
	}
	return out
}

func (g guests) remove() error { return os.RemoveAll(g.dir) }

// bench is what one section measures with. It is the testing.TB that Hosts report to, of which it has the methods that they
// use; a report is an error of the section.
type bench struct {
	testing.TB // nil
	guests
	// most bounds the rounds of tables if it is not 0.
	most    int
	errs    []error
	cleanup []func()
}

func newBench(g guests, most int) *bench { return &bench{guests: g, most: most} }

// rounds is how many of n rounds are asked for.
func (b *bench) rounds(n int) int {
	if b.most > 0 {
		return min(n, b.most)
	}
	return n
}

// run measures a section on a goroutine of its own, which Fatalf ends.
func (b *bench) run(s section) (body string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.end()
		body = s.measure(b)
	}()
	<-done
	return body, errors.Join(b.errs...)
}

func (b *bench) end() {
	for _, f := range slices.Backward(b.cleanup) {
		f()
	}
}

// check ends the section for an error.
func (b *bench) check(err error) {
	if err != nil {
		b.Fatalf("%w", err)
	}
}

// Name, Helper, Cleanup, Failed, Logf, Errorf and Fatalf are those of testing.TB.
func (b *bench) Name() string { return "bench" }

func (b *bench) Helper() {}

func (b *bench) Cleanup(f func()) { b.cleanup = append(b.cleanup, f) }

func (b *bench) Failed() bool { return len(b.errs) > 0 }

func (b *bench) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bench) Errorf(format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf(format, args...))
}

func (b *bench) Fatalf(format string, args ...any) {
	b.Errorf(format, args...)
	runtime.Goexit()
}

// host starts a Host with one filter in its chain.
func (b *bench) host(o testenv.Options, p testenv.Plugin) *testenv.Host { return testenv.New(b, o, p) }
