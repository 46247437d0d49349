package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

func (s *Server) gateEngine() http.Handler {
	e := s.engine("gate")
	e.POST(api.AcquirePath, s.authenticate(s.gateToken, allowGate), s.acquire)
	e.POST(api.SyncPath, s.authenticate(s.gateToken, allowGate), s.sync)
	return e
}

// gateToken is a tokenLookup.
func (s *Server) gateToken(ctx context.Context, d apikey.Digest) (store.Token, error) {
	token, err := s.gates.find(ctx, d)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Token{}, s.undecided(ctx, err)
	}
	return token, err
}

// undecided returns what a gate is told of err. What is nobody's mistake is 503 rather than 500: the gate may
// send the same op_id again.
func (s *Server) undecided(ctx context.Context, err error) *Problem {
	p := s.problemOf(ctx, err)
	if p.Status == http.StatusInternalServerError {
		p = newProblem(http.StatusServiceUnavailable, codeUnavailable, "the control plane could not decide; the same op_id may be sent again")
	}
	return p
}

// acquire answers every business outcome with 200, as package api promises.
func (s *Server) acquire(c *gin.Context) {
	req, err := readAcquire(c)
	if err != nil {
		s.abort(c, err)
		return
	}
	scheme := s.schemes[req.Scheme]
	if scheme == nil {
		s.abort(c, s.unknownScheme(c.Request.Context(), req.Scheme))
		return
	}
	if field := chargedFor(req); field != "" && !scheme.Balance {
		s.abort(c, malformed(field, "expected 0: the scheme has no balance"))
		return
	}
	s.heard.note(req.Gate, req.Boot)
	reply, err := s.store.Acquire(c.Request.Context(), req, requirements(scheme))
	if err != nil {
		s.abort(c, s.undecided(c.Request.Context(), err))
		return
	}
	s.metrics.acquires.WithLabelValues(string(reply.Verdict), string(req.Mode)).Inc()
	c.Data(http.StatusOK, "application/json", reply.AppendJSON(make([]byte, 0, 512)))
}

// chargedFor names the field by which a request asks for credits, if it does.
func chargedFor(req *api.AcquireRequest) string {
	switch {
	case req.Cost > 0:
		return "body.cost"
	case req.Want > 0:
		return "body.want"
	}
	return ""
}

// unknownScheme refuses an acquire whose scheme is configured at the gate alone. To call its keys unknown would
// blame the clients for it, so the gate is told that nobody can decide, and the log, once, why.
func (s *Server) unknownScheme(ctx context.Context, name string) *Problem {
	if s.strangers.add(name) {
		s.log.WarnContext(ctx, "a gate asks for a scheme that is not configured here; see --schemes",
			"scheme", shownName(name), "request_id", requestID(ctx))
	}
	return malformed("body.scheme", "expected a scheme of the control plane: "+s.schemes.names())
}

// sync settles what a gate reports. A scheme that is not configured is no reason to refuse: what it names was
// served already, and the voids beside it have to be acknowledged.
func (s *Server) sync(c *gin.Context) {
	req, err := readMessage[api.SyncRequest](c, api.MaxSyncBytes)
	if err != nil {
		s.abort(c, err)
		return
	}
	s.heardSync(c.Request.Context(), req)
	reply, err := s.store.Sync(c.Request.Context(), req)
	if err != nil {
		s.abort(c, s.undecided(c.Request.Context(), err))
		return
	}
	s.metrics.sync(req)
	// No field of a SyncReply can make Marshal fail.
	body, _ := json.Marshal(reply)
	c.Data(http.StatusOK, "application/json", body)
}
