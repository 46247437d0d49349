package testenv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wasmModule is the smallest module with the given function imports and exports, every one of type () -> (), and a memory.
func wasmModule(imports, exports []string) []byte {
	section := func(id byte, body []byte) []byte { return append(append([]byte{id}, leb(len(body))...), body...) }
	name := func(s string) []byte { return append(leb(len(s)), s...) }
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = append(out, section(1, []byte{1, 0x60, 0, 0})...)
	body := leb(len(imports))
	for _, i := range imports {
		module, fn, _ := strings.Cut(i, ".")
		body = append(append(append(body, name(module)...), name(fn)...), 0, 0)
	}
	out = append(out, section(2, body)...)
	out = append(out, section(3, []byte{1, 0})...)
	out = append(out, section(5, []byte{1, 0, 1})...)
	body = append(leb(len(exports)+1), append(name("memory"), 2, 0)...)
	for _, e := range exports {
		body = append(append(append(body, name(e)...), 0), leb(len(imports))...)
	}
	out = append(out, section(7, body)...)
	return append(out, section(10, []byte{1, 2, 0, 0x0b})...)
}

func leb(n int) []byte {
	if n < 0x80 {
		return []byte{byte(n)}
	}
	return append([]byte{byte(n&0x7f | 0x80)}, leb(n>>7)...)
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	abi := []string{"proxy_abi_version_0_2_0", "malloc"}
	noMemory := wasmModule(nil, abi)
	at := strings.Index(string(noMemory), "memory")
	copy(noMemory[at:], "Memory")
	noMemory[at+6], noMemory[at+7] = 0, 0 // a function of that name
	tests := []struct {
		name     string
		wasm     []byte
		sentinel error
		text     string
	}{
		{"no wasm", []byte("MZ"), ErrModule, ""},
		{"no bytes", nil, ErrModule, ""},
		{"cut off", wasmModule(nil, abi)[:40], ErrModule, ""},
		{"no ABI", wasmModule(nil, []string{"malloc"}), ErrABIVersion, ""},
		{"an ABI of another time", wasmModule(nil, []string{"malloc", "proxy_abi_version_0_1_0"}), ErrABIVersion, ""},
		{"no allocator", wasmModule(nil, []string{"proxy_abi_version_0_2_0"}), ErrModule, "malloc"},
		{"no memory", noMemory, ErrModule, "memory"},
		{
			"every missing import is named",
			wasmModule([]string{"env.proxy_nosuch", "env.proxy_log", "wasi_snapshot_preview1.proc_raise", "other.fn", "env.proxy_get_log_level"}, abi),
			ErrMissingImport, "env.proxy_get_log_level, env.proxy_nosuch, other.fn, wasi_snapshot_preview1.proc_raise",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := Compile(t.Context(), tt.wasm)
			if !errors.Is(err, tt.sentinel) || f != nil || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("filter %v err %v, want %v with %q", f, err, tt.sentinel, tt.text)
			}
		})
	}
}

// Which of WASI's functions a module may import is the profile's to say, not Compile's.
func TestImportsAreTheProfiles(t *testing.T) {
	t.Parallel()
	abi := []string{"proxy_abi_version_0_2_1", "malloc"}
	f, err := Compile(t.Context(), wasmModule([]string{"wasi_unstable.sock_accept", "env.proxy_get_log_level"}, abi))
	if err != nil {
		t.Fatal(err)
	}
	for _, profile := range []Profile{{}, Envoy133, Strict} {
		if err := f.checkImports(profile); !errors.Is(err, ErrMissingImport) || !strings.Contains(err.Error(), ".sock_accept") {
			t.Errorf("%v: %v", profile, err)
		}
	}
	if err := f.checkImports(Envoy140); err != nil {
		t.Error(err)
	}
	_, err = NewWorker(t.Context(), WorkerOptions{}, Plugin{Name: "p", Filter: f})
	if !errors.Is(err, ErrMissingImport) || !strings.Contains(err.Error(), `"p"`) || !strings.Contains(err.Error(), "envoy-1.33") {
		t.Errorf("a worker of 1.33: %v", err)
	}
}

func TestFilterWithoutCallbacksPassesEverything(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"_start", "_initialize", "main", "other"} {
		f, err := Compile(t.Context(), wasmModule(nil, []string{start, "proxy_abi_version_0_2_1", "malloc"}))
		if err != nil {
			t.Fatal(err)
		}
		h := New(t, Options{}, Plugin{Filter: f})
		r := h.Check(t, Request{Body: []byte("abc"), Trailers: []Header{{"t", "1"}}}, Want{Decision: Forwarded, Status: 200, Body: "abc"})
		if len(r.Upstream.Trailers) != 1 {
			t.Errorf("%s: trailers %v", start, r.Upstream.Trailers)
		}
	}
}

// A guest built by plain Go needs all of these, two of which the real filter must not.
func TestImports(t *testing.T) {
	t.Parallel()
	f := guest(t, "tag")
	got := f.Imports()
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("not sorted, or not once each: %q", got)
	}
	for _, want := range []string{"env.proxy_log", "wasi_snapshot_preview1.poll_oneoff", "wasi_snapshot_preview1.sched_yield"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
	got[0] = "changed"
	if f.Imports()[0] == "changed" {
		t.Error("Imports hands out the filter's own list")
	}
}

func TestSameBytesCompileOnce(t *testing.T) {
	t.Parallel()
	wasm, err := os.ReadFile(guestPath(t, "tag"))
	if err != nil {
		t.Fatal(err)
	}
	filters := make(chan *Filter, 4)
	for range cap(filters) {
		go func() {
			own := slices.Clone(wasm)
			f, err := Compile(t.Context(), own)
			if err != nil {
				t.Error(err)
			}
			clear(own) // Compile keeps no reference
			filters <- f
		}()
	}
	first := <-filters
	for range cap(filters) - 1 {
		if f := <-filters; f != first {
			t.Error("the same bytes made two filters")
		}
	}
	h := New(t, Options{MemoryLimitPages: 300}, Plugin{Filter: first, Configuration: []byte("a")})
	h.Check(t, Request{}, Want{Status: 200, Headers: map[string]string{"x-back": "a"}})
}

// cacheTestEnv names the directory in which a child process of TestDiskCache compiles.
const cacheTestEnv = "TOLLGATE_TESTENV_CACHE_TEST"

// What one process compiled is on disk for the next one; without a directory to write to it is done in memory.
func TestDiskCache(t *testing.T) {
	t.Parallel()
	if os.Getenv(cacheTestEnv) != "" {
		if _, err := Compile(t.Context(), wasmModule(nil, []string{"proxy_abi_version_0_2_0", "malloc"})); err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cache := range []string{dir, dir, file, ""} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDiskCache$", "-test.count=1")
		cmd.Env = append(os.Environ(), cacheTestEnv+"=1", "XDG_CACHE_HOME="+cache, "HOME="+cache, "LocalAppData="+cache)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("with the cache in %q: %v\n%s", cache, err, text)
		}
	}
	entries := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "tollgate-testenv") {
			entries++
		}
		return err
	})
	if err != nil || entries != 1 {
		t.Errorf("the cache has %d entries after two processes compiled one module, want 1 (%v)", entries, err)
	}
}
