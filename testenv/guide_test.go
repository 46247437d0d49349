package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The guide's files, as they stand in it, make a module of their own whose tests pass.
func TestGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("GUIDE.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	blocks := regexp.MustCompile("(?s)`([a-z_]+\\.go)`:\n\n```go\n(.*?)```\n").FindAllSubmatch(guide, -1)
	if len(blocks) != strings.Count(string(guide), "```go\n") || len(blocks) < 4 {
		t.Fatalf("%d files found in the guide", len(blocks))
	}
	for _, b := range blocks {
		writeFile(t, filepath.Join(dir, string(b[1])), b[2])
	}
	commands := regexp.MustCompile("(?s)```sh\n(.*?)```\n").FindSubmatch(guide)
	if commands == nil {
		t.Fatal("no commands in the guide")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{string(commands[1]), "go vet .", `test -z "$(gofmt -l .)"`} {
		cmd := exec.Command("sh", "-ec", command)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TOLLGATE="+root, "GOWORK=off", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}

func writeFile(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
