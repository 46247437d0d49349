package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// ErrOpIDReused means that an op_id was used before for another acquire.
var ErrOpIDReused = errors.New("op_id was used for another request")

// Requirements are what a scheme asks for beside a live key of an active account.
type Requirements struct {
	// DomainVerified: the key's project needs a verified domain.
	DomainVerified bool
	// Balance: requests are charged. Without it only a cost of 0 is accepted.
	Balance bool
}

// Acquire decides one request of a gate and, if it is granted at a cost, debits it durably before returning.
// The caller has validated req. The same OpID with the same fields gets the recorded reply, its Available too, and
// moves nothing; with other fields it is ErrOpIDReused. An OpID that was voided or left unpaid is answered Voided;
// if it was so before any acquire of it arrived, whatever the fields. ErrInvalid is a cost that need excludes. Any
// other error means that nothing is known to have happened and the same request may be sent again.
//
// Recorded are grants at a cost and denials for want of credits. Every other answer moves nothing and depends on
// nothing that the gate could lose, so it is decided anew, without waiting for the writer; the Available of such a
// grant is the present one.
func (s *Store) Acquire(ctx context.Context, req *api.AcquireRequest, need Requirements) (api.AcquireReply, error) {
	if err := ctx.Err(); err != nil {
		return api.AcquireReply{}, err
	}
	a, err := newAcquire(req, need)
	if err != nil {
		return api.AcquireReply{}, err
	}
	// A cancelled query would cost its connection; these are point reads, over before a caller could gain by leaving.
	quick := context.WithoutCancel(ctx)
	sub, err := a.credential.find(s.lookup(quick), s.now().UnixMicro())
	if err != nil {
		return api.AcquireReply{}, s.readError("key", err)
	}
	verdict, charged := sub.verdict(need), false
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
	return a.reply(verdict, &sub, sub.balances.Available), nil
}

// acquire is one request, digested.
type acquire struct {
	req        *api.AcquireRequest
	need       Requirements
	hash       [sha256.Size]byte
	credential credential
}

func newAcquire(req *api.AcquireRequest, need Requirements) (*acquire, error) {
	if req.Cost < 0 {
		return nil, fmt.Errorf("%w: cost: expected 0 or more", ErrInvalid)
	}
	if req.Cost > 0 && !need.Balance {
		return nil, fmt.Errorf("%w: cost: expected 0 for a scheme that is not charged", ErrInvalid)
	}
	c, err := newCredential(req.Scheme, req.Digests)
	if err != nil {
		return nil, err
	}
	return &acquire{req: req, need: need, hash: hashRequest(req), credential: c}, nil
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

// reply is the answer v to a; available is the balance it leaves.
func (a *acquire) reply(v api.Verdict, s *subject, available ledger.Credits) api.AcquireReply {
	out := api.AcquireReply{OpID: a.req.OpID, Verdict: v}
	if v == api.Granted {
		out.Lease = &api.Lease{
			Credits: a.req.Cost, Available: int64(available), Account: s.accountID, Project: s.projectID, Key: s.keyID,
		}
	}
	return out
}

// recorded reads a row of stmtOperation: what is to be answered to this op_id, if that is settled.
func (a *acquire) recorded(row *sql.Row) (reply api.AcquireReply, found bool, err error) {
	op, found, err := scanOperation(row)
	if err != nil || !found {
		return api.AcquireReply{}, false, err
	}
	if op.hash != nil && [sha256.Size]byte(op.hash) != a.hash {
		return api.AcquireReply{}, false, ErrOpIDReused
	}
	reply = api.AcquireReply{OpID: a.req.OpID, Verdict: api.Voided}
	switch op.verdict {
	case opGranted:
		reply.Verdict, reply.Lease = api.Granted, &op.lease
	case opInsufficient:
		reply.Verdict = api.InsufficientCredits
	}
	return reply, true, nil
}

// errRecorded means that an op_id has its recorded answer already; what was about to be done for it is undone.
var errRecorded = errors.New("op_id is recorded")

// decide gives the final verdict inside the writer's transaction, records it and debits what it grants. The
// record's primary key is the check for a replay: it spares every first request a look-up.
func (a *acquire) decide(tx *writeTx) (api.AcquireReply, error) {
	sub, err := a.credential.find(tx.rows, tx.now)
	if err != nil {
		return api.AcquireReply{}, fmt.Errorf("read key: %w", err)
	}
	if verdict := sub.verdict(a.need); verdict != api.Granted {
		return a.replay(tx, a.reply(verdict, &sub, 0))
	}
	debit, err := ledger.Capture(ledger.Credits(a.req.Cost))
	if err != nil {
		return api.AcquireReply{}, fmt.Errorf("%w: cost: %w", ErrInvalid, err)
	}
	next, err := sub.balances.Apply(debit)
	if errors.Is(err, ledger.ErrInsufficientCredits) {
		denied := operation{hash: a.hash[:], verdict: opInsufficient, lease: api.Lease{Account: sub.accountID, Key: sub.keyID}}
		return a.reply(api.InsufficientCredits, &sub, 0), tx.record(a.req.OpID, &denied)
	}
	if err != nil {
		return api.AcquireReply{}, fmt.Errorf("debit: %w", err)
	}
	reply := a.reply(api.Granted, &sub, next.Available)
	granted := operation{hash: a.hash[:], verdict: opGranted, lease: *reply.Lease}
	if err := tx.record(a.req.OpID, &granted); err != nil {
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
