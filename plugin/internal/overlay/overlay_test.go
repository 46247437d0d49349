package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// installed returns GOROOT and the folder of the SDK's module.
func installed(t *testing.T) (goroot, sdk string) {
	t.Helper()
	output := func(args ...string) string {
		out, err := exec.Command("go", args...).Output()
		if err != nil {
			t.Fatalf("go %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	return output("env", "GOROOT"), output("list", "-f", "{{.Module.Dir}}", sdkModule+"/proxywasm")
}

func TestGenerateFromWhatIsInstalled(t *testing.T) {
	out := t.TempDir()
	goroot, sdk := installed(t)
	if err := generate(goroot, "../../..", sdk, out); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(out, "overlay.json"))
	if err != nil {
		t.Fatal(err)
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(data, &overlay); err != nil {
		t.Fatal(err)
	}
	if len(overlay.Replace) != len(runtimeReplacements) {
		t.Fatalf("overlay replaces %d files, want %d", len(overlay.Replace), len(runtimeReplacements))
	}
	for source, target := range overlay.Replace {
		text, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"poll_oneoff", "sched_yield"} {
			if strings.Contains(string(text), "go:wasmimport wasi_snapshot_preview1 "+name) {
				t.Errorf("%s, made from %s, still imports %s", target, source, name)
			}
		}
	}
	cmd := exec.Command("go", "list", "-modfile", filepath.Join(out, "go.mod"), "-f", "{{.Dir}}", sdkModule+"/proxywasm/internal")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	dir, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(out, "sdk", "proxywasm", "internal"); strings.TrimSpace(string(dir)) != want {
		t.Errorf("the SDK is taken from %s, want %s", dir, want)
	}
}

// Another release may have another text: then there is no overlay at all.
func TestGenerateFailsLoudlyOnAnotherRelease(t *testing.T) {
	installedRoot, intact := installed(t)
	tests := []struct {
		name, file, old, new string
	}{
		{"runtime", filepath.Join(installedRoot, "src", "runtime", "os_wasip1.go"), "nevents *size) errno\n", "nevents *size) uint16\n"},
		{"SDK", filepath.Join(intact, "proxywasm", "internal", "vmstate.go"), "s.httpContexts[contextID]; ok", "s.streams[contextID]; ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, err := os.ReadFile(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.ReplaceAll(string(text), tt.old, tt.new)
			if changed == string(text) {
				t.Fatalf("%s has no %q", tt.file, tt.old)
			}
			broken, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
			goroot, sdk := installedRoot, intact
			if tt.name == "runtime" {
				goroot = broken
			} else {
				sdk = broken
				if err := os.CopyFS(broken, os.DirFS(intact)); err != nil {
					t.Fatal(err)
				}
			}
			target := filepath.Join(broken, strings.TrimPrefix(strings.TrimPrefix(tt.file, installedRoot), intact))
			_ = os.Remove(target) // what was copied may not be written to
			if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, []byte(changed), 0o644)); err != nil {
				t.Fatal(err)
			}
			err = generate(goroot, "../../..", sdk, out)
			if !errors.Is(err, ErrTextNotFound) || !strings.Contains(err.Error(), filepath.Base(tt.file)) {
				t.Errorf("generate = %v, want ErrTextNotFound naming %s", err, filepath.Base(tt.file))
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("output folder exists after a failed run (stat: %v)", err)
			}
		})
	}
}
