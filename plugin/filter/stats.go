package filter

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/tollgate/tollgate/plugin/access"
)

// stats are the filter's counters. Envoy lists them as wasmcustom.tollgate.<name>. All are defined once, at
// plugin start: defining takes a lock that every worker shares.
type stats struct {
	allowed, open, credits proxywasm.MetricCounter
	denied                 []proxywasm.MetricCounter
	callouts               proxywasm.MetricCounter
	calloutFailures        [calloutFailureCount]proxywasm.MetricCounter
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
	// calloutStatus: a status other than 200. A timeout counts here: Envoy makes it a 504.
	calloutStatus
	// calloutBody: 200, but no reply to this acquire in the body.
	calloutBody

	calloutFailureCount
)

var calloutFailureNames = [calloutFailureCount]string{
	calloutNotSent: "not_sent",
	calloutReset:   "reset",
	calloutStatus:  "status",
	calloutBody:    "body",
}

func defineStats() stats {
	s := stats{
		allowed:  proxywasm.DefineCounterMetric("tollgate.allowed"),
		open:     proxywasm.DefineCounterMetric("tollgate.open"),
		credits:  proxywasm.DefineCounterMetric("tollgate.credits"),
		callouts: proxywasm.DefineCounterMetric("tollgate.callouts"),
	}
	for _, r := range access.Reasons() {
		s.denied = append(s.denied, proxywasm.DefineCounterMetric("tollgate.denied."+r.String()))
	}
	for f := calloutNotSent; f < calloutFailureCount; f++ {
		s.calloutFailures[f] = proxywasm.DefineCounterMetric("tollgate.callout_failures." + calloutFailureNames[f])
	}
	return s
}

// allow counts a request that was let through, and the credits it cost.
func (s *stats) allow(authenticated bool, credits int64) {
	if !authenticated {
		s.open.Increment(1)
		return
	}
	s.allowed.Increment(1)
	if credits > 0 {
		s.credits.Increment(uint64(credits))
	}
}

func (s *stats) deny(r access.Reason) {
	s.denied[r].Increment(1)
}

// callout counts one acquire and how it ended.
func (s *stats) callout(f calloutFailure) {
	s.callouts.Increment(1)
	if f != calloutAnswered {
		s.calloutFailures[f].Increment(1)
	}
}
