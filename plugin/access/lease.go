package access

import (
	"unsafe"

	"github.com/tollgate/tollgate/controlplane/api"
)

// Instant is one reading of both clocks, in nanoseconds. Mono never goes back, but may stand still while the machine
// sleeps; Wall does not stand still, but may be set.
type Instant struct{ Mono, Wall int64 }

// within reports whether less than span, in nanoseconds, has passed since start by both clocks. A clock that shows
// less than at start shows nothing to rely on: then it is false.
func (i Instant) within(start Instant, span int64) bool {
	return uint64(i.Mono-start.Mono) < uint64(span) && uint64(i.Wall-start.Wall) < uint64(span)
}

const nanosPerMilli = 1_000_000

// leaseID is an id of the control plane, kept without a pointer.
type leaseID struct {
	n    uint8
	text [api.MaxIDLen]byte
}

// set stores id, of at most api.MaxIDLen bytes.
func (d *leaseID) set(id string) { d.n = uint8(copy(d.text[:], id)) }

// alias is the id as it lies there, and changes with it; clone it to keep it.
func (d *leaseID) alias() string { return unsafe.String(&d.text[0], int(d.n)) }

// leaseIDs are the ids of a lease. They lie apart from what a request touches.
type leaseIDs struct{ lease, account, project, key leaseID }

// lease is what the VM knows of one lease, or, if it holds no credits and has no id, of one identity.
//
// It is live from its installation until it is stopped, for whatever reason, once and for all: nothing is admitted
// after that. A stopped lease with no holds left is final; it is kept until the control plane has said that it closed
// it, because until then the credits that were used of it may be unknown there.
type lease struct {
	// Credits were granted; used of them were charged for, held may yet be. used + held ≤ credits.
	credits, used, held int64
	// The lease may be used for ttl nanoseconds from sent, the first time that its acquire was sent.
	sent Instant
	ttl  int64
	// A renewal is due at the age renewAge, in nanoseconds of Mono, or once renewUsed credits are used or held.
	renewAge, renewUsed int64
	// available was the account's balance when the lease came.
	available int64
	// entry is the credential it is the current lease of, 0 if none, else one more than the index.
	entry int32
	// nextReport is the next lease in the queue of reports, 0 if none, else one more than the index.
	nextReport int32
	// gen counts the leases that had this place.
	gen uint32
	// restriction is 0 if the key may be used for everything, and once the lease was stopped.
	restriction RestrictionRef
	open        bool
	live        bool
	queued      bool
	// paid: it holds credits and has an id; otherwise it is an identity, and never reported.
	paid bool
	// What a request does not touch is below.

	// The control plane has counted acked.
	acked int64
	// installed is the Mono at which it came.
	installed int64
	// The lease takes into account every change up to cursor.
	cursor int64
	// Hashes of the ids, by which changes find it. Project is 0 if there is none.
	account, project, key uint64
	// final is the first Round in which it was reported final, 0 if none.
	final Round
}

// left is what may still be taken of the lease.
func (e *lease) left() int64 { return e.credits - e.used - e.held }

// entry is a credential that was granted a lease.
type entry struct {
	// lease is the current one, 0 if none, else one more than the index.
	lease int32
	// recent: it was used since the hand that looks for somebody to evict came by.
	recent bool
	// asked: an acquire for it is under way.
	asked bool
	// failures counts acquires in a row that nobody decided, and no renewal is due before the Mono retryAt.
	failures uint8
	retryAt  int64
	// spent credits were used since the Mono since, by the lease before the current one; ttl is that of the last one.
	spent, since, ttl int64
	// slab bounds what is asked for next, 0 if nothing is known.
	slab int64
}
