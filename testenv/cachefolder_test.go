package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Only what wazero wrote goes, and only what is old.
func TestPrune(t *testing.T) {
	t.Parallel()
	dir, hash := t.TempDir(), strings.Repeat("0a", 32)
	now := time.Now()
	files := map[string]struct {
		age   time.Duration
		stays bool
	}{
		"wazero-v1-amd64-linux/" + hash:                    {2 * time.Hour, false},
		"wazero-v1-amd64-linux/" + hash + ".123.tmp":       {2 * time.Hour, false},
		"wazero-v2-amd64-linux/" + hash:                    {0, true},
		"wazero-v2-amd64-linux/" + hash + ".bak":           {2 * time.Hour, true},
		"wazero-v2-amd64-linux/" + hash[1:] + "g":          {2 * time.Hour, true},
		"wazero-v2-amd64-linux/notes":                      {2 * time.Hour, true},
		"wazero-v2-amd64-linux/sub/" + hash:                {2 * time.Hour, true},
		"other/" + hash:                                    {2 * time.Hour, true},
		hash:                                               {2 * time.Hour, true},
		"wazero-v1-amd64-linux/" + strings.ToUpper(hash):   {2 * time.Hour, true},
		"wazero-v2-amd64-linux/" + hash + "00/" + hash[2:]: {2 * time.Hour, true},
	}
	for name, f := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, []byte("x"))
		if err := os.Chtimes(path, now.Add(-f.age), now.Add(-f.age)); err != nil {
			t.Fatal(err)
		}
	}
	prune(dir, now.Add(-time.Hour))
	for name, f := range files {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != f.stays {
			t.Errorf("%s: %v, want it to stay: %t", name, err, f.stays)
		}
	}
	prune(filepath.Join(dir, "nothing here"), now)
}
