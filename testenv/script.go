package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Loss is what of a call the network loses. A lost call ends with the callout's timeout, or never where it has none.
type Loss int

const (
	// LoseNothing delivers both ways.
	LoseNothing Loss = iota
	// LoseRequest keeps the request from the server.
	LoseRequest
	// LoseReply lets the server act, and keeps its answer from the proxy.
	LoseReply
)

// ResetAt is when the connection of a call breaks.
type ResetAt int

const (
	// ResetNever keeps the connection.
	ResetNever ResetAt = iota
	// ResetBefore fails the connection before the server has the request: Envoy's router answers 503.
	ResetBefore
	// ResetAfter breaks the connection once the server has acted and its answer begun: a callback without headers.
	ResetAfter
)

// BodyFault is what happens to an answer's body. The zero value leaves it alone.
type BodyFault struct {
	kind  bodyFaultKind
	bytes int
}

type bodyFaultKind int

const (
	bodyIntact bodyFaultKind = iota
	bodyTruncated
	bodyOversized
)

// Truncated cuts an answer's body to at most this many bytes and changes nothing else: a content-length still tells
// of the whole, which finds out a filter that trusts it. The filter sees a complete answer, as of a server that wrote
// too little. A connection that breaks inside a body is ResetAfter: Envoy hands no part of such an answer on.
func Truncated(bytes int) BodyFault { return BodyFault{bodyTruncated, bytes} }

// Oversized pads an answer's body with spaces, which JSON allows, to one byte more than this, and a content-length
// with it. Above the limit for answers that is a reset.
func Oversized(bytes int) BodyFault { return BodyFault{bodyOversized, bytes} }

// Play is what happens to one call. The zero value delivers it at once. At most one of Lose, Reset and Body may be
// set; Answer goes with Body alone; Repeat needs a server that is asked.
type Play struct {
	// Delay is the time until the request reaches the server, or until the connection fails.
	Delay time.Duration
	// Return is the time from the server's answer, or the break, until the proxy learns of it.
	Return time.Duration
	Lose   Loss
	Reset  ResetAt
	// Repeat is how many times more the server gets the same request: a retry in the network. The first answer
	// counts.
	Repeat int
	Body   BodyFault
	// Answer is given in the server's place, which is not asked. Its headers must include :status. It is copied for
	// every call.
	Answer *CalloutResponse
}

// errConnectionFailed is a connection of ResetBefore.
var errConnectionFailed = errors.New("the script fails the connection")

// check says why a play makes no sense.
func (p Play) check() error {
	faults := 0
	for _, set := range []bool{p.Lose != LoseNothing, p.Reset != ResetNever, p.Body != BodyFault{}} {
		if set {
			faults++
		}
	}
	hasStatus := func(h Header) bool { return h[0] == ":status" }
	switch {
	case p.Delay < 0 || p.Return < 0:
		return fmt.Errorf("negative duration: Delay %v, Return %v", p.Delay, p.Return)
	case p.Repeat < 0:
		return fmt.Errorf("negative Repeat: %d", p.Repeat)
	case p.Body.bytes < 0:
		return fmt.Errorf("a body of %d bytes", p.Body.bytes)
	case p.Lose < LoseNothing || p.Lose > LoseReply:
		return fmt.Errorf("not a Loss: %d", p.Lose)
	case p.Reset < ResetNever || p.Reset > ResetAfter:
		return fmt.Errorf("not a ResetAt: %d", p.Reset)
	case faults > 1:
		return errors.New("more than one of Lose, Reset and Body")
	case p.Answer != nil && (p.Lose != LoseNothing || p.Reset != ResetNever):
		return errors.New("an Answer that never arrives")
	case p.Answer != nil && !slices.ContainsFunc(p.Answer.Headers, hasStatus):
		return errors.New("an Answer without :status")
	case p.Repeat > 0 && p.asks() == 0:
		return errors.New("a Repeat where the server is not asked")
	}
	return nil
}

// mustMakeSense panics for a play that a test cannot mean.
func (p Play) mustMakeSense() {
	if err := p.check(); err != nil {
		panic(fmt.Sprintf("testenv: Play makes no sense: %v", err))
	}
}

