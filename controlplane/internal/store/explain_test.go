package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
)

// needs are the requirements of the schemes of these tests.
var needs = map[string]Requirements{"genrex": charged, "vexrail": verified}

func (w *world) mustExplain(q Question, scheme string) Explanation {
	w.Helper()
	e, err := w.Explain(context.Background(), q, needs[scheme])
	if err != nil {
		w.Fatal(err)
	}
	return e
}

// In every state of key, account, domain and balance, Explain says what Acquire then does, names the step where it ends,
// and has moved nothing.
func TestExplainIsWhatAcquireDoes(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	site := w.mustSite()
	w.mustTopUp(site.AccountID, 5)
	pair := w.mustPair(site.ID, "a")
	w.mustPair(site.ID, "b")
	expiring := newPair(site.ID, "expiring")
	expiring.ExpiresAt = ptr(w.clock.Now().Add(time.Hour))
	if _, _, err := w.CreateKey(ctx, expiring, nil); err != nil {
		t.Fatal(err)
	}
	w.mustPair(site.ID, "rotated")
	key := w.mustKey(site.AccountID, "single")
	held := newKey(site.AccountID, "held")
	held.Restriction = mustRestriction(t, api.Restriction{
		Routes: []api.RouteRule{{Prefix: "/v1/", Methods: []string{"POST"}}}, AllowedIPs: []string{"192.0.2.0/24"}})
	if _, _, err := w.CreateKey(ctx, held, nil); err != nil {
		t.Fatal(err)
	}
	states := []struct {
		name   string
		change func() error
	}{
		{"all in order", func() error { return nil }},
		{"domain lapsed", func() error { _, err := w.LapseDomain(ctx, site.ID, "r", "a"); return err }},
		{"account disabled", func() error {
			_, err := w.UpdateAccount(ctx, site.AccountID, AccountUpdate{Status: ptr(AccountDisabled)})
			return err
		}},
		{"keys inactive", func() error {
			_, err := w.UpdateKey(ctx, pair.ID, KeyUpdate{Status: ptr(KeyInactive)})
			return err
		}},
		{"an hour later", func() error { w.clock.Advance(time.Hour); return nil }},
		{"keys revoked", func() error {
			_, err := w.RevokeKey(ctx, pair.ID)
			if err == nil {
				_, err = w.RevokeKey(ctx, key.ID)
			}
			return err
		}},
	}
	// from is where a request comes from: by default one that every restriction here lets pass.
	presented := []struct {
		scheme string
		halves []string
		from   string
	}{
		{"genrex", []string{"held"}, ""}, {"genrex", []string{"held"}, "GET /v1/x 192.0.2.7"}, {"genrex", []string{"held"}, "POST /v2 192.0.2.7"},
		{"genrex", []string{"held"}, "POST /v1/x 192.0.3.7"},
		{"genrex", []string{"single"}, ""}, {"genrex", []string{"absent"}, ""}, {"genrex", []string{"sk_a"}, ""},
		{"vexrail", []string{"pk_a", "sk_a"}, ""}, {"vexrail", []string{"pk_a", "sk_b"}, ""}, {"vexrail", []string{"pk_b", "sk_b"}, ""},
		{"vexrail", []string{"pk_expiring", "sk_expiring"}, ""}, {"vexrail", []string{"pk_absent", "sk_a"}, ""}, {"vexrail", []string{"sk_a"}, ""},
	}
	asked, seen := 0, map[api.Verdict]int{}
	for _, state := range states {
		must(t, state.change())
		for _, p := range presented {
			for _, cost := range []int64{0, 1, 5, 6} {
				before := w.mustWallet(site.AccountID)
				from := strings.Fields(cmp.Or(p.from, "POST /v1/x 192.0.2.7"))
				q := Question{Scheme: p.scheme, Digests: digestsOf(p.halves...), Cost: cost, Method: from[0], Path: from[1], Address: from[2]}
				e := w.mustExplain(q, p.scheme)
				if after := w.mustWallet(site.AccountID); after != before {
					t.Fatalf("%s: explaining changed %+v to %+v", state.name, before, after)
				}
				asked++
				req := acquireOf("", fmt.Sprintf("boot-1-%d", asked), cost)
				req.Scheme, req.Digests = q.Scheme, q.Digests
				req.Method, req.Path, req.Address = q.Method, q.Path, q.Address
				reply, err := w.Acquire(ctx, req, needs[p.scheme])
				must(t, err)
				if e.Verdict != reply.Verdict {
					t.Errorf("%s: %s %v at %d: explained as %s, decided as %s", state.name, p.scheme, p.halves, cost, e.Verdict, reply.Verdict)
				}
				if failed := failedStep(t, e); failed != stepOf[reply.Verdict] {
					t.Errorf("%s: %s %v at %d: %s, but the step that failed is %q: %+v", state.name, p.scheme, p.halves, cost, reply.Verdict, failed, e.Steps)
				}
				if seen[reply.Verdict]++; reply.Verdict == api.Granted && cost > 0 {
					w.mustSync(void(req.OpID))
				}
			}
		}
	}
	for verdict := range stepOf {
		if seen[verdict] == 0 {
			t.Errorf("nothing was %s", verdict)
		}
	}
	w.verify()
}

