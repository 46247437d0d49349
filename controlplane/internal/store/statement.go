package store

import (
	"context"
	"database/sql"
	"fmt"
)

// statement names one of the statements prepared by hand: those that a debit runs.
type statement int

const (
	stmtSavepoint statement = iota
	stmtUndo
	stmtRelease
	stmtOperation
	stmtSubject
	stmtMove
	stmtEntry
	stmtRecord
	numStatements
)

var statementSQL = [numStatements]string{
	stmtSavepoint: `SAVEPOINT job`,
	stmtUndo:      `ROLLBACK TO SAVEPOINT job`,
	stmtRelease:   `RELEASE SAVEPOINT job`,
	stmtOperation: `SELECT request_hash, verdict, account_id, key_id, credits FROM operations WHERE op_id = ?`,
	stmtSubject: `SELECT k.id, k.status, a.id, a.status, w.funding, w.available, w.reserved, w.spent, w.written_off
		FROM keys k JOIN accounts a ON a.id = k.account_id JOIN wallets w ON w.account_id = a.id
		WHERE k.digest = ? AND k.scheme = ?`,
	stmtMove: `UPDATE wallets SET funding = funding + ?, available = available + ?, reserved = reserved + ?,
		spent = spent + ? WHERE account_id = ? AND available >= ? AND reserved >= ?`,
	stmtEntry: `INSERT INTO entries (account_id, id, transaction_id, kind, bucket, delta, balance, key_id, op_id,
		reason, actor, created_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
	stmtRecord: `INSERT INTO operations
		(op_id, request_hash, verdict, account_id, key_id, credits, created_us)
		VALUES (?, ?, ?, ?, ?, ?, ?)`,
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

func (tx *writeTx) row(name statement, args ...any) *sql.Row {
	return tx.stmt(name).QueryRowContext(tx.ctx, args...)
}
