package store

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// The defaults of LeaseOptions.
const (
	DefaultLeaseTTL     = 10 * time.Second
	DefaultLeaseCredits = 1000
	minLeaseGrace       = 30 * time.Second
)

// Policy says what becomes of credits that were not reported: ledger.Refund or ledger.Charge.
type Policy = ledger.Policy

// LeaseOptions say how leases are granted. The zero value of each field stands for its default.
type LeaseOptions struct {
	// TTL is how long a gate may spend a lease, 1 ms to api.MaxTTLMillis; DefaultLeaseTTL by default. It bounds how long
	// a revoked key outlives a gate's connection to the control plane.
	TTL time.Duration
	// Grace is how long after its TTL a lease stays open for its last report; twice the TTL, and 30 s at least, by
	// default. It is a tenth of the TTL at least, far more than the clocks of gate and control plane drift apart.
	Grace time.Duration
	// Unreported is what becomes of credits that were not reported by then; ledger.Refund by default.
	Unreported Policy
	// MaxCredits bounds what one lease holds, 1 to api.MaxCredits, but for a single request that costs more;
	// DefaultLeaseCredits by default.
	MaxCredits int64
}

// withDefaults returns o with its defaults filled in, or ErrInvalid.
func (o LeaseOptions) withDefaults() (LeaseOptions, error) {
	if o.TTL == 0 {
		o.TTL = DefaultLeaseTTL
	}
	if o.Grace == 0 {
		o.Grace = max(2*o.TTL, minLeaseGrace)
	}
	if o.Unreported == "" {
		o.Unreported = ledger.Refund
	}
	if o.MaxCredits == 0 {
		o.MaxCredits = DefaultLeaseCredits
	}
	const maxTTL = api.MaxTTLMillis * time.Millisecond
	switch {
	case o.TTL < time.Millisecond || o.TTL > maxTTL:
		return o, fmt.Errorf("%w: lease ttl: expected 1ms to %s", ErrInvalid, maxTTL)
	case o.Grace < o.TTL/10 || o.Grace > 24*time.Hour:
		return o, fmt.Errorf("%w: lease grace: expected a tenth of the ttl to 24h", ErrInvalid)
	case !o.Unreported.Known():
		return o, fmt.Errorf("%w: unreported: expected refund or charge", ErrInvalid)
	case o.MaxCredits < 1 || o.MaxCredits > api.MaxCredits:
		return o, fmt.Errorf("%w: lease credits: expected 1 to 2^53-1", ErrInvalid)
	}
	return o, nil
}

// lease is a recorded lease.
type lease struct {
	id, accountID, keyID string
	// gate and boot are the VM whose lease it is.
	gate, boot string
	// opID is that of the acquire.
	opID string
	ledger.Lease
	// draining: somebody else needs what it holds.
	draining bool
}

// lease reads one; found is false if it was never granted, or so long ago that it was deleted.
func (tx *writeTx) lease(id string) (l lease, found bool, err error) {
	l.id = id
	err = tx.row(stmtLease, id).Scan(&l.accountID, &l.keyID, &l.gate, &l.boot, &l.opID, &l.Granted, &l.Used, &l.State,
		&l.Final, &l.draining, &l.Forfeited, &l.Unpaid)
	if errors.Is(err, sql.ErrNoRows) {
		return lease{}, false, nil
	}
	if err != nil {
		return lease{}, false, fmt.Errorf("read lease: %w", err)
	}
	return l, true, nil
}

// openLease records a new lease, whose credits its caller reserves in the same job.
func (tx *writeTx) openLease(l *lease, ttl time.Duration) error {
	ends := tx.steady + ttl.Microseconds()
	_, err := tx.exec(stmtInsertLease, l.id, l.accountID, l.keyID, l.gate, l.boot, l.opID, int64(l.Granted), tx.now, ends,
		ends+tx.terms.Grace.Microseconds())
	if err != nil {
		return fmt.Errorf("record lease: %w", err)
	}
	tx.leased(l.accountID, l.Held())
	tx.tally.Granted++
	return nil
}

// settleLease brings l to next, by the transactions that the ledger has made of it.
func (tx *writeTx) settleLease(l *lease, next ledger.Lease, moves []ledger.Transaction) error {
	if next == l.Lease {
		return nil
	}
	for _, m := range moves {
		p := posting{accountID: l.accountID, move: m, keyID: l.keyID, opID: l.opID, leaseID: l.id}
		if err := tx.charge(&p); err != nil {
			return fmt.Errorf("settle lease %s: %w", l.id, err)
		}
	}
	old := l.Lease
	result, err := tx.exec(stmtMoveLease, int64(next.Used), string(next.State), next.Final, int64(next.Forfeited),
		int64(next.Unpaid), tx.now, l.id, int64(old.Granted), int64(old.Used), string(old.State), old.Final,
		int64(old.Forfeited), int64(old.Unpaid))
	if err != nil {
		return fmt.Errorf("settle lease %s: %w", l.id, err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("settle lease %s: %d rows changed, expected 1: %w", l.id, n, ledger.ErrLeaseBroken)
	}
	tx.leased(l.accountID, next.Held()-old.Held())
	if old.State == ledger.LeaseOpen && next.State == ledger.LeaseClosed {
		tx.tally.closed(next.Final)
	}
	l.Lease = next
	return nil
}

// reportLease settles that used credits of l were used in all and, if final, that no more will be.
func (tx *writeTx) reportLease(l *lease, used ledger.Credits, final bool) error {
	balances, err := tx.balances(l.accountID)
	if err != nil {
		return err
	}
	if l.Forfeited > 0 && final {
		if l.Refunded, err = tx.refundedOf(l.opID); err != nil {
			return err
		}
	}
	next, moves, err := l.Report(used, final, balances)
	if err != nil {
		return fmt.Errorf("lease %s: %w", l.id, err)
	}
	return tx.settleLease(l, next, moves)
}

// activeVMs counts the VMs that hold leases of an account, the one named by boot in any case.
func (tx *writeTx) activeVMs(accountID, boot string) (n int64, err error) {
	if err := tx.row(stmtVMs, accountID, boot).Scan(&n); err != nil {
		return 0, fmt.Errorf("count VMs: %w", err)
	}
	return n + 1, nil
}

// drain asks for what the open leases of an account hold back, those that hold more than least; all but the leases of
// one key that one VM, named by boot, has itself.
func (tx *writeTx) drain(accountID string, least int64, boot, keyID string) error {
	result, err := tx.exec(stmtDrain, accountID, least, boot, keyID)
	if err != nil {
		return fmt.Errorf("drain leases: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("drain leases: %w", err)
	}
	tx.tally.Drained += n
	return nil
}
