package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// statement names one of the statements prepared by hand: those that gates' requests run.
type statement int

const (
	stmtSavepoint statement = iota
	stmtUndo
	stmtRelease
	stmtOperation
	stmtSecret
	stmtPair
	stmtMove
	stmtEntry
	stmtEntries8
	stmtEntries64
	stmtRecord
	stmtSettle
	stmtWallet
	stmtCursor
	stmtLease
	stmtInsertLease
	stmtMoveLease
	stmtVMs
	stmtDrain
	stmtDraining
	stmtNewestEntry
	stmtEntriesOf
	stmtUsed
	stmtHalf
	stmtInsertKey
	stmtInsertHalf
	stmtInsertMetadata
	stmtDataVersion
	stmtClosed
	numStatements
)

// selectHalf reads a presented half with its key, the key's owners and its wallet. Its caller adds which.
const selectHalf = `SELECT d.half, d.not_after_us, k.id, k.status, k.expires_us, k.restriction, coalesce(p.id, ''),
		coalesce(p.domain_status, ''), a.id, a.status, w.funding, w.available, w.reserved, w.spent, w.written_off,
		w.last_entry FROM key_digests d JOIN keys k ON k.id = d.key_id JOIN accounts a ON a.id = k.account_id
		JOIN wallets w ON w.account_id = a.id LEFT JOIN projects p ON p.id = k.project_id `

