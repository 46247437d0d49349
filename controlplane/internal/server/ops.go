package server

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// readyTimeout bounds how long /readyz waits for the database.
const readyTimeout = 2 * time.Second

func (s *Server) opsEngine() http.Handler {
	e := s.engine("ops")
	e.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", s.ready)
	e.GET("/metrics", gin.WrapH(promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{Registry: s.metrics.registry})))
	return e
}

// ready answers 200 once the database has answered a read, unless nothing can be written or the process is about to stop.
func (s *Server) ready(c *gin.Context) {
	if s.draining.Load() {
		s.abort(c, newProblem(http.StatusServiceUnavailable, codeUnavailable, "the control plane is shutting down"))
		return
	}
	if err := s.store.Writable(); err != nil {
		s.abort(c, s.problemOf(c.Request.Context(), err))
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyTimeout)
	defer cancel()
	if _, _, err := s.store.Accounts(ctx, store.Page{Limit: 1}); err != nil {
		s.log.WarnContext(ctx, "not ready", "request_id", requestID(c.Request.Context()), "error", err)
		s.abort(c, newProblem(http.StatusServiceUnavailable, codeUnavailable, "the database does not answer"))
		return
	}
	c.String(http.StatusOK, "ready\n")
}
