package access

import "github.com/tollgate/tollgate/controlplane/api"

// firstSlab is how many requests' worth is asked for when nothing is known of a credential.
const firstSlab = 10

// Turn is what somebody who needs a lease has to do.
type Turn uint8

const (
	// Decline: nothing. There is no room or no budget for another acquire; if a request waits, nobody can decide it.
	Decline Turn = iota
	// Send: send the acquire, and sooner or later call Install or Failed for the flight, once.
	Send
	// Join: one is under way already; wait for the same flight.
	Join
)

// Flight is an acquire that is under way, and all that is sent again for it under the same operation id. The zero value
// is none. It is comparable, so that waiters can be found by it.
type Flight struct {
	place int32
	gen   uint32
}

// Asking says how to ask the control plane. All but Turn is set if Turn is Send; Flight also if it is Join.
type Asking struct {
	Turn   Turn
	Flight Flight
	// Mode and Want are the acquire's. Under ModeStrict what is granted serves one request and nobody joins.
	Mode api.Mode
	Want int64
}

type flight struct {
	tag Tag
	// sent is when it was asked for: not later than its first sending.
	sent       Instant
	cost, want int64
	// Every change up to cursor was known when it was sent, and is taken into account by its reply.
	cursor int64
	gen    uint32
	open   bool
	strict bool
	// token: it holds part of the budget for unknown keys.
	token bool
}

// flights are the acquires under way. There are never more of them that may bring a lease than places for leases.
type flights struct {
	all     []flight
	free    freeList
	byTag   tagIndex
	leasing int
	budget  budget
}

func newFlights(m Limits) flights {
	return flights{
		all:    make([]flight, m.Flights),
		free:   newFreeList(m.Flights),
		byTag:  newTagIndex(),
		budget: newBudget(m.UnknownPerSecond, m.UnknownBurst),
	}
}

func (s *flights) at(f Flight) *flight {
	if f.place <= 0 || int(f.place) > len(s.all) {
		return nil
	}
	if w := &s.all[f.place-1]; w.open && w.gen == f.gen {
		return w
	}
	return nil
}

// Ask is for a request of a route in lease mode for which Admit says NoLease. Now has to be read before the acquire is
// sent: the lease's time counts from there. With the table full of leases that wait to be closed, the acquire is
// strict. An acquire that may be for an unknown key needs a part of their budget, and gives it back unless its answer
// is that the key is unknown.
func (l *Leases) Ask(t Tag, cost int64, now Instant) Asking {
	if a, ok := l.join(t); ok {
		return a
	}
	strict := l.leaseFree.free <= l.flights.leasing
	if strict {
		l.counts.Strict++
	}
	return l.ask(t, cost, strict, now)
}

// AskStrict is for a request of a route in strict mode for which Denied says nothing.
func (l *Leases) AskStrict(t Tag, cost int64, now Instant) Asking { return l.ask(t, cost, true, now) }

// Renew is for an Admission with Renew set, with the cost of its request; no request waits for it.
func (l *Leases) Renew(t Tag, cost int64, now Instant) Asking {
	if l.byTag.find(t) < 0 || l.leaseFree.free <= l.flights.leasing {
		return Asking{}
	}
	if _, ok := l.join(t); ok {
		return Asking{}
	}
	return l.ask(t, cost, false, now)
}

func (l *Leases) join(t Tag) (Asking, bool) {
	i := l.flights.byTag.find(t)
	if i < 0 {
		return Asking{}, false
	}
	return Asking{Turn: Join, Flight: Flight{i + 1, l.flights.all[i].gen}}, true
}

func (l *Leases) ask(t Tag, cost int64, strict bool, now Instant) Asking {
	s := &l.flights
	known := l.byTag.find(t)
	if cost < 0 || cost > api.MaxCredits || s.free.free == 0 || known < 0 && !s.budget.take(now.Mono) {
		l.counts.OverBudget++
		return Asking{}
	}
	i := s.free.take()
	w := &s.all[i]
	*w = flight{tag: t, sent: now, cost: cost, want: cost, cursor: l.changes.cursor, gen: w.gen + 1,
		open: true, strict: strict, token: known < 0}
	a := Asking{Turn: Send, Flight: Flight{i + 1, w.gen}, Mode: api.ModeStrict, Want: cost}
	if strict {
		return a
	}
	s.leasing++
	s.byTag.put(t, i)
	var n *entry
	if known >= 0 {
		n = l.entries.at(known)
		n.asked = true
	}
	w.want = l.want(n, cost, now)
	a.Mode, a.Want = api.ModeLease, w.want
	return a
}

