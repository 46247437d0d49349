package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

func TestCreatePair(t *testing.T) {
	w := newWorld(t)
	site := w.mustSite()
	in := newPair(site.ID, "a")
	in.Environment, in.ExpiresAt = EnvironmentStaging, ptr(w.clock.Now().Add(time.Hour))
	got, _, err := w.CreateKey(t.Context(), in, nil)
	want := Key{
		ID: got.ID, AccountID: site.AccountID, ProjectID: site.ID, Scheme: "vexrail", Name: "site",
		Environment: EnvironmentStaging, Prefix: "sk_live_", Last4: "wxyz", Publishable: "pk_a", Status: KeyActive,
		CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(), ExpiresAt: in.ExpiresAt,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("created, %v (-want +got):\n%s", err, diff)
	}
	read, err := w.Key(t.Context(), got.ID)
	if diff := cmp.Diff(want, read); diff != "" || err != nil {
		t.Errorf("read, %v (-want +got):\n%s", err, diff)
	}
	w.verify()
}

func TestPairPrerequisites(t *testing.T) {
	domain := func(w *world, p Project, to DomainStatus) {
		w.Helper()
		var err error
		if to != DomainUnverified {
			_, err = w.AttestDomain(context.Background(), p.ID, "r", "a")
		}
		if to == DomainLapsed && err == nil {
			_, err = w.LapseDomain(context.Background(), p.ID, "r", "a")
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	for _, account := range []AccountStatus{AccountPending, AccountActive, AccountDisabled} {
		for _, status := range []DomainStatus{DomainUnverified, DomainVerified, DomainLapsed} {
			for _, required := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s %s %v", account, status, required), func(t *testing.T) {
					w := newWorld(t)
					project := w.mustProject(w.mustAccount(account).ID)
					domain(w, project, status)
					var want error
					switch {
					case account != AccountActive:
						want = ErrAccountNotActive
					case required && status != DomainVerified:
						want = ErrDomainNotVerified
					}
					in := newPair(project.ID, "a")
					in.RequireDomain = required
					if _, _, err := w.CreateKey(t.Context(), in, nil); !errors.Is(err, want) {
						t.Errorf("got %v, want %v", err, want)
					}
					verdict := api.UnknownKey
					if want == nil {
						verdict = api.Granted
					}
					if got := w.verdict("vexrail", charged, "pk_a", "sk_a"); got != verdict {
						t.Errorf("acquire: %s, want %s", got, verdict)
					}
				})
			}
		}
	}
}

func TestCreatePairRefuses(t *testing.T) {
	w := newWorld(t)
	site := w.mustSite()
	w.mustKey(site.AccountID, "sk_secret")
	w.mustPair(site.ID, "known")
	tests := []struct {
		name   string
		change func(*NewKey)
		field  string
		want   error
	}{
		{"account and project", func(k *NewKey) { k.AccountID = site.AccountID }, "account, project", ErrInvalid},
		{"neither", func(k *NewKey) { k.ProjectID = "" }, "account, project", ErrInvalid},
		{"secret with a publishable half", func(k *NewKey) { k.ProjectID, k.AccountID = "", site.AccountID }, "publishable", ErrInvalid},
		{"no publishable half", func(k *NewKey) { k.Publishable = "" }, "publishable", ErrInvalid},
		{"digest of another publishable half", func(k *NewKey) { k.Publishable = "pk_other" }, "publishable", ErrInvalid},
		{"secret for a publishable half", func(k *NewKey) { k.Publishable, k.PublishableDigest = "sk_a", apikey.DigestOf("sk_a") }, "half", ErrConflict},
		{"unknown project", func(k *NewKey) { k.ProjectID = "proj_absent" }, "project", ErrNotFound},
		{"unknown environment", func(k *NewKey) { k.Environment = "test" }, "environment", ErrInvalid},
		{"expiry now", func(k *NewKey) { k.ExpiresAt = ptr(w.clock.Now()) }, "expires_at", ErrInvalid},
		{"expiry within this microsecond", func(k *NewKey) { k.ExpiresAt = ptr(w.clock.Now().Add(999)) }, "expires_at", ErrInvalid},
		{"expiry before the calendar", func(k *NewKey) { k.ExpiresAt = &time.Time{} }, "expires_at", ErrInvalid},
		{"expiry beyond the calendar", func(k *NewKey) { k.ExpiresAt = ptr(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) }, "expires_at", ErrInvalid},
		{"known secret", func(k *NewKey) { k.Digest = apikey.DigestOf("sk_secret") }, "secret", ErrConflict},
		{"known publishable half", func(k *NewKey) {
			k.Publishable, k.PublishableDigest = "pk_known", apikey.DigestOf("pk_known")
		}, "publishable", ErrConflict},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := newPair(site.ID, "a")
			tt.change(&in)
			_, _, err := w.CreateKey(t.Context(), in, nil)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("got %v, want %v naming %q", err, tt.want, tt.field)
			}
		})
	}
	if keys, _, err := w.Keys(t.Context(), KeyFilter{}, Page{Limit: 10}); err != nil || len(keys) != 2 {
		t.Errorf("%d keys, %v; want 2", len(keys), err)
	}
	w.verify()
}

