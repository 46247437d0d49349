package api

import (
	"errors"
	"fmt"
)

// SyncRequest reports what became of earlier operations of the same boot. Everything in it may be repeated until
// acknowledged.
type SyncRequest struct {
	Gate string `json:"gate"`
	Boot string `json:"boot"`
	// Void lists acquires whose answers reached no live request: their debits are reversed, and those that have
	// not arrived yet will not debit.
	Void []string `json:"void,omitempty"`
	// Unpaid lists requests that were let through although nobody could decide.
	Unpaid []Unpaid `json:"unpaid,omitempty"`
	// Leases are what the gate has used of each lease so far.
	Leases []LeaseReport `json:"leases,omitempty"`
	// Usage is the oldest batch that was not acknowledged.
	Usage *UsageBatch `json:"usage,omitempty"`
	// Cursor is the newest Change that the gate has seen, 0 if none.
	Cursor int64 `json:"cursor,omitempty"`
	// Epoch is the newest that the gate has seen, 0 if none.
	Epoch int64 `json:"epoch,omitempty"`
}

// LeaseReport says how much of a lease was used. Used is cumulative, so that a report that is lost, repeated or overtaken
// does no harm. Final says that no more will be used: what is left goes back.
type LeaseReport struct {
	Lease string `json:"lease"`
	Used  int64  `json:"used"`
	Final bool   `json:"final,omitempty"`
}

// UsageBatch are rows that are counted once: Seq is 1 for the first batch of a boot and one more for each next, and a Seq
// that was counted before is acknowledged and changes nothing.
type UsageBatch struct {
	Seq  int64      `json:"seq"`
	Rows []UsageRow `json:"rows"`
}

// UsageRow sums requests of one key on one route, and of one conversation where the scheme has them. The rows that a gate
// had no room for are summed under OtherRows.
type UsageRow struct {
	// Key is the key's id, empty in OtherRows.
	Key string `json:"key,omitempty"`
	// Route is its path or prefix as configured, 1 to MaxLabelLen bytes, or OtherRows.
	Route        string `json:"route"`
	Conversation string `json:"conversation,omitempty"`
	Requests     int64  `json:"requests"`
	Credits      int64  `json:"credits"`
	// Refused counts those of Requests that were denied, for whatever reason.
	Refused int64 `json:"refused,omitempty"`
}

// OtherRows is the route of usage that no row was left for.
const OtherRows = "other"

// Unpaid is a request that was served undecided. If its acquire was debited after all, it is paid; otherwise its
// cost is written off to the account of the key, and the acquire will not debit any more.
type Unpaid struct {
	OpID    string   `json:"op_id"`
	Scheme  string   `json:"scheme"`
	Digests []string `json:"digests"`
	Cost    int64    `json:"cost"`
}

// SyncReply acknowledges what of the request is settled and need not be reported again, and tells what has changed.
type SyncReply struct {
	// Acked are operations of Void and Unpaid.
	Acked []string `json:"acked"`
	// Leases answer the request's, in any order, and name those that have to drain although they were not reported.
	Leases []LeaseAck `json:"leases,omitempty"`
	// UsageSeq is the batch that is counted, 0 if the request had none.
	UsageSeq int64 `json:"usage_seq,omitempty"`
	// Changes are newer than the request's Cursor, oldest first. More says that there are others; the gate asks for them
	// with its next sync, which it may send at once. A gate whose Cursor is too old to be told everything gets one change
	// of kind ChangeAll.
	Changes []Change `json:"changes,omitempty"`
	More    bool     `json:"more,omitempty"`
	// Cursor is the newest of Changes, or the request's.
	Cursor int64 `json:"cursor,omitempty"`
	// Epoch is the database's. If it is not the one under which the gate acquired a lease, that lease is worth nothing.
	Epoch int64 `json:"epoch,omitempty"`
}

// LeaseAction is what a gate has to do with a lease.
type LeaseAction string

// The actions. An unknown one is LeaseDrain.
const (
	// LeaseKeep: go on.
	LeaseKeep LeaseAction = "keep"
	// LeaseDrain: admit nothing more and report it final; somebody else needs the credits.
	LeaseDrain LeaseAction = "drain"
	// LeaseDrop: it is closed; forget it.
	LeaseDrop LeaseAction = "drop"
)

// LeaseAck answers one LeaseReport. Used is what the control plane has counted.
type LeaseAck struct {
	Lease  string      `json:"lease"`
	Used   int64       `json:"used"`
	Action LeaseAction `json:"action"`
}

// ChangeKind says what a Change is about.
type ChangeKind string

