//go:build !wasip1

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/testenv"
)

func compile(t testing.TB, path string) *testenv.Filter {
	t.Helper()
	wasm, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run `make test`, which builds it", err)
	}
	f, err := testenv.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What proxy-wasm-cpp-host offered when Envoy 1.33 took it (commit c4d7bb0) and Go needs; the two that the
// runtime overlay removes are left out on purpose.
var allowedWASI = []string{
	"args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get", "fd_close",
	"fd_fdstat_get", "fd_fdstat_set_flags", "fd_prestat_dir_name", "fd_prestat_get", "fd_read", "fd_seek",
	"fd_write", "path_open", "proc_exit", "random_get",
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, name := range compile(t, wasmPath).Imports() {
		module, function, _ := strings.Cut(name, ".")
		switch {
		case module == "env" && strings.HasPrefix(function, "proxy_"):
		case module == "wasi_snapshot_preview1" && slices.Contains(allowedWASI, function):
		default:
			t.Errorf("the filter imports %s", name)
		}
	}
	// The check is worth something only if the overlay makes the difference.
	unpatched := compile(t, unpatchedPath).Imports()
	for _, name := range []string{"wasi_snapshot_preview1.poll_oneoff", "wasi_snapshot_preview1.sched_yield"} {
		if !slices.Contains(unpatched, name) {
			t.Errorf("built without the overlay, the filter does not import %s", name)
		}
	}
}

func TestModuleSize(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(wasmPath)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > wasmLimitBytes {
		t.Errorf("%s has %d bytes, more than %d", wasmPath, info.Size(), wasmLimitBytes)
	}
}
