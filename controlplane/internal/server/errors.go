package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// The refusals that this package decides itself.
var (
	errRoute        = errors.New("no such route")
	errMethod       = errors.New("method not allowed on this route")
	errNoToken      = errors.New("no bearer token")
	errBadToken     = errors.New("unknown bearer token")
	errThrottled    = errors.New("too many failed attempts to authenticate")
	errManyTokens   = errors.New("more than one Authorization header")
	errListener     = errors.New("the token's role is for another listener")
	errRole         = errors.New("the token's role does not allow this")
	errBodyTooLarge = errors.New("body too large")
	errMediaType    = errors.New("not JSON")
	errBodyTimeout  = errors.New("body not received in time")
	errBodyBroken   = errors.New("body not received whole")
	errInFlight     = errors.New("this request is being answered already")
	// errSchemeUnusable means that a key exists whose scheme can make no secret for it.
	errSchemeUnusable = errors.New("no secret can be made in the key's scheme")
)

// refusal is what a client is told of an error.
type refusal struct {
	err    error
	status int
	code   Code
	detail string
}

// refusals is the one place where an error becomes a status, a code and a text for the client. The first entry
// that matches wins; what matches none is an internal error.
var refusals = []refusal{
	{errRoute, http.StatusNotFound, codeNotFound, "there is nothing at this path"},
	{errMethod, http.StatusMethodNotAllowed, codeMethodNotAllowed, "this path does not take this method; see the Allow header"},
	{errNoToken, http.StatusUnauthorized, codeUnauthenticated, "expected Authorization: Bearer and a token"},
	{errBadToken, http.StatusUnauthorized, codeUnauthenticated, "the bearer token is not valid"},
	{errThrottled, http.StatusTooManyRequests, codeRateLimited, "too many requests from this address had no valid token; see the Retry-After header"},
	{errManyTokens, http.StatusBadRequest, codeInvalidRequest, "header.Authorization: expected exactly one"},
	{errListener, http.StatusForbidden, codeForbidden, "a token of this role is not accepted on this listener"},
	{errRole, http.StatusForbidden, codeForbidden, "a token of this role may not do this"},
	{errBodyTooLarge, http.StatusRequestEntityTooLarge, codeBodyTooLarge, "the body is longer than this endpoint takes"},
	{errMediaType, http.StatusUnsupportedMediaType, codeUnsupportedMediaType, "header.Content-Type: expected application/json"},
	{errBodyTimeout, http.StatusRequestTimeout, codeInvalidRequest, "the body did not arrive in time"},
	{errBodyBroken, http.StatusBadRequest, codeInvalidRequest, "the body did not arrive whole"},
	{store.ErrNotFound, http.StatusNotFound, codeNotFound, "there is no such resource"},
	{store.ErrInvalidTransition, http.StatusConflict, codeInvalidTransition, "the status cannot change that way"},
	{store.ErrKeyRevoked, http.StatusConflict, codeKeyRevoked, "a revoked key stays revoked and cannot change"},
	{store.ErrKeyExpired, http.StatusConflict, codeKeyExpired, "the key has expired"},
	{store.ErrAccountNotActive, http.StatusConflict, codeAccountNotActive, "a key pair can be made only once the account is active"},
	{store.ErrDomainNotVerified, http.StatusConflict, codeDomainNotVerified, "a key pair can be made only once the project's domain is verified"},
	{store.ErrNoChallenge, http.StatusConflict, codeNoChallenge, "there is no challenge to answer, or another one has taken its place: start one"},
	{errSchemeUnusable, http.StatusConflict, codeSchemeUnusable,
		"the key's scheme is not configured any more, has become another type, or is too short to make secrets in"},
	{store.ErrIdempotencyMismatch, http.StatusUnprocessableEntity, codeIdempotencyKeyReused,
		"header.Idempotency-Key: was used before for another request"},
	{errInFlight, http.StatusConflict, codeIdempotencyInFlight,
		"header.Idempotency-Key: the first request under it is not answered yet; see the Retry-After header"},
	{store.ErrStale, http.StatusPreconditionFailed, codePreconditionFailed,
		"header.If-Match: the resource has another ETag: it was changed since it was read"},
	{store.ErrOpIDReused, http.StatusConflict, codeConflict, "op_id: was used before for another request"},
	{store.ErrInvalid, http.StatusUnprocessableEntity, codeInvalidRequest, "a value is out of its range"},
	{errNoBackups, http.StatusConflict, codeConflict, "the server was started without --backup-dir"},
	{store.ErrBackupRunning, http.StatusConflict, codeConflict, "a backup is being made"},
	{store.ErrExists, http.StatusConflict, codeConflict, "a file of this name exists already"},
	{store.ErrConflict, http.StatusConflict, codeConflict, "this already exists"},
	{store.ErrLastOwner, http.StatusConflict, codeLastOwner, "without this token nobody could make another one; make another owner token first"},
	{ledger.ErrBalanceLimit, http.StatusConflict, codeBalanceLimit, "the balance would exceed 2^53-1 credits"},
	{ledger.ErrInsufficientCredits, http.StatusConflict, codeInsufficientCredits, "fewer credits are available than were to be taken"},
	{store.ErrAccountClosed, http.StatusConflict, codeAccountClosed, "a closed account stays closed, and nothing of it changes"},
	{store.ErrBalanceLeft, http.StatusConflict, codeBalanceLeft, "the account has credits that are available or held by gates"},
	{api.ErrInvalid, http.StatusBadRequest, codeInvalidRequest, "the message is not valid"},
	{store.ErrDiskFull, http.StatusServiceUnavailable, codeUnavailable, "the disk is full: nothing can be changed"},
	{store.ErrDead, http.StatusServiceUnavailable, codeUnavailable, "the disk failed: the control plane is stopping"},
	{store.ErrClosed, http.StatusServiceUnavailable, codeUnavailable, "the control plane is shutting down"},
	{context.Canceled, http.StatusServiceUnavailable, codeUnavailable, "the request was given up"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, codeUnavailable, "the database did not answer in time"},
}

// problemOf returns what the client is told of err. An unknown error is logged here, once, and the client
// learns only the request id.
func (s *Server) problemOf(ctx context.Context, err error) *Problem {
	id := requestID(ctx)
	var p *Problem
	if errors.As(err, &p) {
		p.RequestID = id
		return p
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			p = newProblem(r.status, r.code, r.detail)
			p.RequestID = id
			if errors.Is(err, errInFlight) {
				p.headers = http.Header{"Retry-After": {"1"}}
			}
			return p
		}
	}
	s.log.ErrorContext(ctx, "internal error", "request_id", id, "error", err)
	p = internalProblem()
	p.RequestID = id
	return p
}

func internalProblem() *Problem {
	return newProblem(http.StatusInternalServerError, codeInternal,
		"the control plane could not do this; its log tells more under the request id")
}
