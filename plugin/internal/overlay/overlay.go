// Command overlay writes a "go build -overlay" under which a wasip1 module imports neither poll_oneoff nor
// sched_yield. It owns the two replacements and where they go; it copies nothing of Go's source into this
// repository: the patched files are made from the installed GOROOT, in the output folder.
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

// ErrTextNotFound: the installed Go has another text than the one that is replaced.
var ErrTextNotFound = errors.New("the text to replace does not stand there exactly once")

// A replacement turns one import of a runtime file into a Go function.
type replacement struct {
	file     string // below GOROOT/src/runtime
	old, new string
}

var replacements = []replacement{{
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
}}

func main() {
	goroot := flag.String("goroot", "", "the GOROOT whose runtime is patched; required")
	out := flag.String("out", "", "folder to write overlay.json and the patched files to; required")
	flag.Parse()
	if *goroot == "" || *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := generate(*goroot, *out); err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
}

// generate writes out/overlay.json and the files it points to. It writes nothing when a replacement does not
// apply.
func generate(goroot, out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("resolve output folder: %w", err)
	}
	patched := map[string]string{}
	overlay := map[string]string{}
	for _, r := range replacements {
		source := filepath.Join(goroot, "src", "runtime", r.file)
		text, err := os.ReadFile(source)
		if err != nil {
			return fmt.Errorf("read Go's runtime: %w", err)
		}
		if strings.Count(string(text), r.old) != 1 {
			return fmt.Errorf("patch %s (%s): %w; adapt plugin/internal/overlay to this Go release",
				source, runtime.Version(), ErrTextNotFound)
		}
		target := filepath.Join(out, r.file)
		patched[target] = strings.Replace(string(text), r.old, r.new, 1)
		overlay[source] = target
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("make output folder: %w", err)
	}
	index, err := json.MarshalIndent(map[string]any{"Replace": overlay}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode overlay: %w", err)
	}
	patched[filepath.Join(out, "overlay.json")] = string(index) + "\n"
	for path, text := range patched {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write overlay: %w", err)
		}
	}
	return nil
}
