package filter

import (
	"slices"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/plugin/access"
)

const (
	// maxUnsettled bounds the operations that wait to be reported: a minute without the control plane at a
	// thousand requests per second. Beyond it the newest are dropped and counted.
	maxUnsettled = 65_536
	// syncTimeoutMillis bounds the callout of a sync. While it lasts, no other sync brings news.
	syncTimeoutMillis = 2_000
	// tickMillis is how often the plugin looks whether there is something to do, and syncTicks how many looks it lets
	// pass from one sync to the next, unless operations are to be reported, and after a sync that was not answered.
	tickMillis = 100
	syncTicks  = 10
	// Of a sync's api.MaxSyncBytes the usage gets usageBytes; 500 leases and 500 operations need less than the rest.
	usageBytes     = 32 << 10
	leasesReported = 500
)

// reports keep what the control plane has to be told about operations after they ended: debits to take back, and
// requests served without one. Every report is repeated until it is acknowledged.
type reports struct {
	stats   *stats
	pending []unsettled
}

// unsettled is one operation to report. It is unpaid if that is set, and void otherwise.
type unsettled struct {
	op     string
	unpaid *api.Unpaid
}

// voidRequest takes back what r may have debited or reserved, if that can be anything.
func (q *reports) voidRequest(r *api.AcquireRequest) {
	if r.Want > 0 {
		q.void(r.OpID)
	}
}

// void takes back what an operation may have debited.
func (q *reports) void(op string) {
	q.stats.voids.Increment(1)
	q.add(unsettled{op: op})
}

// unpaid reports that d's request was served for that many credits although nobody could decide.
func (q *reports) unpaid(d *access.Decision, op string, cost int64) {
	q.add(unsettled{op, &api.Unpaid{OpID: op, Scheme: d.Route.Scheme.Name, Digests: d.Digests(), Cost: cost}})
}

func (q *reports) add(u unsettled) {
	if len(q.pending) >= maxUnsettled {
		q.stats.unsettledDropped.Increment(1)
		return
	}
	q.pending = append(q.pending, u)
}

// write adds the oldest operations to a sync.
func (q *reports) write(r *api.SyncRequest) {
	for _, u := range q.pending[:min(len(q.pending), api.MaxSyncOps)] {
		if u.unpaid == nil {
			r.Void = append(r.Void, u.op)
		} else {
			r.Unpaid = append(r.Unpaid, *u.unpaid)
		}
	}
}

// acked forgets what is acknowledged and keeps the rest.
func (q *reports) acked(ops []string) {
	if len(ops) == 0 {
		return
	}
	known := make(map[string]bool, len(ops))
	for _, op := range ops {
		known[op] = true
	}
	q.pending = slices.DeleteFunc(q.pending, func(u unsettled) bool { return known[u.op] })
}

// syncs are the conversation with the control plane that the tick keeps up.
type syncs struct {
	// waiting: one is under way. more: the last one said that there is more to hear. left: it left leases to report.
	waiting, more, left bool
	// pause: ticks to let pass before the next. rest: before all leases have their turn again. failures: syncs in a row
	// that were not answered.
	pause, rest, failures int
}

// tick counts a tick, and reports whether a sync may be sent at it.
func (y *syncs) tick() bool {
	y.rest = max(0, y.rest-1)
	if y.pause > 0 {
		y.pause--
		return false
	}
	return true
}

// sync sends the next sync, if there is something to say or to hear and none is under way.
func (p *plugin) sync(t access.Instant) {
	y := &p.syncs
	if y.waiting || len(p.reports.pending) == 0 && !y.more && !y.left && (y.rest > 0 || !p.holds()) {
		return
	}
	leases := 0
	if y.left || y.rest == 0 {
		leases = leasesReported
	}
	request, round, left := p.report(leases, t)
	err := p.gate.send(api.SyncPath, request.AppendJSON(nil), syncTimeoutMillis, func(numHeaders, bodySize int) {
		p.synced(request, round, numHeaders, bodySize)
	})
	if err != nil {
		p.syncFailed("tollgate: report to the control plane: " + err.Error())
		return
	}
	p.stats.syncs.Increment(1)
	y.waiting, y.more, y.left = true, false, left
	if y.rest == 0 {
		y.rest = syncTicks
	}
}

// holds reports whether the VM knows anything that a change could end, or has anything to report but operations.
func (p *plugin) holds() bool {
	if p.leases == nil {
		return false
	}
	c := p.leases.Counts()
	return c.Leases+c.Identities > 0 || p.usage.Pending() > 0
}

// report is made of the oldest of everything, and of so many leases at most.
func (p *plugin) report(most int, t access.Instant) (*api.SyncRequest, access.Round, bool) {
	p.gate.begin()
	r := &api.SyncRequest{Gate: p.gate.name, Boot: p.gate.boot}
	p.reports.write(r)
	leases, round, left := p.leases.Reports(nil, most, t)
	r.Leases, r.Usage = leases, p.usage.Batch(usageBytes)
	r.Cursor, r.Epoch = p.leases.Cursor(), p.leases.Epoch()
	return r, round, left
}

// synced takes the answer to a sync, if it is one.
func (p *plugin) synced(request *api.SyncRequest, round access.Round, numHeaders, bodySize int) {
	p.syncs.waiting = false
	body, failure := readBody(numHeaders, bodySize, api.MaxSyncBytes)
	if failure == calloutUnauthorized {
		p.warnOnce(failure)
	}
	reply, err := api.ParseSyncReply(body)
	if failure != calloutAnswered || err != nil || reply.Validate() != nil {
		p.syncFailed("tollgate: report to the control plane: not acknowledged")
		return
	}
	p.leases.Synced(round, &reply)
	p.usage.Acked(reply.UsageSeq)
	p.reports.acked(reply.Acked)
	p.syncs.more = reply.More
	if len(request.Void)+len(request.Unpaid) > 0 && len(reply.Acked) == 0 {
		p.syncFailed("tollgate: report to the control plane: not acknowledged")
		return
	}
	p.syncs.failures = 0
	if p.syncs.left && len(reply.Leases) >= len(request.Leases) {
		// A VM with many keys has more to report each second than fits into one sync for each tick. Leases that wait to be
		// closed would fill the table.
		p.sync(now())
	}
}

// warnEveryFailures keeps a control plane that is away from filling the log: a line at once, then one a minute.
const warnEveryFailures = 60

// syncFailed waits a while before the next attempt.
func (p *plugin) syncFailed(message string) {
	p.syncs.pause = syncTicks
	p.stats.syncFailures.Increment(1)
	if p.syncs.failures%warnEveryFailures == 0 {
		proxywasm.LogWarn(message)
	}
	p.syncs.failures++
}
