package filter

import (
	"strconv"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/plugin/access"
)

// stats are the filter's counters. Envoy lists them as wasmcustom.tollgate.<name>. All are defined once, at
// plugin start: defining takes a lock that every worker shares.
type stats struct {
	// allowed, open, unpaid and preflights count what was let through or answered: authenticated, on an open
	// route, undecided on a route that fails open, CORS preflights. abandoned counts requests whose clients left
	// while the control plane was asked, denied the rest.
	allowed, open, unpaid, preflights, abandoned counter
	denied                                       map[apikey.Reason]counter
	// shadowAllowed and shadowDenied count the requests on shadow routes by what would have become of them.
	shadowAllowed counter
	shadowDenied  map[apikey.Reason]counter
	// credits counts what allowed requests cost.
	credits counter
	// conversations counts conversation headers by what became of them.
	conversationsPassed, conversationsRemoved counter
	callouts                                  counter
	calloutFailures                           [calloutFailureCount]counter
	// acquires count those that were made, by kind: for a request of a key without a lease, ahead of need, for one request
	// alone; acquiresRepeated those that were sent again.
	acquiresCold, acquiresRenewal, acquiresStrict, acquiresRepeated counter
	// syncs counts reports to the control plane; negativeHits requests refused from memory; overBudget requests that were
	// not asked for because too many unknown keys came; dropped credits that were used of leases which the control plane
	// closed having counted fewer; abandonedHolds holds that nobody settled.
	syncs, negativeHits, overBudget, dropped, abandonedHolds counter
	// Gauges of all VMs together: leases with credits, the credits that they hold, and requests whose price is held.
	leases, reserved, holds proxywasm.MetricGauge
	// seen is what the gauges and counters have of this VM.
	seen access.Counts
	// voids counts debits to take back, unsettledDropped the operations there was no room to report, and
	// syncFailures the reports that were not acknowledged.
	voids, unsettledDropped, syncFailures counter
}

// calloutFailure is why an acquire brought no answer.
type calloutFailure uint8

const (
	// calloutAnswered: it did bring one.
	calloutAnswered calloutFailure = iota
	// calloutNotSent: the host refused to send it; the cluster is missing or its name is wrong.
	calloutNotSent
	// calloutReset: no response; the connection failed or was cut.
	calloutReset
	// calloutUnauthorized: 401 or 403, or 429 once there were many; the gate token is wrong.
	calloutUnauthorized
	// calloutTimeout: no answer in time, which Envoy makes a 504.
	calloutTimeout
	// calloutStatus: any other status than 200.
	calloutStatus
	// calloutBody: 200, but no reply to this acquire in the body.
	calloutBody

	calloutFailureCount
)

var calloutFailureNames = [calloutFailureCount]string{
	calloutNotSent:      "not_sent",
	calloutReset:        "reset",
	calloutUnauthorized: "unauthorized",
	calloutTimeout:      "timeout",
	calloutStatus:       "status",
	calloutBody:         "body",
}

// hint says to an operator what to look at.
func (f calloutFailure) hint(cp access.ControlPlane) string {
	switch f {
	case calloutNotSent:
		return "has the proxy a cluster of this name, with hosts?"
	case calloutReset:
		return "the connection failed or was cut"
	case calloutUnauthorized:
		return "is the gate token in " + cp.TokenEnv + " right?"
	case calloutTimeout:
		return "no answer within " + strconv.Itoa(int(cp.TimeoutMillis)) + " ms"
	case calloutStatus:
		return "it is not there, not ready, or no gate listener: the status is not 200"
	default:
		return "is it of another version? Its answer cannot be read"
	}
}

func defineStats() *stats {
	counts := func(name string) counter { return defineCounter("tollgate." + name) }
	s := &stats{
		allowed:              counts("allowed"),
		open:                 counts("open"),
		unpaid:               counts("unpaid"),
		preflights:           counts("preflights"),
		abandoned:            counts("abandoned"),
		denied:               map[apikey.Reason]counter{},
		shadowAllowed:        counts("shadow.allowed"),
		shadowDenied:         map[apikey.Reason]counter{},
		credits:              counts("credits"),
		conversationsPassed:  counts("conversations.passed"),
		conversationsRemoved: counts("conversations.removed"),
		callouts:             counts("callouts"),
		acquiresCold:         counts("acquires.cold"),
		acquiresRenewal:      counts("acquires.renewal"),
		acquiresStrict:       counts("acquires.strict"),
		acquiresRepeated:     counts("acquires.repeated"),
		syncs:                counts("syncs"),
		negativeHits:         counts("negative_hits"),
		overBudget:           counts("over_budget"),
		dropped:              counts("dropped"),
		abandonedHolds:       counts("holds_abandoned"),
		leases:               proxywasm.DefineGaugeMetric("tollgate.leases"),
		reserved:             proxywasm.DefineGaugeMetric("tollgate.reserved"),
		holds:                proxywasm.DefineGaugeMetric("tollgate.holds"),
		voids:                counts("voids"),
		unsettledDropped:     counts("unsettled_dropped"),
		syncFailures:         counts("sync_failures"),
	}
	for _, r := range access.Reasons() {
		s.denied[r] = counts("denied." + string(r))
		s.shadowDenied[r] = counts("shadow.denied." + string(r))
	}
	for f := calloutNotSent; f < calloutFailureCount; f++ {
		s.calloutFailures[f] = counts("callout_failures." + calloutFailureNames[f])
	}
	return s
}

// charge counts credits that a request cost.
func (s *stats) charge(credits int64) {
	if credits > 0 {
		s.credits.Increment(uint64(credits))
	}
}

// acquire counts one that was made.
func (s *stats) acquire(mode api.Mode, renewal bool) {
	switch {
	case renewal:
		s.acquiresRenewal.Increment(1)
	case mode == api.ModeStrict:
		s.acquiresStrict.Increment(1)
	default:
		s.acquiresCold.Increment(1)
	}
}

// observe adds to the metrics what has changed since it was called last. Gauges are changed by differences, because all
// VMs of a worker share them.
func (s *stats) observe(c access.Counts) {
	o := &s.seen
	gauge := func(m proxywasm.MetricGauge, now, before int64) {
		if now != before {
			m.Add(now - before)
		}
	}
	count := func(m counter, now, before int64) {
		if now > before {
			m.Increment(uint64(now - before))
		}
	}
	gauge(s.leases, c.Leases, o.Leases)
	gauge(s.reserved, c.Credits, o.Credits)
	gauge(s.holds, c.Holds, o.Holds)
	count(s.negativeHits, c.DenialHits, o.DenialHits)
	count(s.overBudget, c.OverBudget, o.OverBudget)
	count(s.dropped, c.Unsettled, o.Unsettled)
	count(s.abandonedHolds, c.Abandoned, o.Abandoned)
	*o = c
}

// leave takes this VM's part out of the gauges.
func (s *stats) leave() {
	c := s.seen
	c.Leases, c.Credits, c.Holds = 0, 0, 0
	s.observe(c)
}

func (s *stats) deny(r apikey.Reason) {
	s.denied[r].Increment(1)
}

func (s *stats) conversation(c access.Conversation) {
	switch c {
	case access.ConversationPassed:
		s.conversationsPassed.Increment(1)
	case access.ConversationRemoved:
		s.conversationsRemoved.Increment(1)
	}
}

// callout counts one acquire and how it ended.
func (s *stats) callout(f calloutFailure) {
	s.callouts.Increment(1)
	if f != calloutAnswered {
		s.calloutFailures[f].Increment(1)
	}
}
