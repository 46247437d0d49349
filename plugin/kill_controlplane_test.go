//go:build !wasip1

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// killable is a control plane as a process, whose database and addresses outlive it.
type killable struct {
	*program
	database, admin, gate, ops string
	adminToken, gateToken      string
}

const (
	// killCredits is more than any client can spend.
	killCredits = 1_000_000_000
	// killTTL is longer than the control plane is away at a time, and short, because what is leased is only settled
	// once it is over.
	killTTL = "3s"
)

func newKillable(t *testing.T) *killable {
	t.Helper()
	c := &killable{
		database: filepath.Join(t.TempDir(), "tollgate.db"),
		admin:    freeAddress(t), gate: freeAddress(t), ops: freeAddress(t),
	}
	c.adminToken, c.gateToken = c.token(t, "operator"), c.token(t, "gate")
	c.launch(t)
	c.awaitReady(t)
	return c
}

// launch starts the process, which need not get ready.
func (c *killable) launch(t *testing.T) {
	t.Helper()
	c.program = start(t, nil, tollgateBinary, "serve", "--db", c.database,
		"--listen", c.admin, "--gate-listen", c.gate, "--ops-listen", c.ops, "--lease-ttl", killTTL)
}

func (c *killable) awaitReady(t *testing.T) {
	t.Helper()
	c.await(t, "http://"+c.ops+"/readyz")
}

// token makes a token as an operator would.
func (c *killable) token(t *testing.T, role string) string {
	t.Helper()
	out, err := exec.Command(tollgateBinary, "token", "create", "--db", c.database, "--role", role, "--name", "kill test").Output()
	if err != nil {
		t.Fatalf("create %s token (run `make build` first): %v", role, err)
	}
	return strings.TrimSpace(string(out))
}

// verify runs the operator's own check.
func (c *killable) verify(t *testing.T) {
	t.Helper()
	out, err := exec.Command(tollgateBinary, "verify", "--db", c.database).CombinedOutput()
	if err != nil {
		t.Errorf("tollgate verify: %v\n%s", err, out)
	}
}

// call sends one admin request, expects success and decodes the answer into out.
func (c *killable) call(t *testing.T, method, path string, body map[string]any, out any) {
	t.Helper()
	payload, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(method, "http://"+c.admin+path, bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.adminToken)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	} else {
		request.Body, request.ContentLength = http.NoBody, 0
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s %v", method, path, response.Status, answer, err)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// customer makes an account with credits and a key of it: of every three one has a secret key, one a pair, and one a
// secret key on the route that trusts it. Every fourth pays from leases.
func (c *killable) customer(t *testing.T, i int) *customer {
	t.Helper()
	var made struct {
		ID, Secret  string
		Publishable string `json:"publishable_key"`
	}
	c.call(t, http.MethodPost, "/v1/accounts", map[string]any{"name": fmt.Sprintf("client %d", i), "status": "active"}, &made)
	one := &customer{account: made.ID, path: "/v1/document/create", headers: http.Header{}, answers: map[int]int64{}, trusted: i%3 == 2, leased: i%4 == 3}
	one.headers.Set(requestName, one.account)
	c.call(t, http.MethodPost, "/v1/accounts/"+one.account+"/credits", map[string]any{"amount": killCredits}, &made)
	switch i % 3 {
	case 1:
		one.path = "/v1/chat/completions"
	case 2:
		one.path = "/v1/document/trusted"
	}
	if one.leased {
		one.path += "/leased"
	}
	if i%3 != 1 {
		c.call(t, http.MethodPost, "/v1/keys", map[string]any{"account_id": one.account, "scheme": "genrex", "name": "kill test"}, &made)
		one.headers.Set("Authorization", "Bearer "+made.Secret)
		return one
	}
	c.call(t, http.MethodPost, "/v1/projects", map[string]any{"account_id": one.account, "name": "kill test", "domain": fmt.Sprintf("p%d.example.com", i)}, &made)
	project := made.ID
	c.call(t, http.MethodPost, "/v1/projects/"+project+"/domain/attest", map[string]any{"reason": "kill test"}, &made)
	c.call(t, http.MethodPost, "/v1/keys", map[string]any{"project_id": project, "scheme": "vexrail", "name": "kill test"}, &made)
	one.headers.Set("X-Publishable-Key", made.Publishable)
	one.headers.Set("X-Secret-Key", made.Secret)
	return one
}

// settled asks how much of an account's credits is spent or written off, and how much is still reserved.
func (c *killable) settled(t *testing.T, account string) (settled, reserved int64) {
	t.Helper()
	var wallet struct {
		Spent      int64
		Reserved   int64
		WrittenOff int64 `json:"written_off"`
	}
	c.call(t, http.MethodGet, "/v1/accounts/"+account+"/wallet", nil, &wallet)
	return wallet.Spent + wallet.WrittenOff, wallet.Reserved
}
