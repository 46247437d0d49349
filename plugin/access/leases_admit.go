package access

import "github.com/tollgate/tollgate/controlplane/api"

// Standing is how a credential stands with the VM.
type Standing uint8

const (
	// NoDecision: nobody can decide now, and asking would not help. The failure policy applies.
	NoDecision Standing = iota
	// Admitted: the price was taken, or held.
	Admitted
	// Refused: the control plane has denied this lately, and nothing has changed since.
	Refused
	// NoLease: the control plane has to be asked.
	NoLease
)

// Admission is the outcome for one request.
type Admission struct {
	Standing Standing
	// Denial is set if Standing is Refused.
	Denial api.Verdict
	// Renew: the lease ought to be renewed now, in the background.
	Renew bool
	// Lease tells who is calling. It is set if Standing is Admitted, and otherwise if that is known.
	Lease LeaseRef
	// Restriction is that of the key, if Lease is set. Who gets one has to judge by it before all else, and to give back
	// what was taken or held if the request is not allowed.
	Restriction RestrictionRef
	// Hold is set if AdmitHeld held something: it has to be settled.
	Hold Hold
	// Remaining is about what the account has left, set if Lease is: its balance when the lease came and what is left of
	// the lease. Others may be spending it.
	Remaining int64
}

// Admit takes cost, 0 or more credits, from the current lease of a credential, if that is live and has as much left. A
// cost of 0 asks for nothing but a live lease.
func (l *Leases) Admit(t Tag, cost int64, now Instant) (a Admission) {
	place := l.admit(&a, t, cost, now)
	if a.Standing != Admitted {
		return a
	}
	if cost > 0 {
		l.leases.at(place).used += cost
		l.counts.Credits -= cost
		l.report(place)
	}
	l.admitted(place, cost, now, &a)
	return a
}

// Return takes back what Admit took of a lease, for a request that could not be let through after all. It is for the same
// event of the host as that Admit: nothing has been reported in between.
func (l *Leases) Return(r LeaseRef, cost int64) {
	if e := l.lease(r); e != nil && cost > 0 && cost <= e.used-e.acked {
		e.used -= cost
		l.counts.Credits += cost
	}
}

// AdmitHeld is as Admit, but takes nothing yet: most is held until the hold is settled. If most is 0, there is no hold.
func (l *Leases) AdmitHeld(t Tag, most int64, now Instant) (a Admission) {
	place := l.admit(&a, t, most, now)
	if a.Standing != Admitted {
		return a
	}
	if most > 0 {
		h := l.hold(place, most, now)
		if h == (Hold{}) {
			return Admission{}
		}
		a.Hold = h
	}
	l.admitted(place, most, now, &a)
	return a
}

// admit decides, takes nothing, and writes a, which is zero. If Standing is Admitted, it returns the place of the lease.
func (l *Leases) admit(a *Admission, t Tag, cost int64, now Instant) int32 {
	if cost < 0 || cost > api.MaxCredits {
		return 0
	}
	i := l.byTag.find(t)
	if i < 0 {
		l.unadmitted(a, t, cost, now)
		return 0
	}
	n := l.entries.at(i)
	if n.lease == 0 {
		l.unadmitted(a, t, cost, now)
		return 0
	}
	n.recent = true
	place := n.lease - 1
	e := l.leases.at(place)
	if !now.within(e.sent, e.ttl) {
		l.stop(place)
		l.unadmitted(a, t, cost, now)
		return 0
	}
	a.Lease, a.Restriction = LeaseRef{place + 1, e.gen}, e.restriction
	if cost > e.left() {
		l.unadmitted(a, t, cost, now)
		a.Remaining = e.available + e.left()
		return 0
	}
	a.Standing = Admitted
	return place
}

// unadmitted is the outcome for a credential without a lease that has as much left.
func (l *Leases) unadmitted(a *Admission, t Tag, cost int64, now Instant) {
	a.Standing = NoLease
	if v, ok := l.Denied(t, cost, now); ok {
		a.Standing, a.Denial = Refused, v
	}
}

// admitted completes the outcome of a request whose price was taken or held.
func (l *Leases) admitted(place int32, cost int64, now Instant, a *Admission) {
	e := l.leases.at(place)
	a.Remaining = e.available + e.left()
	taken := e.used + e.held
	// The first request of a lease proves no demand: a lease of one request is not renewed ahead.
	soon := now.Mono-e.sent.Mono >= e.renewAge || taken >= e.renewUsed && taken > cost
	if !soon || e.paid != (cost > 0) {
		return
	}
	n := l.entries.at(e.entry - 1)
	a.Renew = !n.asked && now.Mono >= n.retryAt
}
