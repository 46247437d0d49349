package filter

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/plugin/access"
)

// stats are the filter's counters. Envoy lists them as wasmcustom.tollgate.<name>. All are defined once, at
// plugin start: defining takes a lock that every worker shares.
type stats struct {
	// allowed, open, unpaid and preflights count what was let through or answered: authenticated, on an open
	// route, undecided on a route that fails open, CORS preflights. abandoned counts requests whose clients left
	// while the control plane was asked, denied the rest.
	allowed, open, unpaid, preflights, abandoned proxywasm.MetricCounter
	denied                                       map[apikey.Reason]proxywasm.MetricCounter
	// credits counts what allowed requests cost.
	credits proxywasm.MetricCounter
	// conversations counts conversation headers by what became of them.
	conversationsPassed, conversationsRemoved proxywasm.MetricCounter
	callouts                                  proxywasm.MetricCounter
	calloutFailures                           [calloutFailureCount]proxywasm.MetricCounter
	// voids counts debits to take back, unsettledDropped the operations there was no room to report, and
	// syncFailures the reports that were not acknowledged.
	voids, unsettledDropped, syncFailures proxywasm.MetricCounter
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
	// calloutUnauthorized: 401 or 403; the gate token is wrong.
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

func defineStats() *stats {
	counter := func(name string) proxywasm.MetricCounter { return proxywasm.DefineCounterMetric("tollgate." + name) }
	s := &stats{
		allowed:              counter("allowed"),
		open:                 counter("open"),
		unpaid:               counter("unpaid"),
		preflights:           counter("preflights"),
		abandoned:            counter("abandoned"),
		denied:               map[apikey.Reason]proxywasm.MetricCounter{},
		credits:              counter("credits"),
		conversationsPassed:  counter("conversations.passed"),
		conversationsRemoved: counter("conversations.removed"),
		callouts:             counter("callouts"),
		voids:                counter("voids"),
		unsettledDropped:     counter("unsettled_dropped"),
		syncFailures:         counter("sync_failures"),
	}
	for _, r := range access.Reasons() {
		s.denied[r] = counter("denied." + string(r))
	}
	for f := calloutNotSent; f < calloutFailureCount; f++ {
		s.calloutFailures[f] = counter("callout_failures." + calloutFailureNames[f])
	}
	return s
}

// allow counts an authenticated request that was let through, and the credits it cost.
func (s *stats) allow(credits int64) {
	s.allowed.Increment(1)
	if credits > 0 {
		s.credits.Increment(uint64(credits))
	}
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
