package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
)

const (
	tokenA = "AAAAAAAAAAAAAAAAAAAAAAAAAA"
	tokenB = "BBBBBBBBBBBBBBBBBBBBBBBBBB"
	week   = 7 * 24 * time.Hour
)

func (w *world) mustChallenge(projectID, token string) Domain {
	w.Helper()
	d, err := w.StartChallenge(context.Background(), projectID, NewChallenge{Method: "either", Token: token, Life: week})
	if err != nil {
		w.Fatal(err)
	}
	return d
}

// mustProve starts a challenge and answers it; the proof is due in a week.
func (w *world) mustProve(projectID, token string) Domain {
	w.Helper()
	w.mustChallenge(projectID, token)
	d, err := w.ProveDomain(context.Background(), projectID, Answered{Token: token, By: "dns", Outcome: "verified", NextAt: w.clock.Now().Add(week)})
	if err != nil {
		w.Fatal(err)
	}
	return d
}

// newChanges are the changes that gates are told of do.
func (w *world) newChanges(do func()) []api.Change {
	w.Helper()
	cursor := w.told(0).Cursor
	do()
	changes := w.told(cursor).Changes
	for i := range changes {
		changes[i].Seq = 0
	}
	return changes
}

func TestChallengeLife(t *testing.T) {
	w := newWorld(t)
	p := w.mustProject(w.mustAccount(AccountActive).ID)
	expect := func(got Domain, err error, want Domain) {
		t.Helper()
		read, readErr := w.Domain(t.Context(), p.ID)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("returned, %v (-want +got):\n%s", err, diff)
		}
		if diff := cmp.Diff(want, read); diff != "" || readErr != nil {
			t.Fatalf("read, %v (-want +got):\n%s", readErr, diff)
		}
	}
	d, err := w.Domain(t.Context(), p.ID)
	expect(d, err, Domain{Project: p})

	at := w.clock.Advance(time.Second)
	d, err = w.StartChallenge(t.Context(), p.ID, NewChallenge{Method: "dns", Token: tokenA, Life: week})
	want := Domain{Project: p, Challenge: &Challenge{Method: "dns", Token: tokenA, CreatedAt: at, ExpiresAt: at.Add(week)}}
	expect(d, err, want)

	at = w.clock.Advance(time.Second)
	d, err = w.MissChallenge(t.Context(), p.ID, tokenA, "no_record")
	want.Challenge.CheckedAt, want.Challenge.Outcome = &at, "no_record"
	expect(d, err, want)

	// Another challenge takes its place.
	at = w.clock.Advance(time.Second)
	d, err = w.StartChallenge(t.Context(), p.ID, NewChallenge{Method: "either", Token: tokenB, Life: week})
	want.Challenge = &Challenge{Method: "either", Token: tokenB, CreatedAt: at, ExpiresAt: at.Add(week)}
	expect(d, err, want)
	if _, err := w.MissChallenge(t.Context(), p.ID, tokenA, "no_record"); !errors.Is(err, ErrNoChallenge) {
		t.Errorf("check of an old challenge: %v", err)
	}
	if _, err := w.ProveDomain(t.Context(), p.ID, Answered{Token: tokenA, By: "dns", Outcome: "verified"}); !errors.Is(err, ErrNoChallenge) {
		t.Errorf("answer to an old challenge: %v", err)
	}

	at = w.clock.Advance(time.Second)
	ctx := WithActor(t.Context(), Actor{ID: "token_ada"})
	next := at.Add(30 * 24 * time.Hour)
	changes := w.newChanges(func() {
		d, err = w.ProveDomain(ctx, p.ID, Answered{Token: tokenB, By: "http", Outcome: "verified", NextAt: next})
	})
	want.Challenge = nil
	want.Project.DomainStatus, want.Project.DomainReason, want.Project.DomainActor = DomainVerified, "challenge answered by http", "token_ada"
	want.Project.DomainChangedAt, want.Project.UpdatedAt = &at, at
	want.Proof = &Proof{
		Method: "either", Token: tokenB, ProvenBy: "http", ProvenAt: at, CheckedAt: at, Outcome: "verified",
		ProofState: ProofState{SeenAt: at, NextAt: next},
	}
	expect(d, err, want)
	if !slices.Equal(changes, []api.Change{{Kind: api.ChangeProject, ID: p.ID}}) {
		t.Errorf("gates are told %v", changes)
	}
	w.verify()
}

