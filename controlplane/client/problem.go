package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Problem is a request that the server refused or could not do (RFC 9457). The server repeats no value of the request in
// it.
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	// Detail is for people, Code for programs; a Code that is not known is to be taken by its Status. It is empty where
	// something else than a control plane has answered.
	Detail string `json:"detail"`
	Code   string `json:"code"`
	// RequestID finds the request in the server's log.
	RequestID string `json:"request_id"`
	// Errors names the bad parts of the request.
	Errors []FieldError `json:"errors"`
	// RetryAfter is how long the server asks to wait, 0 if it does not.
	RetryAfter time.Duration `json:"-"`
}

// FieldError is one bad part of a request and what was expected there.
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error says what was wrong and how to find it in the server's log.
func (p *Problem) Error() string {
	text := fmt.Sprintf("%d %s", p.Status, http.StatusText(p.Status))
	if p.Code != "" {
		text = fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Detail)
	}
	for _, e := range p.Errors {
		if line := e.Location + ": " + e.Message; line != p.Detail {
			text += "\n  " + line
		}
	}
	if p.RequestID != "" {
		text += " (request " + p.RequestID + ")"
	}
	return text
}

// Code returns the code of the Problem that err wraps, or "".
func Code(err error) string {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Code
	}
	return ""
}

// problemOf makes a Problem of an answer that is no success. Of a body that is none it takes nothing: it may be another
// server's page.
func problemOf(resp *http.Response, body []byte) *Problem {
	p := &Problem{}
	if err := json.Unmarshal(body, p); err != nil || p.Status != resp.StatusCode || p.Code == "" {
		p = &Problem{RequestID: resp.Header.Get("X-Request-Id")}
	}
	p.Status = resp.StatusCode
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}
