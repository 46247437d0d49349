package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

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

// challenge adds what RFC 6750 §3 asks of a 401.
func challenge(c *gin.Context, err error) {
	switch {
	case errors.Is(err, errNoToken):
		c.Header("WWW-Authenticate", `Bearer realm="tollgate"`)
	case errors.Is(err, errBadToken):
		c.Header("WWW-Authenticate", `Bearer realm="tollgate", error="invalid_token"`)
	}
}