// halfState is how a presented half stands; every one but the last three is of a key of its own.
type halfState string

const (
	halfLive       halfState = "live"
	halfInactive   halfState = "inactive"
	halfRevoked    halfState = "revoked"
	halfExpired    halfState = "expired"
	halfRotatedOut halfState = "rotated out"
	halfUnknown    halfState = "unknown"
	halfElsewhere  halfState = "of another scheme"
	halfSwapped    halfState = "other half"
)

var halfStates = []halfState{
	halfLive, halfInactive, halfRevoked, halfExpired, halfRotatedOut, halfUnknown, halfElsewhere, halfSwapped,
}

// pairIn makes a pair whose halves are in state and returns them.
func (w *world) pairIn(projectID string, state halfState, name string) (publishable, secret string) {
	w.Helper()
	publishable, secret = "pk_"+name, "sk_"+name
	in := newPair(projectID, name)
	switch state {
	case halfUnknown:
		return publishable, secret
	case halfElsewhere:
		in.Scheme = "other"
	case halfExpired:
		in.ExpiresAt = ptr(w.clock.Now().Add(time.Minute))
	case halfSwapped:
		publishable, secret = secret, publishable
	}
	key, _, err := w.CreateKey(context.Background(), in, nil)
	if err != nil {
		w.Fatal(err)
	}
	switch state {
	case halfInactive:
		w.setKey(key.ID, KeyInactive)
	case halfRevoked:
		w.setKey(key.ID, KeyRevoked)
	case halfRotatedOut:
		w.mustRotate(key.ID, Rotation{Secret: newSecret("new " + secret), Publishable: newPublishable("new " + publishable)})
	}
	return publishable, secret
}

// Every combination of halves in every state: of one pair, and of two.
func TestPairVerdicts(t *testing.T) {
	unknown := map[halfState]bool{halfUnknown: true, halfElsewhere: true, halfSwapped: true}
	w := newWorld(t)
	site := w.mustSite()
	type halves struct{ publishable, secret string }
	first, second := map[halfState]halves{}, map[halfState]halves{}
	for _, s := range halfStates {
		a, b := w.pairIn(site.ID, s, "a "+string(s))
		c, d := w.pairIn(site.ID, s, "b "+string(s))
		first[s], second[s] = halves{a, b}, halves{c, d}
	}
	w.clock.Advance(time.Minute)
	for _, p := range halfStates {
		for _, s := range halfStates {
			want := api.InactiveKey
			switch {
			case unknown[p] || unknown[s]:
				want = api.UnknownKey
			case p == halfLive && s == halfLive:
				want = api.KeyPairMismatch
			}
			if got := w.verdict("vexrail", verified, first[p].publishable, second[s].secret); got != want {
				t.Errorf("publishable %s, secret %s: %s, want %s", p, s, got, want)
			}
		}
		want := api.InactiveKey
		switch {
		case unknown[p]:
			want = api.UnknownKey
		case p == halfLive:
			want = api.Granted
		}
		if got := w.verdict("vexrail", verified, first[p].publishable, first[p].secret); got != want {
			t.Errorf("one pair, %s: %s, want %s", p, got, want)
		}
	}
}

