package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

const requestIDHeader = "X-Request-Id"

type contextKey int

const (
	requestIDKey contextKey = iota
	callerKey
	csvKey
	flightKey
)

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey).(string)
	return id
}

// identify gives the request an id, its sender's own if that is fit to be logged, and forbids caches.
func (s *Server) identify(c *gin.Context) {
	id := ""
	if sent := c.Request.Header.Values(requestIDHeader); len(sent) == 1 && s.identifies(sent[0]) {
		id = sent[0]
	} else {
		id = rand.Text()
	}
	setValue(c, requestIDKey, id)
	c.Header(requestIDHeader, id)
	c.Header("Cache-Control", "no-store")
	c.Header("X-Content-Type-Options", "nosniff")
	c.Next()
}

// identifies reports whether a request may have this id, which logs, answers and the audit log repeat: a key or a token that
// has got there by mistake goes no further.
func (s *Server) identifies(id string) bool {
	return loggable(id) && !s.schemes.secretIn(id) && !strings.HasPrefix(id, tokenStart)
}

func setValue(c *gin.Context, key contextKey, value any) {
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), key, value))
}

func loggable(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '.', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}

// observe counts the request and logs it. The route's pattern is logged instead of the path, and no query: a
// client that puts a secret there does not find it again in the log.
func (s *Server) observe(listener string) gin.HandlerFunc {
	level := slog.LevelDebug
	if listener == "admin" {
		level = slog.LevelInfo
	}
	return func(c *gin.Context) {
		start := time.Now()
		c.Next()
		took := time.Since(start)
		s.metrics.request(listener, c.Writer.Status(), took)
		ctx := c.Request.Context()
		if !s.log.Enabled(ctx, level) {
			return
		}
		s.log.Log(ctx, level, "request", "listener", listener, "method", knownMethod(c.Request.Method), "route", c.FullPath(),
			"status", c.Writer.Status(), "duration", took, "request_id", requestID(ctx), "token_id", callerOf(ctx).ID)
	}
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodOptions:
		return m
	}
	return "other"
}

// recovery turns a panic into a 500 and a log record with the stack.
func (s *Server) recovery(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		ctx := c.Request.Context()
		s.log.ErrorContext(ctx, "panic", "request_id", requestID(ctx), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if c.Writer.Written() {
			// The status is on its way: only a broken connection can still tell the client.
			panic(http.ErrAbortHandler)
		}
		s.abort(c, internalProblem())
	}()
	c.Next()
}
