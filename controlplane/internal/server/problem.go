package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
)

const problemType = "application/problem+json"

// Code is the stable name of a kind of error, on which clients branch.
type Code string

// The codes. A client treats one that it does not know by its status.
const (
	codeInvalidRequest       Code = "invalid_request"
	codeUnauthenticated      Code = "unauthenticated"
	codeRateLimited          Code = "rate_limited"
	codeForbidden            Code = "forbidden"
	codeNotFound             Code = "not_found"
	codeMethodNotAllowed     Code = "method_not_allowed"
	codeConflict             Code = "conflict"
	codeInvalidTransition    Code = "invalid_transition"
	codeKeyRevoked           Code = "key_revoked"
	codeKeyExpired           Code = "key_expired"
	codeAccountNotActive     Code = "account_not_active"
	codeDomainNotVerified    Code = "domain_not_verified"
	codeSchemeUnusable       Code = "scheme_unusable"
	codeIdempotencyKeyReused Code = "idempotency_key_reused"
	codeIdempotencyInFlight  Code = "idempotency_key_in_flight"
	codePreconditionFailed   Code = "precondition_failed"
	codeLastOwner            Code = "last_owner"
	codeBalanceLimit         Code = "balance_limit"
	codeInsufficientCredits  Code = "insufficient_credits"
	codeAccountClosed        Code = "account_closed"
	codeBalanceLeft          Code = "balance_left"
	codeBodyTooLarge         Code = "body_too_large"
	codeUnsupportedMediaType Code = "unsupported_media_type"
	codeInternal             Code = "internal"
	codeUnavailable          Code = "unavailable"
	codeNoChallenge          Code = "no_challenge"
)

// Problem is the body of every error (RFC 9457). It never repeats a value of the request.
type Problem struct {
	Type      string       `json:"type" doc:"Always about:blank: the status and the code say what is wrong."`
	Title     string       `json:"title" doc:"The standard text of the status."`
	Status    int          `json:"status"`
	Detail    string       `json:"detail" doc:"What is wrong, for people."`
	Code      Code         `json:"code" doc:"Stable name of the error, for programs."`
	RequestID string       `json:"request_id" doc:"The X-Request-Id of the response."`
	Errors    []FieldError `json:"errors,omitempty" nullable:"false" doc:"One entry for each bad part of the request."`

	headers http.Header
}

// FieldError names one bad part of a request and what was expected there.
type FieldError struct {
	Location string `json:"location" doc:"Such as body.amount, query.limit or header.Idempotency-Key."`
	Message  string `json:"message"`
}

// Error returns the detail, which carries no value of the request.
func (p *Problem) Error() string { return p.Detail }

// GetStatus lets huma answer with the problem's own status.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders lets huma send what else belongs to the answer.
func (p *Problem) GetHeaders() http.Header { return p.headers }

// ContentType lets huma label the body as RFC 9457 asks.
func (p *Problem) ContentType(string) string { return problemType }

func newProblem(status int, code Code, detail string, errs ...FieldError) *Problem {
	return &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: detail, Code: code, Errors: errs,
	}
}

// badField is the problem of one part of a request.
func badField(status int, code Code, location, expected string) *Problem {
	return newProblem(status, code, location+": "+expected, FieldError{Location: location, Message: expected})
}

// tooSoon refuses what may be asked for again after wait.
func tooSoon(wait time.Duration, detail string) *Problem {
	p := newProblem(http.StatusTooManyRequests, codeRateLimited, detail)
	p.headers = http.Header{"Retry-After": {strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)}}
	return p
}

// abort ends the request with the problem that err stands for, and that of a stranger with its connection: who has no token
// keeps none open, of which there are only so many.
func (s *Server) abort(c *gin.Context, err error) {
	p := s.problemOf(c.Request.Context(), err)
	if callerOf(c.Request.Context()).ID == "" {
		c.Header("Connection", "close")
	}
	// No field of a Problem can make Marshal fail.
	body, _ := json.Marshal(p)
	c.Data(p.Status, problemType, append(body, '\n'))
	c.Abort()
}