// The kinds. An unknown one is ChangeAll.
const (
	// ChangeKey: the key was changed, revoked or rotated. What is known of it is to be asked for again.
	ChangeKey ChangeKind = "key"
	// ChangeProject: as ChangeKey for every key of the project.
	ChangeProject ChangeKind = "project"
	// ChangeAccount: as ChangeKey for every key of the account.
	ChangeAccount ChangeKind = "account"
	// ChangeCredits: the account got credits. Denials for want of them are to be asked for again; leases stay.
	ChangeCredits ChangeKind = "credits"
	// ChangeAll: as ChangeKey for every key.
	ChangeAll ChangeKind = "all"
)

// Change is something that gates have to know.
type Change struct {
	Seq  int64      `json:"seq"`
	Kind ChangeKind `json:"kind"`
	// ID is the key's, project's or account's; empty for ChangeAll.
	ID string `json:"id,omitempty"`
}

// MaxTTLMillis bounds the ttl of a lease: an hour.
const MaxTTLMillis = 3_600_000

// Validate reports every field of r that is out of its documented range, as AcquireRequest's does.
func (r *SyncRequest) Validate() error {
	var p problems
	p.name("gate", r.Gate, MaxGateLen)
	p.name("boot", r.Boot, MaxBootLen)
	if len(r.Void)+len(r.Unpaid) > MaxSyncOps {
		p.add("void, unpaid", fmt.Sprintf("at most %d entries together", MaxSyncOps))
		return errors.Join(p...)
	}
	for i, op := range r.Void {
		p.opID(fmt.Sprintf("void[%d]", i), op, r.Boot)
	}
	for i, u := range r.Unpaid {
		field := fmt.Sprintf("unpaid[%d].", i)
		p.opID(field+"op_id", u.OpID, r.Boot)
		p.credential(field, u.Scheme, u.Digests, u.Cost)
	}
	p.leases(r.Leases)
	p.usage(r.Usage)
	if r.Cursor < 0 || r.Epoch < 0 {
		p.add("cursor, epoch", "0 or more")
	}
	return errors.Join(p...)
}

func (p *problems) leases(reports []LeaseReport) {
	if len(reports) > MaxSyncLeases {
		p.add("leases", fmt.Sprintf("at most %d entries", MaxSyncLeases))
		return
	}
	for i, l := range reports {
		field := fmt.Sprintf("leases[%d].", i)
		p.name(field+"lease", l.Lease, MaxIDLen)
		if l.Used < 0 || l.Used > MaxCredits {
			p.add(field+"used", "an integer from 0 to 2^53-1")
		}
	}
}

func (p *problems) usage(u *UsageBatch) {
	switch {
	case u == nil:
		return
	case u.Seq < 1:
		p.add("usage.seq", "1 or more")
	case len(u.Rows) > MaxUsageRows:
		p.add("usage.rows", fmt.Sprintf("at most %d entries", MaxUsageRows))
		return
	}
	for i, row := range u.Rows {
		field := fmt.Sprintf("usage.rows[%d].", i)
		if row.Key != "" {
			p.name(field+"key", row.Key, MaxIDLen)
		}
		p.name(field+"route", row.Route, MaxLabelLen)
		if row.Conversation != "" {
			p.name(field+"conversation", row.Conversation, MaxLabelLen)
		}
		for name, n := range map[string]int64{"requests": row.Requests, "credits": row.Credits, "refused": row.Refused} {
			if n < 0 || n > MaxCredits {
				p.add(field+name, "an integer from 0 to 2^53-1")
			}
		}
	}
}

// Validate reports whether every number and id of r is within its documented range. A gate treats an error as no answer.
func (r *SyncReply) Validate() error {
	var p problems
	if r.UsageSeq < 0 || r.Cursor < 0 || r.Epoch < 0 {
		p.add("usage_seq, cursor, epoch", "0 or more")
	}
	for i, l := range r.Leases {
		field := fmt.Sprintf("leases[%d].", i)
		p.name(field+"lease", l.Lease, MaxIDLen)
		if l.Used < 0 || l.Used > MaxCredits {
			p.add(field+"used", "an integer from 0 to 2^53-1")
		}
	}
	for i, c := range r.Changes {
		field := fmt.Sprintf("changes[%d].", i)
		if c.Seq < 1 {
			p.add(field+"seq", "1 or more")
		}
		if c.ID != "" || c.Kind != ChangeAll {
			p.name(field+"id", c.ID, MaxIDLen)
		}
	}
	return errors.Join(p...)
}
