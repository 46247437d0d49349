package client_test

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/controlplane/internal/domain"
	"github.com/tollgate/tollgate/controlplane/internal/domain/domaintest"
)

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func collect[T any](t *testing.T, rows iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for row, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

// What an admin does in the life of an account, by the client alone.
func TestLifeOfAnAccount(t *testing.T) {
	dns := domaintest.NewDNS(t)
	cp := controlplanetest.NewWith(t, controlplanetest.Options{BackupDir: t.TempDir(), Domains: domain.Options{Resolvers: []netip.AddrPort{dns.Addr}}})
	c, ctx := owner(t, cp), t.Context()
	account := must[client.Account](t)(c.CreateAccount(ctx, client.NewAccount{Name: "Acme", Status: "active"}))
	if got := must[client.Account](t)(c.Account(ctx, account.ID)); got != account {
		t.Errorf("got %+v, want %+v", got, account)
	}
	name := "Acme & Co"
	if got := must[client.Account](t)(c.UpdateAccount(ctx, account.ID, client.AccountUpdate{Name: &name})); got.Name != name {
		t.Errorf("got %+v", got)
	}
	credit := must[client.Credit](t)(c.AddCredits(ctx, account.ID, client.TopUp{Amount: 10, Reason: "welcome"}))
	if credit.Available != 10 || credit.IdempotencyKey == "" {
		t.Errorf("got %+v", credit)
	}
	must[client.Credit](t)(c.AdjustCredits(ctx, account.ID, client.Adjustment{Amount: -4, Reason: "typo"}))
	if w := must[client.Wallet](t)(c.Wallet(ctx, account.ID)); w.Available != 6 || w.Granted != 6 {
		t.Errorf("wallet %+v", w)
	}
	if entries := collect(t, c.Entries(ctx, account.ID)); len(entries) != 4 {
		t.Errorf("%d entries, want 4", len(entries))
	}

	statement := must[client.Statement](t)(c.Statement(ctx, account.ID, client.StatementQuery{From: cp.Clock.Now()}))
	if len(statement.Data) != 2 || statement.Closing.Available != 6 || statement.Opening.Available != 0 {
		t.Errorf("statement %+v", statement)
	}
	var csv strings.Builder
	if err := c.StatementCSV(ctx, account.ID, client.StatementQuery{}, &csv); err != nil || strings.Count(csv.String(), "\n") != 5 {
		t.Errorf("%v, CSV:\n%s", err, csv.String())
	}
	if err := c.StatementCSV(ctx, "acct_none", client.StatementQuery{}, &csv); client.Code(err) != "not_found" {
		t.Errorf("got %v", err)
	}

	project := must[client.Project](t)(c.CreateProject(ctx, client.NewProject{AccountID: account.ID, Name: "site", Domain: "acme.example"}))
	asked := must[client.Domain](t)(c.StartDomainChallenge(ctx, project.ID, client.NewChallenge{}))
	if asked.Challenge == nil || asked.Challenge.DNS == nil || asked.Challenge.HTTP == nil {
		t.Errorf("challenge %+v", asked.Challenge)
	}
	if v := must[client.Verification](t)(c.VerifyDomain(ctx, project.ID)); v.Outcome == "verified" || len(v.Checks) == 0 {
		t.Errorf("found %+v", v)
	}
	dns.TXT(asked.Challenge.DNS.Name, asked.Challenge.DNS.Value)
	cp.Clock.Advance(time.Minute)
	if v := must[client.Verification](t)(c.VerifyDomain(ctx, project.ID)); v.Outcome != "verified" || v.Domain.Proof == nil {
		t.Errorf("found %+v", v)
	}
	must[client.Domain](t)(c.Domain(ctx, project.ID))
	must[client.Project](t)(c.AttestDomain(ctx, project.ID, client.DomainStatus{Reason: "seen"}))
	pair := must[client.KeyWithSecret](t)(c.CreateKey(ctx, client.NewKey{ProjectID: project.ID, Scheme: "vexrail", Name: "web", Metadata: map[string]string{"team": "blue"},
		Routes: []client.Route{{Prefix: "/v1/", Methods: []string{"POST"}}}, AllowedIPs: []string{"192.0.2.0/24"}}))
	if e := must[client.Explanation](t)(c.Explain(ctx, client.Question{KeyID: pair.ID, Cost: 7})); e.Decision != "deny" || e.Answer == nil || len(e.Steps) == 0 {
		t.Errorf("explained %+v", e)
	}
	rotated := must[client.KeyWithSecret](t)(c.RotateKey(ctx, pair.ID, client.Rotation{Halves: "both", OverlapSeconds: 60}))
	if rotated.ID != pair.ID || rotated.Secret == pair.Secret || rotated.Secret == "" || *rotated.PublishableKey == *pair.PublishableKey {
		t.Errorf("rotated %+v to %+v", pair.Key, rotated.Key)
	}
	ends := cp.Clock.Now().Add(time.Hour)
	if k := must[client.Key](t)(c.UpdateKey(ctx, pair.ID, client.KeyUpdate{ExpiresAt: &client.Expiry{At: ends}})); k.ExpiresAt == nil || !k.ExpiresAt.Equal(ends) {
		t.Errorf("ends at %v", k.ExpiresAt)
	}
	if k := must[client.Key](t)(c.UpdateKey(ctx, pair.ID, client.KeyUpdate{ExpiresAt: &client.Expiry{}})); k.ExpiresAt != nil {
		t.Errorf("ends at %v", k.ExpiresAt)
	}
	replacing := must[client.ReplacingKey](t)(c.ReplaceKey(ctx, pair.ID))
	if replacing.Replaces != pair.ID || replacing.Secret == "" {
		t.Errorf("replaced by %+v", replacing.Key)
	}
	must[client.Key](t)(c.RevokeKey(ctx, replacing.ID))
	if keys := collect(t, c.Keys(ctx, client.KeyFilter{ProjectID: project.ID, Status: "revoked", Metadata: "team=blue"})); len(keys) != 2 {
		t.Errorf("found %d keys, want 2", len(keys))
	}

	const secret = "grx_sk_0123456789abcdef0123456789abcdef0123456789abcdef"
	batch := client.Import{Keys: []client.ImportedKey{
		{Secret: secret, AccountID: account.ID, Scheme: "genrex", Name: "old", ExternalRef: "r1"},
		{Digest: strings.Repeat("0f", 32), Last4: "abcd", AccountID: account.ID, Scheme: "genrex", Name: "older"},
	}}
	imported := must[client.Imported](t)(c.ImportKeys(ctx, batch))
	if again := must[client.Imported](t)(c.ImportKeys(ctx, batch)); imported.Created != 2 || again.Existing != 2 || again.Keys[1].ID != imported.Keys[1].ID {
		t.Errorf("imported %+v, then %+v", imported, again)
	}
	if keys := collect(t, c.Keys(ctx, client.KeyFilter{ExternalRef: "r1"})); len(keys) != 1 || keys[0].Last4 != "cdef" {
		t.Errorf("found %+v", keys)
	}

	token := must[client.TokenWithSecret](t)(c.CreateToken(ctx, client.NewToken{Name: "site", Role: "account", AccountID: account.ID, ExpiresAt: &ends}))
	own := must[*client.Client](t)(client.New(cp.AdminURL, token.Secret.Reveal(), client.Options{}))
	if _, err := own.Account(ctx, account.ID); client.Code(err) != "forbidden" {
		t.Errorf("got %v, want forbidden", err)
	}
	must[client.Token](t)(c.RevokeToken(ctx, token.ID))
	if _, err := own.Wallet(ctx, account.ID); client.Code(err) != "unauthenticated" {
		t.Errorf("got %v, want unauthenticated", err)
	}

	must[client.Account](t)(c.CloseAccount(ctx, account.ID, client.Closing{Balance: "write_off", Reason: "over"}))
	if got := must[client.Account](t)(c.Account(ctx, account.ID)); got.Status != "closed" || got.CloseReason != "over" {
		t.Errorf("got %+v", got)
	}
	acts := collect(t, c.Audit(ctx, client.ActFilter{AccountID: account.ID}))
	if len(acts) < 10 || acts[0].Action != "account.close" || *acts[0].Reason != "over" || acts[0].Before == nil {
		t.Errorf("%d acts, the last is %+v", len(acts), acts[0])
	}
	if acts := collect(t, c.Audit(ctx, client.ActFilter{Since: cp.Clock.Now().Add(time.Second)})); len(acts) != 0 {
		t.Errorf("%d acts of the future", len(acts))
	}
	collect(t, c.Usage(ctx, client.UsageQuery{AccountID: account.ID, GroupBy: []string{"key", "day"}, From: ends.Add(-24 * time.Hour)}))
	must[client.Status](t)(c.Status(ctx))
	if b := must[client.Backup](t)(c.CreateBackup(ctx)); b.Accounts != 1 {
		t.Errorf("backed up %+v", b)
	}
	collect(t, c.Accounts(ctx))
	collect(t, c.Projects(ctx, client.ProjectFilter{AccountID: account.ID}))
	collect(t, c.Tokens(ctx, client.TokenFilter{}))
}

// A change under the ETag of what was read is refused once that was changed.
func TestIfMatch(t *testing.T) {
	cp := controlplanetest.New(t)
	c, id := owner(t, cp), cp.MustAccount(t, "active", 0)
	var seen client.Meta
	must[client.Account](t)(c.Account(t.Context(), id, client.Into(&seen)))
	for i, want := range []string{"", "precondition_failed"} {
		name := fmt.Sprint("name ", i)
		if _, err := c.UpdateAccount(t.Context(), id, client.AccountUpdate{Name: &name}, client.IfMatch(seen.ETag)); client.Code(err) != want || (err == nil) != (want == "") {
			t.Errorf("change %d: got %v, want %q", i, err, want)
		}
	}
}

func TestListsGoOnToTheirEnd(t *testing.T) {
	cp := controlplanetest.New(t)
	const n = 101
	for range n {
		cp.MustAccount(t, "pending", 0)
	}
	seen := map[string]bool{}
	for _, a := range collect(t, owner(t, cp).Accounts(t.Context())) {
		seen[a.ID] = true
	}
	if len(seen) != n {
		t.Errorf("%d accounts, want %d", len(seen), n)
	}
	for range owner(t, cp).Accounts(t.Context()) {
		// Whoever has seen enough is not asked to go on.
		break
	}
}

// A Problem tells all that the server said.
func TestProblem(t *testing.T) {
	cp := controlplanetest.New(t)
	c := owner(t, cp)
	_, err := c.CreateKey(t.Context(), client.NewKey{Scheme: "genrex"})
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != 422 || p.Code != "invalid_request" || p.RequestID == "" || len(p.Errors) == 0 {
		t.Fatalf("got %v, %+v", err, p)
	}
	for _, part := range []string{"POST /v1/keys", "422 invalid_request", p.RequestID, p.Errors[0].Location} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not tell %q", err, part)
		}
	}
	if _, err := c.Account(t.Context(), "acct_none/../x"); client.Code(err) != "not_found" {
		t.Errorf("got %v", err)
	}
}

func TestBadBasesAndTokens(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:8090", "ftp://x", "http://", "http://me:secret@x", "http://x?a=b", "http://x#y", "http://%zz"} {
		if _, err := client.New(base, "t", client.Options{}); !errors.Is(err, client.ErrBadBase) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v", base, err)
		}
	}
	for _, token := range []string{"", "a b", "a\n", "ä", strings.Repeat("x", 257)} {
		if _, err := client.New("http://x", token, client.Options{}); !errors.Is(err, client.ErrBadToken) || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%q: got %v", token, err)
		}
	}
}

func TestSecretsPrintOnlyTheirEnd(t *testing.T) {
	const text = "grx_sk_0123456789abcdef0123456789abcdef0123456789abcdef"
	k := client.KeyWithSecret{Secret: text}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("made", "key", k, "secret", k.Secret)
	for _, printed := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %q %x", k, k, k.Secret, k.Secret), log.String()} {
		if strings.Contains(printed, text) || strings.Contains(printed, fmt.Sprintf("%x", text)) {
			t.Errorf("printed %s", printed)
		}
	}
}
