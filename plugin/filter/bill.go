package filter

import (
	"strconv"

	"github.com/tollgate/tollgate/plugin/access"
)

// bill is what is still to be settled of a request that was let through. The zero value is settled.
type bill struct {
	due bool
	// lease is set if the price is on a lease: held, if there is a hold, or else taken already.
	lease access.LeaseRef
	hold  access.Hold
	// op is set if the price was debited by an operation that can be taken back whole, or, with unpaid, if nobody could
	// decide: then it is reported with what it costs.
	op     string
	unpaid bool
	// key is the id of the key, for usage, where there is no lease.
	key string
}

// viaUpstream is the detail of every response that the upstream sent. One that the proxy made has another, and one that
// another filter made has what that filter said, which may be nothing (Envoy's response.code_details).
const (
	codeDetails = "response\x00code_details"
	viaUpstream = "via_upstream"
)

// answered settles the bill by what the upstream says, if that decides it, and removes the header in which it says so.
func (s *stream) answered() {
	route := s.decision.Route
	if route == nil || !route.Held() {
		return
	}
	charge := ""
	if route.CostHeader != "" {
		if charge = responseHeader(route.CostHeader); charge != "" {
			removeResponseHeader(route.CostHeader)
		}
	}
	if !s.bill.due {
		return
	}
	if property(codeDetails) != viaUpstream {
		s.settle(route.ChargeUnanswered())
		return
	}
	status, err := strconv.Atoi(responseHeader(":status"))
	if err != nil {
		status = 500
	}
	s.settle(route.Charge(status, charge))
}

// unanswered is what the request costs if no response comes any more.
func (s *stream) unanswered() int64 {
	if !s.bill.due {
		return 0
	}
	return s.decision.Route.ChargeUnanswered()
}

// settle charges for the request. Only the first time does anything.
func (s *stream) settle(charge int64) {
	if !s.bill.due {
		return
	}
	s.bill.due = false
	p, b := s.plugin, &s.bill
	switch {
	case b.unpaid:
		if charge > 0 {
			p.reports.unpaid(&s.decision, b.op, charge)
		} else {
			p.reports.void(b.op)
		}
		return
	case b.op != "":
		if charge == 0 && s.decision.Route.Cost > 0 {
			p.reports.void(b.op)
		}
		p.usage.Count(s.decision.Route.Number, b.key, s.decision.ConversationID, access.Tally{Requests: 1, Credits: charge})
	default:
		s.count(b.lease, access.Tally{Requests: 1, Credits: charge})
		if charge == 0 {
			s.giveBack(b.lease, b.hold)
		} else {
			p.leases.Settle(b.hold, charge)
		}
	}
	p.stats.charge(charge)
}

// giveBack leaves the price with the lease that it was to come from.
func (s *stream) giveBack(lease access.LeaseRef, hold access.Hold) {
	if s.decision.Route.Held() {
		s.plugin.leases.Settle(hold, 0)
		return
	}
	s.plugin.leases.Return(lease, s.decision.Route.Cost)
}

// count adds to the usage of a lease's key.
func (s *stream) count(lease access.LeaseRef, t access.Tally) {
	s.plugin.usage.CountLease(s.plugin.leases, lease, s.decision.Route.Number, s.decision.ConversationID, t)
}

// oweUnpaid is for a request that nobody could decide upon. At cost 0 there is nothing to report.
func (s *stream) oweUnpaid(op string) {
	s.bill = bill{due: s.decision.Route.Cost > 0, op: op, unpaid: true}
}

// owe is for a request that goes on. Its bill is settled at once if nothing can change it any more.
func (s *stream) owe() {
	switch {
	case !s.bill.due:
	case s.decision.Route.Held():
		s.keep()
	default:
		s.settle(s.decision.Route.Cost)
	}
}
