package filter

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/plugin/access"
)

// admit decides on a request by what the VM knows, or says that the control plane has to be asked.
func (s *stream) admit(t access.Instant) (action types.Action, ask bool) {
	p, route := s.plugin, s.decision.Route
	if route.Mode == api.ModeStrict {
		if v, ok := p.leases.Denied(s.tag, route.Cost, t); ok {
			return s.refuse(route.Denial(v)), false
		}
		return types.ActionPause, true
	}
	var a access.Admission
	if route.Held() {
		a = p.leases.AdmitHeld(s.tag, route.Cost, t)
	} else {
		a = p.leases.Admit(s.tag, route.Cost, t)
	}
	if a.Restriction != 0 && !s.permits(a.Restriction) {
		return s.restricted(&a), false
	}
	switch a.Standing {
	case access.Admitted:
		return s.admitted(a, t), false
	case access.Refused:
		s.count(a.Lease, access.Tally{Requests: 1, Refused: 1})
		return s.refuse(route.Denial(a.Denial)), false
	case access.NoDecision:
		return s.unadmitted(), false // no room for another hold
	}
	return types.ActionPause, true
}

// admitted lets a request pass whose price is taken or held. If the upstream cannot be told who is calling, nothing is
// charged and the request is refused.
func (s *stream) admitted(a access.Admission, t access.Instant) types.Action {
	p := s.plugin
	if a.Renew {
		p.renew(s, t)
	}
	if route := s.decision.Route; route.Shadow && a.Remaining < route.ShadowCost {
		return s.refuse(route.Denial(api.InsufficientCredits))
	}
	who, text, ok := p.tell(a.Lease, s.decision.Route)
	if !ok || !s.identify(&who) {
		s.giveBack(a.Lease, a.Hold)
		return s.fail()
	}
	text.set()
	s.passed(a.Remaining)
	s.bill = bill{due: true, lease: a.Lease, hold: a.Hold}
	return types.ActionContinue
}

// paid lets a request pass whose price was debited by the operation r.
func (s *stream) paid(r *api.AcquireRequest, lease *api.Lease) types.Action {
	p := s.plugin
	who := access.Identity{Account: lease.Account, Project: lease.Project, Key: lease.Key}
	if !s.identify(&who) {
		p.reports.voidRequest(r)
		return s.fail()
	}
	p.record(p.text.allowed(s.decision.Route, who, "strict"))
	s.passed(lease.Available)
	s.bill = bill{due: true, op: r.OpID, key: lease.Key}
	return types.ActionContinue
}

func (s *stream) passed(remaining int64) {
	s.finished, s.forwarded = true, true
	if s.shadow() {
		s.plugin.stats.shadowAllowed.Increment(1)
	} else {
		s.plugin.stats.allowed.Increment(1)
	}
	s.remaining, s.showRemaining = remaining, s.plugin.config.CreditsHeader
}

// identify tells the upstream who is calling and what it costs, at most.
func (s *stream) identify(who *access.Identity) bool {
	ok := addRequestHeader(access.HeaderAccount, who.Account) && addRequestHeader(access.HeaderKey, who.Key) &&
		addRequestHeader(access.HeaderCost, s.decision.Route.CostText)
	return ok && (who.Project == "" || addRequestHeader(access.HeaderProject, who.Project))
}

func removeResponseHeader(name string) {
	if err := proxywasm.RemoveHttpResponseHeader(name); err != nil {
		proxywasm.LogError("tollgate: edit response headers: " + err.Error())
	}
}
