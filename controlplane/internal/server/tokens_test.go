package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
)

// accessToken is a token as the API shows it.
type accessToken struct {
	ID, Name, Role, Status string
	AccountID              *string    `json:"account_id"`
	ExpiresAt              *time.Time `json:"expires_at"`
	RevokedAt              *time.Time `json:"revoked_at"`
	LastUsedAt             *time.Time `json:"last_used_at"`
	Secret                 *string
}

// as sends an admin request with a token.
func (f *fixture) as(t *testing.T, token, method, path, body string) answer {
	t.Helper()
	header := http.Header{"Authorization": {"Bearer " + token}}
	return send(t, f.ControlPlane, request{method, f.fill(path), f.fill(body), header})
}

// knock asks the gate listener for something with a token and returns the status.
func (f *fixture) knock(t *testing.T, token string) int {
	t.Helper()
	header := http.Header{"Authorization": {"Bearer " + token}}
	return exchange(t, newRequest(t, f.GateURL, request{"POST", api.SyncPath, `{"gate":"gate-1","boot":"boot-1"}`, header})).status
}

func TestTokenIsShownOnce(t *testing.T) {
	f := newFixture(t)
	ends := f.Clock.Now().Add(time.Hour)
	header := http.Header{"Idempotency-Key": {"k"}}
	body := `{"name":"Ada's site","role":"account","account_id":"` + f.account + `","expires_at":"` + ends.Format(time.RFC3339) + `"}`
	create := request{"POST", "/v1/tokens", body, header}
	made := decode[accessToken](t, send(t, f.ControlPlane, create), http.StatusCreated)
	if made.Secret == nil || !strings.HasPrefix(*made.Secret, "tg_account_") || made.Status != "active" || made.Role != "account" ||
		made.Name != "Ada's site" || *made.AccountID != f.account || !made.ExpiresAt.Equal(ends) || made.LastUsedAt != nil {
		t.Fatalf("made %+v", made)
	}
	if a := f.as(t, *made.Secret, "GET", "/v1/accounts/{account}/wallet", ""); a.status != http.StatusOK {
		t.Errorf("the new token: %d %s", a.status, a.body)
	}
	a := send(t, f.ControlPlane, create)
	if again := decode[accessToken](t, a, http.StatusCreated); again.Secret != nil || again.ID != made.ID || a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("repeated: %v %s", a.header, a.body)
	}
	create.body = strings.Replace(body, "Ada", "Bob", 1)
	if a := send(t, f.ControlPlane, create); wholeProblem(t, a).Code != "idempotency_key_reused" {
		t.Errorf("another request under the same key: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/v1/tokens", "/v1/tokens?account_id={account}", "/v1/tokens/" + made.ID, "/v1/audit"} {
		a := f.do(t, "GET", path, "")
		if a.status != http.StatusOK || !strings.Contains(a.body, made.ID) || strings.Contains(a.body, *made.Secret) {
			t.Errorf("GET %s: %d, or the token is missing or shown whole: %s", path, a.status, a.body)
		}
	}
	if strings.Contains(f.Logs(), *made.Secret) {
		t.Error("the log holds the token")
	}
}

func TestTokensThatCannotBe(t *testing.T) {
	f := newFixture(t)
	past := f.Clock.Now().Format(time.RFC3339)
	for name, tt := range map[string]struct {
		body, location string
		status         int
	}{
		"no account":          {`{"name":"n","role":"account"}`, "body.account_id", 422},
		"account of an owner": {`{"name":"n","role":"owner","account_id":"{account}"}`, "body.account_id", 422},
		"unknown account":     {`{"name":"n","role":"account","account_id":"acct_none"}`, "body.account_id", 404},
		"unknown role":        {`{"name":"n","role":"root"}`, "body.role", 422},
		"no role":             {`{"name":"n"}`, "body.role", 422},
		"no name":             {`{"role":"gate"}`, "body.name", 422},
		"long name":           {`{"role":"gate","name":"` + strings.Repeat("é", 101) + `"}`, "body.name", 422},
		"ended":               {`{"name":"n","role":"gate","expires_at":"` + past + `"}`, "body.expires_at", 422},
		"too late":            {`{"name":"n","role":"gate","expires_at":"9999-12-31T23:59:59-01:00"}`, "body.expires_at", 422},
	} {
		t.Run(name, func(t *testing.T) {
			f.refuses(t, request{"POST", "/v1/tokens", f.fill(tt.body), nil}, tt.status, tt.location)
		})
	}
}

