package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

func TestTopUp(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountPending)
	w.mustTopUp(account.ID, 30)
	got, replayed, err := w.Store.TopUp(t.Context(), TopUp{account.ID, 12, "invoice 7", "token_1"}, nil)
	want := Transaction{
		ID: got.ID, AccountID: account.ID, Kind: "top_up", Amount: 12, Available: 42, Reason: "invoice 7", Actor: "token_1",
		CreatedAt: w.clock.Now(),
	}
	if err != nil || replayed || got != want || !strings.HasPrefix(got.ID, "txn_") {
		t.Errorf("got %+v, replayed %v, %v; want %+v", got, replayed, err, want)
	}
	if got, want := w.mustWallet(account.ID), (Wallet{AccountID: account.ID, Granted: 42, Available: 42}); got != want {
		t.Errorf("wallet %+v, want %+v", got, want)
	}
	w.verify()
}

func TestTopUpRefuses(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustTopUp(account.ID, 1)
	tests := []struct {
		name  string
		in    TopUp
		idem  *Idempotency
		field string
		want  error
	}{
		{"zero", TopUp{account.ID, 0, "", "x"}, nil, "amount", ErrInvalid},
		{"negative", TopUp{account.ID, -1, "", "x"}, nil, "amount", ErrInvalid},
		{"beyond 2^53-1", TopUp{account.ID, 1 << 53, "", "x"}, nil, "amount", ErrInvalid},
		{"sum beyond 2^53-1", TopUp{account.ID, api.MaxCredits, "", "x"}, nil, "", ledger.ErrBalanceLimit},
		{"no actor", TopUp{account.ID, 1, "", ""}, nil, "actor", ErrInvalid},
		{"long reason", TopUp{account.ID, 1, strings.Repeat("a", MaxReasonLen+1), "x"}, nil, "reason", ErrInvalid},
		{"unknown account", TopUp{"acct_absent", 1, "", "x"}, nil, "account", ErrNotFound},
		{"empty idempotency key", TopUp{account.ID, 1, "", "x"}, &Idempotency{Caller: "x"}, "idempotency key", ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := w.Store.TopUp(t.Context(), tt.in, tt.idem)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("got %v, want %v naming %q", err, tt.want, tt.field)
			}
		})
	}
	if got := w.mustWallet(account.ID); got.Granted != 1 || got.Available != 1 {
		t.Errorf("wallet %+v after refused top-ups", got)
	}
	w.verify()
}

func TestLargestBalance(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, api.MaxCredits)
	if reply := w.mustAcquire(acquireOf("secret", "op-1", api.MaxCredits)); reply.Verdict != api.Granted {
		t.Errorf("debit of everything: %s", reply.Verdict)
	}
	// What is spent still counts as granted, so nothing can overflow by spending and topping up in turn.
	if _, _, err := w.Store.TopUp(t.Context(), TopUp{account.ID, 1, "", "x"}, nil); !errors.Is(err, ledger.ErrBalanceLimit) {
		t.Errorf("got %v, want ErrBalanceLimit", err)
	}
	want := Wallet{AccountID: account.ID, Granted: api.MaxCredits, Spent: api.MaxCredits}
	if got := w.mustWallet(account.ID); got != want {
		t.Errorf("wallet %+v, want %+v", got, want)
	}
	w.verify()
}

func TestTopUpIsIdempotent(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	in := TopUp{account.ID, 10, "invoice", "token_1"}
	idem := &Idempotency{Caller: "token_1", Key: "k", RequestHash: [32]byte{1}}
	first, replayed, err := w.Store.TopUp(t.Context(), in, idem)
	if err != nil || replayed {
		t.Fatalf("first: replayed %v, %v", replayed, err)
	}
	w.mustTopUp(account.ID, 5)
	again, replayed, err := w.Store.TopUp(t.Context(), in, idem)
	if diff := cmp.Diff(first, again); diff != "" || !replayed || err != nil {
		t.Errorf("again: replayed %v, %v (-first +again):\n%s", replayed, err, diff)
	}
	other := *idem
	other.RequestHash[31] = 9
	if _, _, err := w.Store.TopUp(t.Context(), in, &other); !errors.Is(err, ErrIdempotencyMismatch) {
		t.Errorf("other body: got %v, want ErrIdempotencyMismatch", err)
	}
	if _, _, err := w.CreateKey(t.Context(), newKey(account.ID, "s"), idem); !errors.Is(err, ErrIdempotencyMismatch) {
		t.Errorf("other operation: got %v, want ErrIdempotencyMismatch", err)
	}
	if got := w.mustWallet(account.ID).Available; got != 15 {
		t.Errorf("available %d, want 15", got)
	}
	another := *idem
	another.Caller = "token_2"
	if _, replayed, err := w.Store.TopUp(t.Context(), in, &another); err != nil || replayed {
		t.Errorf("another caller's same key: replayed %v, %v", replayed, err)
	}
	w.verify()
}

