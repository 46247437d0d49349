package controlplanetest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

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
