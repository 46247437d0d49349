package testenv

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// wasmModule is the smallest module with the given function imports and exports, every one of
// type () -> (), and a memory.
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
	tests := []struct {
		name     string
		wasm     []byte
		sentinel error
		texts    []string
	}{
		{"no wasm", []byte("MZ"), ErrModule, nil},
		{"no bytes", nil, ErrModule, nil},
		{"no ABI", wasmModule(nil, []string{"malloc"}), ErrABIVersion, nil},
		{"an ABI of another time", wasmModule(nil, []string{"malloc", "proxy_abi_version_0_1_0"}), ErrABIVersion, nil},
		{"no allocator", wasmModule(nil, []string{"proxy_abi_version_0_2_0"}), ErrModule, []string{"malloc"}},
		{
			"every missing import is named",
			wasmModule([]string{"env.proxy_nosuch", "env.proxy_log", "wasi_snapshot_preview1.sock_accept", "other.fn", "env.proxy_get_log_level"}, abi),
			ErrMissingImport,
			[]string{"env.proxy_get_log_level, env.proxy_nosuch, other.fn, wasi_snapshot_preview1.sock_accept"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := Compile(t.Context(), tt.wasm)
			if !errors.Is(err, tt.sentinel) || f != nil {
				t.Fatalf("filter %v err %v, want %v", f, err, tt.sentinel)
			}
			for _, text := range tt.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q lacks %q", err, text)
				}
			}
		})
	}
}

func TestFilterWithoutCallbacksPassesEverything(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"_start", "_initialize"} {
		f, err := Compile(t.Context(), wasmModule(nil, []string{start, "proxy_abi_version_0_2_1", "malloc"}))
		if err != nil {
			t.Fatal(err)
		}
		r := NewHost(t, f, Options{}).Do(t, Request{Body: []byte("abc"), Trailers: []Header{{"t", "1"}}})
		if r.Status != 200 || string(r.Body) != "abc" || len(r.Upstream.Trailers) != 1 {
			t.Errorf("%s: status %d body %q err %v", start, r.Status, r.Body, r.Err)
		}
	}
}

// A guest built by plain Go needs all of these, two of which the real filter must not.
func TestImports(t *testing.T) {
	t.Parallel()
	got := guestFilter(t, probeWASM).Imports()
	if !slices.IsSorted(got) {
		t.Errorf("not sorted: %q", got)
	}
	for _, want := range []string{"env.proxy_log", "wasi_snapshot_preview1.poll_oneoff", "wasi_snapshot_preview1.sched_yield"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
}

func TestSameBytesCompileOnce(t *testing.T) {
	t.Parallel()
	wasm, err := os.ReadFile(guestPath(t, rawWASM))
	if err != nil {
		t.Fatal(err)
	}
	filters := make(chan *Filter, 4)
	for range cap(filters) {
		go func() {
			f, err := Compile(t.Context(), slices.Clone(wasm))
			if err != nil {
				t.Error(err)
			}
			filters <- f
		}()
	}
	first := <-filters
	for range cap(filters) - 1 {
		if f := <-filters; f != first {
			t.Error("the same bytes made two filters")
		}
	}
}

func TestMissingWasmEndsTheTest(t *testing.T) {
	t.Parallel()
	stand := &fatalTB{TB: t}
	func() {
		defer func() { _ = recover() }()
		New(stand, "build/nosuch.wasm", Options{})
	}()
	if !strings.Contains(stand.text, "run make wasm") || !strings.Contains(stand.text, "build/nosuch.wasm") {
		t.Errorf("the test ended with %q", stand.text)
	}
}
