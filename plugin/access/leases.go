package access

// Limits bound what Leases keep; zero fields mean the default. What is kept of a credential is allocated when its first
// lease comes, about 460 bytes, and used for others when it is gone.
type Limits struct {
	// Keys is how many credentials can have a lease at a time, 131,072 by default. One that was not used lately makes room
	// for the next.
	Keys int
	// Flights is how many acquires can be under way at a time, 1,024 by default.
	Flights int
	// Holds is how many requests can be undecided about their price at a time, 32,768 by default.
	Holds int
	// Denials is how many denials are remembered, 4,096 by default. The oldest makes room for the next.
	Denials int
	// UnknownPerSecond and UnknownBurst bound the acquires for credentials without a lease that turn out to be unknown
	// keys: 100 and 200 by default.
	UnknownPerSecond, UnknownBurst int
	// Slab is the most credits that are asked for at once, unless a single request costs more: 1,000,000 by default.
	Slab int64
	// Restrictions is how many different restrictions of keys are kept, 8,192 by default.
	Restrictions int
}

// places is how many leases there can be: one for each credential, one for each acquire under way, and others that wait
// to be closed.
func (m Limits) places() int { return m.Keys + m.Keys/8 + m.Flights }

func (m Limits) orDefault() Limits {
	set := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	set(&m.Keys, 131_072)
	set(&m.Flights, 1_024)
	set(&m.Holds, 32_768)
	set(&m.Denials, 4_096)
	set(&m.UnknownPerSecond, 100)
	set(&m.UnknownBurst, 200)
	set(&m.Restrictions, maxRestrictions)
	if m.Slab <= 0 {
		m.Slab = 1_000_000
	}
	return m
}

// Leases are the credits that one VM holds, and all that it knows by itself of credentials: who is calling, what was
// denied lately, and what the control plane was asked and not yet answered. It is for one goroutine, reads no clock
// and holds no pointers that the collector would follow. Admit, AdmitHeld, Settle, Identity and Tag allocate nothing, but
// that AdmitHeld makes room when more holds are open than ever before.
//
// # What is promised?
//
// Of a lease never more is admitted than it was granted, nothing at or after its deadline by either clock, and nothing
// once a change or an answer that concerns it was applied. What was admitted is reported until the control plane has
// closed the lease, once its final report has arrived there. None of this depends on what the control plane answers:
// a reply moves credits only if it answers an acquire that is still under way, with no more than was asked for.
//
// # Why is a stopped lease not used again?
//
// Clocks can be set back and messages come late. A lease that was once too old, revoked, drained or replaced may be
// closed already where its credits came from, whatever the next reading of a clock says.
type Leases struct {
	limits Limits
	key    sipKey

	entries     blocks[entry]
	entryFree   freeList
	byTag       tagIndex
	hand        int32
	leases      blocks[lease]
	ids         blocks[leaseIDs]
	leaseFree   freeList
	byID        tagIndex
	leaseTop    int32
	sweepLeases int32
	reports     reportQueue
	// round is the newest sync, heard the newest of those that were answered.
	round, heard Round

	holds      blocks[hold]
	holdFree   freeList
	holdTop    int32
	sweepHolds int32

	flights flights
	denials denials
	// restrictions are what keys may be used for.
	restrictions restrictions
	changes      changes
	counts       Counts
}

// Counts tell what is there and what has happened.
type Counts struct {
	// Leases are those that hold credits and are not closed yet, Final those of them that only wait to be; Credits is what
	// they were granted and did not use.
	Leases, Final, Credits int64
	// Identities are leases without credits. Holds are open.
	Identities, Holds int64
	// Evicted counts credentials that made room for others, Abandoned holds that the sweep settled, and Unsettled credits
	// that were used of leases which the control plane closed having counted fewer.
	Evicted, Abandoned, Unsettled int64
	// DenialHits counts requests refused from memory, OverBudget those that were not asked for because of too many unknown
	// keys or acquires under way, and Strict acquires that had to be strict for want of room.
	DenialHits, OverBudget, Strict int64
}

