package filter

import (
	"slices"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/plugin/access"
)

// answered takes the outcome of a callout: the reply, or nil and why there is none.
func (p *plugin) answered(a *acquire, reply *api.AcquireReply, f calloutFailure) {
	p.stats.callout(f)
	p.warnOnce(f)
	if a.over {
		return
	}
	t := now()
	if reply == nil {
		p.unanswered(a, t)
		return
	}
	carrier := a.carrier
	p.end(a)
	o := p.leases.Install(a.flight, reply, t)
	switch o.Result {
	case access.Paid:
		p.wakePaid(a, reply.Lease)
	case access.Installed, access.Denied, access.Outdated:
		p.wake(a, o, t, carrier)
	default:
		p.giveUp(a)
	}
}

// unanswered ends an acquire that nobody answers.
func (p *plugin) unanswered(a *acquire, t access.Instant) {
	p.end(a)
	p.leases.Failed(a.flight, t)
	p.giveUp(a)
}

// wakePaid lets the one request pass that a strict acquire was made for. If that is gone, the debit is taken back.
func (p *plugin) wakePaid(a *acquire, lease *api.Lease) {
	for i, s := range a.waiters {
		if s.rouse() {
			s.resume(s.paid(a.request, lease))
			a.waiters = a.waiters[i+1:]
			p.giveUpOn(a, true)
			return
		}
	}
	p.reports.voidRequest(a.request)
}

// giveUp applies the failure policy to all that wait for a. The operation is taken back, unless it stands for one of
// the requests that are served undecided.
func (p *plugin) giveUp(a *acquire) {
	if !p.giveUpOn(a, false) {
		p.reports.voidRequest(a.request)
	}
}

// giveUpOn is giveUp but for the operation: it returns whether that stands for a request.
func (p *plugin) giveUpOn(a *acquire, used bool) bool {
	for _, s := range a.waiters {
		if !s.rouse() {
			continue
		}
		op := ""
		if !used && s.decision.Route.FailOpen && s.decision.Route.Cost == a.request.Cost {
			op, used = a.request.OpID, true
		}
		s.resume(s.undecided(op))
	}
	a.waiters = nil
	return used
}

// wake tells all that wait for a what it came to. Those for whom it is not enough ask again once all are told: the
// host's effective context is then no longer somebody's whose headers are being written.
func (p *plugin) wake(a *acquire, o access.Outcome, t access.Instant, carrier *stream) {
	var again []*stream
	for _, s := range a.waiters {
		if !s.rouse() {
			continue
		}
		route := s.decision.Route
		if o.Refuses(route.Cost) {
			verdict := o.Denial
			if o.Restriction != 0 && !s.permits(o.Restriction) {
				verdict = api.KeyRestricted
			}
			s.resume(s.refuse(route.Denial(verdict)))
			continue
		}
		action, ask := s.admit(t)
		if !ask {
			s.resume(action)
			continue
		}
		if o.Result != access.Outdated {
			s.since = t.Mono
		}
		again = append(again, s)
	}
	a.waiters = nil
	p.askAgain(again, t, carrier)
}

// askAgain has streams ask, in the order in which they came, that were not served by what they had waited for. Acquires
// that were not sent yet are sent with the context of carrier, if that stream goes on; otherwise the tick sends them.
func (p *plugin) askAgain(streams []*stream, t access.Instant, carrier *stream) {
	var fresh []*acquire
	limit := t.Mono - patience*int64(p.config.ControlPlane.TimeoutMillis)*1_000_000
	for _, s := range streams {
		var a *acquire
		if s.since > limit {
			a = p.board(s, t)
		}
		switch {
		case a != nil && a.sends == 0 && !slices.Contains(fresh, a):
			fresh = append(fresh, a)
		case a == nil && s.rouse():
			s.resume(s.unadmitted())
		}
	}
	for _, a := range fresh {
		if (carrier != nil && !carrier.forwarded || !p.send(a, carrier)) && !a.queued {
			p.enqueue(a)
		}
	}
}

// rouse makes a stream that waited the one that the host's calls are about. It is false if the stream is gone.
func (s *stream) rouse() bool {
	s.waiting = nil
	if s.finished {
		return false
	}
	if err := proxywasm.SetEffectiveContext(s.id); err != nil {
		proxywasm.LogError("tollgate: wake a stream: " + err.Error())
		return false
	}
	return true
}

// resume lets a roused stream go on, unless it was answered. If the host refuses, nothing is charged for and the client
// is told so.
func (s *stream) resume(action types.Action) {
	if action != types.ActionContinue {
		return
	}
	if err := proxywasm.ResumeHttpRequest(); err != nil {
		proxywasm.LogError("tollgate: resume request: " + err.Error())
		s.settle(0)
		s.fail()
		return
	}
	s.owe()
}
