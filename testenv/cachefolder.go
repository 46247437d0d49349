package testenv

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
)

// cacheFolder is the name of the folder with compiled modules, in the user's cache directory.
const cacheFolder = "tollgate-testenv"

// cacheAge is how long a compiled module is kept. Nothing notes its use: one that is still in use is compiled again.
const cacheAge = 30 * 24 * time.Hour

// compilationCache is shared by every runtime of the process. Without a writable cache directory it lasts as long as the
// process.
var compilationCache = sync.OnceValue(func() wazero.CompilationCache {
	if dir, err := os.UserCacheDir(); err == nil {
		dir = filepath.Join(dir, cacheFolder)
		prune(dir, time.Now().Add(-cacheAge))
		if cache, err := wazero.NewCompilationCacheWithDir(dir); err == nil {
			return cache
		}
	}
	return wazero.NewCompilationCache()
})

// prune removes what wazero has written before a time: files with the hash of a module for their name, in a folder for
// each version of wazero. It does what it can: a file that another process is using or has removed is none of its errors.
func prune(dir string, before time.Time) {
	entries, _ := filepath.Glob(filepath.Join(dir, "wazero-*", "*")) // fails for malformed patterns alone
	for _, path := range entries {
		info, err := os.Lstat(path)
		if err == nil && info.Mode().IsRegular() && isCacheEntry(info.Name()) && info.ModTime().Before(before) {
			_ = os.Remove(path)
		}
	}
}

// hashDigits is the length of a SHA-256 in hexadecimal.
const hashDigits = 64

// isCacheEntry says whether a name is wazero's: a hash, or while it writes the file a hash, a number and ".tmp".
func isCacheEntry(name string) bool {
	if len(name) > hashDigits && name[hashDigits] == '.' && filepath.Ext(name) == ".tmp" {
		name = name[:hashDigits]
	}
	if len(name) != hashDigits {
		return false
	}
	for _, c := range name {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
