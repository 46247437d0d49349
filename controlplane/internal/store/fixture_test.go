package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// clock is a clock that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// tester makes the changes of tests.
var tester = Actor{ID: "token_tester", Name: "tester", Role: RoleOwner}

// world is a store on a real file with the means to fill it.
type world struct {
	testing.TB
	*Store
	path  string
	clock *clock
	terms LeaseOptions
	// ops counts the op_ids that verdict has made up.
	ops int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOf(t, LeaseOptions{})
}

func newWorldOf(t testing.TB, terms LeaseOptions) *world {
	t.Helper()
	w := &world{TB: t, path: filepath.Join(t.TempDir(), "tollgate.db"), clock: newClock(), terms: terms}
	data, err := emptyFile()
	must(t, err)
	must(t, os.WriteFile(w.path, data, 0o600))
	w.reopen()
	return w
}

// emptyFile is a database that was just made. To open a copy of it takes a twentieth of the time of all migrations, which
// under the race detector would be most of what the tests do.
var emptyFile = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "tollgate")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "empty.db")
	s, err := Open(context.Background(), Options{Path: path})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// reopen opens the world's file; the test closes what it had open.
func (w *world) reopen() {
	w.Helper()
	s, err := Open(context.Background(), Options{Path: w.path, Now: w.clock.Now, Leases: w.terms, Actor: tester, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.Fatal(err)
	}
	w.Store = s
	w.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.Errorf("close: %v", err)
		}
	})
}

