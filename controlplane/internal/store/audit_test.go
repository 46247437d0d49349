package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// auditWorld has what every act below needs.
type auditWorld struct {
	*world
	account      Account
	project      Project
	key, pair    Key
	spare, other Key
	token        Token
}

// The secrets of auditWorld's keys begin with canary, and so do those that its acts give them.
const canary = "canary_"

func newAuditWorld(t *testing.T) *auditWorld {
	t.Helper()
	w := &auditWorld{world: newWorld(t)}
	w.project = w.mustSite()
	w.account, _ = w.Account(t.Context(), w.project.AccountID)
	w.key, w.spare = w.mustKey(w.account.ID, canary+"key"), w.mustKey(w.account.ID, canary+"spare")
	w.mustTopUp(w.account.ID, 3)
	w.mustAcquire(acquireOf(canary+"key", "boot-1-spent", 3))
	w.pair, w.other = w.mustPair(w.project.ID, canary+"pair"), w.mustPair(w.project.ID, canary+"other")
	w.token = w.mustMakeToken(newToken(RoleViewer, canary+"viewer"))
	return w
}

// deed is a change that an admin can ask for and the rows that it adds to the audit log, newest first. Ids that it makes
// are written NEW there.
type deed struct {
	name string
	do   func(context.Context, *auditWorld) error
	want []Act
}

func sole[T any](_ T, err error) error          { return err }
func first[T any](_ T, _ bool, err error) error { return err }

const (
	keyJSON = `{"scheme":"genrex","name":"laptop","environment":"production","prefix":"grx_sk_","last4":"abcd","status":"active"}`
	offJSON = `{"scheme":"genrex","name":"laptop","environment":"production","prefix":"grx_sk_","last4":"abcd","status":"inactive"}`
)