func TestChallengeExpires(t *testing.T) {
	w := newWorld(t)
	p := w.mustProject(w.mustAccount(AccountActive).ID)
	w.mustChallenge(p.ID, tokenA)
	answer := Answered{Token: tokenA, By: "dns", Outcome: "verified", NextAt: w.clock.Now().Add(week)}
	w.clock.Advance(week)
	if _, err := w.ProveDomain(t.Context(), p.ID, answer); !errors.Is(err, ErrChallengeExpired) {
		t.Fatalf("at its end: %v", err)
	}
	if d, _ := w.Domain(t.Context(), p.ID); d.Project.DomainStatus != DomainUnverified || d.Proof != nil {
		t.Errorf("got %+v", d)
	}
	w.clock.Advance(-time.Microsecond)
	if _, err := w.ProveDomain(t.Context(), p.ID, answer); err != nil {
		t.Errorf("right before its end: %v", err)
	}
}

// What was proven or asked for ends with what it was about.
func TestWhatEndsAProof(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(w *world, id string) error
		// challenge and proof say whether they outlive it.
		challenge, proof bool
	}{
		{"another name", func(w *world, id string) error {
			return sole(w.UpdateProject(w.Context(), id, ProjectUpdate{Name: ptr("x"), Domain: ptr("example.com")}))
		}, true, true},
		{"another domain", func(w *world, id string) error {
			return sole(w.UpdateProject(w.Context(), id, ProjectUpdate{Domain: ptr("example.org")}))
		}, false, false},
		{"attested", func(w *world, id string) error { return sole(w.AttestDomain(w.Context(), id, "r", "a")) }, true, false},
		{"lapsed", func(w *world, id string) error { return sole(w.LapseDomain(w.Context(), id, "r", "a")) }, false, false},
		{"another challenge", func(w *world, id string) error { w.mustChallenge(id, tokenB); return nil }, true, true},
		{"re-check that fails", func(w *world, id string) error {
			at := w.clock.Now()
			return sole(w.RecordRecheck(w.Context(), id, Recheck{Token: tokenA, Outcome: "nxdomain", State: ProofState{SeenAt: at, Failures: 1, FailingAt: &at, NextAt: at}}))
		}, true, true},
		{"re-check that lapses it", func(w *world, id string) error {
			return sole(w.RecordRecheck(w.Context(), id, Recheck{Token: tokenA, Outcome: "nxdomain", Lapse: "gone"}))
		}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.mustProject(w.mustAccount(AccountActive).ID)
			w.mustProve(p.ID, tokenA)
			w.mustChallenge(p.ID, tokenB)
			if err := tt.do(w, p.ID); err != nil {
				t.Fatal(err)
			}
			d, err := w.Domain(t.Context(), p.ID)
			if err != nil || (d.Challenge != nil) != tt.challenge || (d.Proof != nil) != tt.proof {
				t.Errorf("%v: challenge %v, proof %v; want %t, %t", err, d.Challenge, d.Proof, tt.challenge, tt.proof)
			}
			if d.Proof != nil && d.Project.DomainStatus != DomainVerified {
				t.Errorf("proven and %s", d.Project.DomainStatus)
			}
		})
	}
}