// NewLeases returns Leases that know nothing. The seed is random, made for this VM and kept nowhere else.
func NewLeases(limits Limits, seed [16]byte) *Leases {
	m := limits.orDefault()
	return &Leases{
		limits:       m,
		key:          newSipKey(seed),
		entryFree:    newFreeList(m.Keys),
		byTag:        newTagIndex(),
		leaseFree:    newFreeList(m.places()),
		byID:         newTagIndex(),
		holdFree:     newFreeList(m.Holds),
		flights:      newFlights(m),
		denials:      newDenials(m.Denials),
		restrictions: restrictions{free: newFreeList(m.Restrictions), byTag: newTagIndex()},
		changes:      newChanges(),
	}
}

// Tag returns the tag of a credential: the parts as they were offered, second empty where the scheme, whose number is
// up to the caller, has but one.
func (l *Leases) Tag(scheme int, first, second string) Tag {
	return l.key.credential(scheme, first, second)
}

// Counts returns what is there now and what has happened so far.
func (l *Leases) Counts() Counts { return l.counts }

// LeaseRef points to the lease by which a request was admitted or known. The zero value points to none.
type LeaseRef struct {
	place int32
	gen   uint32
}

// Place is a number of r's that at most one live lease has at a time, 0 if r points to none.
func (r LeaseRef) Place() uint32 { return uint32(r.place) }

// Identity tells who is calling: ids of the control plane, Project empty if the key belongs to an account directly. The
// strings lie in the table: they are good until the next call of another method than Identity, and whoever keeps one
// longer clones it.
type Identity struct{ Account, Project, Key string }

// Identity returns who a lease belongs to. It is false once the lease is forgotten, which does not happen while a hold
// of it is open.
func (l *Leases) Identity(r LeaseRef) (Identity, bool) {
	e := l.lease(r)
	if e == nil {
		return Identity{}, false
	}
	ids := l.ids.at(r.place - 1)
	return Identity{ids.account.alias(), ids.project.alias(), ids.key.alias()}, true
}

// lease returns the lease that r points to, or nil.
func (l *Leases) lease(r LeaseRef) *lease {
	if r.place <= 0 || r.place > l.leaseTop {
		return nil
	}
	e := l.leases.at(r.place - 1)
	if !e.open || e.gen != r.gen {
		return nil
	}
	return e
}

func (l *Leases) ref(place int32) LeaseRef { return LeaseRef{place + 1, l.leases.at(place).gen} }

// stop ends the use of a lease for good. What it had used stays with its credential as experience.
func (l *Leases) stop(place int32) {
	e := l.leases.at(place)
	if !e.live {
		return
	}
	e.live = false
	l.release(e.restriction)
	e.restriction = 0
	if e.entry != 0 {
		n := l.entries.at(e.entry - 1)
		n.lease, n.spent, n.since, n.ttl = 0, e.used+e.held, e.installed, e.ttl
	}
	if e.paid {
		l.counts.Final++
	}
	l.ended(place)
}

// ended does what is due after a lease was stopped or a hold of it settled.
func (l *Leases) ended(place int32) {
	e := l.leases.at(place)
	switch {
	case e.live:
	case e.paid:
		l.report(place)
	default:
		l.forget(place)
	}
}

// forget frees the place of a stopped lease.
func (l *Leases) forget(place int32) {
	e := l.leases.at(place)
	e.open = false
	e.gen++
	if !e.paid {
		l.counts.Identities--
		l.leaseFree.give(place)
		return
	}
	l.counts.Leases--
	l.counts.Final--
	l.counts.Credits -= e.credits - e.used
	l.counts.Unsettled += e.used - e.acked
	l.byID.remove(l.byID.tag(place))
	if !e.queued {
		l.leaseFree.give(place)
	}
}
