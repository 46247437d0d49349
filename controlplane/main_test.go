package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asCommand makes the test binary run the command instead of the tests, so that the tests meet a whole process:
// its exit code, its output, its lock and its signals.
const asCommand = "TOLLGATE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// limit ends a process that hangs; no test comes near it.
const limit = time.Minute

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{asCommand + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir}
	return cmd
}

type result struct {
	code           int
	stdout, stderr string
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func TestExitCodesAndMessages(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	garbage := write("garbage.db", strings.Repeat("no database\n", 1000))
	file := write("file", "x")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	fresh := filepath.Join(dir, "fresh.db")
	zero := []string{"--listen=127.0.0.1:0", "--gate-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"}
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"help", []string{"--help"}, 0, "tollgate serve", ""},
		{"help of serve", []string{"serve", "--help"}, 0, "tollgate serve --db /var/lib", ""},
		{"help of token create", []string{"token", "create", "--help"}, 0, "TOKEN=$(tollgate token create", ""},
		{"help of verify", []string{"verify", "--help"}, 0, "tollgate verify --db /var/lib", ""},
		{"no command", nil, 2, "", `expected one of "serve"`},
		{"unknown command", []string{"frobnicate"}, 2, "", "frobnicate"},
		{"unknown flag", []string{"serve", "--frob"}, 2, "", "--frob"},
		{"no role", []string{"token", "create", "--name=x"}, 2, "", "--role"},
		{"no name", []string{"token", "create", "--role=gate"}, 2, "", "--name"},
		{"empty name", []string{"token", "create", "--role=gate", "--name="}, 2, "", "--name"},
		{"control character in name", []string{"token", "create", "--role=gate", "--name=a\nb"}, 2, "", "--name"},
		{"long name", []string{"token", "create", "--role=gate", "--name=" + strings.Repeat("x", 201)}, 2, "", "--name"},
		{"unknown role", []string{"token", "create", "--role=god", "--name=x"}, 2, "", "owner"},
		{"empty db", []string{"serve", "--db="}, 2, "", "--db"},
		{"address without port", []string{"serve", "--listen=localhost"}, 2, "", "--listen"},
		{"port out of range", []string{"serve", "--gate-listen=:65536"}, 2, "", "--gate-listen"},
		{"port name", []string{"serve", "--ops-listen=:http-alt-x"}, 2, "", "--ops-listen"},
		{"lease ttl too short", []string{"serve", "--lease-ttl=1us"}, 2, "", "--lease-ttl: expected 1ms to 1h"},
		{"lease ttl too long", []string{"serve", "--lease-ttl=2h"}, 2, "", "--lease-ttl: expected 1ms to 1h"},
		{"lease ttl without a unit", []string{"serve", "--lease-ttl=10"}, 2, "", "--lease-ttl"},
		{"lease grace too short", []string{"serve", "--lease-ttl=1m", "--lease-grace=5s"}, 2, "", "--lease-grace: expected a tenth"},
		{"lease without credits", []string{"serve", "--lease-max-credits=0"}, 2, "", "--lease-max-credits: expected 1 to"},
		{"usage kept for no day", []string{"serve", "--usage-days=0"}, 2, "", "--usage-days: expected 1 to 36500"},
		{"resolver by name", []string{"serve", "--dns-resolver=dns.example.com"}, 2, "", "--dns-resolver: expected an IP address"},
		{"resolver twice", []string{"serve", "--dns-resolver=192.0.2.1,192.0.2.1:53"}, 2, "", "--dns-resolver: expected up to 8 resolvers, each once"},
		{"domains looked at too often", []string{"serve", "--domain-recheck=1m"}, 2, "", "--domain-recheck: expected 1h to 8760h"},
		{"domains on loopback", []string{"serve", "--domain-allow-loopback"}, 2, "", "unknown flag"},
		{"unknown policy", []string{"serve", "--unreported=burn"}, 2, "", "--unreported"},
		{"no address of ours", append([]string{"serve", "--db=" + fresh}, "--listen=203.0.113.1:0"), 1, "", "serve admin"},
		{"port taken", append([]string{"serve", "--db=" + fresh, "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"}, "--gate-listen="+taken.Addr().String()), 1, "", "serve gate"},
		{"directory for a database", append([]string{"serve", "--db=" + dir}, zero...), 1, "", "expected a file, found a directory"},
		{"no database", append([]string{"serve", "--db=" + garbage}, zero...), 1, "", "not a database"},
		{"no database for a token", []string{"token", "create", "--db=" + garbage, "--role=gate", "--name=x"}, 1, "", "not a database"},
		{"file for a directory", []string{"token", "create", "--db=" + file + "/x.db", "--role=gate", "--name=x"}, 1, "", "directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := finish(t, command(t, tt.args...))
			if got.code != tt.code || !strings.Contains(got.stdout, tt.stdout) || !strings.Contains(got.stderr, tt.stderr) {
				t.Errorf("got exit code %d, want %d\nstdout: %s\nstderr: %s", got.code, tt.code, got.stdout, got.stderr)
			}
			if tt.code != 0 && got.stdout != "" || strings.Contains(got.stderr, "goroutine") {
				t.Errorf("an error belongs on stderr, without a stack\nstdout: %s\nstderr: %s", got.stdout, got.stderr)
			}
		})
	}
	if b, err := os.ReadFile(garbage); err != nil || !strings.HasPrefix(string(b), "no database") {
		t.Error("the file that is no database was changed")
	}
}

