package access

import (
	"slices"

	"github.com/tollgate/tollgate/controlplane/api"
)

// Result is what the reply to an acquire came to.
type Result uint8

const (
	// Ignored: the flight has ended before; nothing was done.
	Ignored Result = iota
	// Installed: those who wait may be admitted now.
	Installed
	// Paid: the acquire was strict and granted; the request that it was made for is paid, and no other.
	Paid
	// Denied: Outcome.Refuses tells which of those who wait are refused; others may be admitted, or ask again.
	Denied
	// Outdated: the reply is older than a change that concerns it, or than the lease's own time. Those who wait ask again.
	Outdated
	// Broken: the reply does not answer the acquire. Nobody decided, and the operation is to be voided.
	Broken
)

// Outcome is what the reply to an acquire means to those who wait for it.
type Outcome struct {
	Result Result
	// Denial and Cost are set if Result is Denied: the verdict, and the cost of the acquire.
	Denial api.Verdict
	Cost   int64
	// Restriction is set if Result is Denied for want of credits: whoever it does not allow is told so instead.
	Restriction RestrictionRef
}

// Refuses reports whether a request of that cost is denied: a lack of credits says nothing of a lower cost.
func (o Outcome) Refuses(cost int64) bool {
	return o.Result == Denied && (o.Denial != api.InsufficientCredits || cost >= o.Cost)
}

// Install takes the reply to an acquire. The caller has seen to it that the reply repeats the acquire's operation id.
//
// A granted lease becomes its credential's current one, and the one before is reported final. If a change that concerns
// it has been applied meanwhile that the reply does not take into account, or its epoch or its time is over, it is
// reported final unused. A denial ends the current lease, unless it is for want of credits: then what is left may be
// used. It is remembered for as long as the control plane said.
//
// A reply that grants more than was asked for, less than the cost, or for 0 or too many milliseconds, that lacks an
// identity, or names a lease that is known already, is Broken, and nothing of it is used.
func (l *Leases) Install(f Flight, reply *api.AcquireReply, now Instant) Outcome {
	w := l.flights.at(f)
	if w == nil {
		return Outcome{}
	}
	if !w.answeredBy(reply) || l.knows(reply.Lease) {
		l.Failed(f, now)
		return Outcome{Result: Broken}
	}
	l.advance(reply.Epoch)
	if live := l.counts.Leases - l.counts.Final + l.counts.Identities; live == 0 && reply.Epoch == l.changes.epoch {
		l.changes.begin(reply.Cursor)
	}
	asked := *w
	asked.cursor = max(asked.cursor, reply.Cursor)
	l.land(f.place-1, reply.Verdict != api.UnknownKey)
	if reply.Verdict == api.Granted {
		return l.granted(&asked, reply, now)
	}
	return l.denied(&asked, reply, now)
}

// answeredBy reports whether reply is a whole answer to the acquire, but for its operation id.
func (w *flight) answeredBy(reply *api.AcquireReply) bool {
	req := api.AcquireRequest{OpID: reply.OpID, Cost: w.cost, Want: w.want, Mode: api.ModeLease}
	if w.strict {
		req.Mode = api.ModeStrict
	}
	return reply.Validate(&req) == nil && reply.Verdict != api.Voided
}

// knows reports whether the table has a lease of that id.
func (l *Leases) knows(granted *api.Lease) bool {
	if granted == nil || granted.ID == "" {
		return false
	}
	return l.byID.find(l.key.id(granted.ID)) >= 0
}

func (l *Leases) granted(w *flight, reply *api.AcquireReply, now Instant) Outcome {
	if w.strict {
		l.entry(w.tag)
		l.denials.forget(w.tag)
		return Outcome{Result: Paid}
	}
	place := l.add(w, reply, now)
	e := l.leases.at(place)
	if reply.Epoch < l.changes.epoch || l.changes.since(e.cursor, e.ids()) || !now.within(e.sent, e.ttl) {
		l.stop(place)
		return Outcome{Result: Outdated}
	}
	i := l.entry(w.tag)
	l.denials.forget(w.tag)
	l.attach(i, place, now)
	n := l.entries.at(i)
	n.failures, n.retryAt = 0, 0
	if e.paid {
		n.slab = min(2*e.credits, l.limits.Slab)
	}
	return Outcome{Result: Installed}
}

// attach makes a lease the current one of entry i. An identity does not displace live credits.
func (l *Leases) attach(i, place int32, now Instant) {
	n, e := l.entries.at(i), l.leases.at(place)
	if n.lease != 0 {
		if o := l.leases.at(n.lease - 1); o.paid && !e.paid && now.within(o.sent, o.ttl) {
			l.stop(place)
			return
		}
		l.stop(n.lease - 1)
	}
	n.lease, n.recent = place+1, true
	e.entry = i + 1
}

