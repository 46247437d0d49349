package store

import (
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// How long a gate may repeat a denial under api.ModeLease by itself, in milliseconds. An unknown key is no key that a
// change could name, and becomes known by being made alone.
const (
	retryUnknown = 5000
	retryDenied  = 1000
)

// ttl is how long the key that sub is may be let through on one answer: no longer than it lives.
func (a *acquire) ttl(sub *subject, now int64) time.Duration {
	return min(a.terms.TTL, time.Duration(min(sub.expires-now, a.terms.TTL.Microseconds()))*time.Microsecond).Truncate(time.Millisecond)
}

// verdict is the verdict on everything but credit. A key that is over within the millisecond is over: there is no
// shorter ttl.
func (a *acquire) verdict(sub *subject, now int64) api.Verdict {
	v := sub.verdict(a.need)
	switch {
	case v != api.Granted:
		return v
	case a.leases() && a.ttl(sub, now) < time.Millisecond:
		return api.InactiveKey
	case !sub.restriction.allows(a):
		return api.KeyRestricted
	}
	return api.Granted
}

func (a *acquire) leases() bool { return a.req.Mode == api.ModeLease }

// charges reports whether a grant can move credits.
func (a *acquire) charges() bool { return a.req.Cost > 0 || a.leases() && a.req.Want > 0 }

// identity is who sub is, without credits.
func (a *acquire) identity(sub *subject, now int64) api.Lease {
	l := api.Lease{Account: sub.accountID, Project: sub.projectID, Key: sub.keyID, Available: int64(sub.balances.Available)}
	if a.leases() {
		l.TTLMillis = a.ttl(sub, now).Milliseconds()
		if sub.restriction != nil {
			l.Restriction = sub.restriction.value
		}
	}
	return l
}

// decideLease grants a lease of as many credits as are due, or none but for its identity if the cost is not there, and
// has others asked for theirs where credits become scarce.
func (a *acquire) decideLease(tx *writeTx, sub *subject) (api.AcquireReply, error) {
	cursor, err := tx.cursor()
	if err != nil {
		return api.AcquireReply{}, err
	}
	vms, err := tx.activeVMs(sub.accountID, a.req.Boot)
	if err != nil {
		return api.AcquireReply{}, err
	}
	cost, want, available := ledger.Credits(a.req.Cost), ledger.Credits(a.req.Want), sub.balances.Available
	if tx.learning {
		want = cost
	}
	size := ledger.LeaseSize(want, cost, available, ledger.Credits(a.terms.MaxCredits), vms)
	op := operation{hash: a.hash[:], verdict: opGranted, lease: a.identity(sub, tx.now), cursor: cursor, epoch: a.epoch}
	switch {
	case cost > available:
		op.verdict = opInsufficient
		err = tx.record(a.req.OpID, &op)
	case size == 0:
		// Nothing is needed and nothing is there: an identity, of which there is nothing to record.
		return a.replay(tx, a.unrecorded(api.Granted, sub, tx.now, cursor))
	default:
		err = a.grant(tx, sub, &op, size)
	}
	if err == nil && sub.balances.Reserved > 0 && ledger.FairShare(available, vms) < cost {
		least := a.req.Cost
		if op.verdict == opInsufficient {
			least = 0
		}
		err = tx.drain(sub.accountID, least, a.req.Boot, sub.keyID)
	}
	if err != nil {
		return api.AcquireReply{}, err
	}
	return a.reply(&op), nil
}

// grant reserves size credits for a new lease, and completes and records op.
func (a *acquire) grant(tx *writeTx, sub *subject, op *operation, size ledger.Credits) error {
	reserve, err := ledger.Reserve(size)
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	next, err := sub.balances.Apply(reserve)
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	id, err := tx.newID(prefixLease)
	if err != nil {
		return err
	}
	op.lease.ID, op.lease.Credits, op.lease.Available = id, int64(size), int64(next.Available)
	if err := tx.record(a.req.OpID, op); err != nil {
		return err
	}
	p := posting{accountID: sub.accountID, move: reserve, keyID: sub.keyID, opID: a.req.OpID, leaseID: id}
	if _, err := tx.post(&p, sub.balances, next); err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	l := lease{
		id: id, accountID: sub.accountID, keyID: sub.keyID, gate: a.req.Gate, boot: a.req.Boot, opID: a.req.OpID,
		Lease: ledger.NewLease(size),
	}
	return tx.openLease(&l, time.Duration(op.lease.TTLMillis)*time.Millisecond)
}

// unrecorded is the answer v to a where nothing was moved and nothing is kept.
func (a *acquire) unrecorded(v api.Verdict, sub *subject, now, cursor int64) api.AcquireReply {
	out := api.AcquireReply{OpID: a.req.OpID, Verdict: v}
	if v == api.Granted {
		l := a.identity(sub, now)
		out.Lease = &l
	}
	if a.leases() {
		out.Cursor, out.Epoch, out.RetryMillis = cursor, a.epoch, retryOf(v)
	}
	return out
}

func retryOf(v api.Verdict) int64 {
	switch v {
	case api.Granted, api.Voided, api.KeyRestricted:
		return 0
	case api.UnknownKey:
		return retryUnknown
	}
	return retryDenied
}

// reply is the answer to a of which op is the record: the first one as well as every further one.
func (a *acquire) reply(op *operation) api.AcquireReply {
	out := api.AcquireReply{OpID: a.req.OpID, Verdict: api.Voided}
	l := op.lease
	if !a.leases() {
		l.Restriction = nil
	}
	switch op.verdict {
	case opGranted:
		out.Verdict, out.Lease = api.Granted, &l
	case opInsufficient:
		out.Verdict = api.InsufficientCredits
		if a.leases() {
			out.Lease = &l
		}
	}
	if a.leases() {
		out.Cursor, out.Epoch, out.RetryMillis = op.cursor, op.epoch, retryOf(out.Verdict)
	}
	return out
}