var tokenLine = regexp.MustCompile(`^tg_(owner|operator|billing|viewer|gate)_[A-Za-z0-9_-]{43}\n$`)

func TestTokenCreatePrintsTheTokenAlone(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "new", "deep", "a #?%.db")
	for _, role := range []string{"owner", "operator", "billing", "viewer", "gate"} {
		got := finish(t, command(t, "token", "create", "--db", db, "--role", role, "--name", "n"))
		if m := tokenLine.FindStringSubmatch(got.stdout); got.code != 0 || m == nil || m[1] != role || got.stderr != "" {
			t.Fatalf("%s: exit code %d, %d bytes on stdout, stderr %q", role, got.code, len(got.stdout), got.stderr)
		}
		b, err := os.ReadFile(db)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(strings.TrimSpace(got.stdout))) {
			t.Error("the database holds the token")
		}
	}
	for path, want := range map[string]os.FileMode{filepath.Join(dir, "new"): 0o700, filepath.Join(dir, "new", "deep"): 0o700, db: 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
}

// process is a running "tollgate serve".
type process struct {
	cmd   *exec.Cmd
	addrs map[string]string
	log   *bufio.Scanner
	lines []string
}

var listening = regexp.MustCompile(`msg=listening listener=(\w+) addr=(\S+)`)

