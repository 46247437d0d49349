package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// fillEnv names the variable with the directory in which BenchmarkFill leaves its databases, for testenv/bench.
const fillEnv = "TOLLGATE_BENCH_DIR"

// BenchmarkFill makes databases of many keys. What they have to hold for measurements is in fill.
func BenchmarkFill(b *testing.B) {
	for _, f := range []struct{ accounts, keys int }{{1, 1}, {10_000, 10_000}, {10_000, 100_000}, {10_000, 1_000_000}} {
		b.Run(fmt.Sprintf("accounts=%d/keys=%d", f.accounts, f.keys), func(b *testing.B) {
			dir := os.Getenv(fillEnv)
			if dir == "" {
				dir = b.TempDir()
			}
			path := filepath.Join(dir, filledName(f.keys))
			for b.Loop() {
				for _, end := range []string{"", "-wal", "-shm"} {
					if err := os.Remove(path + end); err != nil && !os.IsNotExist(err) {
						b.Fatal(err)
					}
				}
				fill(b, path, f.accounts, f.keys)
			}
		})
	}
}

func filledName(keys int) string { return strconv.Itoa(keys) + ".db" }

// filled is the secret of a key that fill has made.
func filled(number int) string { return fmt.Sprintf("grx_sk_%048d", number) }

const filledCredits = 1 << 40

// fill makes a database of accounts with as many credits as they will ever need, and keys of theirs in equal shares, with
// the secrets filled(0) and so on. It writes what the store would have written, past the store, which would take a
// transaction and the time of an fsync for each key.
func fill(tb testing.TB, path string, accounts, keys int) {
	tb.Helper()
	ctx := context.Background()
	s, err := Open(ctx, Options{Path: path})
	must(tb, err)
	must(tb, s.Close())
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(0)&_pragma=cache_size(-262144)")
	must(tb, err)
	tx, err := db.Begin()
	must(tb, err)
	ids := fillAccountRows(tb, tx, accounts)
	fillKeyRows(tb, tx, ids, keys)
	must(tb, tx.Commit())
	_, err = db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	must(tb, err)
	must(tb, db.Close())
}

// fillAccountRows returns the ids of the accounts, in ascending order.
func fillAccountRows(tb testing.TB, tx *sql.Tx, accounts int) []string {
	tb.Helper()
	account := prepared(tb, tx, `INSERT INTO accounts (id, name, status, created_us, updated_us) VALUES (?1, 'Ada', 'active', 0, 0)`)
	wallet := prepared(tb, tx, `INSERT INTO wallets (account_id, funding, available, last_entry) VALUES (?1, -?2, ?2, ?3)`)
	entry := prepared(tb, tx, `INSERT INTO entries (seq, previous, account_id, id, transaction_id, kind, bucket, delta, balance, key_id,
		op_id, lease_id, reason, actor, created_us) VALUES (?, ?, ?, ?, ?, 'top_up', ?, ?7, ?7, '', '', '', '', 'bench', 0)`)
	ids := make([]string, accounts)
	for i := range ids {
		ids[i] = mustID(tb, prefixAccount)
		account(ids[i])
		wallet(ids[i], filledCredits, 2*i+2)
		txn := mustID(tb, prefixTransaction)
		entry(2*i+1, 0, ids[i], mustID(tb, prefixEntry), txn, "funding", -filledCredits)
		entry(2*i+2, 2*i+1, ids[i], mustID(tb, prefixEntry), txn, "available", filledCredits)
	}
	return ids
}

// fillKeyRows writes rows in the order of their tables, which takes a fraction of the time of any other order.
func fillKeyRows(tb testing.TB, tx *sql.Tx, accounts []string, keys int) {
	tb.Helper()
	type half struct {
		digest apikey.Digest
		key    string
	}
	key := prepared(tb, tx, `INSERT INTO keys (id, account_id, scheme, name, environment, prefix, last4, publishable, status,
		created_us, updated_us) VALUES (?, ?, 'genrex', 'laptop', 'production', 'grx_sk_', 'abcd', '', 'active', 0, 0)`)
	digest := prepared(tb, tx, `INSERT INTO key_digests (digest, key_id, half, created_us) VALUES (?, ?, 'secret', 0)`)
	halves := make([]half, keys)
	for i := range halves {
		halves[i] = half{apikey.DigestOf(filled(i)).Stored(), mustID(tb, prefixKey)}
		key(halves[i].key, accounts[i*len(accounts)/keys])
	}
	slices.SortFunc(halves, func(a, b half) int { return bytes.Compare(a.digest[:], b.digest[:]) })
	for i := range halves {
		digest(halves[i].digest[:], halves[i].key)
	}
}

// prepared returns a function that runs a statement.
func prepared(tb testing.TB, tx *sql.Tx, query string) func(...any) {
	tb.Helper()
	stmt, err := tx.Prepare(query)
	must(tb, err)
	return func(args ...any) {
		tb.Helper()
		_, err := stmt.Exec(args...)
		must(tb, err)
	}
}

func mustID(tb testing.TB, prefix string) string {
	tb.Helper()
	id, err := newID(prefix)
	must(tb, err)
	return id
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
