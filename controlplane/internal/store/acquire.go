package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// ErrOpIDReused means that an op_id was used before for another acquire.
var ErrOpIDReused = errors.New("op_id was used for another request")

// Acquire decides one request of a gate and, if it is granted at a cost, debits it durably before returning.
// The caller has validated req. The same OpID with the same fields gets the recorded reply and moves nothing;
// with other fields it is ErrOpIDReused. Any other error means that nothing is known to have happened and the
// same request may be sent again.
//
// Recorded are grants at a cost and denials for want of credits. Every other answer moves nothing and depends on
// nothing that the gate could lose, so it is decided anew, without waiting for the writer.
func (s *Store) Acquire(ctx context.Context, req *api.AcquireRequest) (api.AcquireReply, error) {
	if err := ctx.Err(); err != nil {
		return api.AcquireReply{}, err
	}
	a, err := newAcquire(req)
	if err != nil {
		return api.AcquireReply{}, err
	}
	// A cancelled query would cost its connection; these are point reads, over before a caller could gain by leaving.
	quick := context.WithoutCancel(ctx)
	sub, err := a.subject(s.reads[stmtSubject].QueryRowContext(quick, a.stored[:], req.Scheme))
	if err != nil {
		return api.AcquireReply{}, s.readError("key", err)
	}
	verdict, charged := sub.verdict(), false
	if verdict == api.Granted && req.Cost > 0 {
		reply, err := write(ctx, s, a.decide)
		if charged = errors.Is(err, errRecorded); !charged {
			return reply, err
		}
	}
	// Looked up after the key: whoever finds it changed by now also finds what was answered before the change.
	reply, found, err := a.recorded(s.reads[stmtOperation].QueryRowContext(quick, req.OpID))
	switch {
	case errors.Is(err, ErrOpIDReused):
		return api.AcquireReply{}, err
	case err != nil:
		return api.AcquireReply{}, s.readError("operation", err)
	case found:
		return reply, nil
	case charged:
		// A grant at a cost comes from a record or not at all.
		return api.AcquireReply{}, fmt.Errorf("read operation: %w", ErrNotFound)
	}
	return a.reply(verdict, sub), nil
}

// acquire is one request, digested.
type acquire struct {
	req    *api.AcquireRequest
	hash   [sha256.Size]byte
	stored apikey.Digest
}

func newAcquire(req *api.AcquireRequest) (*acquire, error) {
	if req.Cost < 0 {
		return nil, fmt.Errorf("%w: cost: expected 0 or more", ErrInvalid)
	}
	a := &acquire{req: req, hash: hashRequest(req)}
	// No key pairs are kept: two digests never match, and the zero digest is nobody's.
	if len(req.Digests) == 1 {
		wire, err := apikey.ParseDigest(req.Digests[0])
		if err != nil {
			return nil, fmt.Errorf("%w: digests[0]: %w", ErrInvalid, err)
		}
		a.stored = wire.Stored()
	}
	return a, nil
}

// hashRequest covers every field, each preceded by its length so that no two requests share a hash.
func hashRequest(req *api.AcquireRequest) [sha256.Size]byte {
	var b []byte
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for _, s := range []string{req.Gate, req.Boot, req.OpID, req.Scheme, string(req.Mode)} {
		text(s)
	}
	b = binary.AppendVarint(binary.AppendVarint(b, req.Cost), req.Want)
	for _, d := range req.Digests {
		text(d)
	}
	return sha256.Sum256(b)
}

// subject is the key that a request presents, with its account and wallet. The zero value is an unknown key.
type subject struct {
	keyID, accountID string
	key              KeyStatus
	account          AccountStatus
	balances         ledger.Balances
}

// subject reads a row of stmtSubject; none is an unknown key and no error.
func (a *acquire) subject(row *sql.Row) (subject, error) {
	var s subject
	b := &s.balances
	err := row.Scan(&s.keyID, &s.key, &s.accountID, &s.account,
		&b.Funding, &b.Available, &b.Reserved, &b.Spent, &b.WrittenOff)
	if errors.Is(err, sql.ErrNoRows) {
		return subject{}, nil
	}
	return s, err
}

