package client

import (
	"context"
	"iter"
	"time"
)

// Usage is the sum of the requests of one group; the fields by which it was not asked to sum are nil.
type Usage struct {
	Hour           *time.Time `json:"hour,omitempty"`
	Day            *time.Time `json:"day,omitempty"`
	AccountID      *string    `json:"account_id,omitempty"`
	ProjectID      *string    `json:"project_id,omitempty"`
	KeyID          *string    `json:"key_id,omitempty"`
	Route          *string    `json:"route,omitempty"`
	ConversationID *string    `json:"conversation_id,omitempty"`
	Requests       int64      `json:"requests"`
	Credits        int64      `json:"credits"`
	Refused        int64      `json:"refused"`
}

// UsageQuery says which requests are summed and by what.
type UsageQuery struct {
	AccountID      string `query:"account_id"`
	ProjectID      string `query:"project_id"`
	KeyID          string `query:"key_id"`
	Route          string `query:"route"`
	ConversationID string `query:"conversation_id"`
	// From and To bound the hours that count by their beginning; zero does not.
	From time.Time `query:"from"`
	To   time.Time `query:"to"`
	// GroupBy is of account, project, key, route, conversation, and hour or day.
	GroupBy []string `query:"group_by"`
}

// Usage sums the requests that gates have counted.
func (c *Client) Usage(ctx context.Context, q UsageQuery) iter.Seq2[Usage, error] {
	return list[Usage](ctx, c, "/v1/usage", q)
}
