package ledger

import (
	"errors"
	"fmt"
)

// ErrLeaseBroken means that a lease breaks a rule of its own, or would go back in time: its record is damaged or its
// maker has a bug. It is an ErrBroken.
var ErrLeaseBroken = fmt.Errorf("lease: %w", ErrBroken)

// ErrLeaseClosed means that a closed lease was to be closed again.
var ErrLeaseClosed = errors.New("lease is closed")

// Policy says what becomes of the credits of a lease that were not reported by the time it closes.
type Policy string

// The policies. Refund never charges for more than was used; a late report collects what is still there, and the rest
// is written off. Charge never lets more be used than is paid; a late final report refunds the excess.
const (
	Refund Policy = "refund"
	Charge Policy = "charge"
)

// Known reports whether p is one of the policies.
func (p Policy) Known() bool { return p == Refund || p == Charge }

// LeaseState is the state of a lease. A lease closes once.
type LeaseState string

// The states of a lease.
const (
	LeaseOpen   LeaseState = "open"
	LeaseClosed LeaseState = "closed"
)

// Lease is what the ledger knows of credits that a gate spends by itself. Reports count up from nothing, so that one
// that is lost, repeated or overtaken does no harm.
type Lease struct {
	// Granted is what was reserved, 1 to MaxCredits; Used what of it was reported as used, 0 to Granted. Used never
	// decreases.
	Granted, Used Credits
	State         LeaseState
	// Final: the gate has said that no more will be used; nothing moves any more.
	Final bool
	// Forfeited is what was charged for when the lease closed and has been reported neither used nor unused since.
	Forfeited Credits
	// Unpaid is what of Used nobody has paid for.
	Unpaid Credits
	// Refunded is what of Forfeited people have given back, as far as its caller knows.
	Refunded Credits
}

// NewLease is an open lease of which nothing is used.
func NewLease(granted Credits) Lease { return Lease{Granted: granted, State: LeaseOpen} }

// Held is what is reserved for l.
func (l Lease) Held() Credits {
	if l.State != LeaseOpen {
		return 0
	}
	return l.Granted - l.Used
}

// Charged is what was spent for l, whatever of it was given back by people.
func (l Lease) Charged() Credits { return l.Used + l.Forfeited - l.Unpaid }

// Check returns ErrLeaseBroken unless l is a lease that can come about.
func (l Lease) Check() error {
	amounts := l.Granted >= 1 && l.Granted <= MaxCredits && l.Used >= 0 && l.Used <= l.Granted &&
		l.Forfeited >= 0 && l.Forfeited <= l.Granted-l.Used && l.Unpaid >= 0 && l.Unpaid <= l.Used
	open := l.State == LeaseOpen && !l.Final && l.Forfeited == 0 && l.Unpaid == 0
	closed := l.State == LeaseClosed && (!l.Final || l.Forfeited == 0)
	if !amounts || !open && !closed {
		return fmt.Errorf("lease %+v: %w", l, ErrLeaseBroken)
	}
	return nil
}

// Follows returns ErrLeaseBroken unless l can be what became of old: as much granted, not less used, and neither
// opened again nor taken back from being final.
func (l Lease) Follows(old Lease) error {
	if l.Granted != old.Granted || l.Used < old.Used || old.State == LeaseClosed && l.State != LeaseClosed ||
		old.Final && l != old {
		return fmt.Errorf("lease %+v after %+v: %w", l, old, ErrLeaseBroken)
	}
	return l.Check()
}

// LeaseSize is how much to reserve for a gate that would like want credits and needs cost of them now: up to slabMax,
// and no more than a fair share of half of what is available to an account on which so many VMs hold leases, the
// asking one counted. It is at least cost, and 0 if cost is not available. Want, cost, slabMax and available are not
// negative, and want is not less than cost.
func LeaseSize(want, cost, available, slabMax Credits, activeVMs int64) Credits {
	if cost > available {
		return 0
	}
	return max(cost, min(want, slabMax, FairShare(available, activeVMs)))
}

// FairShare is half of available divided by so many VMs.
func FairShare(available Credits, activeVMs int64) Credits {
	vms := Credits(max(activeVMs, 1))
	return available / 2 / vms
}

// Report settles a report that used credits of l were used in all, and, if it is final, that no more will be.
// Balances are those of the account; the transactions are to be applied to them in order. Of used no more than was
// granted counts, and of a report that says nothing new nothing moves; a lease that is final stays as it is.
func (l Lease) Report(used Credits, final bool, balances Balances) (Lease, []Transaction, error) {
	if err := l.Check(); err != nil {
		return l, nil, err
	}
	if l.Final {
		return l, nil, nil
	}
	s := settlement{lease: l}
	fresh := max(l.Used, min(used, l.Granted)) - l.Used
	s.lease.Used += fresh
	if l.State == LeaseOpen {
		s.move(Use, fresh)
		if final {
			s.move(Release, s.lease.Held())
			s.lease.State = LeaseClosed
		}
	} else {
		s.late(fresh, final, balances)
	}
	s.lease.Final = final
	return s.done(l)
}

// Close settles the end of an open lease that was not reported final, by policy; ErrLeaseClosed if it is closed.
func (l Lease) Close(policy Policy) (Lease, []Transaction, error) {
	if err := l.Check(); err != nil {
		return l, nil, err
	}
	if l.State == LeaseClosed {
		return l, nil, ErrLeaseClosed
	}
	s := settlement{lease: l}
	s.lease.State = LeaseClosed
	if policy == Charge {
		s.lease.Forfeited = l.Held()
		s.move(Forfeit, l.Held())
	} else {
		s.move(Release, l.Held())
	}
	return s.done(l)
}

// settlement collects what becomes of a lease.
type settlement struct {
	lease Lease
	moves []Transaction
	err   error
}

// move adds a transaction over amount, or none over nothing.
func (s *settlement) move(make func(Credits) (Transaction, error), amount Credits) {
	if amount == 0 || s.err != nil {
		return
	}
	t, err := make(amount)
	s.moves, s.err = append(s.moves, t), err
}

// late settles fresh credits used of a closed lease: first from what was forfeited, which is paid, then from what is
// available, and the rest is written off.
func (s *settlement) late(fresh Credits, final bool, balances Balances) {
	paid := min(fresh, s.lease.Forfeited)
	s.lease.Forfeited -= paid
	fresh -= paid
	collected := min(fresh, balances.Available)
	s.move(LateUse, collected)
	unpaid := fresh - collected
	s.lease.Unpaid += unpaid
	// The memo is no debt that anybody collects. At its limit it stays there.
	s.move(LateWriteOff, min(unpaid, MaxCredits-balances.WrittenOff))
	if final {
		// People may have given it back before.
		s.move(LateRefund, min(max(0, s.lease.Forfeited-s.lease.Refunded), balances.Spent))
		s.lease.Forfeited = 0
	}
}

func (s *settlement) done(old Lease) (Lease, []Transaction, error) {
	if s.err == nil {
		s.err = s.lease.Follows(old)
	}
	if s.err != nil {
		return old, nil, s.err
	}
	return s.lease, s.moves, nil
}