// asks is how many times the request reaches the server.
func (p Play) asks() int {
	if p.Lose == LoseRequest || p.Reset == ResetBefore || p.Answer != nil {
		return 0
	}
	return 1 + p.Repeat
}

// replies reports whether the proxy hears of the call again.
func (p Play) replies() bool { return p.Lose == LoseNothing }

// answer is what reaches the proxy of what the server said first, nil and nil where it was not asked. It is for plays
// that reply, and changes nothing that it was given.
func (p Play) answer(resp *CalloutResponse, err error) (*CalloutResponse, error) {
	switch {
	case p.Reset == ResetBefore:
		return nil, errConnectionFailed
	case err != nil:
		return nil, err
	case p.Reset == ResetAfter:
		return nil, fmt.Errorf("the script breaks the connection: %w", ErrReset)
	case p.Answer != nil:
		resp = p.Answer.clone()
	}
	if resp == nil {
		return nil, nil
	}
	return p.Body.apply(resp), nil
}

// apply returns resp with its body changed; resp itself stays as it is.
func (f BodyFault) apply(resp *CalloutResponse) *CalloutResponse {
	changed := *resp
	switch {
	case f.kind == bodyTruncated && len(resp.Body) > f.bytes:
		changed.Body = slices.Clone(resp.Body[:f.bytes])
	case f.kind == bodyOversized && len(resp.Body) <= f.bytes:
		padding := bytes.Repeat([]byte{' '}, f.bytes+1-len(resp.Body))
		changed.Body = slices.Concat(resp.Body, padding)
		changed.Headers = slices.Clone(resp.Headers)
		for i, h := range changed.Headers {
			if lower(h[0]) == "content-length" {
				changed.Headers[i][1] = strconv.Itoa(len(changed.Body))
			}
		}
	}
	return &changed
}

// Call is one call to a scripted cluster. Request may be read until the Plan returns.
type Call struct {
	Number  int // from 1, of the calls that this Plan is asked about
	Request *CalloutRequest
	Rand    *rand.Rand // the run's only source of chance
}

// Plan chooses how a call goes. It is asked about one call at a time, belongs to one Script and must not use it. A
// Play that makes no sense, such as one with a negative duration, panics: it is a mistake in the test.
type Plan func(Call) Play

// Plays are the first calls, one after another; what follows is delivered.
func Plays(plays ...Play) Plan {
	plays = slices.Clone(plays)
	for _, p := range plays {
		p.mustMakeSense()
	}
	return func(c Call) Play {
		if c.Number > len(plays) {
			return Play{}
		}
		return plays[c.Number-1]
	}
}

// Every is the same play for every call.
func Every(p Play) Plan {
	p.mustMakeSense()
	return func(Call) Play { return p }
}

// OnPath asks plan about the calls to path, without their query, and otherwise about the rest; each counts its own
// calls. Nil delivers.
func OnPath(path string, plan, otherwise Plan) Plan {
	matched, rest := 0, 0
	return func(c Call) Play {
		chosen, number := otherwise, &rest
		full := firstHeader(c.Request.Headers, ":path")
		if called, _, _ := strings.Cut(full, "?"); called == path {
			chosen, number = plan, &matched
		}
		*number++
		c.Number = *number
		return chosen.play(c)
	}
}

// Weighted is a play and how often Mix takes it, in proportion to the other weights.
type Weighted struct {
	Weight int
	Play   Play
}

// Mix takes one of the plays for each call, by chance. It panics unless some weight is positive and none negative.
func Mix(choices ...Weighted) Plan {
	choices = slices.Clone(choices)
	total := 0
	for _, w := range choices {
		w.Play.mustMakeSense()
		if w.Weight < 0 {
			panic(fmt.Sprintf("testenv: Mix with the weight %d", w.Weight))
		}
		total += w.Weight
	}
	if total <= 0 {
		panic("testenv: Mix without a weight")
	}
	return func(c Call) Play {
		n := c.Rand.IntN(total)
		i := 0
		for n >= choices[i].Weight {
			n -= choices[i].Weight
			i++
		}
		return choices[i].Play
	}
}

