package store

import (
	"context"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// Sync settles operations whose outcome a gate reports, all or none of req's, durably before returning. The caller
// has validated req. What is settled stays as it is: of a void and an unpaid report of one operation the first
// wins, the void if one request has both, and every further one is acknowledged and changes nothing. Any error but
// ErrInvalid means that nothing is known to have happened and the same request may be sent again.
//
// A void reverses the debit of a granted operation, and keeps one that is not recorded from being debited later. An
// unpaid operation that was granted is paid; otherwise the key's account is written off its cost, or as much of it
// as fits under ledger.MaxCredits, and the operation will not be debited any more. For an unknown key, or halves of
// two pairs, nobody can be written off.
func (s *Store) Sync(ctx context.Context, req *api.SyncRequest) (api.SyncReply, error) {
	reply := api.SyncReply{Acked: make([]string, 0, len(req.Void)+len(req.Unpaid))}
	reply.Acked = append(reply.Acked, req.Void...)
	unpaid := make([]unpaidOp, len(req.Unpaid))
	for i := range req.Unpaid {
		var err error
		if unpaid[i], err = newUnpaid(&req.Unpaid[i]); err != nil {
			return api.SyncReply{}, fmt.Errorf("sync unpaid[%d]: %w", i, err)
		}
		reply.Acked = append(reply.Acked, req.Unpaid[i].OpID)
	}
	if len(reply.Acked) == 0 {
		return reply, ctx.Err()
	}
	return write(ctx, s, func(tx *writeTx) (api.SyncReply, error) {
		for _, opID := range req.Void {
			if err := tx.void(opID); err != nil {
				return api.SyncReply{}, fmt.Errorf("void operation %s: %w", opID, err)
			}
		}
		for i := range unpaid {
			if err := unpaid[i].settle(tx); err != nil {
				return api.SyncReply{}, fmt.Errorf("write off operation %s: %w", unpaid[i].opID, err)
			}
		}
		return reply, nil
	})
}

func (tx *writeTx) void(opID string) error {
	op, found, err := scanOperation(tx.row(stmtOperation, opID))
	switch {
	case err != nil:
		return err
	case !found:
		return tx.record(opID, &operation{verdict: opVoided})
	case op.verdict != opGranted:
		return nil
	}
	reversal, err := ledger.Void(ledger.Credits(op.lease.Credits))
	if err != nil {
		return err
	}
	if err := tx.settle(opID, opGranted, opVoided, op.lease.Credits); err != nil {
		return err
	}
	return tx.charge(&posting{accountID: op.lease.Account, move: reversal, keyID: op.lease.Key, opID: opID})
}

// charge applies p.move to the account's recorded balances.
func (tx *writeTx) charge(p *posting) error {
	balances, err := tx.balances(p.accountID)
	if err != nil {
		return err
	}
	next, err := balances.Apply(p.move)
	if err != nil {
		return err
	}
	_, err = tx.post(p, balances, next)
	return err
}

func (tx *writeTx) balances(accountID string) (ledger.Balances, error) {
	row, err := tx.Queries.Wallet(tx.ctx, accountID)
	if err != nil {
		return ledger.Balances{}, fmt.Errorf("read wallet: %w", err)
	}
	return balancesOf(row), nil
}

// unpaidOp is a request that was let through undecided, digested.
type unpaidOp struct {
	opID       string
	credential credential
	cost       ledger.Credits
}

func newUnpaid(u *api.Unpaid) (unpaidOp, error) {
	if u.Cost < 0 || u.Cost > api.MaxCredits {
		return unpaidOp{}, fmt.Errorf("%w: cost: expected 0 to 2^53-1", ErrInvalid)
	}
	c, err := newCredential(u.Scheme, u.Digests)
	return unpaidOp{opID: u.OpID, credential: c, cost: ledger.Credits(u.Cost)}, err
}

func (u *unpaidOp) settle(tx *writeTx) error {
	op, found, err := scanOperation(tx.row(stmtOperation, u.opID))
	if err != nil {
		return err
	}
	if found && op.verdict != opInsufficient {
		return nil
	}
	if !found {
		sub, err := u.credential.find(tx.rows, tx.now)
		if err != nil {
			return fmt.Errorf("read key: %w", err)
		}
		if !sub.mixed {
			op.lease = api.Lease{Account: sub.accountID, Key: sub.keyID}
		}
	}
	credits, err := u.writeOff(tx, &op.lease)
	if err != nil {
		return err
	}
	if found {
		return tx.settle(u.opID, opInsufficient, opUnpaid, credits)
	}
	op.verdict, op.lease.Credits = opUnpaid, credits
	return tx.record(u.opID, &op)
}

// writeOff adds the cost to the memo of whom's account, if it is known, and returns by how much the memo grew.
func (u *unpaidOp) writeOff(tx *writeTx, whom *api.Lease) (int64, error) {
	if whom.Account == "" {
		return 0, nil
	}
	balances, err := tx.balances(whom.Account)
	if err != nil {
		return 0, err
	}
	// The memo is no debt that anybody collects. At its limit it stays there: a report that could never be
	// acknowledged would hold up all that the gate reports with it.
	cost := min(u.cost, ledger.MaxCredits-balances.WrittenOff)
	if cost == 0 {
		return 0, nil
	}
	memo, err := ledger.WriteOff(cost)
	if err != nil {
		return 0, err
	}
	return int64(cost), tx.charge(&posting{accountID: whom.Account, move: memo, keyID: whom.Key, opID: u.opID})
}
