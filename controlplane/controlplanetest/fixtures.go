package controlplanetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/internal/server"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// Key is a new API key with its full secret.
type Key struct{ ID, Secret string }

// Pair is a new key pair. Publishable is empty where the key is a single secret.
type Pair struct {
	ID          string `json:"id"`
	Publishable string `json:"publishable_key"`
	Secret      string `json:"secret"`
}

// Wallet is an account's balances in credits.
type Wallet struct {
	AccountID  string `json:"account_id"`
	Granted    int64  `json:"granted"`
	Available  int64  `json:"available"`
	Reserved   int64  `json:"reserved"`
	Spent      int64  `json:"spent"`
	WrittenOff int64  `json:"written_off"`
}

// Admin sends one admin request with AdminToken and returns the answer's status and body. The body sent is none
// for nil, itself for a []byte, and otherwise its JSON. Only a request that gets no answer ends the test.
func (c *ControlPlane) Admin(t testing.TB, method, path string, body any) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequest(method, c.AdminURL+path, reader(t, body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.AdminToken)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func reader(t testing.TB, body any) io.Reader {
	t.Helper()
	switch b := body.(type) {
	case nil:
		return nil
	case []byte:
		return bytes.NewReader(b)
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b)
}

// must sends an admin request, expects the status and decodes the answer into out, if there is one.
func (c *ControlPlane) must(t testing.TB, method, path string, body any, want int, out any) {
	t.Helper()
	status, answer := c.Admin(t, method, path, body)
	if status != want {
		t.Fatalf("%s %s: got status %d, want %d: %s", method, path, status, want, answer)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(answer, out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// MustToken issues a token of the given role, any but account, and returns its text.
func (c *ControlPlane) MustToken(t testing.TB, role string) string {
	t.Helper()
	token, err := server.IssueToken(store.WithActor(context.Background(), store.LocalActor), c.store, store.NewToken{Name: "test " + role, Role: store.Role(role)})
	if err != nil {
		t.Fatal(err)
	}
	return token.Reveal()
}

// MustAccountToken issues a token of role account and returns its text.
func (c *ControlPlane) MustAccountToken(t testing.TB, accountID string) string {
	t.Helper()
	var token struct{ Secret string }
	c.must(t, http.MethodPost, "/v1/tokens",
		map[string]any{"name": "test account", "role": "account", "account_id": accountID}, http.StatusCreated, &token)
	return token.Secret
}

// MustAccount creates an account that is pending, active or disabled and holds the given credits.
func (c *ControlPlane) MustAccount(t testing.TB, status string, credits int64) (id string) {
	t.Helper()
	initial := status
	if status == "disabled" {
		initial = "active"
	}
	var account struct{ ID string }
	c.must(t, http.MethodPost, "/v1/accounts", map[string]any{"name": "test account", "status": initial}, http.StatusCreated, &account)
	if credits > 0 {
		c.MustCredits(t, account.ID, credits)
	}
	if status != initial {
		c.MustSetAccountStatus(t, account.ID, status)
	}
	return account.ID
}

// MustCredits adds credits to an account.
func (c *ControlPlane) MustCredits(t testing.TB, accountID string, credits int64) {
	t.Helper()
	c.must(t, http.MethodPost, fmt.Sprintf("/v1/accounts/%s/credits", accountID), map[string]any{"amount": credits}, http.StatusCreated, nil)
}

// MustSetAccountStatus changes an account's status.
func (c *ControlPlane) MustSetAccountStatus(t testing.TB, accountID, status string) {
	t.Helper()
	c.must(t, http.MethodPatch, "/v1/accounts/"+accountID, map[string]any{"status": status}, http.StatusOK, nil)
}

// MustKey creates an active genrex key of an account.
func (c *ControlPlane) MustKey(t testing.TB, accountID string) Key {
	t.Helper()
	var key Key
	c.must(t, http.MethodPost, "/v1/keys",
		map[string]any{"account_id": accountID, "scheme": "genrex", "name": "test key"}, http.StatusCreated, &key)
	return key
}

// MustProject creates a project whose domain, one of its own, is unverified, verified or lapsed.
func (c *ControlPlane) MustProject(t testing.TB, accountID, domainStatus string) (id string) {
	t.Helper()
	var project struct{ ID string }
	c.must(t, http.MethodPost, "/v1/projects", map[string]any{
		"account_id": accountID, "name": "test project", "domain": fmt.Sprintf("p%d.example.com", c.projects.Add(1)),
	}, http.StatusCreated, &project)
	switch domainStatus {
	case "unverified":
	case "verified":
		c.MustAttest(t, project.ID)
	case "lapsed":
		c.MustAttest(t, project.ID)
		c.MustLapse(t, project.ID)
	default:
		t.Fatalf("domain status %q: expected unverified, verified or lapsed", domainStatus)
	}
	return project.ID
}

// MustAttest vouches for a project's domain.
func (c *ControlPlane) MustAttest(t testing.TB, projectID string) {
	t.Helper()
	c.must(t, http.MethodPost, "/v1/projects/"+projectID+"/domain/attest", map[string]any{"reason": "test"}, http.StatusOK, nil)
}

// MustLapse withdraws a project's verified domain.
func (c *ControlPlane) MustLapse(t testing.TB, projectID string) {
	t.Helper()
	c.must(t, http.MethodPost, "/v1/projects/"+projectID+"/domain/lapse", map[string]any{"reason": "test"}, http.StatusOK, nil)
}

// MustPair creates an active vexrail pair of a project, whose account has to be active and its domain verified.
func (c *ControlPlane) MustPair(t testing.TB, projectID string) Pair {
	t.Helper()
	return c.MustKeyOf(t, "vexrail", projectID)
}

// MustKeyOf creates an active key of any configured scheme. Owner is the id of an account or, for pairs, of a
// project.
func (c *ControlPlane) MustKeyOf(t testing.TB, scheme, owner string) Pair {
	t.Helper()
	field := "account_id"
	if strings.HasPrefix(owner, "proj_") {
		field = "project_id"
	}
	var pair Pair
	c.must(t, http.MethodPost, "/v1/keys", map[string]any{field: owner, "scheme": scheme, "name": "test key"}, http.StatusCreated, &pair)
	return pair
}

// MustSetKeyStatus makes a key active or inactive.
func (c *ControlPlane) MustSetKeyStatus(t testing.TB, keyID, status string) {
	t.Helper()
	c.must(t, http.MethodPatch, "/v1/keys/"+keyID, map[string]any{"status": status}, http.StatusOK, nil)
}

// MustRevokeKey revokes a key for good.
func (c *ControlPlane) MustRevokeKey(t testing.TB, keyID string) {
	t.Helper()
	c.must(t, http.MethodPost, "/v1/keys/"+keyID+"/revoke", nil, http.StatusOK, nil)
}

// MustWallet returns an account's balances.
func (c *ControlPlane) MustWallet(t testing.TB, accountID string) Wallet {
	t.Helper()
	var w Wallet
	c.must(t, http.MethodGet, fmt.Sprintf("/v1/accounts/%s/wallet", accountID), nil, http.StatusOK, &w)
	return w
}

// Verify recomputes the books from the database and fails the test for every problem that is found.
func (c *ControlPlane) Verify(t testing.TB) {
	t.Helper()
	report, err := c.store.Verify(context.Background())
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	for _, p := range report.Problems {
		t.Errorf("verify: %s", p)
	}
}
