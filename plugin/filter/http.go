package filter

import (
	"errors"
	"strconv"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/plugin/access"
)

// stream is the context of one HTTP stream.
type stream struct {
	types.DefaultHttpContext
	plugin   *plugin
	decision access.Decision
	// asked is the acquire under way, or nil: not sent, or its outcome is known.
	asked *api.AcquireRequest
	// finished: the stream has been resumed or answered; nothing more may be done to its request.
	finished bool
	// remaining is what the client is shown of its balance, in credits, if showRemaining is set.
	remaining     int64
	showRemaining bool
}

// OnHttpRequestHeaders decides, or pauses the stream while the control plane does.
func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	headers, err := proxywasm.GetHttpRequestHeaders()
	if err != nil {
		proxywasm.LogError("tollgate: read request headers: " + err.Error())
		return s.refuse(access.Undecided)
	}
	s.decision = s.plugin.config.Check(headers)
	s.plugin.stats.conversation(s.decision.Conversation)
	switch s.decision.Action {
	case access.Pass:
		return s.pass(s.decision, nil)
	case access.Ask:
		return s.ask()
	case access.Answer:
		s.plugin.stats.preflights.Increment(1)
		setFilterState("decision=preflight")
		return s.answer(noContent, s.decision.Answer, nil)
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
	err := s.plugin.gate.acquire(request, func(reply *api.AcquireReply, failure calloutFailure) {
		s.plugin.stats.callout(failure)
		s.plugin.warnOnce(failure)
		s.finish(reply)
	})
	if err == nil {
		s.asked = request
		setFilterState(pendingState(s.decision.Route))
		return types.ActionPause
	}
	s.plugin.stats.callout(calloutNotSent)
	proxywasm.LogError("tollgate: callout to cluster " + strconv.Quote(s.plugin.config.ControlPlane.Cluster) + ": " + err.Error())
	return s.judge(request, nil)
}

// finish ends the pause of a stream whose acquire has come to an end, with or without a reply. A debit that may
// have been made without a reply is taken back, unless the request is served all the same.
func (s *stream) finish(reply *api.AcquireReply) {
	if s.finished {
		return
	}
	request := s.asked
	s.asked = nil
	if s.judge(request, reply) != types.ActionContinue {
		if reply == nil {
			s.plugin.settle.void(request)
		}
		return
	}
	if err := proxywasm.ResumeHttpRequest(); err != nil {
		proxywasm.LogError("tollgate: resume request: " + err.Error())
		s.plugin.settle.void(request)
		s.undecided()
	}
}

// judge lets the request pass or refuses it. request was not sent, or is answered by reply, or brought no answer.
func (s *stream) judge(request *api.AcquireRequest, reply *api.AcquireReply) types.Action {
	verdict := s.decision.Judge(reply)
	if verdict.Action != access.Pass {
		return s.refuse(verdict.Denial)
	}
	if verdict.Unpaid {
		s.plugin.settle.unpaid(request)
		return s.pass(verdict, nil)
	}
	action := s.pass(verdict, reply.Lease)
	if action != types.ActionContinue {
		s.plugin.settle.void(request)
	}
	return action
}

// pass makes the edits of decision and lets the request go. If the upstream could not be told who is calling,
// the request is refused instead. A nil lease is a request that nobody pays for.
func (s *stream) pass(decision access.Decision, lease *api.Lease) types.Action {
	if err := apply(decision.Edits); err != nil {
		proxywasm.LogError("tollgate: edit request headers: " + err.Error())
		return s.undecided()
	}
	s.finished = true
	switch {
	case lease != nil:
		s.plugin.stats.allow(lease.Credits)
		s.remaining, s.showRemaining = lease.Available, s.plugin.config.CreditsHeader
	case decision.Unpaid:
		s.plugin.stats.unpaid.Increment(1)
	default:
		s.plugin.stats.open.Increment(1)
	}
	setFilterState(passedState(&decision, lease))
	return types.ActionContinue
}

// OnHttpRequestTrailers lets no key and no identity header pass in trailers.
func (s *stream) OnHttpRequestTrailers(n int) types.Action {
	if n == 0 {
		return types.ActionContinue
	}
	trailers, err := proxywasm.GetHttpRequestTrailers()
	if err != nil {
		proxywasm.LogError("tollgate: read request trailers: " + err.Error())
		return types.ActionContinue
	}
	edits := s.plugin.config.CheckTrailers(s.decision.Route, trailers)
	for _, name := range edits.Remove {
		err = errors.Join(err, proxywasm.RemoveHttpRequestTrailer(name))
	}
	for _, t := range edits.Add {
		err = errors.Join(err, proxywasm.AddHttpRequestTrailer(t[0], t[1]))
	}
	if err != nil {
		proxywasm.LogError("tollgate: edit request trailers: " + err.Error())
	}
	return types.ActionContinue
}

// OnHttpResponseHeaders shows the client what is left, where the operator wants it. The filter's own refusals pass
// here too; they have nothing to show.
func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	if s.showRemaining {
		err := proxywasm.ReplaceHttpResponseHeader(access.HeaderRemaining, strconv.FormatInt(s.remaining, 10))
		if err != nil {
			proxywasm.LogWarn("tollgate: show remaining credits: " + err.Error())
		}
	}
	return types.ActionContinue
}

// undecided refuses with the route's 503.
func (s *stream) undecided() types.Action {
	if route := s.decision.Route; route != nil && route.Scheme != nil {
		return s.refuse(route.Scheme.Denial(apikey.Unavailable))
	}
	return s.refuse(access.Undecided)
}

// refuse answers the client with a denial.
func (s *stream) refuse(d *access.Denial) types.Action {
	s.plugin.stats.deny(d.Reason)
	setFilterState(deniedState(d))
	return s.answer(d.Status, d.Headers, d.Body)
}

// answer ends the stream with a local response. It is the one place that sends one.
func (s *stream) answer(status uint32, headers [][2]string, body []byte) types.Action {
	s.finished = true
	if err := proxywasm.SendHttpResponse(status, headers, body, noGRPCStatus); err != nil {
		proxywasm.LogError("tollgate: send local response: " + err.Error())
	}
	return types.ActionPause
}

// OnHttpStreamDone ends the stream's part in the plugin. If its acquire is still under way, the client has left:
// the SDK drops the reply, because it delivers callbacks to living contexts only, and the debit is taken back.
func (s *stream) OnHttpStreamDone() {
	s.finished = true
	if s.asked != nil {
		s.plugin.stats.abandoned.Increment(1)
		s.plugin.settle.void(s.asked)
		s.asked = nil
	}
	s.plugin.yield()
}

const (
	noContent = 204
	// noGRPCStatus leaves the grpc-status of a local response to the host.
	noGRPCStatus = -1
)

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
