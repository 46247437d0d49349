package store

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/api"
)

// opVerdict is what became of an operation. The first two may still become one of the last two, which are final.
type opVerdict string

const (
	opGranted      opVerdict = "granted"
	opInsufficient opVerdict = "insufficient_credits"
	opVoided       opVerdict = "voided"
	opUnpaid       opVerdict = "unpaid"
)

// operation is the record of one op_id.
type operation struct {
	// hash is of the acquire that was answered; nil if none was.
	hash    []byte
	verdict opVerdict
	// lease has the key and its owners, unless the key is unknown; the credits that were debited or, if verdict is
	// opUnpaid, written off; and the balance that a grant was answered with. If it has an ID, its credits are what was
	// reserved, whatever the verdict.
	lease api.Lease
	// cursor and epoch are those of the answer under api.ModeLease.
	cursor, epoch int64
}

// scanOperation reads a row of stmtOperation.
func scanOperation(row *sql.Row) (op operation, found bool, err error) {
	l := &op.lease
	var restriction string
	err = row.Scan(&op.hash, &op.verdict, &l.Account, &l.Key, &l.Project, &l.Credits, &l.Available, &l.ID, &l.TTLMillis,
		&op.cursor, &op.epoch, &restriction)
	if r := readRestriction(restriction); r != nil {
		l.Restriction = r.value
	}
	if errors.Is(err, sql.ErrNoRows) {
		return operation{}, false, nil
	}
	return op, err == nil, err
}

// record keeps what becomes of an op_id for the next time that it comes, or returns errRecorded if this is that
// time.
func (tx *writeTx) record(opID string, op *operation) error {
	l := &op.lease
	_, err := tx.exec(stmtRecord, opID, op.hash, string(op.verdict), l.Account, l.Key, l.Credits, l.Available, l.ID,
		l.TTLMillis, op.cursor, op.epoch, tx.now)
	if isDuplicate(err) {
		return errRecorded
	}
	if err != nil {
		return fmt.Errorf("record operation: %w", err)
	}
	return nil
}

// settle brings a recorded operation from the verdict it has to a final one.
func (tx *writeTx) settle(opID string, from, to opVerdict, credits int64) error {
	result, err := tx.exec(stmtSettle, string(to), credits, opID, string(from))
	if err != nil {
		return fmt.Errorf("settle operation: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("settle operation: %d rows changed, expected 1", n)
	}
	return nil
}
