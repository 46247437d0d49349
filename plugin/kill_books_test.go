//go:build !wasip1

package main

import (
	"database/sql"
	"net/url"
	"testing"

	_ "modernc.org/sqlite"
)

// entry is one row of the ledger as this check reads it.
type entry struct {
	id, transaction, kind, bucket, op, lease string
	delta, balance                           int64
}

// books is one account as recomputed from its entries.
type books struct {
	balances map[string]int64
	sums     map[string]int64 // by transaction
	// moved is what each operation did, by the kind of entry: what it took, gave back, or left unpaid.
	moved map[string]map[string]int64
	// leases is what is still reserved for each lease, and leased what was spent from all of them.
	leases map[string]int64
	leased int64
}

// checkBooks opens the database by itself, with no code of the control plane, and recomputes every customer's
// account from the entries alone.
func checkBooks(t *testing.T, path string, customers []*customer) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	operations := map[string]string{}
	totals := map[string]int{}
	for _, one := range customers {
		b := recompute(t, one.account, entriesOf(t, db, one.account))
		b.checkOperations(t, one)
		b.checkRecords(t, db, one)
		totals["lease"] += len(b.leases)
		for kind, ops := range b.moved {
			totals[kind] += len(ops)
			for op := range ops {
				if other, ok := operations[op]; ok && other != one.account {
					t.Errorf("operation %s is in the books of %s and %s", op, other, one.account)
				}
				operations[op] = one.account
			}
		}
	}
	t.Logf("books: %v operations", totals)
	if totals["void"] == 0 || totals["unpaid"] == 0 || totals["lease"] < killClients {
		t.Errorf("books: %v operations, so that nothing is known of some kind", totals)
	}
}

// entriesOf reads an account's entries in the order in which they were made.
func entriesOf(t *testing.T, db *sql.DB, account string) []entry {
	t.Helper()
	rows, err := db.Query(`SELECT id, transaction_id, kind, bucket, op_id, lease_id, delta, balance FROM entries WHERE account_id = ? ORDER BY seq`, account)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var list []entry
	for rows.Next() {
		var e entry
		if err := rows.Scan(&e.id, &e.transaction, &e.kind, &e.bucket, &e.op, &e.lease, &e.delta, &e.balance); err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// recompute adds entries up. Balances that go below zero or do not follow from the entries are failures.
func recompute(t *testing.T, account string, entries []entry) books {
	t.Helper()
	b := books{balances: map[string]int64{}, sums: map[string]int64{}, moved: map[string]map[string]int64{"debit": {}, "void": {}, "unpaid": {}},
		leases: map[string]int64{}}
	for _, e := range entries {
		b.balances[e.bucket] += e.delta
		if got := b.balances[e.bucket]; e.balance != got || e.bucket != "funding" && got < 0 {
			t.Errorf("%s: entry %s leaves %s at %d, recorded as %d", account, e.id, e.bucket, got, e.balance)
		}
		// What is written off is a memo beside the sums.
		if e.bucket != "written_off" {
			b.sums[e.transaction] += e.delta
		}
		if e.lease != "" {
			b.lease(t, account, &e)
			continue
		}
		if e.bucket != "spent" && e.bucket != "written_off" {
			continue
		}
		ops, ok := b.moved[e.kind]
		if !ok || ops[e.op] != 0 || e.op == "" {
			t.Errorf("%s: operation %q has a second %s, or one that should not be", account, e.op, e.kind)
			continue
		}
		ops[e.op] = e.delta
	}
	return b
}

// lease adds up an entry of a lease. A lease is reserved once, and never holds less than nothing.
func (b *books) lease(t *testing.T, account string, e *entry) {
	t.Helper()
	switch e.bucket {
	case "reserved":
		if _, known := b.leases[e.lease]; known == (e.kind == "reserve") {
			t.Errorf("%s: entry %s: %s of lease %s, which was reserved before: %t", account, e.id, e.kind, e.lease, known)
		}
		if b.leases[e.lease] += e.delta; b.leases[e.lease] < 0 {
			t.Errorf("%s: entry %s leaves %d of lease %s", account, e.id, b.leases[e.lease], e.lease)
		}
	case "spent":
		b.leased += e.delta
	case "written_off":
		t.Errorf("%s: %s of %d from lease %s, although every report came in time", account, e.kind, e.delta, e.lease)
	}
}

// checkOperations holds each operation to at most one credit, and all of them to what the client was served.
func (b *books) checkOperations(t *testing.T, one *customer) {
	t.Helper()
	for transaction, sum := range b.sums {
		if sum != 0 {
			t.Errorf("%s: transaction %s sums to %d", one.account, transaction, sum)
		}
	}
	debits, voids, unpaid := b.moved["debit"], b.moved["void"], b.moved["unpaid"]
	for op, amount := range debits {
		if amount != 1 || unpaid[op] != 0 {
			t.Errorf("%s: operation %s took %d credits, want 1, and left %d unpaid", one.account, op, amount, unpaid[op])
		}
	}
	for op, amount := range voids {
		if amount != -1 || debits[op] != 1 {
			t.Errorf("%s: operation %s gave back %d of %d", one.account, op, -amount, debits[op])
		}
	}
	if len(unpaid) > 0 && !one.trusted {
		t.Errorf("%s: %d requests were served unpaid", one.account, len(unpaid))
	}
	for lease, left := range b.leases {
		if left != 0 || !one.leased {
			t.Errorf("%s: lease %s still holds %d credits", one.account, lease, left)
		}
	}
	if one.leased && len(debits) > 0 {
		t.Errorf("%s: %d requests were asked for one by one", one.account, len(debits))
	}
	paid := int64(len(debits)-len(voids)) + b.leased
	if paid+int64(len(unpaid)) != one.answers[200] || b.balances["spent"] != paid {
		t.Errorf("%s: served %d requests, but %d were paid (%d by leases, %d voided), %d are unpaid, and %d credits are spent",
			one.account, one.answers[200], paid, b.leased, len(voids), len(unpaid), b.balances["spent"])
	}
}

// checkRecords compares what the entries say with the account's wallet and operations.
func (b *books) checkRecords(t *testing.T, db *sql.DB, one *customer) {
	t.Helper()
	buckets := []string{"funding", "available", "reserved", "spent", "written_off"}
	var wallet [5]int64
	err := db.QueryRow(`SELECT funding, available, reserved, spent, written_off FROM wallets WHERE account_id = ?`, one.account).
		Scan(&wallet[0], &wallet[1], &wallet[2], &wallet[3], &wallet[4])
	if err != nil {
		t.Fatal(err)
	}
	for i, bucket := range buckets {
		if wallet[i] != b.balances[bucket] {
			t.Errorf("%s: the wallet has %s %d, the entries make it %d", one.account, bucket, wallet[i], b.balances[bucket])
		}
	}
	for verdict, want := range map[string]int{"granted": len(b.moved["debit"]) - len(b.moved["void"]), "unpaid": len(b.moved["unpaid"])} {
		var got int
		if err := db.QueryRow(`SELECT count(*) FROM operations WHERE account_id = ? AND verdict = ? AND lease_id = ''`, one.account, verdict).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: %d operations are %s, the entries make it %d", one.account, got, verdict, want)
		}
	}
}