// deeds are all of them: a change that is missing here is one whose row nobody has looked at.
func deeds(w *auditWorld) []deed {
	account, project := w.account.ID, w.project.ID
	site := `{"name":"Blog","domain":"example.com","domain_status":"verified","domain_reason":"seen","domain_actor":"tester"}`
	pair := func(last4, publishable, rest string) json.RawMessage {
		return json.RawMessage(`{"project_id":"` + project + `","scheme":"vexrail","name":"site","environment":"production",` +
			`"prefix":"sk_live_","last4":"` + last4 + `","publishable_last4":"` + publishable + `",` + rest + `}`)
	}
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return []deed{
		{"create account", func(ctx context.Context, w *auditWorld) error {
			return first(w.CreateAccount(ctx, NewAccount{Name: "Bob", Status: AccountPending}, nil))
		}, []Act{{Action: "account.create", TargetKind: "account", TargetID: "NEW", AccountID: "NEW", After: raw(`{"name":"Bob","status":"pending"}`)}}},
		{"update account", func(ctx context.Context, w *auditWorld) error {
			return sole(w.UpdateAccount(ctx, account, AccountUpdate{Name: ptr("Eve"), Status: ptr(AccountDisabled)}))
		}, []Act{{
			Action: "account.update", TargetKind: "account", TargetID: account, AccountID: account,
			Before: raw(`{"name":"Ada","status":"active"}`), After: raw(`{"name":"Eve","status":"disabled"}`),
		}}},
		{"create project", func(ctx context.Context, w *auditWorld) error {
			return first(w.CreateProject(ctx, NewProject{AccountID: account, Name: "Shop", Domain: "shop.example"}, nil))
		}, []Act{{
			Action: "project.create", TargetKind: "project", TargetID: "NEW", AccountID: account,
			After: raw(`{"name":"Shop","domain":"shop.example","domain_status":"unverified"}`),
		}}},
		{"lapse domain", func(ctx context.Context, w *auditWorld) error {
			return sole(w.LapseDomain(ctx, project, "sold", "token_1"))
		}, []Act{{
			Action: "domain.lapse", TargetKind: "project", TargetID: project, AccountID: account, Reason: "sold", Before: raw(site),
			After: raw(`{"name":"Blog","domain":"example.com","domain_status":"lapsed","domain_reason":"sold","domain_actor":"token_1"}`),
		}}},
		{"attest domain", func(ctx context.Context, w *auditWorld) error {
			return sole(w.AttestDomain(ctx, project, "seen", "tester"))
		}, []Act{{
			Action: "domain.attest", TargetKind: "project", TargetID: project, AccountID: account, Reason: "seen", After: raw(site),
			Before: raw(`{"name":"Blog","domain":"example.com","domain_status":"lapsed","domain_reason":"sold","domain_actor":"token_1"}`),
		}}},
		{"update project", func(ctx context.Context, w *auditWorld) error {
			return sole(w.UpdateProject(ctx, project, ProjectUpdate{Domain: ptr("example.org")}))
		}, []Act{{
			Action: "project.update", TargetKind: "project", TargetID: project, AccountID: account, Before: raw(site),
			After: raw(`{"name":"Blog","domain":"example.org","domain_status":"unverified"}`),
		}}},
		{"create key", func(ctx context.Context, w *auditWorld) error {
			return first(w.CreateKey(ctx, newKey(account, canary+"new"), nil))
		}, []Act{{Action: "key.create", TargetKind: "key", TargetID: "NEW", AccountID: account, After: raw(keyJSON)}}},
		{"update key", func(ctx context.Context, w *auditWorld) error {
			return sole(w.UpdateKey(ctx, w.key.ID, KeyUpdate{Status: ptr(KeyInactive)}))
		}, []Act{{
			Action: "key.update", TargetKind: "key", TargetID: w.key.ID, AccountID: account, Before: raw(keyJSON), After: raw(offJSON),
		}}},
		{"revoke key", func(ctx context.Context, w *auditWorld) error {
			return sole(w.RevokeKey(ctx, w.spare.ID))
		}, []Act{{
			Action: "key.revoke", TargetKind: "key", TargetID: w.spare.ID, AccountID: account, Before: raw(keyJSON),
			After: raw(strings.Replace(keyJSON, "active", "revoked", 1)),
		}}},
		{"rotate key", func(ctx context.Context, w *auditWorld) error {
			return first(w.RotateKey(ctx, w.pair.ID, Rotation{
				Overlap: time.Hour, Secret: newSecret(canary + "rotated"), Publishable: newPublishable("pk_" + canary + "rotated"),
			}, nil))
		}, []Act{{
			Action: "key.rotate", TargetKind: "key", TargetID: w.pair.ID, AccountID: account,
			Before: pair("wxyz", "pair", `"status":"active"`), After: pair("9999", "ated", `"status":"active","overlap_seconds":3600`),
		}}},
		{"replace key", func(ctx context.Context, w *auditWorld) error {
			return first(w.ReplaceKey(ctx, w.other.ID, Replacement{newSecret(canary + "next"), newPublishable("pk_" + canary + "next")}, nil))
		}, []Act{{
			Action: "key.replace", TargetKind: "key", TargetID: w.other.ID, AccountID: account,
			Before: pair("wxyz", "ther", `"status":"active"`), After: pair("wxyz", "ther", `"status":"revoked","replaced_by":"NEW"`),
		}, {Action: "key.create", TargetKind: "key", TargetID: "NEW", AccountID: account, After: pair("9999", "next", `"status":"active"`)}}},
		{"top up", func(ctx context.Context, w *auditWorld) error {
			return first(w.TopUp(ctx, TopUp{AccountID: account, Amount: 5, Reason: "invoice 7", Actor: "token_1"}, nil))
		}, []Act{{
			Action: "credit.top_up", TargetKind: "credit", TargetID: "NEW", AccountID: account, Reason: "invoice 7",
			Before: raw(`{"available":0}`), After: raw(`{"available":5,"amount":5}`),
		}}},
		{"create token", func(ctx context.Context, w *auditWorld) error {
			return first(w.CreateToken(ctx, newToken(RoleGate, canary+"token"), nil))
		}, []Act{{Action: "token.create", TargetKind: "token", TargetID: "NEW", After: raw(`{"name":"ci","role":"gate"}`)}}},
		{"create account token", func(ctx context.Context, w *auditWorld) error {
			in := newToken(RoleAccount, canary+"own")
			in.AccountID = account
			return first(w.CreateToken(ctx, in, nil))
		}, []Act{{
			Action: "token.create", TargetKind: "token", TargetID: "NEW", AccountID: account,
			After: raw(`{"name":"ci","role":"account","account_id":"` + account + `"}`),
		}}},
		{"revoke token", func(ctx context.Context, w *auditWorld) error {
			return sole(w.RevokeToken(ctx, w.token.ID))
		}, []Act{{
			Action: "token.revoke", TargetKind: "token", TargetID: w.token.ID, Before: raw(`{"name":"ci","role":"viewer"}`),
			After: raw(`{"name":"ci","role":"viewer","revoked_at":"NOW"}`),
		}}},
		{"adjust and refund", func(ctx context.Context, w *auditWorld) error {
			if err := first(w.Adjust(ctx, Adjustment{account, 5, "promised", "token_1"}, nil)); err != nil {
				return err
			}
			return first(w.RefundCredits(ctx, Refund{AccountID: account, Amount: 2, Reason: "it failed", Actor: "token_1"}, nil))
		}, []Act{{
			Action: "credit.refund", TargetKind: "credit", TargetID: "NEW", AccountID: account, Reason: "it failed",
			Before: raw(`{"available":10}`), After: raw(`{"available":12,"amount":2}`),
		}, {
			Action: "credit.adjustment", TargetKind: "credit", TargetID: "NEW", AccountID: account, Reason: "promised",
			Before: raw(`{"available":5}`), After: raw(`{"available":10,"amount":5}`),
		}}},
		{"close account", func(ctx context.Context, w *auditWorld) error {
			return first(w.CloseAccount(ctx, account, Closing{WriteOffBalance, "over", "token_1"}, nil))
		}, []Act{{
			Action: "account.close", TargetKind: "account", TargetID: account, AccountID: account, Reason: "over",
			Before: raw(`{"name":"Eve","status":"disabled"}`), After: raw(`{"name":"Eve","status":"closed"}`),
		}}},
	}
}