func (w *world) mustAccount(status AccountStatus) Account {
	w.Helper()
	a, _, err := w.CreateAccount(context.Background(), NewAccount{Name: "Ada", Status: status}, nil)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

func (w *world) mustTopUp(accountID string, amount int64) Transaction {
	w.Helper()
	txn, _, err := w.Store.TopUp(context.Background(), TopUp{AccountID: accountID, Amount: amount, Actor: "tester"}, nil)
	if err != nil {
		w.Fatal(err)
	}
	return txn
}

// mustKey makes a genrex key whose secret is text, of any shape.
func (w *world) mustKey(accountID, secret string) Key {
	w.Helper()
	k, _, err := w.CreateKey(context.Background(), newKey(accountID, secret), nil)
	if err != nil {
		w.Fatal(err)
	}
	return k
}

func newKey(accountID, secret string) NewKey {
	return NewKey{
		AccountID: accountID, Scheme: "genrex", Name: "laptop", Prefix: "grx_sk_", Last4: "abcd",
		Digest: apikey.DigestOf(secret),
	}
}

func (w *world) mustProject(accountID string) Project {
	w.Helper()
	p, _, err := w.CreateProject(context.Background(), NewProject{AccountID: accountID, Name: "Blog", Domain: "example.com"}, nil)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// mustSite makes an active account and its project with a verified domain: all that a pair needs.
func (w *world) mustSite() Project {
	w.Helper()
	p, err := w.AttestDomain(context.Background(), w.mustProject(w.mustAccount(AccountActive).ID).ID, "seen", "tester")
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// mustPair makes a vexrail pair of the halves "pk_" and "sk_" with name.
func (w *world) mustPair(projectID, name string) Key {
	w.Helper()
	k, _, err := w.CreateKey(context.Background(), newPair(projectID, name), nil)
	if err != nil {
		w.Fatal(err)
	}
	return k
}

func newPair(projectID, name string) NewKey {
	return NewKey{
		ProjectID: projectID, Scheme: "vexrail", Name: "site", Prefix: "sk_live_", Last4: "wxyz",
		Digest: apikey.DigestOf("sk_" + name), Publishable: "pk_" + name, PublishableDigest: apikey.DigestOf("pk_" + name),
		RequireDomain: true,
	}
}

// newSecret and newPublishable are halves to rotate to.
func newSecret(text string) *NewHalf { return &NewHalf{Last4: "9999", Digest: apikey.DigestOf(text)} }

func newPublishable(text string) *NewHalf { return &NewHalf{Text: text, Digest: apikey.DigestOf(text)} }

func (w *world) mustRotate(id string, in Rotation) Key {
	w.Helper()
	k, _, err := w.RotateKey(context.Background(), id, in, nil)
	if err != nil {
		w.Fatal(err)
	}
	return k
}

// verdict is what an acquire of these halves under scheme gets: at no cost, and of an op_id of its own.
func (w *world) verdict(scheme string, need Requirements, halves ...string) api.Verdict {
	w.Helper()
	w.ops++
	req := acquireOf("", fmt.Sprintf("boot-1-verdict-%d", w.ops), 0)
	req.Scheme, req.Digests = scheme, digestsOf(halves...)
	reply, err := w.Acquire(context.Background(), req, need)
	if err != nil {
		w.Fatal(err)
	}
	return reply.Verdict
}

func digestsOf(halves ...string) []string {
	digests := make([]string, len(halves))
	for i, text := range halves {
		digests[i] = apikey.DigestOf(text).Hex()
	}
	return digests
}

func (w *world) mustSync(req *api.SyncRequest) {
	w.Helper()
	req.Gate, req.Boot = "gate-1", "boot-1"
	reply, err := w.Sync(context.Background(), req)
	if err != nil {
		w.Fatal(err)
	}
	want := slices.Clone(req.Void)
	for _, u := range req.Unpaid {
		want = append(want, u.OpID)
	}
	if !slices.Equal(reply.Acked, want) {
		w.Fatalf("acked %v, want %v", reply.Acked, want)
	}
}

// void and unpaid are the two kinds of report about one operation.
func void(ops ...string) *api.SyncRequest { return &api.SyncRequest{Void: ops} }

func unpaid(op string, cost int64, scheme string, halves ...string) *api.SyncRequest {
	return &api.SyncRequest{Unpaid: []api.Unpaid{{OpID: op, Scheme: scheme, Digests: digestsOf(halves...), Cost: cost}}}
}

func (w *world) mustAcquire(req *api.AcquireRequest) api.AcquireReply {
	w.Helper()
	reply, err := w.Acquire(context.Background(), req, charged)
	if err != nil {
		w.Fatal(err)
	}
	if err := reply.Validate(req); err != nil {
		w.Fatal(err)
	}
	return reply
}

func (w *world) mustWallet(accountID string) Wallet {
	w.Helper()
	got, err := w.Wallet(context.Background(), accountID)
	if err != nil {
		w.Fatal(err)
	}
	return got
}

// charged are the requirements of a scheme like genrex.
var charged = Requirements{Balance: true}

// verified are those of a scheme like vexrail.
var verified = Requirements{DomainVerified: true, Balance: true}

func acquireOf(secret, opID string, cost int64) *api.AcquireRequest {
	return &api.AcquireRequest{
		Gate: "gate-1", Boot: "boot-1", OpID: opID, Scheme: "genrex",
		Digests: []string{apikey.DigestOf(secret).Hex()}, Cost: cost, Want: cost, Mode: api.ModeStrict,
	}
}

func ptr[T any](v T) *T { return &v }

func opID(i int) string { return fmt.Sprintf("op-%d", i) }

// verify checks the whole ledger, with Verify and apart from it by raw SQL: every transaction sums to zero, every balance is the sum of its
// entries, and every entry's recorded balance follows from the entries before it.
func (w *world) verify() {
	w.Helper()
	for name, query := range map[string]string{
		"transactions that do not sum to zero": `SELECT count(*) FROM
			(SELECT 1 FROM entries WHERE bucket <> 'written_off' GROUP BY transaction_id HAVING sum(delta) <> 0)`,
		"balances that differ from their entries": `SELECT count(*) FROM wallets w LEFT JOIN (SELECT account_id,
				sum(CASE bucket WHEN 'funding' THEN delta ELSE 0 END) AS funding,
				sum(CASE bucket WHEN 'available' THEN delta ELSE 0 END) AS available,
				sum(CASE bucket WHEN 'reserved' THEN delta ELSE 0 END) AS reserved,
				sum(CASE bucket WHEN 'spent' THEN delta ELSE 0 END) AS spent,
				sum(CASE bucket WHEN 'written_off' THEN delta ELSE 0 END) AS written_off
				FROM entries GROUP BY account_id) e ON e.account_id = w.account_id
			WHERE w.funding <> coalesce(e.funding, 0) OR w.available <> coalesce(e.available, 0)
				OR w.reserved <> coalesce(e.reserved, 0) OR w.spent <> coalesce(e.spent, 0)
				OR w.written_off <> coalesce(e.written_off, 0)`,
		"entries whose balance does not follow": `SELECT count(*) FROM (SELECT balance, sum(delta)
			OVER (PARTITION BY account_id, bucket ORDER BY seq) AS running FROM entries) WHERE balance <> running`,
		"grants that differ from their debit": `SELECT count(*) FROM operations o LEFT JOIN (SELECT op_id, sum(delta) AS spent
				FROM entries WHERE bucket = 'spent' GROUP BY op_id) e ON e.op_id = o.op_id
			WHERE o.lease_id = '' AND CASE o.verdict WHEN 'granted' THEN o.credits ELSE 0 END <> coalesce(e.spent, 0)
				AND NOT (o.verdict = 'voided' AND e.spent BETWEEN 0 AND o.credits
					AND o.account_id IN (SELECT account_id FROM credits WHERE kind = 'refund'))`,
		"accounts whose leases do not hold what they have reserved": `SELECT count(*) FROM wallets w LEFT JOIN (SELECT account_id,
				sum(granted - used) AS held FROM leases WHERE state = 'open' GROUP BY account_id) l
				ON l.account_id = w.account_id WHERE w.reserved <> coalesce(l.held, 0)`,
	} {
		var n int
		if err := w.readers.QueryRowContext(context.Background(), query).Scan(&n); err != nil {
			w.Fatalf("%s: %v", name, err)
		}
		if n != 0 {
			w.Fatalf("%d %s", n, name)
		}
	}
	report, err := w.Verify(context.Background())
	if err != nil || report.Truncated || len(report.Problems) > 0 {
		w.Fatalf("verify: %v\n%s", err, strings.Join(report.Problems, "\n"))
	}
}