func TestRevokedTokenStopsAtOnce(t *testing.T) {
	f := newFixture(t)
	admin := decode[accessToken](t, f.do(t, "POST", "/v1/tokens", `{"name":"n","role":"operator"}`), http.StatusCreated)
	gate := decode[accessToken](t, f.do(t, "POST", "/v1/tokens", `{"name":"n","role":"gate"}`), http.StatusCreated)
	if a := f.as(t, *admin.Secret, "GET", "/v1/keys", ""); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if status := f.knock(t, *gate.Secret); status != http.StatusOK {
		t.Fatalf("gate: %d", status)
	}
	for _, id := range []string{admin.ID, gate.ID} {
		for range 2 {
			got := decode[accessToken](t, f.do(t, "POST", "/v1/tokens/"+id+"/revoke", ""), http.StatusOK)
			if got.Status != "revoked" || got.RevokedAt == nil || got.Secret != nil {
				t.Errorf("revoked %+v", got)
			}
		}
	}
	if a := f.as(t, *admin.Secret, "GET", "/v1/keys", ""); a.status != http.StatusUnauthorized {
		t.Errorf("revoked: %d %s", a.status, a.body)
	}
	f.Clock.Advance(time.Second)
	if status := f.knock(t, *gate.Secret); status != http.StatusUnauthorized {
		t.Errorf("revoked a second ago: the gate got %d", status)
	}
	if a := f.do(t, "POST", "/v1/tokens/token_none/revoke", ""); a.status != http.StatusNotFound {
		t.Errorf("unknown: %d %s", a.status, a.body)
	}
}

func TestExpiredTokenStopsAtOnce(t *testing.T) {
	f := newFixture(t)
	ends := f.Clock.Now().Add(1500 * time.Millisecond).Format(time.RFC3339Nano)
	admin := decode[accessToken](t, f.do(t, "POST", "/v1/tokens", `{"name":"n","role":"viewer","expires_at":"`+ends+`"}`), http.StatusCreated)
	gate := decode[accessToken](t, f.do(t, "POST", "/v1/tokens", `{"name":"n","role":"gate","expires_at":"`+ends+`"}`), http.StatusCreated)
	// The second look at the clock is within the second for which the gate's token is remembered.
	for _, step := range []struct {
		by     time.Duration
		status int
	}{{0, 200}, {1499 * time.Millisecond, 200}, {time.Millisecond, 401}} {
		f.Clock.Advance(step.by)
		if a, status := f.as(t, *admin.Secret, "GET", "/v1/keys", ""), f.knock(t, *gate.Secret); a.status != step.status || status != step.status {
			t.Errorf("after %v: got %d and %d, want %d", step.by, a.status, status, step.status)
		}
	}
	if got := decode[accessToken](t, f.do(t, "GET", "/v1/tokens/"+admin.ID, ""), http.StatusOK); got.Status != "expired" {
		t.Errorf("got %+v", got)
	}
}

// An admin cannot shut everybody out, themselves included.
func TestLastOwnerCannotBeRevoked(t *testing.T) {
	f := newFixture(t)
	var owner accessToken
	for _, token := range decode[struct{ Data []accessToken }](t, f.do(t, "GET", "/v1/tokens", ""), http.StatusOK).Data {
		if token.Role == "owner" {
			owner = token
		}
	}
	f.conflict(t, "POST", "/v1/tokens/"+owner.ID+"/revoke", "", "last_owner")
	next := decode[accessToken](t, f.do(t, "POST", "/v1/tokens", `{"name":"next","role":"owner"}`), http.StatusCreated)
	decode[accessToken](t, f.do(t, "POST", "/v1/tokens/"+owner.ID+"/revoke", ""), http.StatusOK)
	f.AdminToken = *next.Secret
	f.conflict(t, "POST", "/v1/tokens/"+next.ID+"/revoke", "", "last_owner")
}

// A request costs no write, and a use within a minute of the last one none at all.
func TestLastUseIsRough(t *testing.T) {
	f := newFixture(t)
	made := decode[accessToken](t, f.do(t, "POST", "/v1/tokens", `{"name":"n","role":"gate"}`), http.StatusCreated)
	used := func() *time.Time {
		f.RecordTokenUses(t)
		return decode[accessToken](t, f.do(t, "GET", "/v1/tokens/"+made.ID, ""), http.StatusOK).LastUsedAt
	}
	if at := used(); at != nil {
		t.Errorf("never used, and shows %v", at)
	}
	start := f.Clock.Now()
	for _, step := range []struct {
		by, want time.Duration
	}{{0, 0}, {59 * time.Second, 0}, {time.Second, time.Minute}, {59 * time.Second, time.Minute}, {time.Hour, time.Hour + 119*time.Second}} {
		f.Clock.Advance(step.by)
		f.knock(t, *made.Secret)
		if at := used(); at == nil || at.Sub(start) != step.want {
			t.Errorf("%v later: got %v, want %v after the start", step.by, at, step.want)
		}
	}
	// Another process goes on from what the last one has recorded.
	f.Restart(t)
	f.knock(t, *made.Secret)
	if at := used(); at.Sub(start) != time.Hour+119*time.Second {
		t.Errorf("after a restart: %v", at)
	}
}
