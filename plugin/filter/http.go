package filter

import (
	"errors"
	"strconv"
	"strings"
	"unsafe"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/plugin/access"
)

// stream is the context of one HTTP stream. It is used again for another one once it is done.
type stream struct {
	types.DefaultHttpContext
	plugin   *plugin
	id       uint32
	decision access.Decision
	tag      access.Tag
	// waiting is the acquire that the paused stream waits for, or nil; since is when it began to, or was last heard of an
	// answer that decided something, on the monotonic clock.
	waiting *acquire
	since   int64
	// carries counts the unanswered acquires whose callouts end with this stream's context.
	carries int
	// finished: the stream has been resumed or answered; nothing more may be done to its request.
	finished bool
	// forwarded: it was let through with its price.
	forwarded bool
	bill      bill
	// where is what restrictions are about, if looked is set.
	where  access.Where
	looked bool
	// remaining is what the client is shown of its balance, in credits, if showRemaining is set.
	remaining     int64
	showRemaining bool
}

// reuse makes s the context of another stream.
func (s *stream) reuse(id uint32) {
	s.decision.Forget()
	s.id, s.waiting, s.carries, s.bill.due = id, nil, 0, false
	s.finished, s.forwarded, s.showRemaining = false, false, false
	if s.looked {
		s.where, s.looked = access.Where{}, false
	}
	if s.bill.op != "" {
		s.bill = bill{}
	}
}

// OnHttpRequestHeaders decides, or pauses the stream while the control plane does.
func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	p := s.plugin
	headers, ok := requestHeaders(p.headers[:0])
	p.headers = headers
	if !ok {
		proxywasm.LogError("tollgate: read request headers: the host has none")
		return s.refuse(access.Undecided)
	}
	p.config.Check(&s.decision, headers)
	p.stats.conversation(s.decision.Conversation)
	switch s.decision.Action {
	case access.Pass:
		return s.open()
	case access.Ask:
		action := s.authenticate()
		if action == types.ActionContinue {
			s.owe()
		}
		return action
	case access.Answer:
		p.stats.preflights.Increment(1)
		p.record(p.text.plain("preflight"))
		return s.answer(noContent, s.decision.Answer, nil)
	default:
		if s.shadow() && !s.apply(&s.decision.Edits) {
			return s.fail()
		}
		return s.refuse(s.decision.Denial)
	}
}

// open lets a request pass that nobody has to pay for.
func (s *stream) open() types.Action {
	if !s.apply(&s.decision.Edits) {
		return s.fail()
	}
	s.finished = true
	s.plugin.stats.open.Increment(1)
	s.plugin.record(s.plugin.text.plain("open"))
	return types.ActionContinue
}

// authenticate takes the price of a request with a well-formed key, or asks for it. The edits that every outcome
// shares are made first, while the headers are sure to be there.
func (s *stream) authenticate() types.Action {
	if !s.apply(&s.decision.Edits) {
		return s.fail()
	}
	p := s.plugin
	p.begin()
	s.tag = p.leases.Tag(s.decision.Route.Scheme.Number, s.decision.Parts[0], s.decision.Parts[1])
	t := now()
	action, ask := s.admit(t)
	if !ask {
		return action
	}
	s.keep()
	s.look()
	s.since = t.Mono
	return p.ask(s, t)
}

// keep copies what outlives the callback that read the headers.
func (s *stream) keep() {
	d := &s.decision
	d.Parts[0], d.Parts[1] = strings.Clone(d.Parts[0]), strings.Clone(d.Parts[1])
	d.ConversationID = strings.Clone(d.ConversationID)
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

// OnHttpResponseHeaders settles a price that depends on them, and shows the client what is left, where the operator
// wants it. The filter's own refusals pass here too; they have nothing to settle and nothing to show.
func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	s.answered()
	if s.showRemaining {
		p := s.plugin
		p.text = strconv.AppendInt(p.text[:0], s.remaining, 10)
		err := proxywasm.ReplaceHttpResponseHeader(access.HeaderRemaining, unsafe.String(&p.text[0], len(p.text)))
		if err != nil {
			proxywasm.LogWarn("tollgate: show remaining credits: " + err.Error())
		}
	}
	return types.ActionContinue
}

// undecided applies the route's failure policy to a request that nobody can decide upon. Op is the operation that may
// have been debited for it, or "": then one is made up. It is refused, or served and reported as unpaid.
func (s *stream) undecided(op string) types.Action {
	route := s.decision.Route
	if d := route.Undecided(); d != nil {
		return s.refuse(d)
	}
	if op == "" {
		op = s.plugin.gate.opID()
	}
	s.finished = true
	s.oweUnpaid(op)
	s.plugin.stats.unpaid.Increment(1)
	s.plugin.record(s.plugin.text.unpaid(route))
	return types.ActionContinue
}

// unadmitted refuses with the route's 503, whatever its failure policy: there is no room to ask for the request or to
// account for it.
func (s *stream) unadmitted() types.Action {
	return s.refuse(s.decision.Route.Scheme.Denial(apikey.Unavailable))
}

// fail refuses with the route's 503, whatever its policies: the host has refused what has to be done before the request may
// pass.
func (s *stream) fail() types.Action {
	if route := s.decision.Route; route != nil && route.Scheme != nil {
		return s.deny(route.Scheme.Denial(apikey.Unavailable))
	}
	return s.deny(access.Undecided)
}

// shadow reports whether the stream's route refuses nothing.
func (s *stream) shadow() bool { return s.decision.Route != nil && s.decision.Route.Shadow }

// refuse answers the client with a denial, or lets the request pass where it is only to be counted. The edits of the request
// have been made then.
func (s *stream) refuse(d *access.Denial) types.Action {
	if !s.shadow() {
		return s.deny(d)
	}
	s.finished, s.forwarded = true, true
	s.plugin.stats.shadowDenied[d.Reason].Increment(1)
	s.plugin.record(s.plugin.text.shadowDenied(d))
	return types.ActionContinue
}

func (s *stream) deny(d *access.Denial) types.Action {
	s.plugin.stats.deny(d.Reason)
	s.plugin.record(s.plugin.text.denied(d))
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

// OnHttpStreamDone ends the stream's part in the plugin: what it waits for is for others or for nobody, and what it
// still holds is settled.
func (s *stream) OnHttpStreamDone() {
	p := s.plugin
	if s.waiting != nil {
		p.stats.abandoned.Increment(1)
	}
	p.leave(s)
	s.settle(s.unanswered())
	s.finished = true
	p.free(s)
	p.yield()
}

const (
	noContent = 204
	// noGRPCStatus leaves the grpc-status of a local response to the host.
	noGRPCStatus = -1
)

// apply makes edits to the request headers.
func (s *stream) apply(e *access.Edits) bool {
	for _, name := range e.Remove {
		if !removeRequestHeader(name) {
			return false
		}
	}
	for i := range e.Add {
		if !addRequestHeader(e.Add[i][0], e.Add[i][1]) {
			return false
		}
	}
	return true
}
