package controlplanetest_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
)

func TestFixturesShowInTheAPI(t *testing.T) {
	cp := controlplanetest.New(t)
	for _, status := range []string{"pending", "active", "disabled"} {
		id := cp.MustAccount(t, status, 12)
		if code, body := cp.Admin(t, http.MethodGet, "/v1/accounts/"+id, nil); code != 200 || !strings.Contains(string(body), `"status":"`+status+`"`) {
			t.Errorf("%s account: %d %s", status, code, body)
		}
		want := controlplanetest.Wallet{AccountID: id, Granted: 12, Available: 12}
		if got := cp.MustWallet(t, id); got != want {
			t.Errorf("wallet %+v, want %+v", got, want)
		}
	}
	key := cp.MustKey(t, cp.MustAccount(t, "active", 0))
	if !strings.HasPrefix(key.Secret, "grx_sk_") {
		t.Error("the key has no secret")
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "active"},
		{func() { cp.MustSetKeyStatus(t, key.ID, "inactive") }, "inactive"},
		{func() { cp.MustRevokeKey(t, key.ID) }, "revoked"},
	} {
		step.do()
		if _, body := cp.Admin(t, http.MethodGet, "/v1/keys/"+key.ID, nil); !strings.Contains(string(body), `"status":"`+step.want+`"`) {
			t.Errorf("want %s: %s", step.want, body)
		}
	}
	if strings.Contains(cp.Logs(), key.Secret) || !strings.Contains(cp.Logs(), "/v1/keys/:id/revoke") {
		t.Error("the log holds a secret or lacks the requests")
	}
}

func TestProjectsAndPairs(t *testing.T) {
	cp := controlplanetest.New(t)
	account := cp.MustAccount(t, "active", 0)
	domains := map[string]bool{}
	for _, status := range []string{"unverified", "verified", "lapsed"} {
		_, body := cp.Admin(t, http.MethodGet, "/v1/projects/"+cp.MustProject(t, account, status), nil)
		if !strings.Contains(string(body), `"domain_status":"`+status+`"`) {
			t.Errorf("want %s: %s", status, body)
		}
		_, domain, _ := strings.Cut(string(body), `"domain":"`)
		domains[domain[:strings.Index(domain, `"`)]] = true
	}
	if len(domains) != 3 {
		t.Errorf("three projects have the domains %v", domains)
	}
	project := cp.MustProject(t, account, "verified")
	pair := cp.MustPair(t, project)
	if !strings.HasPrefix(pair.ID, "key_") || !strings.HasPrefix(pair.Publishable, "pk_live_") || !strings.HasPrefix(pair.Secret, "sk_live_") {
		t.Error("the pair lacks its id or a half")
	}
	cp.MustLapse(t, project)
	if _, body := cp.Admin(t, http.MethodGet, "/v1/projects/"+project, nil); !strings.Contains(string(body), `"domain_status":"lapsed"`) {
		t.Errorf("want lapsed: %s", body)
	}
	cp.Verify(t)
}

