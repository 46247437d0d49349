package store

import (
	"context"
	"database/sql"
	"fmt"
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
	stmtRecord
	stmtSettle
	numStatements
)

// selectHalf reads a presented half with its key, the key's owners and its wallet. Its caller adds which.
const selectHalf = `SELECT d.half, d.not_after_us, k.id, k.status, k.expires_us, coalesce(p.id, ''),
		coalesce(p.domain_status, ''), a.id, a.status, w.funding, w.available, w.reserved, w.spent, w.written_off
		FROM key_digests d JOIN keys k ON k.id = d.key_id JOIN accounts a ON a.id = k.account_id
		JOIN wallets w ON w.account_id = a.id LEFT JOIN projects p ON p.id = k.project_id `

var statementSQL = [numStatements]string{
	stmtSavepoint: `SAVEPOINT job`,
	stmtUndo:      `ROLLBACK TO SAVEPOINT job`,
	stmtRelease:   `RELEASE SAVEPOINT job`,
	stmtOperation: `SELECT o.request_hash, o.verdict, o.account_id, o.key_id, coalesce(k.project_id, ''), o.credits,
		o.available FROM operations o LEFT JOIN keys k ON k.id = o.key_id WHERE o.op_id = ?`,
	stmtSecret: selectHalf + `WHERE d.digest = ?2 AND d.half = 'secret' AND k.scheme = ?1 AND k.project_id IS NULL`,
	// Both halves are looked up whichever is known: how long an answer takes tells nothing about one of them.
	stmtPair: selectHalf + `WHERE d.digest = ?2 AND d.half = 'publishable' AND k.scheme = ?1 AND k.project_id IS NOT NULL
		UNION ALL ` + selectHalf + `WHERE d.digest = ?3 AND d.half = 'secret' AND k.scheme = ?1 AND k.project_id IS NOT NULL`,
	stmtMove: `UPDATE wallets SET funding = funding + ?, available = available + ?, reserved = reserved + ?,
		spent = spent + ?, written_off = written_off + ?
		WHERE account_id = ? AND available >= ? AND reserved >= ? AND spent >= ?`,
	stmtEntry: `INSERT INTO entries (account_id, id, transaction_id, kind, bucket, delta, balance, key_id, op_id,
		reason, actor, created_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
	stmtRecord: `INSERT INTO operations
		(op_id, request_hash, verdict, account_id, key_id, credits, available, created_us)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
	stmtSettle: `UPDATE operations SET verdict = ?, credits = ? WHERE op_id = ? AND verdict = ?`,
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
	return tx.stmt(name).ExecContext(tx.ctx, args...)
}

func (tx *writeTx) rows(name statement, args ...any) (*sql.Rows, error) {
	return tx.stmt(name).QueryContext(tx.ctx, args...)
}

func (tx *writeTx) row(name statement, args ...any) *sql.Row {
	return tx.stmt(name).QueryRowContext(tx.ctx, args...)
}

// lookup reads with the readers' prepared statements.
func (s *Store) lookup(ctx context.Context) lookup {
	return func(name statement, args ...any) (*sql.Rows, error) { return s.reads[name].QueryContext(ctx, args...) }
}
