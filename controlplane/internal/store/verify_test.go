package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// fullWorld has every kind of row that a database can hold, and is closed.
func fullWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	site := w.mustSite()
	pair := w.mustPair(site.ID, "1")
	w.mustRotate(pair.ID, Rotation{Secret: newSecret("sk_2"), Publishable: newPublishable("pk_2")})
	lone := w.mustKey(site.AccountID, "lone")
	if _, _, err := w.ReplaceKey(t.Context(), lone.ID, Replacement{Secret: newSecret("lone 2")}, nil); err != nil {
		t.Fatal(err)
	}
	w.mustAccount(AccountActive)
	w.mustTopUp(site.AccountID, 100)
	w.mustTopUp(site.AccountID, 11)
	req := acquireOf("", "boot-1-a", 30)
	req.Scheme, req.Digests = "vexrail", digestsOf("pk_2", "sk_2")
	if reply, err := w.Acquire(t.Context(), req, verified); err != nil || reply.Verdict != api.Granted {
		t.Fatalf("acquire: %+v, %v", reply, err)
	}
	w.mustAcquire(acquireOf("lone 2", "boot-1-b", 5))
	w.mustAcquire(acquireOf("lone 2", "boot-1-c", 500))
	w.mustSync(void("boot-1-b", "boot-1-d"))
	w.mustSync(unpaid("boot-1-c", 500, "genrex", "lone 2"))
	w.mustSync(unpaid("boot-1-e", 7, "genrex", "lone 2"))
	w.mustSync(unpaid("boot-1-f", 7, "genrex", "absent"))
	w.fillLeases()
	w.fillCredits()
	w.verify()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// fillCredits gives another account what people can do to one: an adjustment either way, a refund of an entry, and its
// closing.
func (w *world) fillCredits() {
	w.Helper()
	a := w.mustAccount(AccountActive)
	w.mustKey(a.ID, "refunded")
	w.mustTopUp(a.ID, 50)
	w.mustAcquire(acquireOf("refunded", "boot-1-r", 20))
	err := errors.Join(w.adjust(a.ID, 5), w.refund(a.ID, 8, w.spentBy(a.ID, "boot-1-r").ID))
	if err == nil {
		_, _, err = w.CloseAccount(context.Background(), a.ID, Closing{WriteOffBalance, "over", "tester"}, nil)
	}
	if err != nil {
		w.Fatal(err)
	}
}

// fillLeases gives another account leases in every state: one open, one final, one voided, and two closed with late
// reports, of which one could not be collected.
func (w *world) fillLeases() {
	w.Helper()
	a := w.mustAccount(AccountActive)
	w.mustKey(a.ID, "leased")
	w.mustTopUp(a.ID, 200)
	lease := func(op string) string { return w.mustAcquire(leaseOf("boot-1", op, "leased", 1, 20)).Lease.ID }
	report := func(id string, used int64, final bool) {
		w.mustSync(&api.SyncRequest{Leases: []api.LeaseReport{{Lease: id, Used: used, Final: final}}})
	}
	closed, late := lease("l1"), lease("l2")
	w.clock.Advance(time.Hour)
	if n, err := w.CloseExpired(context.Background(), 10); n != 2 || err != nil {
		w.Fatalf("closed %d, %v", n, err)
	}
	report(late, 8, true)
	final := lease("l3")
	report(final, 4, true)
	lease("l4")
	w.mustSync(void("boot-1-l4"))
	open := lease("l5")
	report(open, 3, false)
	w.mustAcquire(acquireOf("leased", "boot-1-rest", w.mustWallet(a.ID).Available))
	report(closed, 2, true)
}

