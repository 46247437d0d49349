package filter

import (
	"slices"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/tollgate/tollgate/controlplane/api"
)

const (
	// maxUnsettled bounds the operations that wait to be reported: a minute without the control plane at a
	// thousand requests per second. Beyond it the newest are dropped and counted.
	maxUnsettled = 65_536
	// syncTimeoutMillis bounds the callout that reports them.
	syncTimeoutMillis = 5_000
	// tickMillis is how often the plugin looks whether there is something to report, and retryTicks how many
	// looks it lets pass after a report that was not acknowledged.
	tickMillis = 100
	retryTicks = 10
)

// settlement keeps what the control plane has to be told about operations after they ended: debits to take back,
// and requests served without one. Every report is repeated until it is acknowledged.
//
// Reports go out from the plugin context: the SDK drops the callback of a stream that is gone.
type settlement struct {
	gate    *gate
	stats   *stats
	pending []unsettled
	// waiting: a report is under way. pause: ticks to let pass before the next. failures: reports in a row that
	// were not acknowledged.
	waiting  bool
	pause    int
	failures int
}

// unsettled is one operation to report; paid is false for a request that was served undecided.
type unsettled struct {
	request *api.AcquireRequest
	void    bool
}

// void takes back what r may have debited. At cost 0 there is nothing to take back.
func (s *settlement) void(r *api.AcquireRequest) {
	if r.Cost > 0 {
		s.stats.voids.Increment(1)
		s.add(unsettled{r, true})
	}
}

// unpaid reports that r was served although nobody could decide.
func (s *settlement) unpaid(r *api.AcquireRequest) {
	if r.Cost > 0 {
		s.add(unsettled{r, false})
	}
}

func (s *settlement) add(u unsettled) {
	if len(s.pending) >= maxUnsettled {
		s.stats.unsettledDropped.Increment(1)
		return
	}
	s.pending = append(s.pending, u)
}

// tick sends the next report, if there is something to report and none is under way.
func (s *settlement) tick() {
	if s.pause > 0 {
		s.pause--
		return
	}
	if len(s.pending) == 0 || s.waiting {
		return
	}
	if err := s.gate.send(api.SyncPath, s.report().AppendJSON(nil), syncTimeoutMillis, s.done); err != nil {
		s.failed("tollgate: report to the control plane: " + err.Error())
		return
	}
	s.waiting = true
}

// report is made of the oldest operations.
func (s *settlement) report() *api.SyncRequest {
	r := &api.SyncRequest{Gate: s.gate.name, Boot: s.gate.boot}
	for _, u := range s.pending[:min(len(s.pending), api.MaxSyncOps)] {
		if u.void {
			r.Void = append(r.Void, u.request.OpID)
			continue
		}
		r.Unpaid = append(r.Unpaid, api.Unpaid{
			OpID: u.request.OpID, Scheme: u.request.Scheme, Digests: u.request.Digests, Cost: u.request.Cost})
	}
	return r
}

// done forgets what the reply acknowledges and keeps the rest.
func (s *settlement) done(numHeaders, bodySize int) {
	s.waiting = false
	body, failure := readBody(numHeaders, bodySize, api.MaxSyncBytes)
	reply, err := api.ParseSyncReply(body)
	if failure != calloutAnswered || err != nil || len(reply.Acked) == 0 {
		s.failed("tollgate: report to the control plane: not acknowledged")
		return
	}
	acked := make(map[string]bool, len(reply.Acked))
	for _, op := range reply.Acked {
		acked[op] = true
	}
	s.failures = 0
	s.pending = slices.DeleteFunc(s.pending, func(u unsettled) bool { return acked[u.request.OpID] })
}

// warnEveryFailures keeps a control plane that is away from filling the log: a line at once, then one a minute.
const warnEveryFailures = 60

// failed waits a while before the next attempt.
func (s *settlement) failed(message string) {
	s.pause = retryTicks
	s.stats.syncFailures.Increment(1)
	if s.failures%warnEveryFailures == 0 {
		proxywasm.LogWarn(message)
	}
	s.failures++
}