// stepOf is the step that fails for each verdict.
var stepOf = map[api.Verdict]string{api.Granted: "", api.UnknownKey: "key", api.KeyPairMismatch: "pair", api.InactiveKey: "active",
	api.AccountNotActive: "account", api.DomainNotVerified: "domain", api.KeyRestricted: "restriction", api.InsufficientCredits: "credits"}

// failedStep returns the step that failed, and makes sure that none after it was judged.
func failedStep(t *testing.T, e Explanation) string {
	t.Helper()
	failed := ""
	for _, step := range e.Steps {
		if failed != "" && step != (Step{Check: step.Check, Outcome: NotReached}) || failed == "" && (step.Outcome == NotReached || step.Detail == "") {
			t.Errorf("step %+v after %q failed", step, failed)
		}
		if step.Outcome == Failed {
			failed = step.Check
		}
	}
	if len(e.Steps) != 7 {
		t.Errorf("%d steps, want 7: %+v", len(e.Steps), e.Steps)
	}
	return failed
}

// By its id a key is asked about as with its newest secret.
func TestExplainByID(t *testing.T) {
	w := newWorld(t)
	site := w.mustSite()
	pair := w.mustPair(site.ID, "a")
	key := w.mustKey(site.AccountID, "single")
	w.mustRotate(key.ID, Rotation{Secret: newSecret("next"), Overlap: time.Minute})
	for _, k := range []Key{pair, key} {
		e := w.mustExplain(Question{KeyID: k.ID}, k.Scheme)
		if e.Verdict != api.Granted || e.KeyID != k.ID || e.AccountID != site.AccountID {
			t.Errorf("explained as %+v", e)
		}
	}
	old := Question{Scheme: "genrex", Digests: digestsOf("single")}
	if e := w.mustExplain(old, "genrex"); e.Verdict != api.Granted || !strings.Contains(e.Steps[2].Detail, "works until") {
		t.Errorf("the old secret during the overlap: %+v", e)
	}
	w.clock.Advance(time.Hour)
	if e := w.mustExplain(old, "genrex"); e.Verdict != api.InactiveKey || !strings.Contains(e.Steps[2].Detail, "rotated out") {
		t.Errorf("the old secret after the overlap: %+v", e)
	}
	if e := w.mustExplain(Question{KeyID: key.ID, Cost: 1}, "genrex"); e.Verdict != api.InsufficientCredits {
		t.Errorf("the new secret without credits: %+v", e)
	}
}

func TestExplainRefuses(t *testing.T) {
	w := newWorld(t)
	key := w.mustKey(w.mustAccount(AccountActive).ID, "single")
	digest := digestsOf("single")
	for name, tt := range map[string]struct {
		q     Question
		want  error
		field string
	}{
		"unknown id":        {Question{KeyID: "key_absent"}, ErrNotFound, "key"},
		"id and digests":    {Question{KeyID: key.ID, Digests: digest}, ErrInvalid, "key_id"},
		"id and scheme":     {Question{KeyID: key.ID, Scheme: "genrex"}, ErrInvalid, "key_id"},
		"no digest":         {Question{Scheme: "genrex", Digests: []string{"x"}}, ErrInvalid, "digests[0]"},
		"cost below 0":      {Question{KeyID: key.ID, Cost: -1}, ErrInvalid, "cost"},
		"cost above 2^53-1": {Question{KeyID: key.ID, Cost: api.MaxCredits + 1}, ErrInvalid, "cost"},
	} {
		if _, err := w.Explain(t.Context(), tt.q, charged); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("%s: %v, want %v naming %s", name, err, tt.want, tt.field)
		}
	}
	if _, err := w.Explain(t.Context(), Question{KeyID: key.ID, Cost: 1}, Requirements{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a cost under a scheme that is not charged: %v", err)
	}
}