// A key is judged by its type whatever its halves would do elsewhere.
func TestNumberOfHalves(t *testing.T) {
	w := newWorld(t)
	site := w.mustSite()
	w.mustPair(site.ID, "a")
	in := newKey(site.AccountID, "lone")
	in.Scheme = "vexrail"
	if _, _, err := w.CreateKey(t.Context(), in, nil); err != nil {
		t.Fatal(err)
	}
	for name, halves := range map[string][]string{
		"none": {}, "the secret half alone": {"sk_a"}, "the publishable half alone": {"pk_a"},
		"the secret half twice": {"sk_a", "sk_a"}, "the publishable half twice": {"pk_a", "pk_a"},
		"three": {"pk_a", "sk_a", "sk_a"}, "a lone secret twice": {"lone", "lone"},
		"a lone secret with a publishable half": {"pk_a", "lone"},
	} {
		if got := w.verdict("vexrail", verified, halves...); got != api.UnknownKey {
			t.Errorf("%s: %s, want unknown_key", name, got)
		}
	}
	if got := w.verdict("vexrail", charged, "lone"); got != api.Granted {
		t.Errorf("a lone secret: %s, want granted", got)
	}
}

// Conditions are checked in the published order: what fails first gives the verdict.
func TestPairVerdictOrder(t *testing.T) {
	tests := []struct {
		name                    string
		inactive, account, laps bool
		balance                 int64
		need                    Requirements
		want                    api.Verdict
	}{
		{"all well", false, false, false, 5, verified, api.Granted},
		{"key first", true, true, true, 0, verified, api.InactiveKey},
		{"account second", false, true, true, 0, verified, api.AccountNotActive},
		{"domain third", false, false, true, 0, verified, api.DomainNotVerified},
		{"credit last", false, false, false, 4, verified, api.InsufficientCredits},
		{"domain not asked for", false, false, true, 5, charged, api.Granted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			site := w.mustSite()
			key := w.mustPair(site.ID, "a")
			if tt.inactive {
				w.setKey(key.ID, KeyInactive)
			}
			if tt.account {
				if _, err := w.UpdateAccount(t.Context(), site.AccountID, AccountUpdate{Status: ptr(AccountDisabled)}); err != nil {
					t.Fatal(err)
				}
			}
			if tt.laps {
				if _, err := w.LapseDomain(t.Context(), site.ID, "gone", "x"); err != nil {
					t.Fatal(err)
				}
			}
			if tt.balance > 0 {
				w.mustTopUp(site.AccountID, tt.balance)
			}
			req := acquireOf("", "boot-1-op", 5)
			req.Scheme, req.Digests = "vexrail", digestsOf("pk_a", "sk_a")
			want := api.AcquireReply{OpID: req.OpID, Verdict: tt.want}
			if tt.want == api.Granted {
				want.Lease = &api.Lease{Credits: 5, Account: site.AccountID, Project: site.ID, Key: key.ID}
			}
			for _, attempt := range []string{"first", "again"} {
				got, err := w.Acquire(t.Context(), req, tt.need)
				if diff := cmp.Diff(want, got); diff != "" || err != nil {
					t.Errorf("%s, %v (-want +got):\n%s", attempt, err, diff)
				}
			}
			w.verify()
		})
	}
}

// A replayed grant tells the balance of then, a grant at no cost that of now.
func TestAvailable(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 10)
	available := func(op string, cost int64) int64 { return w.mustAcquire(acquireOf("secret", op, cost)).Lease.Available }
	for _, step := range []struct {
		op         string
		cost, want int64
	}{{"op-1", 3, 7}, {"op-2", 2, 5}, {"op-1", 3, 7}, {"op-3", 0, 5}, {"op-4", 5, 0}, {"op-3", 0, 0}, {"op-2", 2, 5}} {
		if got := available(step.op, step.cost); got != step.want {
			t.Errorf("%s of %d: available %d, want %d", step.op, step.cost, got, step.want)
		}
	}
}

func TestCostOfAnUnchargedScheme(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 10)
	if reply, err := w.Acquire(t.Context(), acquireOf("secret", "op-1", 1), Requirements{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %+v, %v; want ErrInvalid", reply, err)
	}
	if got := w.verdict("genrex", Requirements{}, "secret"); got != api.Granted {
		t.Errorf("at no cost: %s, want granted", got)
	}
	if got := w.mustWallet(account.ID).Available; got != 10 {
		t.Errorf("available %d, want 10", got)
	}
}
