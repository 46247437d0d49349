//go:build !wasip1

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/testenv"
)

// The runtime overlay takes these two out, for they end a VM on Envoy 1.33.
var overlaid = []string{"wasi_snapshot_preview1.poll_oneoff", "wasi_snapshot_preview1.sched_yield"}

// The filter imports hostcalls and what every Envoy from 1.33 on offers of WASI, but for what the overlay takes out.
func TestImports(t *testing.T) {
	t.Parallel()
	for _, name := range testenv.Load(t, wasmPath).Imports() {
		module, function, _ := strings.Cut(name, ".")
		hostcall := module == "env" && strings.HasPrefix(function, "proxy_")
		offered := module == "wasi_snapshot_preview1" && testenv.Envoy133.OffersWASI(function)
		if !hostcall && !offered || slices.Contains(overlaid, name) {
			t.Errorf("the filter imports %s", name)
		}
	}
	// The check is worth something only if the overlay makes the difference.
	unpatched := testenv.Load(t, unpatchedPath).Imports()
	for _, name := range overlaid {
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
