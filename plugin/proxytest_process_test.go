//go:build !wasip1

package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// How long a program may take to become ready, and to stop after SIGTERM.
const (
	programReadyWithin = 60 * time.Second
	programStopWithin  = 15 * time.Second
)

// program is a built program that runs beside the test, in a process group of its own.
type program struct {
	name, log string
	cmd       *exec.Cmd
	// done is closed once the program has ended.
	done chan struct{}
}

// start runs a built program with env added to this process's environment. It is stopped when the test ends.
func start(t testing.TB, env []string, path string, args ...string) *program {
	t.Helper()
	p := &program{name: filepath.Base(path)}
	file, err := os.Create(filepath.Join(t.TempDir(), p.name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p.log = file.Name()
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = file, file
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s (run `make build` first): %v", p.name, err)
	}
	p.done = make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

// stop sends SIGTERM and waits. A program that has ended is left alone.
func (p *program) stop(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("stop %s: %v", p.name, err)
	}
	limit := time.NewTimer(programStopWithin)
	defer limit.Stop()
	select {
	case <-p.done:
	case <-limit.C:
		t.Errorf("%s did not stop within %s", p.name, programStopWithin)
		p.kill()
	}
}

// kill ends the program as a crash would.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// await returns once url answers 200, and ends the test if that takes too long or the program ends.
func (p *program) await(t testing.TB, url string) {
	t.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	limit := time.NewTimer(programReadyWithin)
	defer limit.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		if response, err := client.Get(url); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended by itself:\n%s", p.name, p.output(t))
		case <-limit.C:
			t.Fatalf("%s is not ready after %s:\n%s", p.name, programReadyWithin, p.output(t))
		case <-poll.C:
		}
	}
}

// output is all that the program has written to standard output and standard error.
func (p *program) output(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// freeAddress returns a loopback address that nothing listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
