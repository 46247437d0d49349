// Command overlay prepares the build of the filter. It writes a "go build -overlay", overlay.json, under which a wasip1
// module imports neither poll_oneoff nor sched_yield, and beside it a copy of the SDK in which streams are cheap, with a go.mod
// for "go build -modfile" that puts it in the SDK's place. It owns the replacements and where they go; nothing of Go's or the
// SDK's source is copied into this repository: the patched files are made from the installed ones, in the output folder.
//
// # Why patch the runtime?
//
// Envoy 1.33 to about 1.38 answers poll_oneoff with ENOSYS, upon which Go's scheduler throws
// (golang/go#78513). Ignoring the error is not enough: while the host calls proxy_on_memory_allocate, where a
// collection can start, it lets the guest call only proxy_log, fd_write and clock_time_get
// (proxy-wasm-cpp-host, wasm.h allocMemory), so that the call itself ends the VM. As Go functions that report
// no event and success, the two are no calls to the host at all.
//
// The filter starts no timers and opens no files: there is never anything to wait for.
//
// # Why patch the SDK?
//
// Package sdk says what of it is replaced, and why. Beside that, the filter exports no callbacks for bodies and for the
// trailers of responses, which it leaves alone: a host does not call what is not exported.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrTextNotFound: the installed Go, or the SDK, has another text than the one that is replaced.
var ErrTextNotFound = errors.New("the text to replace does not stand there as often as expected")

// A replacement is a change of one file. Old has to stand in it count times.
type replacement struct {
	file     string // below the folder of its set
	old, new string
	count    int
}

// runtimeReplacements turn imports of Go's package runtime into Go functions.
var runtimeReplacements = []replacement{{
	file: "os_wasip1.go",
	old: `//go:wasmimport wasi_snapshot_preview1 poll_oneoff
//go:noescape
func poll_oneoff(in *subscription, out *event, nsubscriptions size, nevents *size) errno
`,
	new: `//go:nosplit
func poll_oneoff(in *subscription, out *event, nsubscriptions size, nevents *size) errno {
	*nevents = 0
	return 0
}
`,
	count: 1,
}, {
	file: "lock_wasip1.go",
	old: `//go:wasmimport wasi_snapshot_preview1 sched_yield
func sched_yield() errno
`,
	new: `//go:nosplit
func sched_yield() errno {
	return 0
}
`,
	count: 1,
}}

func main() {
	goroot := flag.String("goroot", "", "the GOROOT whose runtime is patched; required")
	module := flag.String("module", "", "the folder with the go.mod and go.sum that the build starts from; required")
	sdk := flag.String("sdk", "", "the folder of the SDK's module; required")
	out := flag.String("out", "", "folder to write everything to; required")
	flag.Parse()
	if *goroot == "" || *module == "" || *sdk == "" || *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := generate(*goroot, *module, *sdk, *out); err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
}

// generate writes what the filter's build needs into out: overlay.json and the patched files of Go's runtime, go.mod and
// go.sum, and the SDK as sdk/. It writes nothing when a replacement does not apply.
func generate(goroot, module, sdk, out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("resolve output folder: %w", err)
	}
	f := files{}
	if err := f.runtime(filepath.Join(goroot, "src", "runtime"), out); err != nil {
		return err
	}
	if err := f.sdk(sdk, filepath.Join(out, "sdk")); err != nil {
		return err
	}
	if err := f.module(module, out); err != nil {
		return err
	}
	return f.write()
}

// files are texts by path.
type files map[string]string

// runtime adds the patched files of Go's runtime and the overlay that lays them over it.
func (f files) runtime(source, out string) error {
	overlay := map[string]string{}
	for _, r := range runtimeReplacements {
		from, to := filepath.Join(source, r.file), filepath.Join(out, r.file)
		if err := f.read(from, to); err != nil {
			return err
		}
		if err := f.patch(to, r); err != nil {
			return err
		}
		overlay[from] = to
	}
	index, err := json.MarshalIndent(map[string]any{"Replace": overlay}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode overlay: %w", err)
	}
	f[filepath.Join(out, "overlay.json")] = string(index) + "\n"
	return nil
}

// module adds the go.mod that starts from the one in source and takes the SDK from the folder sdk beside it.
func (f files) module(source, out string) error {
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := f.read(filepath.Join(source, name), filepath.Join(out, name)); err != nil {
			return err
		}
	}
	f[filepath.Join(out, "go.mod")] += "\nreplace " + sdkModule + " => " + filepath.Join(out, "sdk") + "\n"
	return nil
}

// read adds the text of a file under the path to.
func (f files) read(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read what is to be patched: %w", err)
	}
	f[to] = string(text)
	return nil
}

// patch makes a replacement in the text of path.
func (f files) patch(path string, r replacement) error {
	if strings.Count(f[path], r.old) != r.count {
		return fmt.Errorf("patch %s (%s), %q: %w; adapt plugin/internal/overlay to this release", r.file, runtime.Version(),
			r.old, ErrTextNotFound)
	}
	f[path] = strings.ReplaceAll(f[path], r.old, r.new)
	return nil
}

func (f files) write() error {
	for path, text := range f {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make output folder: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write overlay: %w", err)
		}
	}
	return nil
}
