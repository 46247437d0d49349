package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCreateProject(t *testing.T) {
	w := newWorld(t)
	for _, status := range []AccountStatus{AccountPending, AccountActive, AccountDisabled} {
		account := w.mustAccount(status)
		got := w.mustProject(account.ID)
		want := Project{
			ID: got.ID, AccountID: account.ID, Name: "Blog", Domain: "example.com", DomainStatus: DomainUnverified,
			CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(),
		}
		if diff := cmp.Diff(want, got); diff != "" || !strings.HasPrefix(got.ID, "proj_") {
			t.Errorf("created %s (-want +got):\n%s", got.ID, diff)
		}
		read, err := w.Project(t.Context(), got.ID)
		if diff := cmp.Diff(want, read); diff != "" || err != nil {
			t.Errorf("read, %v (-want +got):\n%s", err, diff)
		}
	}
}

func TestProjectRefuses(t *testing.T) {
	w := newWorld(t)
	project := w.mustProject(w.mustAccount(AccountActive).ID)
	valid := NewProject{AccountID: project.AccountID, Name: "Blog", Domain: "example.com"}
	create := func(change func(*NewProject)) func() error {
		in := valid
		change(&in)
		return func() error { _, _, err := w.CreateProject(t.Context(), in, nil); return err }
	}
	update := func(id string, in ProjectUpdate) func() error {
		return func() error { _, err := w.UpdateProject(t.Context(), id, in); return err }
	}
	tests := []struct {
		name  string
		call  func() error
		field string
		want  error
	}{
		{"unknown account", create(func(p *NewProject) { p.AccountID = "acct_absent" }), "account", ErrNotFound},
		{"no name", create(func(p *NewProject) { p.Name = "" }), "name", ErrInvalid},
		{"no domain", create(func(p *NewProject) { p.Domain = "" }), "domain", ErrInvalid},
		{"upper-case domain", create(func(p *NewProject) { p.Domain = "Example.com" }), "domain", ErrInvalid},
		{"long domain", create(func(p *NewProject) { p.Domain = strings.Repeat("a", 254) }), "domain", ErrInvalid},
		{"update of an unknown project", update("proj_absent", ProjectUpdate{}), "project", ErrNotFound},
		{"update to no name", update(project.ID, ProjectUpdate{Name: ptr("")}), "name", ErrInvalid},
		{"update to an upper-case domain", update(project.ID, ProjectUpdate{Domain: ptr("A.com")}), "domain", ErrInvalid},
		{"attest an unknown project", func() error {
			_, err := w.AttestDomain(t.Context(), "proj_absent", "r", "a")
			return err
		}, "project", ErrNotFound},
		{"attest without a reason", func() error {
			_, err := w.AttestDomain(t.Context(), project.ID, "", "a")
			return err
		}, "reason", ErrInvalid},
		{"lapse without an actor", func() error {
			_, err := w.LapseDomain(t.Context(), project.ID, "r", "")
			return err
		}, "actor", ErrInvalid},
		{"lapse what is unverified", func() error {
			_, err := w.LapseDomain(t.Context(), project.ID, "r", "a")
			return err
		}, "domain", ErrInvalidTransition},
		{"show an unknown project", func() error { _, err := w.Project(t.Context(), "proj_absent"); return err }, "project", ErrNotFound},
		{"list without a limit", func() error {
			_, _, err := w.Projects(t.Context(), ProjectFilter{}, Page{})
			return err
		}, "limit", ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call(); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("got %v, want %v naming %q", err, tt.want, tt.field)
			}
		})
	}
	all, _, err := w.Projects(t.Context(), ProjectFilter{}, Page{Limit: 10})
	if diff := cmp.Diff([]Project{project}, all); diff != "" || err != nil {
		t.Errorf("projects after refusals, %v (-want +got):\n%s", err, diff)
	}
}

