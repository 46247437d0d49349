package client

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Act is a row of the audit log.
type Act struct {
	ID    string    `json:"id"`
	At    time.Time `json:"at"`
	Actor Actor     `json:"actor"`
	// RequestID is nil for what was no request.
	RequestID *string `json:"request_id"`
	// Action is such as key.rotate.
	Action    string  `json:"action"`
	Target    Target  `json:"target"`
	AccountID *string `json:"account_id"`
	// Before and After are what is kept of the target, null where there was nothing.
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
	Reason *string         `json:"reason"`
}

// Actor is who did it: a token as it was at the time, the command on the database itself, or a job of the server.
type Actor struct {
	ID   string  `json:"id"`
	Name string  `json:"name"`
	Role *string `json:"role"`
}

// Target is what it was done to.
type Target struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// ActFilter says which acts are listed. Actor and Target are ids; Since counts, Until does not.
type ActFilter struct {
	Actor     string    `query:"actor"`
	Action    string    `query:"action"`
	Target    string    `query:"target"`
	AccountID string    `query:"account_id"`
	Since     time.Time `query:"since"`
	Until     time.Time `query:"until"`
}

// Audit lists what was done, the newest first.
func (c *Client) Audit(ctx context.Context, f ActFilter) iter.Seq2[Act, error] {
	return list[Act](ctx, c, "/v1/audit", f)
}