var statementSQL = [numStatements]string{
	stmtSavepoint: `SAVEPOINT job`,
	stmtUndo:      `ROLLBACK TO SAVEPOINT job`,
	stmtRelease:   `RELEASE SAVEPOINT job`,
	stmtOperation: `SELECT o.request_hash, o.verdict, o.account_id, o.key_id, coalesce(k.project_id, ''), o.credits,
		o.available, o.lease_id, o.ttl_ms, o.cursor, o.epoch, coalesce(k.restriction, '')
		FROM operations o LEFT JOIN keys k ON k.id = o.key_id
		WHERE o.op_id = ?`,
	stmtSecret: selectHalf + `WHERE d.digest = ?2 AND d.half = 'secret' AND k.scheme = ?1 AND k.project_id IS NULL`,
	// Both halves are looked up whichever is known: how long an answer takes tells nothing about one of them.
	stmtPair: selectHalf + `WHERE d.digest = ?2 AND d.half = 'publishable' AND k.scheme = ?1 AND k.project_id IS NOT NULL
		UNION ALL ` + selectHalf + `WHERE d.digest = ?3 AND d.half = 'secret' AND k.scheme = ?1 AND k.project_id IS NOT NULL`,
	stmtMove: `UPDATE wallets SET funding = ?, available = ?, reserved = ?, spent = ?, written_off = ?, last_entry = ?
		WHERE account_id = ? AND funding = ? AND available = ? AND reserved = ? AND spent = ? AND written_off = ?
		AND last_entry = ?`,
	stmtEntry:     insertEntries(1),
	stmtEntries8:  insertEntries(8),
	stmtEntries64: insertEntries(64),
	stmtRecord: `INSERT INTO operations
		(op_id, request_hash, verdict, account_id, key_id, credits, available, lease_id, ttl_ms, cursor, epoch, created_us)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
	stmtSettle: `UPDATE operations SET verdict = ?, credits = ? WHERE op_id = ? AND verdict = ?`,
	stmtWallet: `SELECT funding, available, reserved, spent, written_off, last_entry FROM wallets WHERE account_id = ?`,
	stmtCursor: `SELECT coalesce(max(seq), 0) FROM changes`,
	stmtLease: `SELECT account_id, key_id, gate, boot, op_id, granted, used, state, final, draining, forfeited, unpaid
		FROM leases WHERE id = ?`,
	stmtInsertLease: `INSERT INTO leases (id, account_id, key_id, gate, boot, op_id, granted, used, state, final, draining,
		forfeited, unpaid, created_us, ends_us, closes_us) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 'open', 0, 0, 0, 0, ?, ?, ?)`,
	stmtMoveLease: `UPDATE leases SET used = ?, state = ?, final = ?, forfeited = ?, unpaid = ?,
		closed_us = CASE ?2 WHEN 'closed' THEN coalesce(closed_us, ?) END
		WHERE id = ? AND granted = ? AND used = ? AND state = ? AND final = ? AND forfeited = ? AND unpaid = ?`,
	// The boots that hold open leases of an account, another than the one given, each found by one step into the index: an
	// account may have many more leases than VMs.
	stmtVMs: `WITH RECURSIVE vms (boot) AS (
			SELECT min(boot) FROM leases WHERE account_id = ?1 AND state = 'open'
			UNION ALL SELECT (SELECT min(l.boot) FROM leases l WHERE l.account_id = ?1 AND l.state = 'open' AND l.boot > vms.boot)
			FROM vms WHERE vms.boot IS NOT NULL)
		SELECT count(boot) FROM vms WHERE boot <> ?2`,
	stmtDrain: `UPDATE leases SET draining = 1 WHERE account_id = ? AND state = 'open' AND draining = 0
		AND granted - used > ? AND NOT (boot = ? AND key_id = ?)`,
	stmtDraining:    `SELECT id, used FROM leases WHERE boot = ? AND state = 'open' AND draining = 1 AND gate = ? LIMIT ?`,
	stmtDataVersion: `PRAGMA data_version`,
	stmtClosed:      `SELECT closed_reason, closed_actor FROM accounts WHERE id = ? AND closed_us IS NOT NULL`,
	stmtNewestEntry: `SELECT coalesce(max(seq), 0) FROM entries`,
	// Along the account's chain: from its newest entry, or from the one before the entry whose id is given. In this order, and
	// not by seq: then SQLite would look through the entries of everybody.
	stmtEntriesOf: `WITH RECURSIVE page (seq, place) AS (
			SELECT CASE ?2 WHEN '' THEN w.last_entry
				ELSE (SELECT e.previous FROM entries e WHERE e.id = ?2 AND e.account_id = ?1) END, 1
			FROM wallets w WHERE w.account_id = ?1
			UNION ALL SELECT e.previous, page.place + 1 FROM page JOIN entries e ON e.seq = page.seq
			WHERE page.place < ?3)
		SELECT e.id, e.transaction_id, e.account_id, e.kind, e.bucket, e.delta, e.key_id, e.op_id, e.lease_id, e.reason, e.actor,
		coalesce(c.idempotency_key, ''), coalesce(c.refunded_entry, ''), e.created_us
		FROM page JOIN entries e ON e.seq = page.seq LEFT JOIN credits c ON c.transaction_id = e.transaction_id
		ORDER BY page.place`,
	stmtUsed: `UPDATE keys SET last_used_us = ?2 WHERE id = ?1 AND (last_used_us IS NULL OR last_used_us < ?2)`,
	stmtHalf: `SELECT d.half, k.id, k.account_id, coalesce(k.project_id, ''), k.scheme, k.import_id
		FROM key_digests d JOIN keys k ON k.id = d.key_id WHERE d.digest = ?`,
	stmtInsertKey: `INSERT INTO keys (id, account_id, project_id, scheme, name, environment, prefix, last4, publishable, status,
		created_us, updated_us, expires_us, metadata, restriction, external_ref, import_id)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'active', ?10, ?10, ?11, ?12, ?13, ?14, ?15)`,
	stmtInsertMetadata: `INSERT INTO key_metadata (name, value, key_id) VALUES (?, ?, ?)`,
	stmtInsertHalf:     `INSERT INTO key_digests (digest, key_id, half, created_us) VALUES (?, ?, ?, ?)`,
}

// entryColumns is how many parameters an entry takes.
const entryColumns = 15

// insertEntries records so many entries at once.
func insertEntries(rows int) string {
	row := "(?" + strings.Repeat(", ?", entryColumns-1) + ")"
	return `INSERT INTO entries (seq, previous, account_id, id, transaction_id, kind, bucket, delta, balance, key_id, op_id,
		lease_id, reason, actor, created_us) VALUES ` + row + strings.Repeat(", "+row, rows-1)
}

// entriesStatement is the one that records most of n entries, and how many these are.
func entriesStatement(n int) (name statement, rows int) {
	switch {
	case n >= 64:
		return stmtEntries64, 64
	case n >= 8:
		return stmtEntries8, 8
	}
	return stmtEntry, 1
}

func allStatements() []statement {
	all := make([]statement, numStatements)
	for i := range all {
		all[i] = statement(i)
	}
	return all
}

// statements holds prepared statements by name; those not asked for are nil.
type statements [numStatements]*sql.Stmt

// prepare compiles the named statements on db, which closes them with itself.
func prepare(ctx context.Context, db *sql.DB, names ...statement) (*statements, error) {
	var all statements
	for _, name := range names {
		var err error
		if all[name], err = db.PrepareContext(ctx, statementSQL[name]); err != nil {
			return nil, fmt.Errorf("prepare statement %d: %w", name, err)
		}
	}
	return &all, nil
}

func (tx *writeTx) stmt(name statement) *sql.Stmt {
	if tx.bound[name] == nil {
		tx.bound[name] = tx.tx.StmtContext(tx.ctx, tx.prepared[name])
	}
	return tx.bound[name]
}

func (tx *writeTx) exec(name statement, args ...any) (sql.Result, error) {
	result, err := tx.stmt(name).ExecContext(tx.ctx, args...)
	tx.wrote = tx.wrote || err == nil
	return result, err
}

func (tx *writeTx) rows(name statement, args ...any) (*sql.Rows, error) {
	return tx.stmt(name).QueryContext(tx.ctx, args...)
}

func (tx *writeTx) row(name statement, args ...any) *sql.Row {
	return tx.stmt(name).QueryRowContext(tx.ctx, args...)
}

// lookup reads with the prepared statements of quick.
func (s *Store) lookup(ctx context.Context) lookup {
	return func(name statement, args ...any) (*sql.Rows, error) { return s.reads[name].QueryContext(ctx, args...) }
}
