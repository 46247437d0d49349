//go:build !wasip1

package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

func TestAGoodPairOpensTheGate(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newGate(t, o, nil)
		want := counting(passed, "conversations.passed", "credits")
		want.Upstream = map[string]string{
			"authorization": "", "x-publishable-key": "", "x-secret-key": "",
			"x-conversation-id":     "550e8400-e29b-41d4-a716-446655440000",
			"x-tollgate-account-id": g.account, "x-tollgate-project-id": g.project, "x-tollgate-key-id": g.pair.ID, "x-tollgate-cost": "1",
		}
		// OpenAI clients always send Authorization; a pair route ignores it.
		g.Check(t, chat(both(g.pair, bearer("sk-openai"), testenv.Header{"x-conversation-id", "550e8400-e29b-41d4-a716-446655440000"})...), want)
		g.checkWallet(t, 9, 1, 0)
	})
}

// Every row of the vexrail table, with a real pair in each state.
func TestVexrailRows(t *testing.T) {
	underEveryMode(t, func(t *testing.T, o testenv.Options, changes []string) {
		g := newGate(t, o, nil, changes...)
		cp, pk, sk := g.cp, public(g.pair.Publishable), private(g.pair.Secret)
		other, revoked, inactive := cp.MustPair(t, g.project), cp.MustPair(t, g.project), cp.MustPair(t, g.project)
		cp.MustRevokeKey(t, revoked.ID)
		cp.MustSetKeyStatus(t, inactive.ID, "inactive")
		lapsedProject := cp.MustProject(t, g.account, "verified")
		lapsed := cp.MustPair(t, lapsedProject)
		cp.MustLapse(t, lapsedProject)
		poor := cp.MustPair(t, cp.MustProject(t, cp.MustAccount(t, "active", 0), "verified"))
		offAccount := cp.MustAccount(t, "active", 100)
		off := cp.MustPair(t, cp.MustProject(t, offAccount, "verified"))
		cp.MustSetAccountStatus(t, offAccount, "disabled")
		g.Run(t, []testenv.Scenario{
			{Name: "publishable key twice", Request: chat(pk, sk, pk), Want: pairInvalidRequest},
			{Name: "joined secrets", Request: chat(pk, private(g.pair.Secret+","+g.pair.Secret)), Want: pairInvalidRequest},
			{Name: "underscore twin", Request: chat(pk, testenv.Header{"x_secret_key", g.pair.Secret}), Want: pairInvalidRequest},
			{Name: "nothing", Request: chat(), Want: pairMissing},
			{Name: "publishable half alone", Request: chat(pk), Want: pairMissing},
			{Name: "secret half alone", Request: chat(sk), Want: pairMissing},
			{Name: "empty half", Request: chat(public(""), sk), Want: pairMissing},
			{Name: "malformed", Request: chat(public("pk_live_abc123..."), private("sk_live_xyz789...")), Want: pairInvalid},
			{Name: "swapped", Request: chat(public(g.pair.Secret), private(g.pair.Publishable)), Want: pairInvalid},
			{Name: "unknown secret", Request: chat(pk, private("sk_live_"+strings.Repeat("0", 32))), Want: asked(pairInvalid)},
			{Name: "unknown publishable", Request: chat(public("pk_live_"+strings.Repeat("0", 32)), sk), Want: asked(pairInvalid)},
			{Name: "mismatch", Request: chat(pk, private(other.Secret)), Want: asked(pairMismatch)},
			{Name: "revoked", Request: chat(both(revoked)...), Want: asked(pairInactive)},
			{Name: "inactive", Request: chat(both(inactive)...), Want: asked(pairInactive)},
			{Name: "account off", Request: chat(both(off)...), Want: asked(pairAccountOff)},
			{Name: "domain lapsed", Request: chat(both(lapsed)...), Want: asked(pairDomainOff)},
			{Name: "no credits", Request: chat(both(poor)...), Want: asked(pairNoCredits)},
		}...)
		g.checkWallet(t, 10, 0, 0)
		cp.Verify(t)
	})
}

// A positive balance is asked for on routes that cost something alone.
func TestVexrailFreeRoute(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, nil)
	penniless := g.cp.MustPair(t, g.cp.MustProject(t, g.cp.MustAccount(t, "active", 0), "verified"))
	g.Check(t, at("/v1/models", chat(both(penniless)...)), passed)
}

func TestConversationID(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, nil)
	long := strings.Repeat("c", 128)
	tests := []struct {
		name    string
		headers []testenv.Header
		want    string
	}{
		{"128 characters", []testenv.Header{{"x-conversation-id", long}}, long},
		{"129 characters", []testenv.Header{{"x-conversation-id", long + "c"}}, ""},
		{"a space", []testenv.Header{{"x-conversation-id", "a b"}}, ""},
		{"UTF-8", []testenv.Header{{"x-conversation-id", "é"}}, ""},
		{"empty", []testenv.Header{{"x-conversation-id", ""}}, ""},
		{"twice", []testenv.Header{{"x-conversation-id", "a"}, {"x-conversation-id", "a"}}, ""},
		{"underscores", []testenv.Header{{"x_conversation_id", "a"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := counting(passed, map[bool]string{true: "conversations.removed", false: "conversations.passed"}[tt.want == ""])
			want.Upstream = map[string]string{"x-conversation-id": tt.want, "x_conversation_id": ""}
			g.Check(t, chat(both(g.pair, tt.headers...)...), want)
		})
	}
}

// An expired key stops at its time, and a rotated one works in both forms until the overlap ends.
func TestExpiryAndRotationUnderTraffic(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, nil)
	status, body := g.cp.Admin(t, http.MethodPost, "/v1/keys/"+g.pair.ID+"/rotate", map[string]any{"overlap_seconds": 60})
	rotated := decode[controlplanetest.Pair](t, body)
	if status >= 300 || rotated.ID != g.pair.ID {
		t.Fatalf("rotate: %d %s", status, body)
	}
	old, renewed := chat(both(g.pair)...), chat(public(g.pair.Publishable), private(rotated.Secret))
	within := passed
	within.Upstream = map[string]string{"x-tollgate-key-id": g.pair.ID}
	g.Check(t, old, within)
	g.Check(t, renewed, within)
	g.Advance(61 * time.Second)
	g.Check(t, old, asked(pairInactive))
	g.Check(t, renewed, passed)
	expires := g.Now().Add(time.Minute).Format(time.RFC3339)
	if status, body := g.cp.Admin(t, http.MethodPatch, "/v1/keys/"+g.pair.ID, map[string]any{"expires_at": expires}); status != 200 {
		t.Fatalf("set expiry: %d %s", status, body)
	}
	g.Check(t, renewed, passed)
	g.Advance(61 * time.Second)
	g.Check(t, renewed, asked(pairInactive))
	g.cp.Verify(t)
}

// A compromised key is replaced in one call: the old one stops at once.
func TestReplace(t *testing.T) {
	t.Parallel()
	g := newGate(t, testenv.Options{}, nil)
	status, body := g.cp.Admin(t, http.MethodPost, "/v1/keys/"+g.key.ID+"/replace", map[string]any{})
	next := decode[controlplanetest.Key](t, body)
	if status != 201 || next.ID == g.key.ID {
		t.Fatalf("replace: %d %s", status, body)
	}
	g.Check(t, document(bearer(g.key.Secret)), asked(because(invalidKey, "inactive_key")))
	g.Check(t, document(bearer(next.Secret)), passed)
}