// The one story of a domain: attested, lapsed, attested again, changed.
func TestDomainStates(t *testing.T) {
	w := newWorld(t)
	want := w.mustProject(w.mustAccount(AccountActive).ID)
	steps := []struct {
		name   string
		do     func() (Project, error)
		expect func(*Project)
	}{
		{
			"attest",
			func() (Project, error) { return w.AttestDomain(t.Context(), want.ID, "seen the record", "token_1") },
			func(p *Project) {
				p.DomainStatus, p.DomainReason, p.DomainActor = DomainVerified, "seen the record", "token_1"
			},
		},
		{
			"lapse",
			func() (Project, error) { return w.LapseDomain(t.Context(), want.ID, "record gone", "token_2") },
			func(p *Project) {
				p.DomainStatus, p.DomainReason, p.DomainActor = DomainLapsed, "record gone", "token_2"
			},
		},
		{
			"attest again",
			func() (Project, error) { return w.AttestDomain(t.Context(), want.ID, "back", "token_1") },
			func(p *Project) { p.DomainStatus, p.DomainReason, p.DomainActor = DomainVerified, "back", "token_1" },
		},
		{
			"another domain",
			func() (Project, error) {
				return w.UpdateProject(t.Context(), want.ID, ProjectUpdate{Domain: ptr("example.org")})
			},
			func(p *Project) {
				p.Domain, p.DomainStatus, p.DomainReason, p.DomainActor = "example.org", DomainUnverified, "", ""
			},
		},
	}
	for _, s := range steps {
		at := w.clock.Advance(time.Minute)
		got, err := s.do()
		s.expect(&want)
		want.DomainChangedAt, want.UpdatedAt = &at, at
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%s, %v (-want +got):\n%s", s.name, err, diff)
		}
		read, err := w.Project(t.Context(), want.ID)
		if diff := cmp.Diff(want, read); diff != "" || err != nil {
			t.Fatalf("%s, read, %v (-want +got):\n%s", s.name, err, diff)
		}
	}
}

// What does not change the domain leaves its state alone.
func TestUpdateProjectKeepsTheDomain(t *testing.T) {
	w := newWorld(t)
	want := w.mustSite()
	at := w.clock.Advance(time.Minute)
	got, err := w.UpdateProject(t.Context(), want.ID, ProjectUpdate{Name: ptr("Shop"), Domain: ptr("example.com")})
	want.Name, want.UpdatedAt = "Shop", at
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("renamed, %v (-want +got):\n%s", err, diff)
	}
	w.clock.Advance(time.Minute)
	got, err = w.UpdateProject(t.Context(), want.ID, ProjectUpdate{Name: ptr("Shop")})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("changed nothing, %v (-want +got):\n%s", err, diff)
	}
}

func TestProjectsOfAnAccount(t *testing.T) {
	w := newWorld(t)
	a, b := w.mustAccount(AccountActive).ID, w.mustAccount(AccountActive).ID
	p1, p2, p3 := w.mustProject(a).ID, w.mustProject(b).ID, w.mustProject(a).ID
	tests := []struct {
		name    string
		account string
		page    Page
		want    []string
		more    bool
	}{
		{"all", "", Page{Limit: 10}, []string{p3, p2, p1}, false},
		{"all, first page", "", Page{Limit: 2}, []string{p3, p2}, true},
		{"all, second page", "", Page{Limit: 2, After: p2}, []string{p1}, false},
		{"one account's", a, Page{Limit: 10}, []string{p3, p1}, false},
		{"one account's, first page", a, Page{Limit: 1}, []string{p3}, true},
		{"one account's, second page", a, Page{Limit: 1, After: p3}, []string{p1}, false},
		{"unknown account's", "acct_absent", Page{Limit: 10}, []string{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			projects, more, err := w.Projects(t.Context(), ProjectFilter{tt.account}, tt.page)
			got := make([]string, len(projects))
			for i, p := range projects {
				got[i] = p.ID
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || more != tt.more || err != nil {
				t.Errorf("more %v, %v (-want +got):\n%s", more, err, diff)
			}
		})
	}
}
