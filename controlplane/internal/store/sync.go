package store

import (
	"context"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// Sync settles what a gate reports, all or none of req, durably before returning, and tells what has changed since the
// gate's cursor. The caller has validated req. What is settled stays as it is: of a void and an unpaid report of one
// operation the first wins, the void if one request has both, and every further one is acknowledged and changes
// nothing. Any error but ErrInvalid means that nothing is known to have happened and the same request may be sent
// again.
//
// A void reverses the debit of a granted operation, or ends the lease that it was granted, and keeps an operation that
// is not recorded from being debited later. An unpaid operation that was granted is paid, from its lease if it has one;
// otherwise the key's account is written off its cost, or as much of it as fits under ledger.MaxCredits, and the
// operation will not be debited any more. For an unknown key, or halves of two pairs, nobody can be written off.
//
// A report of a lease that the VM does not have, or that is final, is answered LeaseDrop and moves nothing. What was used
// of one that is not known because the data was restored from a backup is kept, as lost. A report of a
// lease that was closed without a final report is settled by the ledger's late rule and answered LeaseDrain until it is
// final. Leases that are to be drained are named even if they were not reported.
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
	if err := ctx.Err(); err != nil {
		return api.SyncReply{}, err
	}
	if len(reply.Acked) > 0 || len(req.Leases) > 0 || req.Usage != nil {
		var err error
		if reply.Leases, err = write(ctx, s, func(tx *writeTx) ([]api.LeaseAck, error) { return tx.settleSync(req, unpaid) }); err != nil {
			return api.SyncReply{}, err
		}
	}
	if req.Usage != nil {
		reply.UsageSeq = req.Usage.Seq
		s.used(req.Usage.Rows)
	}
	// As in Acquire: these are point reads.
	quick := context.WithoutCancel(ctx)
	if err := s.remind(quick, req, &reply); err != nil {
		return api.SyncReply{}, err
	}
	if err := s.tell(quick, &reply, req); err != nil {
		return api.SyncReply{}, err
	}
	return reply, nil
}

// settleSync settles the leases first: a void of their operation then finds what was used.
func (tx *writeTx) settleSync(req *api.SyncRequest, unpaid []unpaidOp) ([]api.LeaseAck, error) {
	acks := make([]api.LeaseAck, 0, len(req.Leases))
	for i := range req.Leases {
		ack, err := tx.report(req, &req.Leases[i])
		if err != nil {
			return nil, err
		}
		acks = append(acks, ack)
	}
	for _, opID := range req.Void {
		if err := tx.void(opID); err != nil {
			return nil, fmt.Errorf("void operation %s: %w", opID, err)
		}
	}
	for i := range unpaid {
		if err := unpaid[i].settle(tx); err != nil {
			return nil, fmt.Errorf("write off operation %s: %w", unpaid[i].opID, err)
		}
	}
	return acks, tx.countUsage(req)
}

// report settles one report, if the lease is that of the VM that reports.
func (tx *writeTx) report(req *api.SyncRequest, r *api.LeaseReport) (api.LeaseAck, error) {
	l, found, err := tx.lease(r.Lease)
	if err != nil {
		return api.LeaseAck{}, err
	}
	if !found {
		if err := tx.lose(req, r); err != nil {
			return api.LeaseAck{}, err
		}
	}
	if !found || l.gate != req.Gate || l.boot != req.Boot {
		tx.tally.Dropped++
		return api.LeaseAck{Lease: r.Lease, Action: api.LeaseDrop}, nil
	}
	if err := tx.reportLease(&l, ledger.Credits(r.Used), r.Final); err != nil {
		return api.LeaseAck{}, err
	}
	ack := api.LeaseAck{Lease: l.id, Used: int64(l.Used), Action: api.LeaseKeep}
	switch {
	case l.Final:
		ack.Action = api.LeaseDrop
	case l.draining || l.State == ledger.LeaseClosed:
		ack.Action = api.LeaseDrain
	}
	return ack, nil
}