func TestRechecks(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive).ID
	first, second := w.mustProject(account), w.mustProject(account)
	w.mustProve(first.ID, tokenA)
	w.clock.Advance(time.Hour)
	w.mustProve(second.ID, tokenB)
	attested := w.mustSite()
	due := func(limit int, want ...string) {
		t.Helper()
		if got, err := w.DueProofs(t.Context(), limit); err != nil || !slices.Equal(got, want) {
			t.Errorf("due: %v, %v; want %v (attested: %s)", got, err, want, attested.ID)
		}
	}
	due(9)
	w.clock.Advance(week - time.Hour)
	due(9, first.ID)
	at := w.clock.Advance(time.Hour)
	due(9, first.ID, second.ID)
	due(1, first.ID)

	state := ProofState{SeenAt: at.Add(-week), Failures: 1, FailingAt: &at, NextAt: at.Add(time.Hour)}
	d, err := w.RecordRecheck(t.Context(), first.ID, Recheck{Token: tokenA, Outcome: "no_record", State: state})
	if diff := cmp.Diff(state, d.Proof.ProofState); diff != "" || err != nil || d.Proof.Outcome != "no_record" || !d.Proof.CheckedAt.Equal(at) {
		t.Errorf("recorded %+v, %v (-want +got):\n%s", d.Proof, err, diff)
	}
	due(9, second.ID)
	if _, err := w.RecordRecheck(t.Context(), first.ID, Recheck{Token: tokenB, Outcome: "x", Lapse: "gone"}); !errors.Is(err, ErrNoChallenge) {
		t.Errorf("re-check of another proof: %v", err)
	}
	if _, err := w.RecordRecheck(t.Context(), attested.ID, Recheck{Token: tokenA, Outcome: "x", Lapse: "gone"}); !errors.Is(err, ErrNoChallenge) {
		t.Errorf("re-check of what was attested: %v", err)
	}
	changes := w.newChanges(func() {
		d, err = w.RecordRecheck(WithActor(t.Context(), JobActor("recheck")), second.ID, Recheck{Token: tokenB, Outcome: "nxdomain", Lapse: "gone"})
	})
	if err != nil || d.Project.DomainStatus != DomainLapsed || d.Project.DomainReason != "gone" || d.Project.DomainActor != "job" || d.Proof != nil {
		t.Errorf("lapsed: %+v, %v", d, err)
	}
	if !slices.Equal(changes, []api.Change{{Kind: api.ChangeProject, ID: second.ID}}) {
		t.Errorf("gates are told %v", changes)
	}
	due(9)

	// Nobody looks for what a closed account has proven.
	w.mustProve(first.ID, tokenB)
	w.clock.Advance(week)
	due(9, first.ID)
	if _, _, err := w.CloseAccount(t.Context(), first.AccountID, closing(WriteOffBalance), nil); err != nil {
		t.Fatal(err)
	}
	due(9)
}

// Every act about a domain is in the audit log, and no token is.
func TestChallengesAreAudited(t *testing.T) {
	w := newWorld(t)
	p := w.mustProject(w.mustAccount(AccountActive).ID)
	w.mustProve(p.ID, tokenA)
	w.mustChallenge(p.ID, tokenB)
	if _, err := w.MissChallenge(t.Context(), p.ID, tokenB, "wrong_value"); err != nil {
		t.Fatal(err)
	}
	at := w.clock.Now()
	for _, r := range []Recheck{
		{Token: tokenA, Outcome: "verified", State: ProofState{SeenAt: at, NextAt: at}}, {Token: tokenA, Outcome: "nxdomain", Lapse: "gone"},
	} {
		if _, err := w.RecordRecheck(t.Context(), p.ID, r); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, a := range w.mustActs(ActFilter{}) {
		if a.TargetID == p.ID {
			got = append(got, a.Action)
		}
		if text := string(a.Before) + string(a.After) + a.Reason; strings.Contains(text, tokenA) || strings.Contains(text, tokenB) {
			t.Errorf("%s shows a token: %s", a.Action, text)
		}
		if a.Action == "domain.check" && !strings.Contains(string(a.After), `"outcome":"wrong_value"`) {
			t.Errorf("check without outcome: %s", a.After)
		}
	}
	if want := []string{"domain.lapse", "domain.check", "domain.challenge", "domain.verify", "domain.challenge", "project.create"}; !slices.Equal(got, want) {
		t.Errorf("acts %q, want %q", got, want)
	}
}

func TestChallengeRefuses(t *testing.T) {
	w := newWorld(t)
	p := w.mustProject(w.mustAccount(AccountActive).ID)
	good := NewChallenge{Method: "dns", Token: tokenA, Life: week}
	for _, tt := range []struct {
		name string
		id   string
		in   func(*NewChallenge)
		want error
	}{
		{"unknown project", "proj_absent", func(*NewChallenge) {}, ErrNotFound},
		{"unknown method", p.ID, func(c *NewChallenge) { c.Method = "mail" }, ErrInvalid},
		{"short token", p.ID, func(c *NewChallenge) { c.Token = tokenA[1:] }, ErrInvalid},
		{"no life", p.ID, func(c *NewChallenge) { c.Life = 0 }, ErrInvalid},
		{"long life", p.ID, func(c *NewChallenge) { c.Life = MaxChallengeLife + 1 }, ErrInvalid},
	} {
		in := good
		tt.in(&in)
		if _, err := w.StartChallenge(t.Context(), tt.id, in); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := w.Domain(t.Context(), "proj_absent"); !errors.Is(err, ErrNotFound) {
		t.Errorf("domain of no project: %v", err)
	}
	if _, err := w.MissChallenge(t.Context(), p.ID, tokenA, "x"); !errors.Is(err, ErrNoChallenge) {
		t.Errorf("check of no challenge: %v", err)
	}
}