func (l *Leases) denied(w *flight, reply *api.AcquireReply, now Instant) Outcome {
	d := denial{tag: w.tag, at: now, cursor: w.cursor,
		verdict: uint8(slices.Index(deniedVerdicts[:], reply.Verdict)),
		span:    min(reply.RetryMillis, api.MaxTTLMillis) * nanosPerMilli}
	place := int32(-1)
	if reply.Verdict == api.InsufficientCredits {
		d.cost = w.cost
		if reply.Lease != nil {
			place = l.add(w, reply, now)
			d.account = l.leases.at(place).account
		}
	}
	if reply.Epoch != 0 && reply.Epoch < l.changes.epoch || l.outdated(&d, place) {
		if place >= 0 {
			l.stop(place)
		}
		return Outcome{Result: Outdated}
	}
	if reply.Verdict == api.KeyRestricted && w.strict {
		// That is about the one request that it was judged with; others with the key may be served.
		return Outcome{Result: Denied, Denial: reply.Verdict, Cost: w.cost}
	}
	if d.span > 0 {
		l.denials.add(d)
	}
	if place >= 0 {
		l.attach(l.entry(w.tag), place, now)
	}
	o := Outcome{Result: Denied, Denial: reply.Verdict, Cost: w.cost}
	if i := l.byTag.find(w.tag); i >= 0 {
		n := l.entries.at(i)
		n.failures, n.retryAt = 0, now.Mono+max(d.span, retryFirst)
		n.slab = 1
		switch {
		case n.lease == 0:
		case reply.Verdict == api.InsufficientCredits:
			o.Restriction = l.leases.at(n.lease - 1).restriction
		default:
			l.stop(n.lease - 1)
		}
	}
	return o
}

// outdated reports whether a change has been applied that may concern d and is not taken into account by it. Place is
// that of the lease that came with it, or -1.
func (l *Leases) outdated(d *denial, place int32) bool {
	if place < 0 {
		return !l.changes.covers(d)
	}
	e := l.leases.at(place)
	return l.changes.since(d.cursor, append(e.ids(), e.account^saltCredits))
}

// add makes a lease of what a reply grants. It has a place, because the flight kept one free for it.
func (l *Leases) add(w *flight, reply *api.AcquireReply, now Instant) int32 {
	g := reply.Lease
	restriction := l.intern(g.Restriction)
	place := l.leaseFree.take()
	l.leases.reserve(place)
	l.ids.reserve(place)
	l.leaseTop = max(l.leaseTop, place+1)
	e, ids := l.leases.at(place), l.ids.at(place)
	ids.lease.set(g.ID)
	ids.account.set(g.Account)
	ids.project.set(g.Project)
	ids.key.set(g.Key)
	ttl := g.TTLMillis * nanosPerMilli
	*e = lease{
		credits: g.Credits, sent: w.sent, ttl: ttl, renewAge: l.renewAge(w, ttl), renewUsed: g.Credits - g.Credits/2,
		installed: now.Mono, available: max(0, min(g.Available, api.MaxCredits)), cursor: w.cursor,
		account: l.hash(g.Account), project: l.hash(g.Project), key: l.hash(g.Key),
		gen: e.gen, open: true, live: true, paid: g.ID != "", restriction: restriction,
	}
	if !e.paid {
		l.counts.Identities++
		return place
	}
	l.byID.put(l.key.id(g.ID), place)
	l.counts.Leases++
	l.counts.Credits += g.Credits
	return place
}

// hash is 0 for an empty id.
func (l *Leases) hash(id string) uint64 {
	if id == "" {
		return 0
	}
	return l.key.id(id).lo | 1
}

// renewAge is spread evenly from a quarter to three eighths of the ttl, so that leases that came together do not renew
// together. What is left then is half a ttl without a control plane, and time to try again after it.
func (l *Leases) renewAge(w *flight, ttl int64) int64 {
	spread := max(ttl/8, 1)
	draw := w.tag.hi ^ uint64(w.sent.Mono)*0x9e3779b97f4a7c15
	return ttl/4 + int64((draw>>1)%uint64(spread))
}

// entry returns the entry of t. If there is none, it makes one, and if there is no room, a credential that was not used
// lately loses its own; its lease is reported final.
func (l *Leases) entry(t Tag) int32 {
	i := l.byTag.find(t)
	if i >= 0 {
		return i
	}
	if l.entryFree.free == 0 {
		l.evict()
	}
	i = l.entryFree.take()
	l.byTag.put(t, i)
	l.entries.reserve(i)
	*l.entries.at(i) = entry{recent: true, asked: l.flights.byTag.find(t) >= 0}
	return i
}

// evict frees the first entry after the hand that was not used since the hand came by last, and is not asked for.
func (l *Leases) evict() {
	size := int32(l.limits.Keys)
	for range 2 * size {
		l.hand = (l.hand + 1) % size
		n := l.entries.at(l.hand)
		if !n.recent && !n.asked {
			break
		}
		n.recent = false
	}
	n := l.entries.at(l.hand)
	if n.lease != 0 {
		l.stop(n.lease - 1)
	}
	l.byTag.remove(l.byTag.tag(l.hand))
	l.entryFree.give(l.hand)
	l.counts.Evicted++
}
