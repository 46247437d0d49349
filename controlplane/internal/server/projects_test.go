package server_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type project struct {
	ID              string
	AccountID       string `json:"account_id"`
	Name, Domain    string
	DomainStatus    string     `json:"domain_status"`
	DomainReason    *string    `json:"domain_reason"`
	DomainChangedAt *time.Time `json:"domain_changed_at"`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`
}

func TestProjectLife(t *testing.T) {
	f := newFixture(t)
	born := f.Clock.Now()
	made := decode[project](t, f.do(t, "POST", "/v1/projects", `{"account_id":"{account}","name":"Shop 🙂","domain":"Shop.Example.COM"}`), 201)
	want := project{
		ID: made.ID, AccountID: f.account, Name: "Shop 🙂", Domain: "shop.example.com", DomainStatus: "unverified",
		CreatedAt: born, UpdatedAt: born,
	}
	if !cmp.Equal(made, want) || !strings.HasPrefix(made.ID, "proj_") {
		t.Fatalf("created another project than asked for (-want +got):\n%s", cmp.Diff(want, made))
	}
	path := "/v1/projects/" + made.ID
	step := func(method, path, body string, change func(at time.Time)) {
		t.Helper()
		f.Clock.Advance(time.Minute)
		change(f.Clock.Now())
		if got := decode[project](t, f.do(t, method, path, body), 200); !cmp.Equal(got, want) {
			t.Fatalf("%s %s %s (-want +got):\n%s", method, path, body, cmp.Diff(want, got))
		}
	}
	judged := func(status, reason string) func(time.Time) {
		return func(at time.Time) {
			want.DomainStatus, want.DomainReason, want.DomainChangedAt, want.UpdatedAt = status, &reason, &at, at
		}
	}
	kept := func(time.Time) {}
	step("GET", path, "", kept)
	f.conflict(t, "POST", path+"/domain/lapse", `{"reason":"never was"}`, "invalid_transition")
	step("POST", path+"/domain/attest", `{"reason":"saw the contract"}`, judged("verified", "saw the contract"))
	step("PATCH", path, `{"name":"Store"}`, func(at time.Time) { want.Name, want.UpdatedAt = "Store", at })
	step("PATCH", path, `{"domain":"SHOP.example.com"}`, kept)
	step("POST", path+"/domain/lapse", `{"reason":"sold"}`, judged("lapsed", "sold"))
	f.conflict(t, "POST", path+"/domain/lapse", `{"reason":"twice"}`, "invalid_transition")
	step("POST", path+"/domain/attest", `{"reason":"back"}`, judged("verified", "back"))
	step("PATCH", path, `{"domain":"other.example.com"}`, func(at time.Time) {
		want.Domain, want.DomainStatus, want.DomainReason, want.DomainChangedAt, want.UpdatedAt = "other.example.com", "unverified", nil, &at, at
	})
	step("GET", path, "", kept)
}

func TestProjectsOfAnAccount(t *testing.T) {
	f := newFixture(t)
	other := f.MustAccount(t, "pending", 0)
	theirs := f.MustProject(t, other, "unverified")
	var mine []string
	for range 4 {
		mine = append(mine, f.MustProject(t, f.account, "unverified"))
	}
	slices.Reverse(mine)
	for _, limit := range []int{1, 3, 4, 100} {
		if got := f.walk(t, f.fill("/v1/projects?account_id={account}"), limit, func() { f.MustProject(t, other, "unverified") }); !slices.Equal(got, mine) {
			t.Errorf("by %d:\ngot  %v\nwant %v", limit, got, mine)
		}
	}
	if all := f.walk(t, "/v1/projects", 3, func() {}); !slices.Contains(all, theirs) || !slices.Contains(all, mine[3]) {
		t.Errorf("all projects: %v", all)
	}
	if got := f.walk(t, "/v1/projects?account_id=acct_none", 10, nil); len(got) != 0 {
		t.Errorf("projects of no account: %v", got)
	}
	p := decode[page](t, f.do(t, "GET", "/v1/projects?limit=1", ""), 200)
	f.refuses(t, request{"GET", "/v1/keys?cursor=" + *p.NextCursor, "", nil}, 422, "query.cursor")
}

// A pair is made under the published prerequisites alone, and no balance is asked for.
func TestPairPrerequisites(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		account, domain string
		// code is empty where a pair may be made.
		code string
	}{
		{"active", "verified", ""},
		{"active", "unverified", "domain_not_verified"},
		{"active", "lapsed", "domain_not_verified"},
		{"pending", "verified", "account_not_active"},
		{"disabled", "verified", "account_not_active"},
		{"pending", "unverified", "account_not_active"},
	} {
		t.Run(tt.account+" account, "+tt.domain+" domain", func(t *testing.T) {
			f.account = f.MustAccount(t, tt.account, 0)
			f.project = f.MustProject(t, f.account, tt.domain)
			body := `{"project_id":"{project}","scheme":"vexrail","name":"n"}`
			if tt.code != "" {
				f.conflict(t, "POST", "/v1/keys", body, tt.code)
				return
			}
			if got := decode[key](t, f.do(t, "POST", "/v1/keys", body), 201); got.AccountID != f.account || got.Secret == nil {
				t.Errorf("got %+v", got)
			}
		})
	}
}
