package access

import (
	"strings"

	"github.com/tollgate/tollgate/controlplane/api"
)

// Round numbers the syncs of a VM, from 1.
type Round int64

// reportQueue are the leases that may have something to report, first come first served. Both ends are one more than
// the place, 0 if it is empty.
type reportQueue struct {
	head, tail int32
	n          int
	// due are those at the head that have their turn before those that came, or came again, since they were counted.
	due int
}

// report puts a lease into the queue, if it is not in it.
func (l *Leases) report(place int32) {
	e := l.leases.at(place)
	if e.queued {
		return
	}
	e.queued, e.nextReport = true, 0
	q := &l.reports
	if q.tail == 0 {
		q.head = place + 1
	} else {
		l.leases.at(q.tail - 1).nextReport = place + 1
	}
	q.tail = place + 1
	q.n++
}

// reported takes the first lease out of the queue.
func (l *Leases) reported() int32 {
	q := &l.reports
	place := q.head - 1
	e := l.leases.at(place)
	q.head = e.nextReport
	if q.head == 0 {
		q.tail = 0
	}
	q.n--
	q.due = max(0, q.due-1)
	e.queued = false
	return place
}

// Reports begins a sync: it appends to dst what has to be reported of at most so many leases, which is what was used and
// not counted yet, and which of them are final. The others have their turn first in the next one. What is not
// acknowledged is reported again. More tells whether there are others of those that were waiting when the first of them
// had their turn; without it, the next call begins with all that wait then, unless it is for no lease at all.
func (l *Leases) Reports(dst []api.LeaseReport, most int, now Instant) (reports []api.LeaseReport, r Round, more bool) {
	l.round++
	room := most
	if q := &l.reports; q.due == 0 && most > 0 {
		q.due = q.n
	}
	for l.reports.due > 0 {
		if room <= 0 {
			return dst, l.round, true
		}
		place := l.reported()
		e := l.leases.at(place)
		if !e.open {
			l.leaseFree.give(place)
			continue
		}
		if e.live && !now.within(e.sent, e.ttl) {
			l.stop(place)
		}
		final := !e.live && e.held == 0
		if !final && e.used == e.acked {
			continue
		}
		if final && e.final == 0 {
			e.final = l.round
		}
		id := strings.Clone(l.ids.at(place).lease.alias())
		dst = append(dst, api.LeaseReport{Lease: id, Used: e.used, Final: final})
		room--
		l.report(place)
	}
	return dst, l.round, false
}

// Synced takes the reply to the sync that Reports began as r. One of an older epoch says nothing, and one that comes
// after the reply to a later sync nothing of changes.
//
// A lease that the control plane drops is forgotten if its final report was in that sync or an earlier one. Otherwise
// it stops, and its final report is sent first, once its holds are settled: what was used of a closed lease can still
// be charged, and what was not, be given back. Acknowledgements of unknown leases, of less than before, and of more than was used
// say nothing of the amount.
func (l *Leases) Synced(r Round, reply *api.SyncReply) {
	if reply.Epoch != 0 && reply.Epoch < l.changes.epoch {
		return
	}
	l.advance(reply.Epoch)
	if r > l.heard {
		l.heard = r
		l.learn(reply)
	}
	for i := range reply.Leases {
		l.acked(r, &reply.Leases[i])
	}
}

func (l *Leases) acked(r Round, ack *api.LeaseAck) {
	place := l.byID.find(l.key.id(ack.Lease))
	if place < 0 {
		return
	}
	e := l.leases.at(place)
	if ack.Used > e.acked && ack.Used <= e.used {
		e.acked = ack.Used
	}
	switch {
	case ack.Action == api.LeaseKeep:
	case ack.Action == api.LeaseDrop && e.final != 0 && r >= e.final:
		l.forget(place)
	default:
		l.stop(place)
	}
}

// Cursor and Epoch are what a sync says the VM knows.
func (l *Leases) Cursor() int64 { return l.changes.cursor }

// Epoch is the newest that the VM has heard of, 0 if none.
func (l *Leases) Epoch() int64 { return l.changes.epoch }
