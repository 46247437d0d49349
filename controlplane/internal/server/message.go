package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tollgate/tollgate/controlplane/api"
)

// message is what a gate sends.
type message[T any] interface {
	*T
	Validate() error
}

// readMessage reads a gate's message of at most limit bytes, strictly: every field has to be there in its own
// type, once and in its own case, but those that the contract lets a gate omit. A message that lost its cost must
// not read as one that costs nothing.
func readMessage[T any, M message[T]](c *gin.Context, limit int64) (M, error) {
	body, err := readBody(c, limit)
	if err != nil {
		return nil, err
	}
	return parseMessage[T, M](body)
}

// readAcquire reads an acquire as readMessage does. Those that have nothing wrong are read in one pass; only to say what
// is wrong with one takes parseMessage.
func readAcquire(c *gin.Context) (*api.AcquireRequest, error) {
	body, err := readBody(c, api.MaxMessageBytes)
	if err != nil {
		return nil, err
	}
	if req, ok := parseAcquire(body); ok {
		return req, nil
	}
	return parseMessage[api.AcquireRequest](body)
}

// parseAcquire accepts nothing that parseMessage refuses, and reads the same from it. No gate has reason to write an escape.
func parseAcquire(body []byte) (*api.AcquireRequest, bool) {
	if bytes.IndexByte(body, '\\') >= 0 {
		return nil, false
	}
	req, err := api.ParseAcquireRequest(body)
	if err != nil || req.Validate() != nil {
		return nil, false
	}
	return &req, true
}

func parseMessage[T any, M message[T]](body []byte) (M, error) {
	tree, err := parseJSON(body, maxValues)
	if err != nil {
		return nil, err
	}
	var faults []FieldError
	checkShape("body", tree, reflect.TypeFor[T](), &faults)
	if len(faults) > 0 {
		return nil, malformedFields(faults)
	}
	m := M(new(T))
	if err := json.Unmarshal(body, m); err != nil {
		// The shape was right; encoding/json's own words would quote the message.
		return nil, malformed("body", "expected a gate's message")
	}
	if err := m.Validate(); err != nil {
		return nil, malformedMessage(err)
	}
	return m, nil
}

// checkShape reports where v, a tree of parseJSON, cannot be a value of type t.
func checkShape(location string, v any, t reflect.Type, faults *[]FieldError) {
	expected := ""
	switch t.Kind() {
	case reflect.Struct:
		if members, ok := v.(map[string]any); ok {
			checkMembers(location, members, t, faults)
			return
		}
		expected = "expected an object"
	case reflect.Slice:
		if items, ok := v.([]any); ok {
			for i, item := range items {
				checkShape(location+"["+strconv.Itoa(i)+"]", item, t.Elem(), faults)
			}
			return
		}
		expected = "expected an array"
	case reflect.Pointer:
		checkShape(location, v, t.Elem(), faults)
		return
	case reflect.Bool:
		if _, ok := v.(bool); ok {
			return
		}
		expected = "expected true or false"
	case reflect.Int64:
		if n, ok := v.(json.Number); ok {
			if _, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
				return
			}
		}
		expected = "expected an integer from 0 to 2^53-1"
	default:
		if _, ok := v.(string); ok {
			return
		}
		expected = "expected a string"
	}
	if v == (jsonNull{}) {
		expected = "expected a value, got none"
	}
	*faults = append(*faults, FieldError{Location: location, Message: expected})
}

// checkMembers reports what is missing, what is wrong and what no field of t is called.
func checkMembers(location string, members map[string]any, t reflect.Type, faults *[]FieldError) {
	known := map[string]bool{}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		known[name] = true
		v, ok := members[name]
		if !ok && options == "omitempty" {
			continue
		}
		if !ok {
			v = jsonNull{}
		}
		checkShape(location+"."+name, v, t.Field(i).Type, faults)
	}
	for name := range members {
		if !known[name] {
			*faults = append(*faults, FieldError{Location: location + "." + shownName(name), Message: "unknown field"})
		}
	}
}

// malformedMessage lists what Validate joined, each problem under its field.
func malformedMessage(err error) *Problem {
	var errs []FieldError
	for line := range strings.Lines(err.Error()) {
		text := strings.TrimSpace(line)
		if _, problem, wrapped := strings.Cut(text, api.ErrInvalid.Error()+": "); wrapped {
			text = problem
		}
		field, expected, _ := strings.Cut(text, ": ")
		errs = append(errs, FieldError{Location: "body." + field, Message: expected})
	}
	return malformedFields(errs)
}

// maxFaults is how many faults of a message are told at once. The worst message has one in every other byte.
const maxFaults = 32

func malformedFields(faults []FieldError) *Problem {
	sortErrors(faults)
	faults = faults[:min(len(faults), maxFaults)]
	return newProblem(http.StatusBadRequest, codeInvalidRequest, summary(faults), faults...)
}