// verdict is the verdict on everything but credit.
func (s *subject) verdict() api.Verdict {
	switch {
	case s.keyID == "":
		return api.UnknownKey
	case s.key != KeyActive:
		return api.InactiveKey
	case s.account != AccountActive:
		return api.AccountNotActive
	}
	return api.Granted
}

func (a *acquire) reply(v api.Verdict, s subject) api.AcquireReply {
	out := api.AcquireReply{OpID: a.req.OpID, Verdict: v}
	if v == api.Granted {
		out.Lease = &api.Lease{Credits: a.req.Cost, Account: s.accountID, Key: s.keyID}
	}
	return out
}

// recorded reads a row of stmtOperation: what was answered to this op_id before, if anything was.
func (a *acquire) recorded(row *sql.Row) (reply api.AcquireReply, found bool, err error) {
	var (
		hash    []byte
		verdict api.Verdict
		lease   api.Lease
	)
	err = row.Scan(&hash, &verdict, &lease.Account, &lease.Key, &lease.Credits)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return api.AcquireReply{}, false, nil
	case err != nil:
		return api.AcquireReply{}, false, err
	case [sha256.Size]byte(hash) != a.hash:
		return api.AcquireReply{}, false, ErrOpIDReused
	}
	reply = api.AcquireReply{OpID: a.req.OpID, Verdict: verdict}
	if verdict == api.Granted {
		reply.Lease = &lease
	}
	return reply, true, nil
}

// errRecorded means that an op_id has its recorded answer already; what was about to be done for it is undone.
var errRecorded = errors.New("op_id is recorded")

// decide gives the final verdict inside the writer's transaction, records it and debits what it grants. The
// record's primary key is the check for a replay: it spares every first request a look-up.
func (a *acquire) decide(tx *writeTx) (api.AcquireReply, error) {
	sub, err := a.subject(tx.row(stmtSubject, a.stored[:], a.req.Scheme))
	if err != nil {
		return api.AcquireReply{}, fmt.Errorf("read key: %w", err)
	}
	if verdict := sub.verdict(); verdict != api.Granted {
		return a.replay(tx, a.reply(verdict, sub))
	}
	debit, err := ledger.Capture(ledger.Credits(a.req.Cost))
	if err != nil {
		return api.AcquireReply{}, fmt.Errorf("%w: cost: %w", ErrInvalid, err)
	}
	next, err := sub.balances.Apply(debit)
	if errors.Is(err, ledger.ErrInsufficientCredits) {
		reply := a.reply(api.InsufficientCredits, sub)
		return reply, a.record(tx, reply, sub)
	}
	if err != nil {
		return api.AcquireReply{}, fmt.Errorf("debit: %w", err)
	}
	reply := a.reply(api.Granted, sub)
	if err := a.record(tx, reply, sub); err != nil {
		return api.AcquireReply{}, err
	}
	p := posting{accountID: sub.accountID, move: debit, keyID: sub.keyID, opID: a.req.OpID}
	if _, err := tx.post(&p, sub.balances, next); err != nil {
		return api.AcquireReply{}, fmt.Errorf("debit: %w", err)
	}
	return reply, nil
}

// replay returns what was answered to this op_id before, or else the reply given.
func (a *acquire) replay(tx *writeTx, otherwise api.AcquireReply) (api.AcquireReply, error) {
	reply, found, err := a.recorded(tx.row(stmtOperation, a.req.OpID))
	if err != nil {
		return api.AcquireReply{}, fmt.Errorf("look up op_id: %w", err)
	}
	if !found {
		return otherwise, nil
	}
	return reply, nil
}

// record keeps the answer for the next time the same op_id comes, or returns errRecorded if this is that time.
func (a *acquire) record(tx *writeTx, reply api.AcquireReply, sub subject) error {
	var credits int64
	if reply.Lease != nil {
		credits = reply.Lease.Credits
	}
	_, err := tx.exec(stmtRecord, a.req.OpID, a.hash[:], string(reply.Verdict), sub.accountID, sub.keyID, credits,
		tx.now)
	if isDuplicate(err) {
		return errRecorded
	}
	if err != nil {
		return fmt.Errorf("record operation: %w", err)
	}
	return nil
}
