package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/testenv"
)

// compileCommand is the argument with which this program compiles the file that follows and prints how many nanoseconds
// that took.
const compileCommand = "compile"

func printCompileTime(path string) error {
	wasm, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := testenv.Compile(context.Background(), wasm); err != nil {
		return err
	}
	fmt.Println(time.Since(began).Nanoseconds())
	return nil
}

// compile lets a new process compile a module with the given cache directory.
func (b *bench) compile(path, cache string) time.Duration {
	self, err := os.Executable()
	b.check(err)
	cmd := exec.Command(self, compileCommand, path)
	// os.UserCacheDir reads the one on Linux and the other on macOS.
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache, "HOME="+cache)
	out, err := cmd.Output()
	b.check(err)
	took, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	b.check(err)
	return time.Duration(took)
}

// cacheDir makes an empty cache directory, which goes with the guests.
func (b *bench) cacheDir() string {
	dir, err := os.MkdirTemp(b.dir, "cache-")
	b.check(err)
	return dir
}
