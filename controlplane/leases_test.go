package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// caller speaks to a running process with a token.
type caller struct {
	root, token string
}

// post sends JSON, expects the status and returns the answer.
func (c caller) post(t *testing.T, path, body string, status int) map[string]any {
	t.Helper()
	return c.do(t, http.MethodPost, path, body, status)
}

func (c caller) do(t *testing.T, method, path, body string, status int) map[string]any {
	t.Helper()
	req, err := http.NewRequest(method, c.root+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Fatalf("%s %s: got %d, %v, want %d: %s", method, path, resp.StatusCode, err, status, text)
	}
	var out map[string]any
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// party is a running process with an admin, a gate, and an account of 100 credits.
type party struct {
	*process
	admin, gate     caller
	account, secret string
}

func startParty(t *testing.T, db string, args []string) *party {
	t.Helper()
	token := func(role string) string {
		return strings.TrimSpace(finish(t, command(t, "token", "create", "--db", db, "--role", role, "--name", "n")).stdout)
	}
	owner, gate := token("owner"), token("gate")
	p := &party{process: start(t, append(loopback(db), args...))}
	p.admin, p.gate = caller{"http://" + p.addrs["admin"], owner}, caller{"http://" + p.addrs["gate"], gate}
	p.account = p.admin.post(t, "/v1/accounts", `{"name":"n","status":"active"}`, 201)["id"].(string)
	p.admin.post(t, "/v1/accounts/"+p.account+"/credits", `{"amount":100}`, 201)
	p.secret = p.admin.post(t, "/v1/keys", `{"account_id":"`+p.account+`","scheme":"genrex","name":"n"}`, 201)["secret"].(string)
	return p
}

// acquire asks for want credits under op, in lease mode.
func (p *party) acquire(t *testing.T, op string, want int) map[string]any {
	t.Helper()
	return p.gate.post(t, "/gate/v1/acquire", fmt.Sprintf(
		`{"gate":"g","boot":"b","op_id":"b-%s","scheme":"genrex","digests":["%s"],"cost":1,"want":%d,"mode":"lease"}`,
		op, apikey.DigestOf(p.secret).Hex(), want), 200)
}

func (p *party) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + p.addrs["ops"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A lease of a gate that is never heard of again is closed by the running process, by the policy of its flags.
func TestServeClosesLeases(t *testing.T) {
	db := filepath.Join(t.TempDir(), "t.db")
	p := startParty(t, db, []string{"--lease-ttl=20ms", "--lease-grace=20ms", "--lease-max-credits=7", "--unreported=charge"})
	lease := p.acquire(t, "1", 50)["lease"].(map[string]any)
	if lease["credits"] != 7.0 || lease["ttl_ms"] != 20.0 {
		t.Fatalf("lease %v", lease)
	}
	// The ops listener logs nothing, so asking it over and over fills no pipe.
	for deadline := time.Now().Add(limit); !strings.Contains(p.metrics(t), "tollgate_leases_open 0\n"); {
		if time.Now().After(deadline) {
			t.Fatal("the lease is still open")
		}
	}
	if w := p.admin.do(t, http.MethodGet, "/v1/accounts/"+p.account+"/wallet", "", 200); w["spent"] != 7.0 || w["available"] != 93.0 {
		t.Errorf("wallet %v", w)
	}
	if got := finish(t, command(t, "verify", "--db", db)); got.code != 0 {
		t.Errorf("verify: %d %s", got.code, got.stdout)
	}
}

// A write that fails leaves nobody knowing what is on the disk: the server acknowledges nothing more, says why and ends,
// and what it had acknowledged is there for the next one. The limit on file sizes stands for any failure of the disk.
func TestServeEndsWhenTheDiskFails(t *testing.T) {
	db := filepath.Join(t.TempDir(), "t.db")
	p := startParty(t, db, nil)
	p.acquire(t, "first", 5)
	info, err := os.Stat(db + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	limitFiles(t, p.cmd.Process.Pid, uint64(info.Size())+64<<10)
	acknowledged := 5
	var refused *http.Response
	for i := 0; refused == nil && i < 1000; i++ {
		req, err := http.NewRequest(http.MethodPost, p.gate.root+"/gate/v1/acquire", strings.NewReader(fmt.Sprintf(
			`{"gate":"g","boot":"b","op_id":"b-%d","scheme":"genrex","digests":["%s"],"cost":1,"want":1,"mode":"strict"}`, i, apikey.DigestOf(p.secret).Hex())))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+p.gate.token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			code := p.end()
			t.Fatalf("%v; exit code %d:\n%s", err, code, strings.Join(p.lines, "\n"))
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			refused = resp
		} else {
			acknowledged++
		}
	}
	if refused == nil || refused.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %v, want a 503", refused)
	}
	if code := p.end(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if log := strings.Join(p.lines, "\n"); !strings.Contains(log, "THE DISK FAILED") || !strings.Contains(log, store.ErrDead.Error()) {
		t.Errorf("the log does not say so:\n%s", log)
	}
	st, err := store.Open(t.Context(), store.Options{Path: db, Actor: store.LocalActor})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	wallet, err := st.Wallet(t.Context(), p.account)
	// What was being written when the disk failed may be there or not.
	if taken := 100 - int(wallet.Available); err != nil || taken < acknowledged || taken > acknowledged+1 {
		t.Errorf("wallet %+v, %v; acknowledged %d", wallet, err, acknowledged)
	}
	if report, err := st.Verify(t.Context()); err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %v, %v", report.Problems, err)
	}
}

// limitFiles sets how long files another process may write.
func limitFiles(t *testing.T, pid int, size uint64) {
	t.Helper()
	limit := syscall.Rlimit{Cur: size, Max: size}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
}
