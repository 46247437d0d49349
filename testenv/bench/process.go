package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTime is how long a process may take until it is ready.
const startTime = 30 * time.Second

// start runs a program until the section ends, and returns once ready is true of a line on its standard error.
func (b *bench) start(cmd *exec.Cmd, ready func(line string) bool) {
	out, err := cmd.StderrPipe()
	b.startTelling(cmd, out, err, ready)
}

// startTelling is start for a program that tells on out, a pipe of cmd that could be made if err is nil.
func (b *bench) startTelling(cmd *exec.Cmd, out io.Reader, err error, ready func(line string) bool) {
	b.check(err)
	b.check(cmd.Start())
	lines := &tail{}
	found, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		lines.follow(out, ready, found)
	}()
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(startTime, func() { _ = cmd.Process.Kill() })
		<-ended
		_ = cmd.Wait() // by the signal
		kill.Stop()
	})
	select {
	case <-found:
	case <-ended:
		b.Fatalf("%s has ended:\n%s", cmd.Path, lines)
	case <-time.After(startTime):
		b.Fatalf("%s is not ready after %s:\n%s", cmd.Path, startTime, lines)
	}
}

// tail are the last lines of a process.
type tail struct {
	mu   sync.Mutex
	text []string
}

// follow reads to the end, and closes found at the first line that is ready.
func (t *tail) follow(r io.Reader, ready func(string) bool, found chan struct{}) {
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		t.mu.Lock()
		t.text = append(t.text[max(0, len(t.text)-20):], scanner.Text())
		t.mu.Unlock()
		if found != nil && ready(scanner.Text()) {
			close(found)
			found = nil
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line was too long; the process must not block on its pipe
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.text, "\n")
}

// controlPlane is a process of the control plane.
type controlPlane struct {
	gate, token string
	// admin is the address of the admin listener, and owner a token for it.
	admin, owner string
	pid          int
}

// controlPlane serves the database at path; nobody else does.
func (b *bench) controlPlane(program, path string, flags ...string) controlPlane {
	token := func(role string) string {
		text, err := exec.Command(program, "token", "create", "--db", path, "--role", role, "--name", "bench").Output()
		b.check(err)
		return strings.TrimSpace(string(text))
	}
	cp := controlPlane{token: token("gate"), owner: token("owner")}
	cmd := exec.Command(program, append([]string{"serve", "--db", path, "--listen", "127.0.0.1:0", "--gate-listen", "127.0.0.1:0",
		"--ops-listen", "127.0.0.1:0"}, flags...)...)
	b.start(cmd, func(line string) bool {
		if _, addr, ok := strings.Cut(line, "listener=gate addr="); ok {
			cp.gate = strings.TrimSpace(addr)
		}
		if _, addr, ok := strings.Cut(line, "listener=admin addr="); ok {
			cp.admin = strings.TrimSpace(addr)
		}
		return strings.HasSuffix(line, "msg=ready")
	})
	cp.pid = cmd.Process.Pid
	if cp.gate == "" || cp.admin == "" {
		b.Fatalf("the control plane has not told where its gate and admin listeners are")
	}
	return cp
}

// copyFile copies a file and returns the copy's path.
func (b *bench) copyFile(from, to string) string {
	data, err := os.ReadFile(from)
	b.check(err)
	b.check(os.WriteFile(to, data, 0o600))
	return to
}

// post is a whole request of a gate.
func (cp controlPlane) post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: tollgate\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n\r\n%s", path, cp.token, len(body), body)
}

// processTime is what this process has used of the processors.
func processTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // it knows itself
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// timeOf is what another process has used of the processors, where Linux tells it; else 0.
func timeOf(pid int) time.Duration {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	var sum time.Duration
	for _, path := range threads {
		text, _ := os.ReadFile(path) // a thread that has ended since has told nothing
		var ran time.Duration
		_, _ = fmt.Sscan(string(text), &ran)
		sum += ran
	}
	return sum
}
