package store

import (
	"context"
	"fmt"
	"path/filepath"
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

// world is a store on a real file with the means to fill it.
type world struct {
	testing.TB
	*Store
	path  string
	clock *clock
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, path: filepath.Join(t.TempDir(), "tollgate.db"), clock: newClock()}
	w.reopen()
	return w
}

// reopen opens the world's file; the test closes what it had open.
func (w *world) reopen() {
	w.Helper()
	s, err := Open(context.Background(), Options{Path: w.path, Now: w.clock.Now})
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
	a, err := w.CreateAccount(context.Background(), NewAccount{Name: "Ada", Status: status})
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

func (w *world) mustAcquire(req *api.AcquireRequest) api.AcquireReply {
	w.Helper()
	reply, err := w.Acquire(context.Background(), req)
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

func acquireOf(secret, opID string, cost int64) *api.AcquireRequest {
	return &api.AcquireRequest{
		Gate: "gate-1", Boot: "boot-1", OpID: opID, Scheme: "genrex",
		Digests: []string{apikey.DigestOf(secret).Hex()}, Cost: cost, Want: cost, Mode: api.ModeStrict,
	}
}

func ptr[T any](v T) *T { return &v }

func opID(i int) string { return fmt.Sprintf("op-%d", i) }

// verify checks the whole ledger by raw SQL: every transaction sums to zero, every balance is the sum of its
// entries, and every entry's recorded balance follows from the entries before it.
func (w *world) verify() {
	w.Helper()
	for name, query := range map[string]string{
		"transactions that do not sum to zero": `SELECT count(*) FROM
			(SELECT 1 FROM entries GROUP BY transaction_id HAVING sum(delta) <> 0)`,
		"balances that differ from their entries": `SELECT count(*) FROM wallets w LEFT JOIN (SELECT account_id,
				sum(CASE bucket WHEN 'funding' THEN delta ELSE 0 END) AS funding,
				sum(CASE bucket WHEN 'available' THEN delta ELSE 0 END) AS available,
				sum(CASE bucket WHEN 'reserved' THEN delta ELSE 0 END) AS reserved,
				sum(CASE bucket WHEN 'spent' THEN delta ELSE 0 END) AS spent
				FROM entries GROUP BY account_id) e ON e.account_id = w.account_id
			WHERE w.funding <> coalesce(e.funding, 0) OR w.available <> coalesce(e.available, 0)
				OR w.reserved <> coalesce(e.reserved, 0) OR w.spent <> coalesce(e.spent, 0)`,
		"entries whose balance does not follow": `SELECT count(*) FROM (SELECT balance, sum(delta)
			OVER (PARTITION BY account_id, bucket ORDER BY id) AS running FROM entries) WHERE balance <> running`,
		"grants that differ from their debit": `SELECT count(*) FROM operations o LEFT JOIN (SELECT op_id, sum(delta) AS spent
				FROM entries WHERE bucket = 'spent' GROUP BY op_id) e ON e.op_id = o.op_id
			WHERE o.credits <> coalesce(e.spent, 0)`,
	} {
		var n int
		if err := w.readers.QueryRowContext(context.Background(), query).Scan(&n); err != nil {
			w.Fatalf("%s: %v", name, err)
		}
		if n != 0 {
			w.Fatalf("%d %s", n, name)
		}
	}
}
