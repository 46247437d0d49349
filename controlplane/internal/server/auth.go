package server

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// maxTokenLen is far above the length of any token; it bounds what an unknown caller makes the server hash.
const maxTokenLen = 256

func callerOf(ctx context.Context) store.Token {
	t, _ := ctx.Value(callerKey).(store.Token)
	return t
}

// bearer returns the digest of the request's bearer token. Absent credentials and another scheme are
// errNoToken, two headers errManyTokens, text that no token has errBadToken.
func bearer(h http.Header) (apikey.Digest, error) {
	values := h.Values("Authorization")
	if len(values) > 1 {
		return apikey.Digest{}, errManyTokens
	}
	if len(values) == 0 {
		return apikey.Digest{}, errNoToken
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return apikey.Digest{}, errNoToken
	}
	if len(token) > maxTokenLen {
		return apikey.Digest{}, errBadToken
	}
	return apikey.DigestOf(token), nil
}

// authenticate returns a middleware that admits the bearers of tokens that lookup knows and allow accepts.
func (s *Server) authenticate(lookup tokenLookup, allow func(*gin.Context, store.Role) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		token, err := s.authenticated(c.Request, lookup)
		if err == nil {
			ctx := c.Request.Context()
			actor := store.Actor{ID: token.ID, Name: token.Name, Role: token.Role, RequestID: requestID(ctx)}
			c.Request = c.Request.WithContext(store.WithActor(context.WithValue(ctx, callerKey, token), actor))
			err = allow(c, token.Role)
		}
		if err != nil {
			if wait := s.holdUp(c.Request, err); wait > 0 {
				c.Header("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
				err = errThrottled
			}
			challenge(c, err)
			s.abort(c, err)
			return
		}
		c.Next()
	}
}

func (s *Server) authenticated(r *http.Request, lookup tokenLookup) (store.Token, error) {
	digest, err := bearer(r.Header)
	if err != nil {
		return store.Token{}, err
	}
	token, err := lookup(r.Context(), digest)
	if errors.Is(err, store.ErrNotFound) {
		return store.Token{}, errBadToken
	}
	if err != nil {
		return store.Token{}, err
	}
	now := s.now()
	if !token.Usable(now) {
		return store.Token{}, errBadToken
	}
	s.uses.note(&token, now)
	return token, nil
}

// holdUp returns how long the client has to wait for the next attempt, if err was one failed attempt too many. A valid
// token is never held up, whoever else fails at the same address: many clients may share one, and all are at the
// address of a proxy in front of the control plane.
func (s *Server) holdUp(r *http.Request, err error) time.Duration {
	if !errors.Is(err, errNoToken) && !errors.Is(err, errBadToken) {
		return 0
	}
	return s.failures.fail(r.RemoteAddr)
}

// challenge adds what RFC 6750 §3 asks of a 401.
func challenge(c *gin.Context, err error) {
	switch {
	case errors.Is(err, errNoToken):
		c.Header("WWW-Authenticate", `Bearer realm="tollgate"`)
	case errors.Is(err, errBadToken):
		c.Header("WWW-Authenticate", `Bearer realm="tollgate", error="invalid_token"`)
	}
}
