package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

func (s *Server) gateEngine() http.Handler {
	e := s.engine("gate")
	e.POST(api.AcquirePath, s.authenticate(s.gateToken, allowGate), s.acquire)
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
	reply, err := s.store.Acquire(c.Request.Context(), req)
	if err != nil {
		s.abort(c, s.undecided(c.Request.Context(), err))
		return
	}
	s.metrics.acquires.WithLabelValues(string(reply.Verdict)).Inc()
	// No field of an AcquireReply can make Marshal fail.
	body, _ := json.Marshal(reply)
	c.Data(http.StatusOK, "application/json", body)
}

// acquireFields are the names of the fields of an api.AcquireRequest. All of them must be present: a message
// that lost its cost must not read as one that costs nothing.
var acquireFields = jsonNames(reflect.TypeFor[api.AcquireRequest]())

func jsonNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return names
}

func readAcquire(c *gin.Context) (*api.AcquireRequest, error) {
	body, err := readBody(c, api.MaxMessageBytes)
	if err != nil {
		return nil, err
	}
	tree, err := parseJSON(body)
	if err != nil {
		return nil, err
	}
	if err := wholeAcquire(tree); err != nil {
		return nil, err
	}
	req := new(api.AcquireRequest)
	if err := json.Unmarshal(body, req); err != nil {
		return nil, wrongType(err)
	}
	if err := req.Validate(); err != nil {
		return nil, malformedMessage(err)
	}
	return req, nil
}

// wholeAcquire reports fields that are missing, null, unknown or written in another case, which encoding/json
// would let pass.
func wholeAcquire(tree any) error {
	members, ok := tree.(map[string]any)
	if !ok {
		return malformed("body", "expected an object")
	}
	var errs []FieldError
	for _, name := range acquireFields {
		if v, ok := members[name]; !ok || v == (jsonNull{}) {
			errs = append(errs, FieldError{Location: "body." + name, Message: "expected a value, got none"})
		}
	}
	for name := range members {
		if !slices.Contains(acquireFields, name) {
			errs = append(errs, FieldError{Location: "body." + shownName(name), Message: "unknown field"})
		}
	}
	if len(errs) == 0 {
		return nil
	}
	sortErrors(errs)
	return newProblem(http.StatusBadRequest, codeInvalidRequest, summary(errs), errs...)
}

// wrongType tells what encoding/json found without its text, which quotes numbers of the message.
func wrongType(err error) *Problem {
	var t *json.UnmarshalTypeError
	if !errors.As(err, &t) {
		return malformed("body", "expected an acquire request")
	}
	want := "a string"
	switch t.Type.Kind() {
	case reflect.Int64:
		want = "an integer from 0 to 2^53-1"
	case reflect.Slice:
		want = "an array of strings"
	}
	return malformed("body."+t.Field, "expected "+want)
}

// malformedMessage lists what Validate joined, each problem under its field.
func malformedMessage(err error) *Problem {
	var errs []FieldError
	for line := range strings.Lines(err.Error()) {
		text := strings.TrimPrefix(strings.TrimSpace(line), api.ErrInvalid.Error()+": ")
		field, expected, _ := strings.Cut(text, ": ")
		errs = append(errs, FieldError{Location: "body." + field, Message: expected})
	}
	return newProblem(http.StatusBadRequest, codeInvalidRequest, summary(errs), errs...)
}