func TestConcurrentTopUpsUnderOneKey(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	idem := &Idempotency{Caller: "token_1", Key: "k", RequestHash: [32]byte{1}}
	var wg sync.WaitGroup
	results := make([]Transaction, 32)
	for i := range results {
		wg.Go(func() {
			var err error
			results[i], _, err = w.Store.TopUp(context.Background(), TopUp{account.ID, 10, "", "x"}, idem)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, r := range results {
		if r != results[0] {
			t.Errorf("call %d: %+v, want %+v", i, r, results[0])
		}
	}
	if got := w.mustWallet(account.ID).Available; got != 10 {
		t.Errorf("available %d, want 10", got)
	}
}

func TestEntries(t *testing.T) {
	w := newWorld(t)
	account, other := w.mustAccount(AccountActive), w.mustAccount(AccountActive)
	key := w.mustKey(account.ID, "secret")
	grant, _, err := w.Store.TopUp(t.Context(), TopUp{account.ID, 10, "invoice", "token_1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.mustTopUp(other.ID, 99)
	w.mustAcquire(acquireOf("secret", "op-1", 4))
	got, more, err := w.Entries(t.Context(), account.ID, Page{Limit: 10})
	if err != nil || more {
		t.Fatalf("more %v, %v", more, err)
	}
	debit := Entry{AccountID: account.ID, Kind: "debit", KeyID: key.ID, OpID: "op-1", CreatedAt: w.clock.Now()}
	topUp := Entry{
		AccountID: account.ID, Kind: "top_up", TransactionID: grant.ID, Reason: "invoice", Actor: "token_1",
		CreatedAt: w.clock.Now(),
	}
	of := func(e Entry, bucket string, delta int64) Entry { e.Bucket, e.Delta = bucket, delta; return e }
	debit.TransactionID = got[0].TransactionID
	want := []Entry{of(debit, "spent", 4), of(debit, "available", -4), of(topUp, "available", 10), of(topUp, "funding", -10)}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Entry{}, "ID")); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	page, more, err := w.Entries(t.Context(), account.ID, Page{Limit: 2, After: got[0].ID})
	if diff := cmp.Diff(got[1:3], page); diff != "" || !more || err != nil {
		t.Errorf("page: more %v, %v (-want +got):\n%s", more, err, diff)
	}
}

// Pages follow the order of the books, even if ids do not ascend, as after a clock was set back.
func TestEntriesInPages(t *testing.T) {
	w := newWorld(t)
	ids := 0
	w.writer.newID = func(prefix string) (string, error) {
		ids++
		return fmt.Sprintf("%s%04d", prefix, 9999-ids), nil
	}
	account, other := w.mustAccount(AccountActive), w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 10)
	for i := range 4 {
		w.mustTopUp(other.ID, 1)
		w.mustAcquire(acquireOf("secret", opID(i), 1))
	}
	all, more, err := w.Entries(t.Context(), account.ID, Page{Limit: 10})
	if err != nil || more || len(all) != 10 || all[0].OpID != opID(3) || all[9].Kind != "top_up" {
		t.Fatalf("more %v, %v: %+v", more, err, all)
	}
	for limit := 1; limit <= len(all); limit++ {
		var got []Entry
		for page, more := (Page{Limit: limit}), true; more; page.After = got[len(got)-1].ID {
			var part []Entry
			if part, more, err = w.Entries(t.Context(), account.ID, page); err != nil || len(part) == 0 {
				t.Fatalf("pages of %d: %d entries, more %v, %v", limit, len(part), more, err)
			}
			got = append(got, part...)
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("pages of %d (-whole +paged):\n%s", limit, diff)
		}
	}
	w.verify()
	if got, more, err := w.Entries(t.Context(), account.ID, Page{Limit: 1, After: all[9].ID}); err != nil || more || len(got) != 0 {
		t.Errorf("after the first entry: %v, more %v, %v", got, more, err)
	}
	foreign, _, err := w.Entries(t.Context(), other.ID, Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []string{foreign[0].ID, "entry_absent"} {
		if got, _, err := w.Entries(t.Context(), account.ID, Page{Limit: 1, After: after}); !errors.Is(err, ErrInvalid) {
			t.Errorf("after %s: %v, %v; want ErrInvalid", after, got, err)
		}
	}
}

func TestEntriesOfWhom(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	if got, more, err := w.Entries(t.Context(), account.ID, Page{Limit: 10}); err != nil || more || len(got) != 0 {
		t.Errorf("new account: %v, more %v, %v", got, more, err)
	}
	if _, _, err := w.Entries(t.Context(), "acct_absent", Page{Limit: 10}); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent account: got %v, want ErrNotFound", err)
	}
	if _, err := w.Wallet(t.Context(), "acct_absent"); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent wallet: got %v, want ErrNotFound", err)
	}
}

func TestEntriesAreImmutable(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustTopUp(account.ID, 10)
	before, _, err := w.Entries(t.Context(), account.ID, Page{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for name, statement := range map[string]string{
		"update": "UPDATE entries SET delta = delta * 2",
		"delete": "DELETE FROM entries",
		"replace": `INSERT OR REPLACE INTO entries SELECT seq, previous, account_id, id, transaction_id, kind, bucket, delta * 2,
			balance, key_id, op_id, lease_id, reason, actor, created_us FROM entries`,
		"replace by id": `INSERT OR REPLACE INTO entries SELECT seq + 10, previous, account_id, id, transaction_id, kind, bucket,
			delta * 2, balance, key_id, op_id, lease_id, reason, actor, created_us FROM entries`,
		"upsert": `INSERT INTO entries SELECT * FROM entries WHERE true
			ON CONFLICT DO UPDATE SET delta = excluded.delta * 2`,
	} {
		if _, err := w.writer.db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s was let through", name)
		}
	}
	after, _, err := w.Entries(t.Context(), account.ID, Page{Limit: 10})
	if diff := cmp.Diff(before, after); diff != "" || err != nil {
		t.Errorf("entries, %v (-before +after):\n%s", err, diff)
	}
}

// entryLike records a debit's entry once more, as a new one but for the columns that are given with their values.
func entryLike(changes ...string) string {
	columns := []string{"seq", "previous", "account_id", "id", "transaction_id", "kind", "bucket", "delta", "balance", "key_id",
		"op_id", "lease_id", "reason", "actor", "created_us"}
	values := slices.Clone(columns)
	values[0], values[3] = "seq + 1000", "id || 'x'"
	for i := 0; i < len(changes); i += 2 {
		values[slices.Index(columns, changes[i])] = changes[i+1]
	}
	return "INSERT INTO entries SELECT " + strings.Join(values, ", ") + " FROM entries WHERE kind = 'debit' AND bucket = 'spent'"
}

// The schema holds by itself what the code is careful about.
func TestSchemaRefuses(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustTopUp(account.ID, 10)
	key := w.mustPair(w.mustSite().ID, "1")
	w.mustKey(account.ID, "secret")
	w.mustAcquire(acquireOf("secret", "boot-1-a", 3))
	w.mustSync(void("boot-1-b"))
	// Were it refused too, the statements about entries would be for another reason.
	if result, err := w.writer.db.ExecContext(t.Context(), "SAVEPOINT whole; "+entryLike()+"; ROLLBACK TO whole; RELEASE whole"); err != nil {
		t.Fatalf("an entry as it should be: %v, %v", result, err)
	}
	for name, statement := range map[string]string{
		"negative balance":       "UPDATE wallets SET available = -1, spent = 11",
		"unbalanced wallet":      "UPDATE wallets SET available = 11",
		"balance beyond 2^53-1":  "UPDATE wallets SET funding = -9007199254740992, available = 9007199254740992",
		"fractional balance":     "UPDATE wallets SET available = 9.5, spent = 0.5",
		"text as a balance":      "UPDATE wallets SET available = 'ten'",
		"orphaned wallet":        "DELETE FROM accounts",
		"unknown status":         "UPDATE accounts SET status = 'gone'",
		"second newest half":     "INSERT INTO key_digests SELECT zeroblob(32), key_id, half, NULL, 0 FROM key_digests",
		"half of no key":         "INSERT INTO key_digests VALUES (zeroblob(32), 'key_absent', 'secret', 1, 0)",
		"pair without a project": "UPDATE keys SET project_id = NULL WHERE id = '" + key.ID + "'",
		"secret with a project":  "UPDATE keys SET project_id = (SELECT id FROM projects) WHERE id <> '" + key.ID + "'",
		"live key replaced":      "UPDATE keys SET replaced_by = id",
		"verified at no time":    "UPDATE projects SET domain_changed_us = NULL",
		"void into the memo":     entryLike("kind", "'void'", "bucket", "'written_off'"),
		"unpaid out of balance":  entryLike("kind", "'unpaid'", "bucket", "'available'"),
		"debit of a lease":       entryLike("lease_id", "'lease_1'"),
		"entry after itself":     entryLike("previous", "seq + 1000"),
		"entry of no account":    entryLike("account_id", "'acct_absent'"),
		"second entry of an id":  entryLike("id", "id"),
		"entry before the first": entryLike("previous", "-1"),
		"last entry before all":  "UPDATE wallets SET last_entry = -1",
		"grant of nothing":       "UPDATE operations SET credits = 0 WHERE verdict = 'granted'",
		"grant of no request":    "UPDATE operations SET request_hash = NULL",
		"tombstone with credit":  "UPDATE operations SET credits = 3 WHERE verdict = 'voided'",
		"unknown verdict":        "UPDATE operations SET verdict = 'gone'",
		"entry of zero":          entryLike("delta", "0"),
	} {
		if _, err := w.writer.db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s was let through", name)
		}
	}
	w.verify()
}
