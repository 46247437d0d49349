package testenv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Filters that nobody here wrote, built by the tests from modules as the Go module proxy serves them.
//
// Two modules are used: github.com/corazawaf/coraza-proxy-wasm, a web application firewall with the OWASP rules, and
// github.com/tetratelabs/proxy-wasm-go-sdk v0.16.0, the last release whose examples lie in the SDK's own module. Both are
// written against that older SDK, which exports the ABI for TinyGo alone; testdata/oldersdk offers its API by aliases
// of its successor's, under its path. No file of the filters is changed.
//
// Also tried: github.com/proxy-wasm/proxy-wasm-go-sdk and later releases of the older SDK resolve, but have their examples
// in modules of their own, which the module proxy did not serve.
const (
	corazaModule    = "github.com/corazawaf/coraza-proxy-wasm" // at the version in testdata/oldersdk/go.mod
	olderSDK        = "github.com/tetratelabs/proxy-wasm-go-sdk"
	olderSDKVersion = "v0.16.0"
	sdkStandIn      = "testdata/oldersdk"
)

// corazaTags are Coraza's own: it refuses to start without the first where it cannot write files, as under any Envoy, and
// runs with the second by default, says its README: rules count in the first phase that has what they look at.
const corazaTags = "no_fs_access,coraza.rule.multiphase_evaluation"

// errThirdParty is a module that could not be built, mostly for want of its source or that of a module it needs.
var errThirdParty = errors.New("cannot build a published module: its source comes from the module cache, which running this " +
	"test fills where GOPROXY can be reached")

// compileAhead compiles the filters of these tests into the cache on disk, where compiling in this process is too slow.
var compileAhead = func() error { return nil }

// thirdParty are the modules that this process built, by package.
var thirdParty sync.Map

// thirdPartyFilter builds a package and compiles it, once per process.
func thirdPartyFilter(t testing.TB, pkg string) *Filter {
	t.Helper()
	if err := compileAhead(); err != nil {
		t.Fatal(err)
	}
	build, _ := thirdParty.LoadOrStore(pkg, sync.OnceValues(func() ([]byte, error) { return buildThirdParty(pkg) }))
	wasm, err := build.(func() ([]byte, error))()
	if err != nil {
		t.Fatalf("%s: %v", pkg, err)
	}
	f, err := Compile(t.Context(), wasm)
	if err != nil {
		t.Fatalf("compile %s: %v", pkg, err)
	}
	return f
}

// exampleFilter is an example of the older SDK.
func exampleFilter(t testing.TB, name string) *Filter {
	t.Helper()
	return thirdPartyFilter(t, olderSDK+"/examples/"+name)
}

// buildThirdParty returns the same bytes for the same toolchain, wherever it runs: compiled filters are cached by them.
func buildThirdParty(pkg string) (wasm []byte, err error) {
	dir, err := os.MkdirTemp("", "testenv-thirdparty-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out := filepath.Join(dir, "filter.wasm")
	args := []string{
		"build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-tags", corazaTags, "-o", out,
	}
	if name, ok := strings.CutPrefix(pkg, olderSDK+"/"); ok {
		overlay, err := sourceOverlay(dir, name)
		if err != nil {
			return nil, err
		}
		args = append(args, "-overlay", overlay)
	}
	if _, err := runGo(append(args, pkg), "GOOS=wasip1", "GOARCH=wasm"); err != nil {
		return nil, fmt.Errorf("%w: %w", errThirdParty, err)
	}
	return os.ReadFile(out)
}

// sourceOverlay writes an overlay that lays a folder of the older SDK over the module that stands in for it.
func sourceOverlay(dir, folder string) (string, error) {
	source, err := moduleDir(olderSDK + "@" + olderSDKVersion)
	if err != nil {
		return "", err
	}
	standIn, err := filepath.Abs(sdkStandIn)
	if err != nil {
		return "", err
	}
	files := map[string]string{filepath.Join(standIn, folder, "main.go"): filepath.Join(source, folder, "main.go")}
	text, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}

// moduleDir returns where a module's source lies in the module cache, after downloading it if need be, and checking it
// against go.sum.
func moduleDir(query string) (string, error) {
	text, err := runGo([]string{"mod", "download", "-json", query})
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(text, &module); jsonErr == nil && module.Error != "" {
		err = errors.New(module.Error)
	}
	if err != nil || module.Dir == "" {
		return "", fmt.Errorf("%w: %s: %w", errThirdParty, query, err)
	}
	return module.Dir, nil
}

// runGo runs the go command in the stand-in's module, without what is set for this one. The error has what it said.
func runGo(args []string, env ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = sdkStandIn
	cmd.Env = append(append(os.Environ(), "GOFLAGS=", "GOWORK=off"), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return text, fmt.Errorf("go %s: %w\n%s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return text, nil
}

// Coraza needs functions of WASI that Envoy 1.33 does not have, and is refused as there; the examples load everywhere.
func TestThirdPartyFiltersLoad(t *testing.T) {
	t.Parallel()
	examples := []string{"http_body", "http_auth_random", "dispatch_call_on_tick"}
	for _, name := range examples {
		for _, p := range Profiles() {
			if err := exampleFilter(t, name).checkImports(p); err != nil {
				t.Errorf("%s, %v: %v", name, p, err)
			}
		}
	}
	coraza := thirdPartyFilter(t, corazaModule)
	refused := map[string]bool{}
	for _, p := range Profiles() {
		refused[p.Name] = errors.Is(coraza.checkImports(p), ErrMissingImport)
	}
	want := map[string]bool{Envoy133.Name: true, Envoy140.Name: false, Strict.Name: true}
	if diff := cmp.Diff(want, refused); diff != "" {
		t.Errorf("profiles that refuse Coraza (-want +got):\n%s", diff)
	}
}

func TestThirdPartyModuleWithoutSource(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOMODCACHE", t.TempDir())
	for pkg, module := range map[string]string{corazaModule: corazaModule, olderSDK + "/examples/http_body": olderSDK} {
		_, err := buildThirdParty(pkg)
		if !errors.Is(err, errThirdParty) || !strings.Contains(err.Error(), module) {
			t.Errorf("%s with no module to be had: %v, want %v and the name %s", pkg, err, errThirdParty, module)
		}
	}
}
