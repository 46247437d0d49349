package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// maxProblems bounds what a Report lists.
const maxProblems = 100

// Report says what Verify found. Problems names the ids and amounts of what is wrong, never a digest; it is empty if
// nothing is. Truncated means that there are more than it lists.
type Report struct {
	Accounts, Transactions, Entries, Operations int64

	Problems  []string
	Truncated bool
}

// Verify recomputes every sum of the ledger and follows every reference, all in one state of the database, which
// others may change meanwhile. What is wrong with the data is in the Report; an error means that it could not be
// read. While it runs, the database's log cannot be folded into the file.
func (s *Store) Verify(ctx context.Context) (Report, error) { return s.VerifyWith(ctx, nil) }

// VerifyWith is Verify, and tells how many of its checks are done.
func (s *Store) VerifyWith(ctx context.Context, progress Progress) (Report, error) {
	return s.verify(ctx, func(v *verification) error { return v.run(progress) })
}

// integrity checks the file alone, whatever its schema is.
func (s *Store) integrity(ctx context.Context) (Report, error) {
	return s.verify(ctx, func(v *verification) error { return v.check(damagedFile) })
}

func (s *Store) verify(ctx context.Context, run func(*verification) error) (Report, error) {
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Report{}, s.readError("database", err)
	}
	v := &verification{ctx: ctx, tx: tx}
	err = run(v)
	// Nothing was written, so how the transaction ends cannot matter.
	_ = tx.Rollback()
	if err != nil {
		return Report{}, s.readError("database", err)
	}
	return v.report, nil
}

// verification is one run of Verify.
type verification struct {
	ctx    context.Context
	tx     *sql.Tx
	report Report
}

func (v *verification) run(progress Progress) error {
	err := v.tx.QueryRowContext(v.ctx, `SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM entries),
		(SELECT count(*) FROM operations), (SELECT count(*) FROM (SELECT 1 FROM entries GROUP BY transaction_id))`).
		Scan(&v.report.Accounts, &v.report.Entries, &v.report.Operations, &v.report.Transactions)
	if err != nil {
		return err
	}
	for i, c := range checks {
		progress.report("verify", int64(i), int64(len(checks)))
		if err := v.check(c); err != nil {
			return fmt.Errorf("%s: %w", c.problem, err)
		}
	}
	err = v.checkPublishables()
	progress.report("verify", int64(len(checks)), int64(len(checks)))
	return err
}

// check is a query whose every row is a problem.
type check struct {
	problem string
	query   string
}

// check reports each row as the problem and the row's columns.
func (v *verification) check(c check) error {
	rows, err := v.tx.QueryContext(v.ctx, c.query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values := make([]any, len(columns))
	for i := range values {
		values[i] = new(any)
	}
	for !v.report.Truncated && rows.Next() {
		if err := rows.Scan(values...); err != nil {
			return err
		}
		var line strings.Builder
		line.WriteString(c.problem + ":")
		for i, name := range columns {
			fmt.Fprintf(&line, " %s=%v", name, *values[i].(*any))
		}
		v.add(line.String())
	}
	return rows.Err()
}

func (v *verification) add(problem string) {
	if len(v.report.Problems) == maxProblems {
		v.report.Truncated = true
		return
	}
	v.report.Problems = append(v.report.Problems, problem)
}
