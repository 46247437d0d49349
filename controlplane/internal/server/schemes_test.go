package server_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/controlplane/internal/server"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// ownSchemes are what an operator may write, in no code's knowledge.
const ownSchemes = `{
	"acme": {"type": "secret_key", "secret": {"prefix": "acme-", "length": 40, "alphabet": "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"},
		"secret_header": "x-acme-key", "require_checksum": true, "balance": false},
	"site": {"preset": "vexrail", "secret": {"prefix": "ss_"}, "publishable": {"prefix": "sp_"}, "domain_verified": false},
	"weak": {"type": "secret_key", "secret": {"prefix": "w_", "length": 8, "alphabet": "hex"}, "secret_header": "x-w"},
	"weakpair": {"preset": "vexrail", "publishable": {"length": 8}}
}`

func parseSchemes(t *testing.T, text string) []*apikey.Scheme {
	t.Helper()
	schemes, err := apikey.ParseSchemes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return schemes
}

// Schemes that only the configuration names are issued, asked for and judged by their own requirements.
func TestOwnSchemes(t *testing.T) {
	schemes := parseSchemes(t, ownSchemes)
	acme, site := schemes[0], schemes[1]
	f := &fixture{ControlPlane: controlplanetest.NewWithSchemes(t, schemes)}
	f.account = f.MustAccount(t, "active", 1)
	f.project = f.MustProject(t, f.account, "unverified")

	single := f.MustKeyOf(t, "acme", f.account)
	if !acme.Secret.Match(single.Secret) || single.Publishable != "" {
		t.Error("not a secret in the scheme's own form, with its checksum")
	}
	pair := f.MustKeyOf(t, "site", f.project)
	if !site.Secret.Match(pair.Secret) || !site.Publishable.Match(pair.Publishable) {
		t.Error("not a pair in the scheme's own form")
	}
	f.expect(t, "pair without a verified domain", api.Granted, "site", pair.Publishable, pair.Secret)
	f.expect(t, "pair without credits", api.InsufficientCredits, "site", pair.Publishable, pair.Secret)
	if got := verdictOf(t, acquireOK(t, f, messageOf("acme", "free", 0, single.Secret))); got != api.Granted {
		t.Errorf("key of a scheme without balance: got %s", got)
	}
	a := acquire(t, f, messageOf("acme", "charged", 1, single.Secret), nil)
	if p := wholeProblem(t, a); a.status != 400 || p.Errors[0].Location != "body.cost" {
		t.Errorf("charge under a scheme without balance: got %d %s", a.status, a.body)
	}
	f.expect(t, "key in another scheme", api.UnknownKey, "weak", single.Secret)
	f.expect(t, "halves the other way round", api.UnknownKey, "site", pair.Secret, pair.Publishable)
	f.expect(t, "secret half alone", api.UnknownKey, "site", pair.Secret)

	for _, body := range []string{
		`{"account_id":"{account}","scheme":"weak","name":"n"}`, `{"project_id":"{project}","scheme":"weakpair","name":"n"}`,
		`{"account_id":"{account}","scheme":"genrex","name":"n"}`,
	} {
		f.refuses(t, request{"POST", "/v1/keys", f.fill(body), nil}, 422, "body.scheme")
	}
	f.Verify(t)
}

func TestPairVerdicts(t *testing.T) {
	f := newPairFixture(t)
	other := f.MustPair(t, f.project)
	inactive := f.MustPair(t, f.project)
	f.MustSetKeyStatus(t, inactive.ID, "inactive")
	lapsing := f.MustProject(t, f.account, "verified")
	lapsed := f.MustPair(t, lapsing)
	f.MustLapse(t, lapsing)
	poor := f.MustPair(t, f.MustProject(t, f.MustAccount(t, "active", 0), "verified"))
	for _, tt := range []struct {
		name   string
		want   api.Verdict
		scheme string
		halves []string
	}{
		{"live pair", api.Granted, "vexrail", []string{f.pair.Publishable, f.pair.Secret}},
		{"halves of two pairs", api.KeyPairMismatch, "vexrail", []string{f.pair.Publishable, other.Secret}},
		{"other half inactive", api.InactiveKey, "vexrail", []string{inactive.Publishable, f.pair.Secret}},
		{"inactive", api.InactiveKey, "vexrail", []string{inactive.Publishable, inactive.Secret}},
		{"wrong way round", api.UnknownKey, "vexrail", []string{f.pair.Secret, f.pair.Publishable}},
		{"secret twice", api.UnknownKey, "vexrail", []string{f.pair.Secret, f.pair.Secret}},
		{"one half", api.UnknownKey, "vexrail", []string{f.pair.Secret}},
		{"secret key and a half", api.UnknownKey, "vexrail", []string{f.pair.Publishable, f.key.Secret}},
		{"secret half as a genrex key", api.UnknownKey, "genrex", []string{f.pair.Secret}},
		{"genrex key twice", api.UnknownKey, "genrex", []string{f.key.Secret, f.key.Secret}},
		{"domain lapsed", api.DomainNotVerified, "vexrail", []string{lapsed.Publishable, lapsed.Secret}},
		{"no credits", api.InsufficientCredits, "vexrail", []string{poor.Publishable, poor.Secret}},
	} {
		t.Run(tt.name, func(t *testing.T) { f.expect(t, tt.name, tt.want, tt.scheme, tt.halves...) })
	}
	reply := decode[api.AcquireReply](t, answer{status: 200, body: acquireOK(t, f, messageOf("vexrail", "x", 3, f.pair.Publishable, f.pair.Secret))}, 200)
	want := api.Lease{Credits: 3, Available: 996, Account: f.account, Project: f.project, Key: f.pair.ID}
	if reply.Lease == nil || *reply.Lease != want {
		t.Errorf("lease %+v, want %+v", reply.Lease, want)
	}
}