func (w *world) mustActs(f ActFilter) []Act {
	w.Helper()
	acts, more, err := w.Acts(context.Background(), f, Page{Limit: MaxPageLimit})
	if err != nil || more {
		w.Fatalf("acts: more %v, %v", more, err)
	}
	return acts
}

func TestEveryChangeIsAudited(t *testing.T) {
	w := newAuditWorld(t)
	ada := Actor{ID: "token_ada", Name: "Ada's laptop", Role: RoleOperator, RequestID: "req-1"}
	ctx := WithActor(t.Context(), ada)
	for _, d := range deeds(w) {
		before := len(w.mustActs(ActFilter{}))
		at := w.clock.Advance(time.Second)
		if err := d.do(ctx, w); err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		acts := w.mustActs(ActFilter{})
		got := acts[:len(acts)-before]
		if len(got) != len(d.want) {
			t.Errorf("%s: %d acts, want %d: %+v", d.name, len(got), len(d.want), got)
			continue
		}
		for i, want := range d.want {
			if want.TargetID == "NEW" {
				want.TargetID = got[i].TargetID
			}
			if want.AccountID == "NEW" {
				want.AccountID = got[i].AccountID
			}
			if want.ID = got[i].ID; !strings.HasPrefix(want.ID, "act_") || want.TargetID == "" {
				t.Errorf("%s: id %q, target %q", d.name, want.ID, want.TargetID)
			}
			want.At, want.Actor = at, ada
			// What took the place of a key was made right before.
			want.After = json.RawMessage(strings.Replace(string(want.After), "NEW", got[len(got)-1].TargetID, 1))
			want.After = json.RawMessage(strings.Replace(string(want.After), "NOW", at.Format(time.RFC3339Nano), 1))
			if want.After == nil || string(want.After) == "" {
				want.After = nil
			}
			if diff := cmp.Diff(want, got[i], cmp.Transformer("text", func(r json.RawMessage) string { return string(r) })); diff != "" {
				t.Errorf("%s (-want +got):\n%s", d.name, diff)
			}
		}
	}
	w.verify()
}

