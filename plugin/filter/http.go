package filter

import (
	"strconv"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/plugin/access"
)

// stream is the context of one HTTP stream.
type stream struct {
	types.DefaultHttpContext
	plugin   *plugin
	decision access.Decision
	// finished: the stream has been resumed or answered; nothing more may be done to it.
	finished bool
}

// OnHttpRequestHeaders decides, or pauses the stream while the control plane does.
func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	headers, err := proxywasm.GetHttpRequestHeaders()
	if err != nil {
		// Without headers there is no route and so no scheme to answer for: the stream is left paused behind
		// a local response of the default shape.
		proxywasm.LogError("tollgate: read request headers: " + err.Error())
		return s.refuse(access.Undecided)
	}
	s.decision = s.plugin.config.Check(headers)
	switch s.decision.Action {
	case access.Pass:
		return s.pass(s.decision, api.Lease{})
	case access.Ask:
		return s.ask()
	default:
		return s.refuse(s.decision.Denial)
	}
}

// ask sends the acquire and pauses. The edits that every outcome shares are made first, while the headers are
// sure to be there.
func (s *stream) ask() types.Action {
	if err := apply(s.decision.Edits); err != nil {
		proxywasm.LogError("tollgate: edit request headers: " + err.Error())
		return s.undecided()
	}
	request := s.plugin.gate.acquireFor(&s.decision)
	err := s.plugin.gate.acquire(&request, func(reply *api.AcquireReply, failure calloutFailure) {
		s.plugin.stats.callout(failure)
		s.finish(reply)
	})
	if err != nil {
		s.plugin.stats.callout(calloutNotSent)
		proxywasm.LogError("tollgate: callout to cluster " + strconv.Quote(s.plugin.config.ControlPlane.Cluster) + ": " + err.Error())
		return s.undecided()
	}
	return types.ActionPause
}

// finish ends the pause of a stream whose acquire has come to an end, with or without a reply.
func (s *stream) finish(reply *api.AcquireReply) {
	if s.finished {
		return
	}
	verdict := s.decision.Judge(reply)
	if verdict.Action != access.Pass {
		s.refuse(verdict.Denial)
		return
	}
	if s.pass(verdict, *reply.Lease) != types.ActionContinue {
		return
	}
	if err := proxywasm.ResumeHttpRequest(); err != nil {
		proxywasm.LogError("tollgate: resume request: " + err.Error())
	}
}

// pass makes the edits of decision and lets the request go. If the upstream could not be told who is calling,
// the request is refused instead.
func (s *stream) pass(decision access.Decision, lease api.Lease) types.Action {
	if err := apply(decision.Edits); err != nil {
		proxywasm.LogError("tollgate: edit request headers: " + err.Error())
		return s.undecided()
	}
	s.finished = true
	s.plugin.stats.allow(decision.Route.Scheme != nil, lease.Credits)
	setFilterState(allowedState(decision.Route, &lease))
	return types.ActionContinue
}

// undecided refuses with the route's 503.
func (s *stream) undecided() types.Action {
	if route := s.decision.Route; route != nil && route.Scheme != nil {
		return s.refuse(route.Scheme.Denial(access.Unavailable))
	}
	return s.refuse(access.Undecided)
}

// refuse answers the client. It is the one place that sends a local response.
func (s *stream) refuse(d *access.Denial) types.Action {
	s.finished = true
	s.plugin.stats.deny(d.Reason)
	setFilterState(deniedState(d))
	if err := proxywasm.SendHttpResponse(d.Status, d.Headers, d.Body, noGRPCStatus); err != nil {
		proxywasm.LogError("tollgate: send local response: " + err.Error())
	}
	return types.ActionPause
}

// OnHttpStreamDone ends the stream's part in the plugin. The reply to an acquire still under way is dropped by
// the SDK, which delivers callbacks to living contexts only.
func (s *stream) OnHttpStreamDone() {
	s.finished = true
	s.plugin.yield()
}

// noGRPCStatus leaves the grpc-status of a local response to the host.
const noGRPCStatus = -1

func apply(e access.Edits) error {
	for _, name := range e.Remove {
		if err := proxywasm.RemoveHttpRequestHeader(name); err != nil {
			return err
		}
	}
	for _, h := range e.Add {
		if err := proxywasm.AddHttpRequestHeader(h[0], h[1]); err != nil {
			return err
		}
	}
	return nil
}