func TestVerifyCounts(t *testing.T) {
	w := fullWorld(t)
	s, err := OpenReadOnly(t.Context(), Options{Path: w.path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Verify(t.Context())
	if err != nil || got.Accounts != 4 || got.Transactions != 27 || got.Entries != 51 || got.Operations != 13 ||
		got.Problems != nil || got.Truncated {
		t.Errorf("got %+v, %v", got, err)
	}
}

// damage opens a copy of the database at path without its guards and runs the statements on it.
func damage(t *testing.T, path string, statements string) string {
	t.Helper()
	damaged := filepath.Join(t.TempDir(), "damaged.db")
	copyFile(t, path, damaged)
	db, err := sql.Open("sqlite", "file:"+damaged+"?_pragma=foreign_keys(0)&_pragma=ignore_check_constraints(1)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const guards = "DROP TRIGGER entries_no_update; DROP TRIGGER entries_no_delete; DROP INDEX key_digests_newest;"
	result, err := db.ExecContext(t.Context(), guards+statements)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n < 1 {
		t.Fatalf("%d rows damaged, %v", n, err)
	}
	return damaged
}

// Each statement does one kind of damage; the report has to name it by the ids and amounts that are given.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	w := fullWorld(t)
	const copyEntry = `INSERT INTO entries SELECT seq + 1000, previous, account_id, id || 'x', transaction_id || 'x', kind, bucket,
		delta, balance, key_id, op_id, lease_id, reason, actor, created_us FROM entries WHERE `
	tests := []struct {
		name, damage string
		want         []string
	}{
		{"balance raised", "UPDATE wallets SET available = available + 1 WHERE spent > 0",
			[]string{"balance is not the sum of its entries: account=acct_", "bucket=available balance=82 entries=81", "granted=111 available=82 reserved=0 spent=30"}},
		{"credits moved between balances", "UPDATE wallets SET available = available + 1, spent = spent - 1 WHERE spent > 0",
			[]string{"bucket=available balance=82 entries=81", "bucket=spent balance=29 entries=30"}},
		{"grant forged", "UPDATE wallets SET funding = funding - 5, available = available + 5 WHERE spent > 0",
			[]string{"bucket=funding balance=-116 entries=-111"}},
		{"memo lowered", "UPDATE wallets SET written_off = 0 WHERE spent > 0", []string{"bucket=written_off balance=0 entries=507"}},
		{"memo negative", "UPDATE wallets SET written_off = -1 WHERE spent > 0", []string{"balance out of range: account=acct_", "written_off=-1"}},
		{"balance negative", "UPDATE wallets SET available = -1, spent = 112 WHERE spent > 0", []string{"balance out of range: account=acct_", "available=-1"}},
		{"index astray", `PRAGMA writable_schema = 1; UPDATE sqlite_schema
			SET sql = 'CREATE INDEX keys_by_account ON keys (account_id, name)' WHERE name = 'keys_by_account'`,
			[]string{"damaged file: found=row 1 missing from index keys_by_account"}},
		{"wallet lost", "DELETE FROM wallets WHERE spent > 0", []string{"account without a wallet: account=acct_", "bucket=spent balance=<nil> entries=30"}},
		{"empty wallet lost", "DELETE FROM wallets WHERE spent = 0", []string{"account without a wallet: account=acct_"}},
		{"account lost", "DELETE FROM accounts WHERE id IN (SELECT account_id FROM entries)",
			[]string{"wallet without an account", "entry of an account that does not exist: entry=entry_", "key of an account that does not exist: key=key_", "project of an account that does not exist: project=proj_"}},
		{"entry passed over", "UPDATE entries SET previous = previous - 1 WHERE op_id = 'boot-1-b' AND kind = 'debit' AND bucket = 'available'",
			[]string{"entry does not follow the account's entry before it: entry=entry_"}},
		{"entry out of order", "UPDATE entries SET seq = seq + 1000 WHERE op_id = 'boot-1-a' AND bucket = 'spent'",
			[]string{"entry does not follow the account's entry before it: entry=entry_", "wallet's last entry is not the account's newest: account=acct_"}},
		{"wallet's last entry lost", "UPDATE wallets SET last_entry = 0 WHERE spent > 0",
			[]string{"wallet's last entry is not the account's newest: account=acct_", "last_entry=0 newest="}},
		{"entry raised", "UPDATE entries SET delta = delta + 1 WHERE kind = 'debit' AND bucket = 'spent' AND op_id = 'boot-1-a'",
			[]string{"transaction does not sum to zero: txn=txn_", "sum=1", "running balance does not follow", "bucket=spent balance=30 entries=31"}},
		{"entry lost", "DELETE FROM entries WHERE kind = 'debit' AND bucket = 'spent' AND op_id = 'boot-1-a'",
			[]string{"sum=-30", "transaction mixes what does not belong together", "bucket=spent balance=30 entries=0"}},
		{"transaction lost", "DELETE FROM entries WHERE op_id = 'boot-1-a'",
			[]string{"operation and debit differ: op=boot-1-a", "expected=30 found=0 entries=0"}},
		{"debit lost and balances adjusted", `DELETE FROM entries WHERE op_id = 'boot-1-a';
			UPDATE wallets SET available = available + 30, spent = spent - 30 WHERE spent > 0`,
			[]string{"operation and debit differ: op=boot-1-a"}},
		{"reversal lost", "DELETE FROM entries WHERE kind = 'void'",
			[]string{"voided operation and its reversal differ: op=boot-1-b", "expected=5 found=0 entries=0"}},
		{"reversal forged", `UPDATE operations SET verdict = 'voided' WHERE op_id = 'boot-1-a'`,
			[]string{"voided operation and its reversal differ: op=boot-1-a", "expected=30 found=0"}},
		{"reversal of what is still granted", "UPDATE operations SET verdict = 'granted' WHERE op_id = 'boot-1-b'",
			[]string{"voided operation and its reversal differ: op=boot-1-b", "expected=0 found=5"}},
		{"debited twice", copyEntry + "op_id = 'boot-1-a'",
			[]string{"operation and debit differ: op=boot-1-a", "expected=30 found=60 entries=2"}},
		{"reversed twice", copyEntry + "op_id = 'boot-1-b' AND kind = 'void'", []string{"op=boot-1-b", "expected=5 found=10 entries=2"}},
		{"written off twice", copyEntry + "op_id = 'boot-1-e'", []string{"unpaid operation and what was written off differ: op=boot-1-e", "expected=7 found=14"}},
		{"write-off lost", "DELETE FROM entries WHERE op_id = 'boot-1-c'", []string{"unpaid operation and what was written off differ: op=boot-1-c", "expected=500 found=0"}},
		{"operation lost", "DELETE FROM operations WHERE op_id = 'boot-1-a'", []string{"operation and debit differ: op=boot-1-a", "expected=0 found=30"}},
		{"unpaid operation lost", "DELETE FROM operations WHERE op_id = 'boot-1-e'", []string{"op=boot-1-e", "expected=0 found=7"}},
		{"operation of another price", "UPDATE operations SET credits = 29 WHERE op_id = 'boot-1-a'", []string{"op=boot-1-a", "expected=29 found=30"}},
		{"operation of another account", "UPDATE operations SET account_id = (SELECT account_id FROM wallets WHERE spent = 0) WHERE op_id = 'boot-1-a'",
			[]string{"operation and debit differ: op=boot-1-a", "operation of another account than its key: op=boot-1-a"}},
		{"operation of another key", "UPDATE operations SET key_id = (SELECT id FROM keys WHERE replaced_by IS NOT NULL) WHERE op_id = 'boot-1-a'",
			[]string{"operation and debit differ: op=boot-1-a"}},
		{"operation of no key", "UPDATE operations SET key_id = 'key_absent' WHERE op_id = 'boot-1-a'", []string{"operation of a key that does not exist: op=boot-1-a", "key=key_absent"}},
		{"denial that has credits", "UPDATE operations SET verdict = 'insufficient_credits' WHERE op_id = 'boot-1-a'", []string{"operation and debit differ: op=boot-1-a"}},
		{"another balance answered", "UPDATE operations SET available = 1 WHERE op_id = 'boot-1-a'",
			[]string{"operation was answered with another balance than its debit left: op=boot-1-a", "available=1 balance=81"}},
		{"running balance changed", "UPDATE entries SET balance = 1 WHERE kind = 'debit' AND bucket = 'available' AND op_id = 'boot-1-b'",
			[]string{"running balance does not follow", "bucket=available balance=1 entries=76"}},
		{"entry of another operation", "UPDATE entries SET op_id = 'boot-1-b' WHERE op_id = 'boot-1-a' AND bucket = 'spent'",
			[]string{"transaction mixes what does not belong together", "operations=2"}},
		{"entry of another account", "UPDATE entries SET account_id = (SELECT account_id FROM wallets WHERE spent = 0) WHERE op_id = 'boot-1-a' AND bucket = 'spent'",
			[]string{"transaction mixes what does not belong together", "accounts=2"}},
		{"debit without an operation", "UPDATE entries SET op_id = '' WHERE op_id = 'boot-1-a'",
			[]string{"entry does not fit its kind", "operation and debit differ: op=boot-1-a", "expected=0 found=30"}},
		{"debit upside down", "UPDATE entries SET delta = -delta WHERE op_id = 'boot-1-a'", []string{"entry does not fit its kind", "kind=debit bucket=available delta=30 op=boot-1-a"}},
		{"memo in a debit", "UPDATE entries SET bucket = 'written_off' WHERE op_id = 'boot-1-a' AND bucket = 'spent'",
			[]string{"entry does not fit its kind", "kind=debit bucket=written_off"}},
		{"more reserved than leased", "UPDATE wallets SET reserved = reserved + 1, available = available - 1 WHERE reserved > 0",
			[]string{"reserved is not what open leases hold: account=acct_", "reserved=18 held=17"}},
		{"usage of a lease raised", "UPDATE leases SET used = used + 1 WHERE state = 'open'",
			[]string{"reserved is not what open leases hold", "reserved=17 held=16", "lease and its entries differ: lease_id=lease_"}},
		{"lease closed alone", "UPDATE leases SET state = 'closed', closed_us = 1 WHERE state = 'open'",
			[]string{"reserved is not what open leases hold", "reserved=17 held=0"}},
		{"lease opened again", "UPDATE leases SET state = 'open' WHERE final = 1 AND used = 4", []string{"held=33"}},
		{"open lease lost", "DELETE FROM leases WHERE state = 'open'", []string{"reserved=17 held=0", "lease and its entries differ"}},
		{"lease of more credits", "UPDATE leases SET granted = 21, used = 4 WHERE state = 'open'", []string{"granted=21 reserve=20"}},
		{"lease forged", "INSERT INTO leases SELECT 'lease_x', account_id, key_id, gate, boot, 'boot-1-x', granted, used, state, final, draining, forfeited, unpaid, created_us, ends_us, closes_us, closed_us FROM leases WHERE final = 1 AND used = 4",
			[]string{"lease and its entries differ: lease_id=lease_x"}},
		{"usage of a closed lease raised", "UPDATE leases SET used = used + 1 WHERE final = 1 AND used = 4", []string{"charged=5 spent=4"}},
		{"late usage not paid", "UPDATE leases SET unpaid = unpaid + 1 WHERE used = 8", []string{"charged=7 spent=8"}},
		{"late usage paid after all", "UPDATE leases SET unpaid = 0 WHERE unpaid = 2", []string{"charged=2 spent=0"}},
		{"late write-off lost", "DELETE FROM entries WHERE kind = 'late_write_off'", []string{"lease left more unpaid than was written off: lease=lease_", "unpaid=2 memo=0"}},
		{"late write-off raised", "UPDATE entries SET delta = 3 WHERE kind = 'late_write_off'", []string{"unpaid=2 memo=3"}},
		{"operation of another lease", "UPDATE operations SET lease_id = 'lease_x' WHERE op_id = 'boot-1-l5'", []string{"operation of another lease than its entries: op=boot-1-l5"}},
		{"operation of a lease lost", "DELETE FROM operations WHERE op_id = 'boot-1-l5'", []string{"operation and what was reserved differ: op=boot-1-l5", "expected=0 found=20"}},
		{"lease of another key's account", "UPDATE leases SET account_id = (SELECT account_id FROM wallets WHERE spent = 30) WHERE state = 'open'",
			[]string{"lease of another account than its key: lease=lease_", "lease and its entries differ"}},
		{"entry of no lease", "UPDATE entries SET lease_id = '' WHERE kind = 'release'", []string{"entry does not fit its kind", "lease and its entries differ"}},
		{"credits of people lost", "DELETE FROM credits WHERE kind = 'adjustment'", []string{"credits moved by people and their entries differ: txn=txn_", "amount=0 entries=5"}},
		{"credits of people forged", "INSERT INTO credits SELECT 'txn_x', account_id, kind, amount, '', NULL, NULL FROM credits WHERE kind = 'refund'",
			[]string{"credits moved by people and their entries differ: txn=txn_x", "amount=8 entries=0"}},
		{"another amount of people", "UPDATE credits SET amount = 21 WHERE kind = 'refund'",
			[]string{"credits moved by people and their entries differ", "amount=21 entries=8", "entry of which more was refunded than it spent: entry=entry_", "spent=20 refunded=21",
				"more was given back of an operation than it spent: op=boot-1-r", "returned=21"}},
		{"credits of another account", "UPDATE credits SET account_id = (SELECT min(id) FROM accounts) WHERE kind = 'refund'",
			[]string{"credits moved by people and their entries differ", "entry of which more was refunded than it spent"}},
		{"adjustment of what is spent", "UPDATE entries SET bucket = 'spent' WHERE kind = 'adjustment' AND bucket = 'funding'", []string{"entry does not fit its kind", "kind=adjustment bucket=spent"}},
		{"refund by a gate", "UPDATE entries SET op_id = 'boot-1-r' WHERE kind = 'refund'", []string{"entry does not fit its kind", "kind=refund"}},
		{"closed account with credits", "UPDATE wallets SET available = 1 WHERE account_id = (SELECT id FROM accounts WHERE closed_us IS NOT NULL)",
			[]string{"closed account has credits available: account=acct_", "available=1"}},
		{"key of another account", "UPDATE keys SET account_id = (SELECT account_id FROM wallets WHERE spent = 0) WHERE project_id IS NOT NULL",
			[]string{"key of a project that is not its account's: key=key_"}},
		{"domain unverified behind its proof", `INSERT INTO domain_proofs SELECT id, 'dns', '` + tokenA + `', 'dns', 1, 1, 1, 'verified', 0, NULL, 1 FROM projects;
			UPDATE projects SET domain_status = 'lapsed'`, []string{"proof of a domain that does not count as verified: project=proj_", "status=lapsed"}},
		{"project lost", "DELETE FROM projects", []string{"key of a project that is not its account's: key=key_", "project=proj_"}},
		{"key lost", "DELETE FROM keys WHERE project_id IS NOT NULL", []string{"half of a key that does not exist: key=key_", "half=publishable", "operation of a key that does not exist"}},
		{"secret lost", "DELETE FROM key_digests WHERE half = 'secret' AND not_after_us IS NULL", []string{"key without exactly one newest secret: key=key_", "newest=0"}},
		{"old secret revived", "UPDATE key_digests SET not_after_us = NULL WHERE half = 'secret'", []string{"key without exactly one newest secret: key=key_", "newest=2"}},
		{"publishable half lost", "DELETE FROM key_digests WHERE half = 'publishable'", []string{"key with the wrong number of newest publishable halves: key=key_", "newest=0"}},
		{"publishable half of a lone secret", "UPDATE key_digests SET key_id = (SELECT id FROM keys WHERE replaced_by IS NOT NULL) WHERE half = 'publishable' AND not_after_us IS NULL",
			[]string{"key with the wrong number of newest publishable halves: key=key_", "newest=1"}},
		{"publishable half exchanged", "UPDATE keys SET publishable = 'pk_1' WHERE project_id IS NOT NULL", []string{"publishable half shown is not the one looked up: key=key_"}},
		{"replaced by nobody", "UPDATE keys SET replaced_by = 'key_absent' WHERE replaced_by IS NOT NULL", []string{"key was replaced by none of its owner's: key=key_", "replaced_by=key_absent"}},
		{"replaced by itself", "UPDATE keys SET replaced_by = id WHERE replaced_by IS NOT NULL", []string{"key was replaced by none of its owner's"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := OpenReadOnly(t.Context(), Options{Path: damage(t, w.path, tt.damage)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			report, err := s.Verify(t.Context())
			if err != nil || len(report.Problems) == 0 {
				t.Fatalf("got %+v, %v", report, err)
			}
			all := strings.Join(report.Problems, "\n")
			for _, want := range tt.want {
				if !strings.Contains(all, want) {
					t.Errorf("no %q in:\n%s", want, all)
				}
			}
			for _, half := range []string{"pk_1", "sk_1", "pk_2", "sk_2", "lone", "lone 2"} {
				wire := apikey.DigestOf(half)
				for _, d := range []apikey.Digest{wire, wire.Stored()} {
					if strings.Contains(all, d.Hex()) || strings.Contains(all, string(d[:])) || strings.Contains(all, fmt.Sprint(d[:])) {
						t.Error("the report has a digest")
					}
				}
			}
		})
	}
}

func TestVerifyTruncates(t *testing.T) {
	w := fullWorld(t)
	const many = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO accounts (id, name, status, created_us, updated_us) SELECT 'acct_' || i, 'x', 'active', 0, 0 FROM n`
	for n, truncated := range map[int]bool{maxProblems: false, maxProblems + 1: true} {
		s, err := OpenReadOnly(t.Context(), Options{Path: damage(t, w.path, fmt.Sprintf(many, n))})
		if err != nil {
			t.Fatal(err)
		}
		report, err := s.Verify(t.Context())
		if err := errors.Join(err, s.Close()); err != nil || len(report.Problems) != maxProblems || report.Truncated != truncated {
			t.Errorf("%d problems: %d listed, truncated %v, %v", n, len(report.Problems), report.Truncated, err)
		}
	}
}

// A check that looks through one table for each row of another would take days on a ledger of some size.
func TestVerifyTakesNoNestedScans(t *testing.T) {
	w := newWorld(t)
	for _, c := range checks {
		rows, err := w.readers.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+c.query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		scanned := map[int]bool{}
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			again := strings.HasPrefix(step, "SCAN ") && scanned[parent]
			scanned[parent] = scanned[parent] || strings.HasPrefix(step, "SCAN ")
			// An account has any number of entries, so looking them up by account is no better.
			if again || strings.HasPrefix(step, "SEARCH e ") || strings.HasPrefix(step, "SEARCH entries ") {
				t.Errorf("%s: %s", c.problem, step)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
}