// start runs serve and returns once it says that it is ready.
func start(t *testing.T, args []string, env ...string) *process {
	t.Helper()
	p := &process{cmd: command(t, append([]string{"serve"}, args...)...), addrs: map[string]string{}}
	p.cmd.Env = append(p.cmd.Env, env...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	p.log = bufio.NewScanner(stderr)
	p.until(t, "msg=ready")
	for _, line := range p.lines {
		if m := listening.FindStringSubmatch(line); m != nil {
			p.addrs[m[1]] = m[2]
		}
	}
	return p
}

// until reads the log up to a line with text in it.
func (p *process) until(t *testing.T, text string) {
	t.Helper()
	for p.log.Scan() {
		p.lines = append(p.lines, p.log.Text())
		if strings.Contains(p.log.Text(), text) {
			return
		}
	}
	t.Fatalf("the log ended without %q:\n%s", text, strings.Join(p.lines, "\n"))
}

// end waits for the process to end by itself and returns its exit code.
func (p *process) end() int {
	for p.log.Scan() {
		p.lines = append(p.lines, p.log.Text())
	}
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func loopback(db string) []string {
	return []string{"--db", db, "--listen", "127.0.0.1:0", "--gate-listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"}
}

func TestServeAnswersOnAllThreeOnceReady(t *testing.T) {
	db := filepath.Join(t.TempDir(), "t.db")
	p := start(t, loopback(db))
	if len(p.addrs) != 3 {
		t.Fatalf("addresses %v", p.addrs)
	}
	token := strings.TrimSpace(finish(t, command(t, "token", "create", "--db", db, "--role", "owner", "--name", "n")).stdout)
	for _, tt := range []struct {
		listener, path string
		status         int
	}{
		{"ops", "/healthz", 200}, {"ops", "/readyz", 200}, {"ops", "/metrics", 200},
		{"admin", "/v1/accounts", 200}, {"gate", "/gate/v1/acquire", 405}, {"admin", "/metrics", 404},
	} {
		req, err := http.NewRequest("GET", "http://"+p.addrs[tt.listener]+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s: got %d, want %d", tt.listener, tt.path, resp.StatusCode, tt.status)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, strings.Join(p.lines, "\n"))
	}
	if strings.Contains(strings.Join(p.lines, "\n"), token) {
		t.Error("the log holds the token")
	}
	if used := lastUse(t, db, token); used == nil {
		t.Error("the use of the token was not recorded before the end")
	}
}

func TestEnvironmentStandsInForFlags(t *testing.T) {
	db := filepath.Join(t.TempDir(), "env.db")
	p := start(t, nil, "TOLLGATE_DB="+db, "TOLLGATE_LISTEN=127.0.0.1:0", "TOLLGATE_GATE_LISTEN=127.0.0.1:0", "TOLLGATE_OPS_LISTEN=127.0.0.1:0")
	if len(p.addrs) != 3 {
		t.Errorf("addresses %v", p.addrs)
	}
	if _, err := os.Stat(db); err != nil {
		t.Error(err)
	}
}

// A second server is refused whatever name it calls the database by, and the first one's end frees it.
func TestSecondServeIsRefused(t *testing.T) {
	dir := t.TempDir()
	db, link, linkedDir := filepath.Join(dir, "t.db"), filepath.Join(dir, "link.db"), filepath.Join(t.TempDir(), "d")
	first := start(t, loopback(db))
	if err := os.Symlink(db, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, linkedDir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{db, link, filepath.Join(linkedDir, "t.db")} {
		got := finish(t, command(t, append([]string{"serve"}, loopback(name)...)...))
		if got.code != 1 || !strings.Contains(got.stderr, "another tollgate serve uses this database") {
			t.Errorf("%s: exit code %d, stderr %s", name, got.code, got.stderr)
		}
	}
	// A killed process leaves no lock behind.
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.end()
	start(t, loopback(db))
}

// inFlight is a request to create an account whose body has yet to be sent.
func inFlight(t *testing.T, p *process, db, body string) (net.Conn, *bufio.Reader) {
	t.Helper()
	token := strings.TrimSpace(finish(t, command(t, "token", "create", "--db", db, "--role", "owner", "--name", "n")).stdout)
	conn, err := net.Dial("tcp", p.addrs["admin"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /v1/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", token, len(body))
	in := bufio.NewReader(conn)
	// The interim answer shows that the handler is reading: the request is in flight.
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("got %q, %v", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return conn, in
}

// waitUnready asks until /readyz says that the process is about to stop.
func waitUnready(t *testing.T, p *process) {
	t.Helper()
	for status := 200; status != 503; {
		resp, err := http.Get("http://" + p.addrs["ops"] + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		status = resp.StatusCode
	}
}

// A request whose body is still on its way when the signal comes is answered; a new connection is not, but for operators,
// who are told.
func TestSignalDrains(t *testing.T) {
	db := filepath.Join(t.TempDir(), "t.db")
	p := start(t, loopback(db))
	const body = `{"name":"late"}`
	conn, in := inFlight(t, p, db, body)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.until(t, "msg=draining")
	waitUnready(t, p)
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("got status %d, want 201", resp.StatusCode)
	}
	_ = resp.Body.Close()
	_ = conn.Close()
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, strings.Join(p.lines, "\n"))
	}
	if _, err := net.Dial("tcp", p.addrs["admin"]); err == nil {
		t.Error("somebody still listens")
	}
}

// A second signal does not wait for anybody.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	db := filepath.Join(t.TempDir(), "t.db")
	p := start(t, loopback(db))
	inFlight(t, p, db, `{"name":"late"}`)
	for _, want := range []string{"msg=draining", ""} {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if want != "" {
			p.until(t, want)
			waitUnready(t, p)
		}
	}
	if code := p.end(); code != -1 || strings.Contains(strings.Join(p.lines, "\n"), "msg=stopped") {
		t.Errorf("exit code %d:\n%s", code, strings.Join(p.lines, "\n"))
	}
}