// remind adds the VM's leases that are to be drained and are not in reply yet: one that is not used is not reported.
func (s *Store) remind(ctx context.Context, req *api.SyncRequest, reply *api.SyncReply) error {
	room := api.MaxSyncLeases - len(reply.Leases)
	if room <= 0 {
		return nil
	}
	rows, err := s.reads[stmtDraining].QueryContext(ctx, req.Boot, req.Gate, api.MaxSyncLeases)
	if err != nil {
		return s.readError("leases", err)
	}
	defer rows.Close()
	named := make(map[string]bool, len(reply.Leases))
	for _, ack := range reply.Leases {
		named[ack.Lease] = true
	}
	for room > 0 && rows.Next() {
		ack := api.LeaseAck{Action: api.LeaseDrain}
		if err := rows.Scan(&ack.Lease, &ack.Used); err != nil {
			return s.readError("leases", err)
		}
		if !named[ack.Lease] {
			reply.Leases = append(reply.Leases, ack)
			room--
		}
	}
	if err := rows.Err(); err != nil {
		return s.readError("leases", err)
	}
	return nil
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
	case op.lease.ID != "":
		return tx.endLease(opID, &op, opVoided, 0)
	}
	if err := tx.settle(opID, opGranted, opVoided, op.lease.Credits); err != nil {
		return err
	}
	credits, err := tx.reversible(opID, op.lease.Account, ledger.Credits(op.lease.Credits))
	if err != nil || credits == 0 {
		return err
	}
	reversal, err := ledger.Void(credits)
	if err != nil {
		return err
	}
	return tx.charge(&posting{accountID: op.lease.Account, move: reversal, keyID: op.lease.Key, opID: opID})
}

// reversible is what of a debit can be given back: people may have given it back before. To fail then would hold up all that
// the gate reports.
func (tx *writeTx) reversible(opID, accountID string, cost ledger.Credits) (ledger.Credits, error) {
	refunded, err := tx.refundedOf(opID)
	if err != nil {
		return 0, err
	}
	cost -= refunded
	balances, err := tx.balances(accountID)
	if err != nil || cost <= balances.Spent {
		return cost, err
	}
	// Without a refund the wallet is damaged, and the ledger is to say so.
	n, err := tx.CountRefunds(tx.ctx, accountID)
	if err != nil {
		return 0, fmt.Errorf("read refunds: %w", err)
	}
	if n == 0 {
		return cost, nil
	}
	return balances.Spent, nil
}

// endLease settles a granted operation whose answer the gate does not use: its lease ends with cost more credits used
// than were reported.
func (tx *writeTx) endLease(opID string, op *operation, to opVerdict, cost ledger.Credits) error {
	l, found, err := tx.lease(op.lease.ID)
	if err != nil {
		return err
	}
	if found {
		// No more counts than was granted, whatever a gate says. To fail would hold up all that it reports.
		if err := tx.reportLease(&l, l.Used+min(cost, l.Granted-l.Used), true); err != nil {
			return err
		}
	}
	return tx.settle(opID, opGranted, to, op.lease.Credits)
}

// charge applies p.move to the account's recorded balances. What comes back to a closed account is taken from it.
func (tx *writeTx) charge(p *posting) error {
	balances, err := tx.balances(p.accountID)
	if err != nil {
		return err
	}
	next, err := balances.Apply(p.move)
	if err != nil {
		return err
	}
	if _, err = tx.post(p, balances, next); err != nil || next.Available <= balances.Available {
		return err
	}
	return tx.sweep(p.accountID)
}

// balances are an account's, with all that the batch has moved; sql.ErrNoRows if there is none.
func (tx *writeTx) balances(accountID string) (b ledger.Balances, err error) {
	if w := tx.wallets[accountID]; w != nil {
		return w.now, nil
	}
	if w, ok := tx.remembered[accountID]; ok {
		return tx.know(accountID, w.recorded, w.recordedEntry), nil
	}
	var last int64
	err = tx.row(stmtWallet, accountID).Scan(&b.Funding, &b.Available, &b.Reserved, &b.Spent, &b.WrittenOff, &last)
	if err != nil {
		return ledger.Balances{}, fmt.Errorf("read wallet: %w", err)
	}
	return tx.know(accountID, b, last), nil
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
	if found && op.verdict == opGranted && op.lease.ID != "" {
		return tx.endLease(u.opID, &op, opUnpaid, u.cost)
	}
	if found && op.verdict != opInsufficient {
		return nil
	}
	if !found {
		sub, err := tx.find(&u.credential)
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
