package access

// maxHold is how long a hold may be open, in nanoseconds of Mono: ten minutes. The longest wait for an upstream's
// response headers has long ended by then; whoever still holds has lost its stream.
const maxHold = 600_000 * nanosPerMilli

// Hold is part of a lease that a request may yet cost. The zero value holds nothing. It is good for one Settle.
type Hold struct {
	place int32
	gen   uint32
}

type hold struct {
	lease  LeaseRef
	amount int64
	since  int64
	gen    uint32
	open   bool
}

// hold takes amount, more than 0, of a lease that has it; the zero Hold if too many are open.
func (l *Leases) hold(lease int32, amount int64, now Instant) Hold {
	i := l.holdFree.take()
	if i < 0 {
		return Hold{}
	}
	l.holdTop = max(l.holdTop, i+1)
	l.holds.reserve(i)
	h := l.holds.at(i)
	*h = hold{lease: l.ref(lease), amount: amount, since: now.Mono, gen: h.gen + 1, open: true}
	l.leases.at(lease).held += amount
	l.counts.Holds++
	return Hold{i + 1, h.gen}
}

// Settle charges for a held request and gives the rest back. The charge is brought into the range from 0 to what is
// held. Only the first Settle of a hold does anything, and none after the sweep has settled it. A lease that has
// ended meanwhile is charged all the same.
func (l *Leases) Settle(h Hold, charge int64) {
	if h.place <= 0 || h.place > l.holdTop {
		return
	}
	if o := l.holds.at(h.place - 1); o.open && o.gen == h.gen {
		l.settle(h.place-1, charge)
	}
}

// settle ends the open hold i.
func (l *Leases) settle(i int32, charge int64) {
	h := l.holds.at(i)
	h.open = false
	l.holdFree.give(i)
	l.counts.Holds--
	e := l.lease(h.lease)
	if e == nil {
		return
	}
	charge = max(0, min(charge, h.amount))
	e.held -= h.amount
	e.used += charge
	l.counts.Credits -= charge
	place := h.lease.place - 1
	if charge > 0 {
		l.report(place)
	}
	l.ended(place)
}
