package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// How long a part may take to become ready, and to stop after SIGTERM.
const (
	readyWithin = 60 * time.Second
	stopWithin  = 15 * time.Second
)

// stack holds what was started, to be stopped in the opposite order.
type stack struct {
	processes []*process
	stops     []func() error
}

// process is a program that was started.
type process struct {
	name, log string
	cmd       *exec.Cmd
	// done is closed once the program has ended; err is set before.
	done chan struct{}
	err  error
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (s *stack) onStop(f func() error) { s.stops = append(s.stops, f) }

// start runs a program with env added to this process's environment and its output in the file log. The
// program is put in a process group of its own, so that Ctrl-C reaches this process alone, which then stops
// the parts in order.
func (s *stack) start(log string, env []string, name string, args ...string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer file.Close()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s (run `make build` first): %w", name, err)
	}
	p := &process{name: filepath.Base(name), log: log, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	s.processes = append(s.processes, p)
	s.onStop(p.stop)
	return p, nil
}

// await returns nil once url answers 200, and an error that shows the program's log if it ends first.
func (p *process) await(ctx context.Context, url string) error {
	deadline := time.NewTimer(readyWithin)
	defer deadline.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	client := &http.Client{Timeout: time.Second}
	for {
		if response, err := client.Get(url); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.done:
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", p.name, ctx.Err())
		case <-deadline.C:
			return fmt.Errorf("%s is not ready after %s%s", p.name, readyWithin, p.tail())
		case <-poll.C:
		}
	}
}

// ended describes a program that ended by itself.
func (p *process) ended() error {
	return fmt.Errorf("%s ended by itself: %v%s", p.name, p.err, p.tail())
}

// tail returns the end of the program's log, on lines of its own.
func (p *process) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil || len(data) == 0 {
		return ""
	}
	return "\n" + string(data[max(0, len(data)-4096):])
}

// stop sends SIGTERM and waits; a program that does not end in time is killed, which is an error.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopWithin):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not stop within %s and was killed", p.name, stopWithin)
	}
}

// wait returns nil when ctx ends, or an error when a program ends before.
func (s *stack) wait(ctx context.Context) error {
	ended := make(chan *process, len(s.processes))
	for _, p := range s.processes {
		go func() {
			<-p.done
			ended <- p
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case p := <-ended:
		return p.ended()
	}
}

// stop ends everything, the last part first.
func (s *stack) stop() error {
	var errs []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		errs = append(errs, s.stops[i]())
	}
	return errors.Join(errs...)
}

// proxyCommand is Envoy if one is on PATH whose release admits the filter's imports, else wasmproxy.
func proxyCommand(ctx context.Context, o options) (string, []string) {
	if path, err := exec.LookPath("envoy"); err == nil {
		if version, err := exec.CommandContext(ctx, path, "--version").Output(); err == nil && recentEnvoy(string(version)) {
			return path, []string{"-c", o.config}
		}
	}
	return o.wasmproxy, []string{"--config", o.config}
}

var envoyVersion = regexp.MustCompile(`/(\d+)\.(\d+)\.\d+`)

// recentEnvoy reads the output of envoy --version. 1.33 is the first release whose host offers what Go
// modules import (research/ecosystem.md §C).
func recentEnvoy(version string) bool {
	m := envoyVersion.FindStringSubmatch(version)
	if m == nil {
		return false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return major > 1 || major == 1 && minor >= 33
}