// Jittered adds to both times of plan's plays up to most, by chance, which reorders calls that overlap. A nil plan
// delivers.
func Jittered(most time.Duration, plan Plan) Plan {
	if most < 0 {
		panic(fmt.Sprintf("testenv: Jittered by %v", most))
	}
	return func(c Call) Play {
		p := plan.play(c)
		p.Delay += time.Duration(c.Rand.Int64N(int64(most) + 1))
		p.Return += time.Duration(c.Rand.Int64N(int64(most) + 1))
		return p
	}
}

func (p Plan) play(c Call) Play {
	if p == nil {
		return Play{}
	}
	return p(c)
}

// Script is a Cluster whose calls go as Plan says; a nil Plan delivers everything. Its fields are set before the first
// call; it is safe for concurrent use and must not be copied after it.
//
// In a Host it goes by virtual time and draws from the Host's seed, not from Seed. Calls are counted for each Script, over
// all workers; a Script belongs to the first Host that calls it, and panics in a second one.
//
// Called by itself it works in real time. A request still on its way when the callout ends does not arrive then, a
// lost call returns the context's error at its end, and repeats reach the server one after another before the answer
// sets out. The n-th call to come draws the same chance in every run with the same Seed.
type Script struct {
	Cluster Cluster // may be nil where every play leaves the server out
	Plan    Plan
	Seed    uint64

	mu    sync.Mutex
	calls int
	host  *Host // the first that called it
}

// planIn is plan for a Host, which is the only one.
func (s *Script) planIn(h *Host, req *CalloutRequest) Play {
	s.mu.Lock()
	if s.host == nil {
		s.host = h
	}
	other := s.host != h
	s.mu.Unlock()
	if other {
		panic("testenv: a Script in a second Host, for calls to " + req.Cluster + ": make one for each Host")
	}
	return s.plan(req, h.loop.Rand())
}

// plan counts the call and asks Plan about it. A nil rnd stands for the chance of Seed.
func (s *Script) plan(req *CalloutRequest, rnd *rand.Rand) Play {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if rnd == nil {
		rnd = rand.New(rand.NewPCG(s.Seed, uint64(s.calls)))
	}
	p := s.Plan.play(Call{Number: s.calls, Request: req, Rand: rnd})
	p.mustMakeSense()
	return p
}

// Call implements Cluster in real time.
func (s *Script) Call(ctx context.Context, req *CalloutRequest) (*CalloutResponse, error) {
	p := s.plan(req, nil)
	resp, err := s.perform(ctx, p, req)
	if err != nil {
		return nil, fmt.Errorf("scripted callout to %s: %w", req.Cluster, err)
	}
	return resp, nil
}

func (s *Script) perform(ctx context.Context, p Play, req *CalloutRequest) (*CalloutResponse, error) {
	if err := elapse(ctx, p.Delay); err != nil {
		return nil, err
	}
	resp, err := repeat(p.asks(), s.Cluster, req, func(c Cluster, r *CalloutRequest) (*CalloutResponse, error) {
		if err := ctx.Err(); err != nil {
			return nil, err // repeats end with the callout
		}
		return c.Call(ctx, r)
	})
	if !p.replies() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := elapse(ctx, p.Return); err != nil {
		return nil, err
	}
	return p.answer(resp, err)
}

// repeat sends copies of the request to a server, one after another, and returns the first answer.
func repeat(
	times int, server Cluster, req *CalloutRequest, call func(Cluster, *CalloutRequest) (*CalloutResponse, error),
) (resp *CalloutResponse, err error) {
	if times > 0 && server == nil {
		panic("testenv: a Script without Cluster was to deliver a call to " + req.Cluster)
	}
	for i := range times {
		r, e := call(server, req.clone())
		if i == 0 {
			resp, err = r, e
		}
	}
	return resp, err
}

// elapse lets d pass; it returns the context's error once that has ended.
func elapse(ctx context.Context, d time.Duration) error {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (r *CalloutRequest) clone() *CalloutRequest {
	c := *r
	c.Headers, c.Body, c.Trailers = slices.Clone(r.Headers), slices.Clone(r.Body), slices.Clone(r.Trailers)
	return &c
}

func (r *CalloutResponse) clone() *CalloutResponse {
	return &CalloutResponse{
		Headers: slices.Clone(r.Headers), Body: slices.Clone(r.Body), Trailers: slices.Clone(r.Trailers),
	}
}