// Whoever forgets to say who acts learns it at once, and nothing has happened.
func TestNothingChangesWithoutAnActor(t *testing.T) {
	w := newAuditWorld(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{Path: w.path, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.Store = s
	defer func() { _ = s.Close() }()
	before := w.dump(t)
	for _, d := range deeds(w) {
		if d.name == "attest domain" {
			continue // it follows on the lapse
		}
		if err := d.do(t.Context(), w); !errors.Is(err, ErrNoActor) {
			t.Errorf("%s: got %v, want ErrNoActor", d.name, err)
		}
	}
	if after := w.dump(t); after != before {
		t.Error("something changed")
	}
}

// dump is all that an admin can change, in SQL's own words.
func (w *world) dump(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, table := range []string{"accounts", "wallets", "projects", "keys", "key_digests", "entries", "tokens", "audit", "changes", "idempotency"} {
		for _, row := range w.texts(t, "SELECT * FROM "+table) {
			all.WriteString(table + ": " + row + "\n")
		}
	}
	return all.String()
}

// texts returns the rows of a query, each as its columns' text.
func (w *world) texts(t *testing.T, query string) []string {
	t.Helper()
	rows, err := w.readers.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		var row []string
		for _, v := range values {
			row = append(row, v.String)
		}
		out = append(out, strings.Join(row, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// Nothing that was refused, replayed or already so is an act.
func TestOnlyChangesAreActs(t *testing.T) {
	w := newAuditWorld(t)
	idem := &Idempotency{Caller: "token_1", Key: "k"}
	topUp := TopUp{AccountID: w.account.ID, Amount: 5, Actor: "token_1"}
	if _, _, err := w.TopUp(t.Context(), topUp, idem); err != nil {
		t.Fatal(err)
	}
	if err := sole(w.RevokeKey(t.Context(), w.spare.ID)); err != nil {
		t.Fatal(err)
	}
	before := len(w.mustActs(ActFilter{}))
	for name, tt := range map[string]struct{ got, want error }{
		"replayed top-up": {first(w.TopUp(t.Context(), topUp, idem)), nil},
		"same name":       {sole(w.UpdateAccount(t.Context(), w.account.ID, AccountUpdate{Name: &w.account.Name})), nil},
		"same domain":     {sole(w.UpdateProject(t.Context(), w.project.ID, ProjectUpdate{Domain: &w.project.Domain})), nil},
		"same status":     {sole(w.UpdateKey(t.Context(), w.key.ID, KeyUpdate{Status: ptr(KeyActive)})), nil},
		"revoked before":  {sole(w.RevokeKey(t.Context(), w.spare.ID)), nil},
		"no such account": {sole(w.UpdateAccount(t.Context(), "acct_none", AccountUpdate{Name: ptr("x")})), ErrNotFound},
		"digest in use":   {first(w.CreateKey(t.Context(), newKey(w.account.ID, canary+"key"), nil)), ErrConflict},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, tt.got, tt.want)
		}
	}
	if after := len(w.mustActs(ActFilter{})); after != before {
		t.Errorf("%d acts were added", after-before)
	}
}

// Every secret of a key or a token begins with canary: neither it nor a digest is in a row, whatever was done to it, and
// no publishable half is there whole.
func TestAuditHoldsNoSecret(t *testing.T) {
	w := newAuditWorld(t)
	for _, d := range deeds(w) {
		if err := d.do(t.Context(), w); err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
	}
	rows := strings.Join(w.texts(t, "SELECT * FROM audit"), "\n")
	if strings.Contains(rows, canary) {
		t.Errorf("a secret or a whole publishable half is in the audit log:\n%s", rows)
	}
	digests := w.texts(t, "SELECT hex(digest) FROM key_digests UNION ALL SELECT hex(digest) FROM tokens")
	if len(digests) < 10 {
		t.Fatalf("%d digests: the test misses some", len(digests))
	}
	for _, name := range []string{"key", "spare", "new", "rotated", "next", "token", "own", "viewer"} {
		digests = append(digests, apikey.DigestOf(canary+name).Hex())
	}
	for _, d := range digests {
		if strings.Contains(strings.ToLower(rows), strings.ToLower(d)) {
			t.Errorf("the digest %s is in the audit log", d)
		}
	}
}

// The views are of plain fields, none of which is named like what must not be there.
func TestViewsHoldNoSecret(t *testing.T) {
	for _, v := range []view{accountView{}, projectView{}, challengeView{}, keyView{}, creditView{}, tokenView{}} {
		for f := range reflect.TypeOf(v).Fields() {
			plain := slices.Contains([]reflect.Kind{reflect.String, reflect.Int64}, f.Type.Kind()) || f.Type == reflect.TypeFor[*time.Time]()
			name := strings.ToLower(f.Name)
			if !plain || f.Type == reflect.TypeFor[apikey.Secret]() || strings.Contains(name, "secret") || strings.Contains(name, "digest") {
				t.Errorf("%T.%s has type %s", v, f.Name, f.Type)
			}
		}
	}
}

func TestAuditIsImmutable(t *testing.T) {
	w := newAuditWorld(t)
	for _, statement := range []string{
		"UPDATE audit SET actor_id = 'x'", "DELETE FROM audit", "INSERT OR REPLACE INTO audit SELECT * FROM audit",
	} {
		if _, err := w.writer.db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s was let through", statement)
		}
	}
}

func TestActsAreFilteredAndPaged(t *testing.T) {
	w := newWorld(t)
	start := w.clock.Now()
	ada, bob := w.mustAccount(AccountActive), w.mustAccount(AccountActive)
	w.clock.Advance(time.Minute)
	ctx := WithActor(t.Context(), JobActor("clean"))
	if err := sole(w.UpdateAccount(ctx, ada.ID, AccountUpdate{Name: ptr("x")})); err != nil {
		t.Fatal(err)
	}
	key := w.mustKey(bob.ID, "secret")
	later := start.Add(time.Minute)
	for name, tt := range map[string]struct {
		filter ActFilter
		want   []string
	}{
		"all":            {ActFilter{}, []string{"key.create", "account.update", "account.create", "account.create"}},
		"actor":          {ActFilter{ActorID: "job"}, []string{"account.update"}},
		"action":         {ActFilter{Action: "account.create"}, []string{"account.create", "account.create"}},
		"target":         {ActFilter{TargetID: key.ID}, []string{"key.create"}},
		"account":        {ActFilter{AccountID: bob.ID}, []string{"key.create", "account.create"}},
		"since":          {ActFilter{Since: &later}, []string{"key.create", "account.update"}},
		"until":          {ActFilter{Until: &later}, []string{"account.create", "account.create"}},
		"two conditions": {ActFilter{AccountID: ada.ID, Action: "account.create"}, []string{"account.create"}},
		"none":           {ActFilter{ActorID: "nobody"}, nil},
	} {
		var got []string
		for after := ""; ; {
			acts, more, err := w.Acts(t.Context(), tt.filter, Page{Limit: 1, After: after})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range acts {
				got, after = append(got, a.Action), a.ID
			}
			if !more {
				break
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
	if _, _, err := w.Acts(t.Context(), ActFilter{}, Page{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("no limit: %v", err)
	}
}

// A database of the schema before the audit log keeps its idempotency keys, and takes kinds that nobody had thought of.
func TestIdempotencyTakesAnyKind(t *testing.T) {
	w := newWorld(t)
	hash := make([]byte, 32)
	insert := func(kind string) error {
		_, err := w.writer.db.ExecContext(t.Context(), "INSERT INTO idempotency VALUES ('c', ?, ?, ?, 'x', 1)", kind, hash, kind)
		return err
	}
	if err := insert("any_other"); err != nil {
		t.Error(err)
	}
	if err := insert(""); err == nil {
		t.Error("a kind without a name was let through")
	}
}

// However long the log is, a page of what one filter asks for is found by an index that has its rows in order.
func TestActsAreFoundByIndex(t *testing.T) {
	w := newWorld(t)
	for column, filter := range map[string]ActFilter{
		"actor_id": {ActorID: "x"}, "action": {Action: "x"}, "target_id": {TargetID: "x"}, "account_id": {AccountID: "x"}, "id": {},
	} {
		where, args := filter.conditions("~")
		rows, err := w.readers.QueryContext(t.Context(), "EXPLAIN QUERY PLAN SELECT * FROM audit "+where+" ORDER BY id DESC LIMIT 2", args...)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		want := "(" + column + "=? AND id<?)"
		if column == "id" {
			want = "USING PRIMARY KEY (id<?)"
		}
		if len(plan) != 1 || !strings.HasPrefix(plan[0], "SEARCH audit USING") || !strings.Contains(plan[0], want) {
			t.Errorf("%s: %q, want one search by %s", column, plan, want)
		}
	}
}