// A scheme that the gate has and the control plane has not is "could not decide", not an unknown key, and is
// logged once, unless its name looks like a secret.
func TestSchemeOfTheGateAlone(t *testing.T) {
	f := newFixture(t)
	for i, scheme := range []string{"elsewhere", "elsewhere", canary} {
		a := acquire(t, f, messageOf(scheme, fmt.Sprint(i), 1, f.key.Secret), nil)
		p := wholeProblem(t, a)
		if a.status != 400 || p.Code != "invalid_request" || len(p.Errors) != 1 || p.Errors[0].Location != "body.scheme" || strings.Contains(a.body, canary) {
			t.Errorf("%s: got %d %s", scheme, a.status, a.body)
		}
	}
	if n := strings.Count(f.Logs(), "scheme=elsewhere"); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
	if strings.Contains(f.Logs(), canary) {
		t.Error("the log holds a secret that was sent as a scheme")
	}
	// A gate that makes up names fills no log.
	for i := range 300 {
		acquire(t, f, messageOf(fmt.Sprintf("made-up-%d", i), "x", 1, f.key.Secret), nil)
	}
	if n := strings.Count(f.Logs(), "scheme=made-up-"); n > 256 {
		t.Errorf("%d names logged, at most 256 wanted", n)
	}
}

// Keys outlive changes of the configuration: what can still be done to them is done, the rest is a conflict.
func TestKeysOfSchemesThatChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	st, err := store.Open(context.Background(), store.Options{Path: path, Actor: store.LocalActor})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	token, err := server.IssueToken(context.Background(), st, store.NewToken{Name: "n", Role: store.RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	account, _, err := st.CreateAccount(context.Background(), store.NewAccount{Name: "n", Status: store.AccountActive}, nil)
	if err != nil {
		t.Fatal(err)
	}
	made, _, err := st.CreateKey(context.Background(), store.NewKey{AccountID: account.ID, Scheme: "acme", Name: "n", Digest: apikey.DigestOf("x")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, schemes := range map[string]string{
		"gone":         `{"genrex":{"preset":"genrex"}}`,
		"another type": `{"acme":{"preset":"vexrail"}}`,
		"too weak":     `{"acme":{"preset":"genrex","secret":{"length":8}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			log := new(bytes.Buffer)
			s, err := server.New(server.Config{Store: st, Schemes: parseSchemes(t, schemes), Logger: slog.New(slog.NewTextHandler(log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			ask := func(method, path string) (int, string) {
				r := httptest.NewRequest(method, path, strings.NewReader("{}"))
				r.Header.Set("Authorization", "Bearer "+token.Reveal())
				w := httptest.NewRecorder()
				s.Admin().ServeHTTP(w, r)
				return w.Code, w.Body.String()
			}
			for _, change := range []string{"rotate", "replace"} {
				if code, body := ask("POST", "/v1/keys/"+made.ID+"/"+change); code != 409 || !strings.Contains(body, `"scheme_unusable"`) {
					t.Errorf("%s: got %d %s", change, code, body)
				}
			}
			if code, body := ask("GET", "/v1/keys/"+made.ID); code != 200 {
				t.Errorf("read: got %d %s", code, body)
			}
		})
	}
	if k, err := st.Key(context.Background(), made.ID); err != nil || k.Status != store.KeyActive {
		t.Errorf("key %+v, %v", k, err)
	}
}

func TestSchemesNeedDifferentNames(t *testing.T) {
	cp := controlplanetest.New(t)
	st, err := store.Open(context.Background(), store.Options{Path: cp.DBPath, Actor: store.LocalActor})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	_, err = server.New(server.Config{Store: st, Schemes: slices.Concat(apikey.Presets(), apikey.Presets())})
	if err == nil || !strings.Contains(err.Error(), "Schemes") || !strings.Contains(err.Error(), "genrex") {
		t.Errorf("got %v", err)
	}
}
