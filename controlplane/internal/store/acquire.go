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

// Acquire decides one request of a gate and, if it is granted at a cost, takes that durably before returning: under
// api.ModeStrict it is debited, under api.ModeLease reserved for the gate, with as much more as is due to it. The
// caller has validated req. The same OpID with the same fields gets the recorded reply, its Available and its Cursor
// too, with the restriction that the key has by now, and moves nothing; with other fields it is ErrOpIDReused. An OpID that was voided or left unpaid is answered
// Voided; if it was so before any acquire of it arrived, whatever the fields. ErrInvalid is a cost that need excludes.
// Any other error means that nothing is known to have happened and the same request may be sent again.
//
// Recorded are grants of credits and denials for want of credits. Every other answer moves nothing and depends on
// nothing that the gate could lose, so it is decided anew, without waiting for the writer; the Available of such a
// grant is the present one.
func (s *Store) Acquire(ctx context.Context, req *api.AcquireRequest, need Requirements) (api.AcquireReply, error) {
	reply, err := s.acquire(ctx, req, need)
	if err == nil && reply.Verdict == api.Granted {
		s.uses.note(reply.Lease.Key, s.now())
	}
	return reply, err
}

func (s *Store) acquire(ctx context.Context, req *api.AcquireRequest, need Requirements) (api.AcquireReply, error) {
	if err := ctx.Err(); err != nil {
		return api.AcquireReply{}, err
	}
	a, err := newAcquire(req, need)
	if err != nil {
		return api.AcquireReply{}, err
	}
	a.terms, a.epoch = s.terms, s.epoch
	// A cancelled query would cost its connection; these are point reads, over before a caller could gain by leaving.
	quick := context.WithoutCancel(ctx)
	now := s.now().UnixMicro()
	sub, cursor, err := s.find(quick, a, now)
	if err != nil {
		return api.AcquireReply{}, err
	}
	verdict, charged := a.verdict(&sub, now), false
	if verdict == api.Granted && a.charges() {
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
	return a.unrecorded(verdict, &sub, now, cursor), nil
}

// acquire is one request, digested.
type acquire struct {
	req        *api.AcquireRequest
	need       Requirements
	hash       [sha256.Size]byte
	credential credential
	// terms and epoch are those of leases.
	terms LeaseOptions
	epoch int64
	// found is what a reader has found, if it was to be let through, and keys the writer's from before the reader looked.
	found subject
	keys  uint64
}

func newAcquire(req *api.AcquireRequest, need Requirements) (*acquire, error) {
	a := &acquire{req: req, need: need}
	switch {
	case req.Cost < 0 || req.Cost > api.MaxCredits:
		return nil, fmt.Errorf("%w: cost: expected 0 to 2^53-1", ErrInvalid)
	case a.leases() && (req.Want < req.Cost || req.Want > api.MaxCredits):
		return nil, fmt.Errorf("%w: want: expected the cost to 2^53-1", ErrInvalid)
	case a.charges() && !need.Balance:
		return nil, fmt.Errorf("%w: cost, want: expected 0 for a scheme that is not charged", ErrInvalid)
	}
	var err error
	a.credential, err = newCredential(req.Scheme, req.Digests)
	if err != nil {
		return nil, err
	}
	a.hash = hashRequest(req)
	return a, nil
}

// find reads the key that a presents, outside of the writer's transaction, and the newest change before it. Of a key that
// was let through lately and that has not changed since, nothing has to be read for a grant, which is the writer's; the
// cursor is then 0.
func (s *Store) find(ctx context.Context, a *acquire, now int64) (sub subject, cursor int64, err error) {
	grants := s.writer != nil && a.charges()
	text := a.credential.text()
	if grants {
		a.keys = s.writer.keys.Load()
		sub, ok := s.known.get(text, a.keys)
		sub.live = sub.live && now < sub.expires
		if ok && a.verdict(&sub, now) == api.Granted {
			a.found = sub
			return sub, 0, nil
		}
	}
	// Read before the key: whatever the cursor counts, the key is seen with it.
	if a.leases() {
		if err := s.reads[stmtCursor].QueryRowContext(ctx).Scan(&cursor); err != nil {
			return subject{}, 0, s.readError("changes", err)
		}
	}
	if sub, err = a.credential.find(s.lookup(ctx), now); err != nil {
		return subject{}, 0, s.readError("key", err)
	}
	if grants && a.verdict(&sub, now) == api.Granted {
		a.found = sub
		s.known.put(text, a.keys, sub)
	}
	return sub, cursor, nil
}

// subject is the key that a presents, with the balances that the batch has left. It is read again only if it may have
// changed since a reader found it: to read a key takes longer than to decide.
func (tx *writeTx) subject(a *acquire) (sub subject, err error) {
	if a.found.accountID == "" || a.keys != tx.keys || tx.keysChanged {
		return tx.find(&a.credential)
	}
	sub = a.found
	sub.live = sub.live && tx.now < sub.expires
	sub.balances, err = tx.balances(sub.accountID)
	return sub, err
}

// hashRequest covers every field, each preceded by its length so that no two requests share a hash.
func hashRequest(req *api.AcquireRequest) [sha256.Size]byte {
	var b []byte
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for _, s := range []string{req.Gate, req.Boot, req.OpID, req.Scheme, string(req.Mode)} {
		text(s)
	}
	b = binary.AppendVarint(binary.AppendVarint(b, req.Cost), req.Want)
	b = binary.AppendVarint(b, req.Judges)
	for _, s := range []string{req.Method, req.Path, req.Address} {
		text(s)
	}
	for _, d := range req.Digests {
		text(d)
	}
	return sha256.Sum256(b)
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
	return a.reply(&op), true, nil
}

// errRecorded means that an op_id has its recorded answer already; what was about to be done for it is undone.
var errRecorded = errors.New("op_id is recorded")

// decide gives the final verdict inside the writer's transaction, records it and takes what it grants. The record's
// primary key is the check for a replay: it spares every first request a look-up.
func (a *acquire) decide(tx *writeTx) (api.AcquireReply, error) {
	sub, err := tx.subject(a)
	if err != nil {
		return api.AcquireReply{}, fmt.Errorf("read key: %w", err)
	}
	if v := a.verdict(&sub, tx.now); v != api.Granted {
		cursor, err := tx.cursor()
		if err != nil {
			return api.AcquireReply{}, err
		}
		return a.replay(tx, a.unrecorded(v, &sub, tx.now, cursor))
	}
	if a.leases() {
		return a.decideLease(tx, &sub)
	}
	return a.decideStrict(tx, &sub)
}

// decideStrict debits the cost, or denies it and has gates asked for credits that they hold.
func (a *acquire) decideStrict(tx *writeTx, sub *subject) (api.AcquireReply, error) {
	debit, err := ledger.Capture(ledger.Credits(a.req.Cost))
	if err != nil {
		return api.AcquireReply{}, fmt.Errorf("%w: cost: %w", ErrInvalid, err)
	}
	op := operation{hash: a.hash[:], verdict: opInsufficient, lease: api.Lease{Account: sub.accountID, Project: sub.projectID, Key: sub.keyID}}
	next, err := sub.balances.Apply(debit)
	if errors.Is(err, ledger.ErrInsufficientCredits) {
		err := tx.record(a.req.OpID, &op)
		if err == nil && sub.balances.Reserved > 0 {
			err = tx.drain(sub.accountID, 0, "", "")
		}
		return a.reply(&op), err
	}
	if err != nil {
		return api.AcquireReply{}, fmt.Errorf("debit: %w", err)
	}
	op.verdict, op.lease.Credits, op.lease.Available = opGranted, a.req.Cost, int64(next.Available)
	if err := tx.record(a.req.OpID, &op); err != nil {
		return api.AcquireReply{}, err
	}
	p := posting{accountID: sub.accountID, move: debit, keyID: sub.keyID, opID: a.req.OpID}
	if _, err := tx.post(&p, sub.balances, next); err != nil {
		return api.AcquireReply{}, fmt.Errorf("debit: %w", err)
	}
	return a.reply(&op), nil
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
