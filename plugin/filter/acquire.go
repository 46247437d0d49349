package filter

import (
	"slices"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/plugin/access"
)

const (
	// maxSends is how often one acquire is sent, with the same operation id: again each time that the stream is gone
	// with which its callout would have ended.
	maxSends = 3
	// patience is how many callouts' timeouts a stream waits at most for an answer that decides something; answers that
	// are outdated when they come do not. One that serves or refuses whoever came first gives those behind patience anew:
	// nobody is told that the service is unavailable because others had their turn. A queue is served in the order in
	// which it came, and each answer is for one of it at least.
	patience = 4
)

// acquire is an acquire under way, and who waits for it.
type acquire struct {
	flight  access.Flight
	request *api.AcquireRequest
	// waiters are paused streams. The first is the one that the acquire was made for; a renewal has none.
	waiters []*stream
	// carrier is the stream with whose context the callout ends, nil if that is the plugin's.
	carrier *stream
	sends   int
	renewal bool
	// queued: the next tick has to send it.
	queued bool
	// over: its outcome is known, or nobody wants to know it any more.
	over bool
}

// waiting is what the requests cost that wait for a.
func (a *acquire) waiting() (credits int64) {
	for _, s := range a.waiters {
		credits = min(credits+s.decision.Route.Cost, api.MaxCredits)
	}
	return credits
}

// ask has s wait for an acquire: for one that is under way, or one that is sent now. It is for a callback of s.
func (p *plugin) ask(s *stream, t access.Instant) types.Action {
	a := p.board(s, t)
	if a == nil {
		return s.unadmitted()
	}
	if a.sends == 0 && !p.send(a, s) {
		return p.unsendable(a, s, t)
	}
	p.record(p.text.pending(s.decision.Route))
	return types.ActionPause
}

// unsendable is for s if the acquire that it came to wait for cannot be sent. If others wait too, the tick tries again.
func (p *plugin) unsendable(a *acquire, s *stream, t access.Instant) types.Action {
	p.part(s)
	if len(a.waiters) > 0 {
		return s.undecided("")
	}
	p.end(a)
	p.leases.Failed(a.flight, t)
	return s.undecided(a.request.OpID)
}

// part has s wait for nothing.
func (p *plugin) part(s *stream) {
	a := s.waiting
	s.waiting = nil
	a.waiters = slices.DeleteFunc(a.waiters, func(w *stream) bool { return w == s })
}

// board finds or makes the acquire that s has to wait for; nil if there can be none, for want of room or because too many
// unknown keys came. That is no reason to fail open: whoever sends many keys can bring it about.
func (p *plugin) board(s *stream, t access.Instant) (a *acquire) {
	route := s.decision.Route
	asking := access.Asking{}
	if route.Mode == api.ModeStrict {
		asking = p.leases.AskStrict(s.tag, route.Cost, t)
	} else {
		asking = p.leases.Ask(s.tag, route.Cost, t)
	}
	switch asking.Turn {
	case access.Join:
		i := slices.IndexFunc(p.acquires, func(a *acquire) bool { return a.flight == asking.Flight })
		if i < 0 {
			return nil
		}
		a = p.acquires[i]
	case access.Send:
		if asking.Mode == api.ModeStrict && route.CostHeader != "" {
			// What is captured at once cannot be made smaller later.
			p.leases.Failed(asking.Flight, t)
			return nil
		}
		a = &acquire{flight: asking.Flight, request: p.gate.request(&s.decision, asking.Mode, asking.Want)}
		s.judge(a.request)
		p.acquires = append(p.acquires, a)
		p.stats.acquire(asking.Mode, false)
	default:
		return nil
	}
	a.waiters = append(a.waiters, s)
	s.waiting = a
	return a
}

// renew makes an acquire that nobody waits for. The tick sends it, so that it ends with the plugin's context.
func (p *plugin) renew(s *stream, t access.Instant) {
	asking := p.leases.Renew(s.tag, s.decision.Route.Cost, t)
	if asking.Turn != access.Send {
		return
	}
	a := &acquire{flight: asking.Flight, request: p.gate.request(&s.decision, asking.Mode, asking.Want), renewal: true}
	s.judge(a.request)
	p.acquires = append(p.acquires, a)
	p.enqueue(a)
	p.stats.acquire(asking.Mode, true)
}

// send sends a. The context that is active is carrier's, or the plugin's if that is nil. Who waits by the first time is
// asked for; later it is the same operation, and so the same request.
func (p *plugin) send(a *acquire, carrier *stream) bool {
	if a.sends == 0 {
		a.request.Want = p.leases.Raise(a.flight, a.waiting())
	}
	err := p.gate.acquire(a.request, func(reply *api.AcquireReply, f calloutFailure) { p.answered(a, reply, f) })
	if err != nil {
		p.stats.callout(calloutNotSent)
		p.warnOnce(calloutNotSent)
		return false
	}
	if a.sends > 0 {
		p.stats.acquiresRepeated.Increment(1)
	}
	a.sends++
	a.queued = false
	if a.carrier = carrier; carrier != nil {
		carrier.carries++
	}
	return true
}

// enqueue has the next tick send a.
func (p *plugin) enqueue(a *acquire) {
	a.queued = true
	p.unsent = append(p.unsent, a)
}

// sendAll is for the tick: it sends what is waiting to be sent from there.
func (p *plugin) sendAll(t access.Instant) {
	unsent := p.unsent
	p.unsent = nil
	for _, a := range unsent {
		waits := a.queued
		a.queued = false
		switch {
		case a.over || !waits:
		case len(a.waiters) == 0 && !a.renewal:
			p.takeBack(a)
		case a.sends >= maxSends || !p.send(a, nil):
			p.unanswered(a, t)
		}
	}
}

// leave is for a stream that is done. It waits for nothing any more, and what its context carries has to be sent again
// or, if nobody waits for it, be taken back.
func (p *plugin) leave(s *stream) {
	if s.waiting != nil {
		p.part(s)
	}
	for i := len(p.acquires) - 1; s.carries > 0 && i >= 0; i-- {
		a := p.acquires[i]
		if a.carrier != s {
			continue
		}
		s.carries--
		a.carrier = nil
		if len(a.waiters) == 0 && !a.renewal {
			p.takeBack(a)
		} else {
			p.enqueue(a)
		}
	}
}

// takeBack ends an acquire whose answer nobody will hear.
func (p *plugin) takeBack(a *acquire) {
	p.end(a)
	p.leases.Failed(a.flight, now())
	p.reports.voidRequest(a.request)
}

// end takes a off the list of what is under way.
func (p *plugin) end(a *acquire) {
	a.over = true
	if a.carrier != nil {
		a.carrier.carries--
		a.carrier = nil
	}
	if i := slices.Index(p.acquires, a); i >= 0 {
		last := len(p.acquires) - 1
		p.acquires[i], p.acquires[last] = p.acquires[last], nil
		p.acquires = p.acquires[:last]
	}
}