func TestOwnSchemes(t *testing.T) {
	schemes, err := apikey.ParseSchemes([]byte(`{"own": {"preset": "genrex", "secret": {"prefix": "own_"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	cp := controlplanetest.NewWithSchemes(t, schemes)
	key := cp.MustKeyOf(t, "own", cp.MustAccount(t, "pending", 0))
	if !strings.HasPrefix(key.Secret, "own_") || key.Publishable != "" {
		t.Error("not a secret key of the scheme")
	}
}

// unfailing keeps what Verify has to say instead of failing the test.
type unfailing struct {
	testing.TB
	errors []string
}

func (u *unfailing) Errorf(format string, args ...any) {
	u.errors = append(u.errors, fmt.Sprintf(format, args...))
}

func TestVerifyFindsDamage(t *testing.T) {
	cp := controlplanetest.New(t)
	account := cp.MustAccount(t, "active", 5)
	db, err := sql.Open("sqlite", cp.DBPath)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec("UPDATE wallets SET available = 4, spent = 1 WHERE account_id = ?", account); err != nil {
		t.Fatal(err)
	}
	u := &unfailing{TB: t}
	cp.Verify(u)
	if len(u.errors) == 0 || !strings.Contains(u.errors[0], account) {
		t.Errorf("got %q", u.errors)
	}
}

func TestClockStandsUntilMoved(t *testing.T) {
	cp := controlplanetest.New(t)
	at := cp.Clock.Now()
	created := func() string {
		_, body := cp.Admin(t, http.MethodPost, "/v1/accounts", []byte(`{"name":"n"}`))
		return string(body)
	}
	if body := created(); !strings.Contains(body, at.Format(time.RFC3339)) {
		t.Errorf("not created at %v: %s", at, body)
	}
	cp.Clock.Advance(90 * time.Second)
	if body := created(); !strings.Contains(body, at.Add(90*time.Second).Format(time.RFC3339)) {
		t.Errorf("not created 90 s after %v: %s", at, body)
	}
	cp.Clock.Set(at)
	if body := created(); !strings.Contains(body, at.Format(time.RFC3339)) {
		t.Errorf("not created at %v again: %s", at, body)
	}
}

func TestControlPlanesAreApart(t *testing.T) {
	a, b := controlplanetest.New(t), controlplanetest.New(t)
	id := a.MustAccount(t, "active", 0)
	if code, _ := b.Admin(t, http.MethodGet, "/v1/accounts/"+id, nil); code != http.StatusNotFound {
		t.Errorf("an account of one shows in the other: %d", code)
	}
	b.AdminToken = a.AdminToken
	if code, _ := b.Admin(t, http.MethodGet, "/v1/accounts", nil); code != http.StatusUnauthorized {
		t.Errorf("a token of one opens the other: %d", code)
	}
}

// A restart keeps what was committed, the URLs, the tokens and the handlers.
func TestRestart(t *testing.T) {
	cp := controlplanetest.New(t)
	id := cp.MustAccount(t, "active", 7)
	handler := cp.AdminHandler()
	cp.Restart(t)
	if got := cp.MustWallet(t, id); got.Available != 7 {
		t.Errorf("wallet %+v", got)
	}
	req := httptest.NewRequest(http.MethodGet, "/v1/accounts/"+id, nil)
	req.Header.Set("Authorization", "Bearer "+cp.AdminToken)
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, req)
	if answer.Code != http.StatusOK {
		t.Errorf("the handler from before answers %d", answer.Code)
	}
	cp.Verify(t)
}

func TestLeasesCloseWhenTold(t *testing.T) {
	clock := controlplanetest.NewClock()
	cp := controlplanetest.NewWith(t, controlplanetest.Options{
		Clock: clock, LeaseTTL: 5 * time.Second, LeaseGrace: time.Second, LeaseMaxCredits: 10, Unreported: "charge",
	})
	account := cp.MustAccount(t, "active", 100)
	key := cp.MustKey(t, account)
	body := fmt.Sprintf(`{"gate":"g","boot":"b","op_id":"b-1","scheme":"genrex","digests":["%s"],"cost":1,"want":50,"mode":"lease"}`,
		apikey.DigestOf(key.Secret).Hex())
	req := httptest.NewRequest(http.MethodPost, "/gate/v1/acquire", strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+cp.GateToken)
	answer := httptest.NewRecorder()
	cp.GateHandler().ServeHTTP(answer, req)
	if !strings.Contains(answer.Body.String(), `"credits":10,"ttl_ms":5000`) {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
	clock.Advance(6*time.Second - time.Microsecond)
	if n := cp.CloseExpired(t); n != 0 {
		t.Errorf("closed %d too early", n)
	}
	if got := cp.MustWallet(t, account); got.Reserved != 10 {
		t.Errorf("wallet %+v", got)
	}
	clock.Advance(time.Microsecond)
	if n := cp.CloseExpired(t); n != 1 {
		t.Errorf("closed %d, want 1", n)
	}
	if got := cp.MustWallet(t, account); got.Spent != 10 || got.Reserved != 0 {
		t.Errorf("wallet %+v", got)
	}
	cp.Verify(t)
}
