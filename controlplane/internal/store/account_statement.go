package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// StatementQuery asks for what moved an account's credits in a period, newest first.
type StatementQuery struct {
	AccountID string
	// From is the first time that is wanted, To the first that is not; nil for the account's first entry and for now.
	From, To *time.Time
	// Limit is how many movements to return, 1 to MaxPageLimit.
	Limit int
	// After is the Next of the page before; nil starts at the end of the period.
	After *StatementMark
}

// Statement is a page of an account's movements. Opening and what the movements add up to is Closing, in every bucket.
// Opening is the Closing of the page that follows, and on the last page the balances at the beginning of the period.
type Statement struct {
	Opening, Closing ledger.Balances
	Movements        []Movement
	// Next is where the next page begins; nil on the last one.
	Next *StatementMark
}

// StatementMark is a place in an account's books: an entry, and the balances right after it.
type StatementMark struct {
	Seq      int64
	Balances ledger.Balances
}

// Movement is a transaction, with what its entries say of it in common: see Entry. Deltas are what it added to each bucket,
// Balances those right after it.
type Movement struct {
	TransactionID, Kind                          string
	KeyID, OpID, LeaseID                         string
	Reason, Actor, IdempotencyKey, RefundedEntry string
	Deltas, Balances                             ledger.Balances
	CreatedAt                                    time.Time
}

// Statement returns a page of an account's movements. The books are in the order in which they were written, whatever the
// clock did: the period ends with the newest entry before To and begins after the newest one before From. It returns
// ErrNotFound, or ErrInvalid for a mark that is no place in this account's books.
//
// Entries are found from the account's newest one backwards, so a period takes the longer the more was moved since it.
func (s *Store) Statement(ctx context.Context, q StatementQuery) (Statement, error) {
	if q.Limit < 1 || q.Limit > MaxPageLimit {
		return Statement{}, fmt.Errorf("statement: %w: limit: expected 1 to %d", ErrInvalid, MaxPageLimit)
	}
	at := q.After
	if at == nil {
		end, err := s.endOf(ctx, q.AccountID, q.To)
		if err != nil {
			return Statement{}, s.readError("account", err)
		}
		at = &end
	}
	// One entry more tells whether others follow.
	rows, err := s.walkBack(ctx, q.AccountID, at.Seq, maxLegs*q.Limit+1)
	if err != nil {
		return Statement{}, s.readError("account's entries", err)
	}
	out, err := q.page(*at, rows)
	if err != nil && q.After != nil {
		err = fmt.Errorf("%w: after: expected a place in the account's books", ErrInvalid)
	}
	if err != nil {
		return Statement{}, fmt.Errorf("statement: %w", err)
	}
	return out, nil
}

// maxLegs is how many entries a transaction has at most: Verify holds it to that.
const maxLegs = 2

// endOf is the place of the newest entry before to.
func (s *Store) endOf(ctx context.Context, accountID string, to *time.Time) (m StatementMark, err error) {
	b := &m.Balances
	err = s.readers.QueryRowContext(ctx, `SELECT funding, available, reserved, spent, written_off, last_entry FROM wallets
		WHERE account_id = ?`, accountID).Scan(&b.Funding, &b.Available, &b.Reserved, &b.Spent, &b.WrittenOff, &m.Seq)
	if err != nil || to == nil || m.Seq == 0 {
		return m, err
	}
	var since ledger.Balances
	err = s.readers.QueryRowContext(ctx, sinceSQL, m.Seq, to.UnixMicro()).Scan(&m.Seq, &since.Funding, &since.Available, &since.Reserved, &since.Spent, &since.WrittenOff)
	m.Balances = minus(m.Balances, since)
	return m, err
}

// sinceSQL adds up an account's entries from the one at a place back to a time, and finds the place of the one before.
const sinceSQL = `WITH RECURSIVE walk (seq) AS (
		SELECT CAST(?1 AS INTEGER)
		UNION ALL SELECT e.previous FROM walk JOIN entries e ON e.seq = walk.seq WHERE e.created_us >= ?2)
	SELECT min(walk.seq), ` + sumsByBucket + ` FROM walk LEFT JOIN entries e ON e.seq = walk.seq AND e.created_us >= ?2`

