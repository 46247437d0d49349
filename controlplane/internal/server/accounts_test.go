package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type account struct {
	ID, Name, Status string
	CreatedAt        time.Time `json:"created_at"`
	UpdatedAt        time.Time `json:"updated_at"`
}

func TestAccountLife(t *testing.T) {
	f := newFixture(t)
	born := f.Clock.Now()
	made := decode[account](t, send(t, f.ControlPlane, request{"POST", "/v1/accounts", `{"name":"Ärzte & Söhne 🙂"}`, nil}), 201)
	if want := (account{made.ID, "Ärzte & Söhne 🙂", "pending", born, born}); !cmp.Equal(made, want) || !strings.HasPrefix(made.ID, "acct_") {
		t.Fatalf("created %+v, want %+v", made, want)
	}
	f.Clock.Advance(time.Minute)
	path := "/v1/accounts/" + made.ID
	changed := decode[account](t, send(t, f.ControlPlane, request{"PATCH", path, `{"name":"B","status":"active"}`, nil}), 200)
	if want := (account{made.ID, "B", "active", born, born.Add(time.Minute)}); !cmp.Equal(changed, want) {
		t.Fatalf("changed to %+v, want %+v", changed, want)
	}
	if got := decode[account](t, send(t, f.ControlPlane, request{"GET", path, "", nil}), 200); !cmp.Equal(got, changed) {
		t.Fatalf("read %+v, want %+v", got, changed)
	}
}

func TestAccountTransitions(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		from, to string
		status   int
	}{
		{"pending", "active", 200}, {"pending", "disabled", 200}, {"pending", "pending", 200},
		{"active", "disabled", 200}, {"disabled", "active", 200}, {"disabled", "disabled", 200},
		{"active", "pending", 409}, {"disabled", "pending", 409},
	} {
		t.Run(tt.from+" to "+tt.to, func(t *testing.T) {
			id := f.MustAccount(t, tt.from, 0)
			a := send(t, f.ControlPlane, request{"PATCH", "/v1/accounts/" + id, `{"name":"N","status":"` + tt.to + `"}`, nil})
			if a.status != tt.status {
				t.Fatalf("got status %d, want %d: %s", a.status, tt.status, a.body)
			}
			want := account{Name: "N", Status: tt.to}
			if tt.status == http.StatusConflict {
				if p := wholeProblem(t, a); p.Code != "invalid_transition" {
					t.Errorf("got code %s", p.Code)
				}
				// Refused as a whole: the name did not change either.
				want = account{Name: "test account", Status: tt.from}
			}
			got := decode[account](t, send(t, f.ControlPlane, request{"GET", "/v1/accounts/" + id, "", nil}), 200)
			if got.Name != want.Name || got.Status != want.Status {
				t.Errorf("is %s %s, want %s %s", got.Name, got.Status, want.Name, want.Status)
			}
		})
	}
}

func TestUnknownIDs(t *testing.T) {
	f := newPairFixture(t)
	for _, id := range []string{"none", "acct_", f.key.ID, "a%2Fwallet", "%00", "%ff", "%20", strings.Repeat("x", 200), "'%20or%201=1--"} {
		for _, r := range []request{
			{"GET", "/v1/accounts/" + id, "", nil},
			{"GET", "/v1/accounts/" + id + "/wallet", "", nil},
			{"GET", "/v1/accounts/" + id + "/entries", "", nil},
			{"PATCH", "/v1/accounts/" + id, `{"name":"x"}`, nil},
			{"POST", "/v1/accounts/" + id + "/credits", `{"amount":1}`, nil},
		} {
			a := send(t, f.ControlPlane, r)
			if a.status != http.StatusNotFound || !strings.Contains(a.body, `"not_found"`) {
				t.Errorf("%s %s: got %d %s", r.method, r.path, a.status, a.body)
			}
		}
	}
	for _, id := range []string{"none", "key_", f.account, "%00"} {
		for _, r := range []request{
			{"GET", "/v1/keys/" + id, "", nil}, {"PATCH", "/v1/keys/" + id, `{"name":"x"}`, nil}, {"POST", "/v1/keys/" + id + "/revoke", "", nil},
			{"POST", "/v1/keys/" + id + "/rotate", `{}`, nil}, {"POST", "/v1/keys/" + id + "/replace", `{}`, nil},
		} {
			if a := send(t, f.ControlPlane, r); a.status != http.StatusNotFound {
				t.Errorf("%s %s: got %d %s", r.method, r.path, a.status, a.body)
			}
		}
	}
	for _, id := range []string{"none", "proj_", f.account, "%00"} {
		for _, r := range []request{
			{"GET", "/v1/projects/" + id, "", nil}, {"PATCH", "/v1/projects/" + id, `{"name":"x"}`, nil},
			{"POST", "/v1/projects/" + id + "/domain/attest", `{"reason":"r"}`, nil},
			{"POST", "/v1/projects/" + id + "/domain/lapse", `{"reason":"r"}`, nil},
		} {
			if a := send(t, f.ControlPlane, r); a.status != http.StatusNotFound {
				t.Errorf("%s %s: got %d %s", r.method, r.path, a.status, a.body)
			}
		}
	}
	f.refuses(t, request{"POST", "/v1/keys", `{"account_id":"acct_none","scheme":"genrex","name":"n"}`, nil}, 404, "body.account_id")
	f.refuses(t, request{"POST", "/v1/keys", f.fill(`{"project_id":"{account}","scheme":"vexrail","name":"n"}`), nil}, 404, "body.project_id")
	f.refuses(t, request{"POST", "/v1/projects", `{"account_id":"acct_none","name":"n","domain":"a.example"}`, nil}, 404, "body.account_id")
}