// want is how much to ask for: enough for five quarters of a ttl at the rate seen so far, but not more than twice the last lease, and
// little where nothing is known. Near the end of a balance it is the control plane that grants less.
func (l *Leases) want(n *entry, cost int64, now Instant) int64 {
	if cost == 0 {
		return 0
	}
	want := firstSlab * cost
	if n != nil && n.slab > 0 {
		want = min(n.slab, l.demand(n, now))
	}
	return min(max(cost, min(want, l.limits.Slab)), api.MaxCredits)
}

// demand is what five quarters of a ttl take at the rate of the current lease, or of the one before. A lease is renewed
// when half of it is used: what is left lasts for half a ttl without a control plane, and until it is tried again after.
func (l *Leases) demand(n *entry, now Instant) int64 {
	spent, since, ttl := n.spent, n.since, n.ttl
	if n.lease != 0 {
		if e := l.leases.at(n.lease - 1); e.paid {
			spent, since, ttl = e.used+e.held, e.installed, e.ttl
		}
	}
	elapsed := max(now.Mono-since, nanosPerMilli)
	return int64(min(float64(spent)*float64(ttl)*1.25/float64(elapsed)+0.5, float64(l.limits.Slab)))
}

// Raise returns what to ask for in all when requests of waiting credits wait for a flight, so that a queue is not served
// by one acquire after another. It is for the first time that the flight is sent.
func (l *Leases) Raise(f Flight, waiting int64) int64 {
	w := l.flights.at(f)
	if w == nil {
		return 0
	}
	if w.want > 0 && !w.strict {
		w.want = max(w.want, min(waiting, l.limits.Slab, api.MaxCredits))
	}
	return w.want
}

// Failed ends a flight that nobody answered, or for which nobody waits. The caller voids its operation: what it may yet
// bring is not used.
func (l *Leases) Failed(f Flight, now Instant) {
	w := l.flights.at(f)
	if w == nil {
		return
	}
	l.undecided(w.tag, now)
	l.land(f.place-1, true)
}

// land ends a flight.
func (l *Leases) land(i int32, refund bool) {
	s := &l.flights
	w := &s.all[i]
	w.open = false
	s.free.give(i)
	if w.token && refund {
		s.budget.give()
	}
	if w.strict {
		return
	}
	s.leasing--
	s.byTag.remove(w.tag)
	if n := l.byTag.find(w.tag); n >= 0 {
		l.entries.at(n).asked = false
	}
}

// Renewals that nobody decided are tried again after retryFirst nanoseconds, and each time after twice as long, up to
// retryFirst<<retryDoublings.
const (
	retryFirst     = 200 * nanosPerMilli
	retryDoublings = 2
)

// undecided puts the next renewal off. How long exactly differs from one credential to the next, so that they do not
// come all at once.
func (l *Leases) undecided(t Tag, now Instant) {
	i := l.byTag.find(t)
	if i < 0 {
		return
	}
	n := l.entries.at(i)
	wait := int64(retryFirst) << n.failures
	n.failures = min(n.failures+1, retryDoublings)
	n.retryAt = now.Mono + wait/2 + int64(t.hi%uint64(wait/2))
}

// budget bounds how often something may begin: a burst, and after it a rate. It counts in nanoseconds of Mono.
type budget struct {
	left, most, each, last int64
}

func newBudget(perSecond, burst int) budget {
	each := int64(1_000_000_000) / int64(perSecond)
	return budget{left: each * int64(burst), most: each * int64(burst), each: each}
}

func (b *budget) take(mono int64) bool {
	b.left = min(b.most, b.left+max(0, min(mono-b.last, b.most)))
	b.last = mono
	if b.left < b.each {
		return false
	}
	b.left -= b.each
	return true
}

// give takes back one take.
func (b *budget) give() { b.left = min(b.most, b.left+b.each) }