// sumsByBucket adds up the entries e.
const sumsByBucket = `sum(CASE e.bucket WHEN 'funding' THEN e.delta ELSE 0 END),
	sum(CASE e.bucket WHEN 'available' THEN e.delta ELSE 0 END), sum(CASE e.bucket WHEN 'reserved' THEN e.delta ELSE 0 END),
	sum(CASE e.bucket WHEN 'spent' THEN e.delta ELSE 0 END), sum(CASE e.bucket WHEN 'written_off' THEN e.delta ELSE 0 END)`

// chained is an entry with its place.
type chained struct {
	Entry
	previous, balance int64
}

// The order is by place: by seq, SQLite would look through the entries of everybody.
const walkBackSQL = `WITH RECURSIVE walk (seq, place) AS (
		SELECT CAST(?1 AS INTEGER), 1
		UNION ALL SELECT e.previous, walk.place + 1 FROM walk JOIN entries e ON e.seq = walk.seq WHERE walk.place < ?2)
	SELECT e.previous, e.balance, e.id, e.transaction_id, e.kind, e.bucket, e.delta, e.key_id, e.op_id, e.lease_id,
		e.reason, e.actor, coalesce(c.idempotency_key, ''), coalesce(c.refunded_entry, ''), e.created_us
	FROM walk JOIN entries e ON e.seq = walk.seq AND e.account_id = ?3
	LEFT JOIN credits c ON c.transaction_id = e.transaction_id ORDER BY walk.place`

// walkBack reads up to limit entries of an account, from the one at seq backwards.
func (s *Store) walkBack(ctx context.Context, accountID string, seq int64, limit int) (found []chained, err error) {
	rows, err := s.readers.QueryContext(ctx, walkBackSQL, seq, limit, accountID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e chained
		var created int64
		err := rows.Scan(&e.previous, &e.balance, &e.ID, &e.TransactionID, &e.Kind, &e.Bucket, &e.Delta, &e.KeyID, &e.OpID,
			&e.LeaseID, &e.Reason, &e.Actor, &e.IdempotencyKey, &e.RefundedEntry, &created)
		if err != nil {
			return nil, err
		}
		e.CreatedAt = fromMicros(created)
		found = append(found, e)
	}
	return found, rows.Err()
}

// page makes movements of entries, which begin at a place and go on beyond the page unless they are the account's first.
func (q *StatementQuery) page(at StatementMark, entries []chained) (Statement, error) {
	out := Statement{Opening: at.Balances, Closing: at.Balances}
	if err := at.Balances.Check(); err != nil {
		return Statement{}, err
	}
	if at.Seq != 0 && len(entries) == 0 {
		return Statement{}, fmt.Errorf("entry at %d: %w", at.Seq, ledger.ErrBroken)
	}
	for len(entries) > 0 {
		e := &entries[0]
		if q.From != nil && e.CreatedAt.Before(*q.From) {
			return out, nil
		}
		if len(out.Movements) == q.Limit {
			out.Next = &StatementMark{Seq: at.Seq, Balances: out.Opening}
			return out, nil
		}
		m := Movement{
			TransactionID: e.TransactionID, Kind: e.Kind, KeyID: e.KeyID, OpID: e.OpID, LeaseID: e.LeaseID, Reason: e.Reason,
			Actor: e.Actor, IdempotencyKey: e.IdempotencyKey, RefundedEntry: e.RefundedEntry, CreatedAt: e.CreatedAt,
			Balances: out.Opening,
		}
		for len(entries) > 0 && entries[0].TransactionID == m.TransactionID {
			leg := &entries[0]
			posting := ledger.Posting{Bucket: ledger.Bucket(leg.Bucket), Delta: ledger.Credits(leg.Delta)}
			if m.Balances.Of(posting.Bucket) != ledger.Credits(leg.balance) {
				return Statement{}, fmt.Errorf("entry %s: %w", leg.ID, ledger.ErrBroken)
			}
			m.Deltas = m.Deltas.With(posting)
			at.Seq, entries = leg.previous, entries[1:]
		}
		out.Opening = minus(m.Balances, m.Deltas)
		out.Movements = append(out.Movements, m)
	}
	return out, nil
}

// minus are balances without what was added to them.
func minus(b, d ledger.Balances) ledger.Balances {
	return ledger.Balances{
		Funding: b.Funding - d.Funding, Available: b.Available - d.Available, Reserved: b.Reserved - d.Reserved,
		Spent: b.Spent - d.Spent, WrittenOff: b.WrittenOff - d.WrittenOff,
	}
}
