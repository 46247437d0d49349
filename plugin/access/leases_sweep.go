package access

// sweepStep bounds how many leases and how many holds one Sweep looks at.
const sweepStep = 4_096

// Sweep is for every tick. It looks at some of the leases and holds, and in turn at all: it stops leases whose time is
// over, which has them reported final, and settles holds that are open for more than ten minutes at all that they
// hold, because their requests were forwarded and nobody said that they failed.
func (l *Leases) Sweep(now Instant) {
	for range min(sweepStep, l.leaseTop) {
		place := l.sweepLeases % l.leaseTop
		l.sweepLeases = place + 1
		if e := l.leases.at(place); e.open && e.live && !now.within(e.sent, e.ttl) {
			l.stop(place)
		}
	}
	for range min(sweepStep, l.holdTop) {
		i := l.sweepHolds % l.holdTop
		l.sweepHolds = i + 1
		if h := l.holds.at(i); h.open && now.Mono-h.since > maxHold {
			l.counts.Abandoned++
			l.settle(i, h.amount)
		}
	}
}
