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

func TestGenerateFromInstalledGo(t *testing.T) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := generate(strings.TrimSpace(string(goroot)), out); err != nil {
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
	if len(overlay.Replace) != len(replacements) {
		t.Fatalf("overlay replaces %d files, want %d", len(overlay.Replace), len(replacements))
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
}

func TestGenerateFailsLoudlyOnAnotherRuntime(t *testing.T) {
	goroot, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	dir := filepath.Join(goroot, "src", "runtime")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, r := range replacements {
		// The same import under another signature: what a future release might look like.
		text := strings.Replace(r.old, " errno", " uint16", 1)
		if err := os.WriteFile(filepath.Join(dir, r.file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := generate(goroot, out)
	if !errors.Is(err, ErrTextNotFound) || !strings.Contains(err.Error(), "os_wasip1.go") {
		t.Errorf("generate = %v, want ErrTextNotFound naming os_wasip1.go", err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("output folder exists after a failed run (stat: %v)", err)
	}
}
