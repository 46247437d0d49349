package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Balances are amounts of an account's buckets. The first four sum to zero.
type Balances struct {
	Available  int64 `json:"available"`
	Reserved   int64 `json:"reserved"`
	Spent      int64 `json:"spent"`
	Funding    int64 `json:"funding"`
	WrittenOff int64 `json:"written_off"`
}

// Movement is a transaction of a statement: what it added to each balance, and the balances right after it.
type Movement struct {
	TransactionID  string    `json:"transaction_id"`
	Kind           string    `json:"kind"`
	Deltas         Balances  `json:"deltas"`
	Balances       Balances  `json:"balances"`
	Reason         string    `json:"reason,omitempty"`
	Actor          string    `json:"actor,omitempty"`
	IdempotencyKey string    `json:"idempotency_key,omitempty"`
	RefundedEntry  string    `json:"refunded_entry,omitempty"`
	KeyID          string    `json:"key_id,omitempty"`
	OpID           string    `json:"op_id,omitempty"`
	LeaseID        string    `json:"lease_id,omitempty"`
	CreatedAt      time.Time `json:"created_at"`
}

// Statement is a page of what moved an account's credits in a period, the newest first: the movements add up to Closing
// less Opening. The next page is asked for by NextCursor and closes with this page's Opening.
type Statement struct {
	AccountID  string     `json:"account_id"`
	From       *time.Time `json:"from,omitempty"`
	To         *time.Time `json:"to,omitempty"`
	Closing    Balances   `json:"closing"`
	Opening    Balances   `json:"opening"`
	Data       []Movement `json:"data"`
	HasMore    bool       `json:"has_more"`
	NextCursor *string    `json:"next_cursor"`
}

// StatementQuery bounds a statement; To itself is not part of it. Cursor is the NextCursor of a page before.
type StatementQuery struct {
	From   time.Time `query:"from"`
	To     time.Time `query:"to"`
	Cursor string    `query:"cursor"`
}

// Statement returns a page of an account's statement.
func (c *Client) Statement(ctx context.Context, accountID string, q StatementQuery, opts ...CallOption) (Statement, error) {
	var out Statement
	call, err := newStatementCall(accountID, "json", queryOf(q), opts)
	if err == nil {
		call.query.Set("limit", strconv.Itoa(pageSize))
		err = c.do(ctx, call, &out)
	}
	return out, err
}

// StatementCSV writes a whole statement to w as CSV: the closing balances, the movements, the opening balances. After an
// error w may have got a part of it.
func (c *Client) StatementCSV(ctx context.Context, accountID string, q StatementQuery, w io.Writer, opts ...CallOption) error {
	call, err := newStatementCall(accountID, "csv", queryOf(q), opts)
	if err != nil {
		return err
	}
	call.sink, call.slow = w, true
	return c.do(ctx, call, nil)
}

func newStatementCall(accountID, format string, query url.Values, opts []CallOption) (*call, error) {
	call, err := newCall(http.MethodGet, at(accountsPath+"/", accountID, "/statement"), nil, opts)
	if err == nil {
		call.query = query
		call.query.Set("format", format)
	}
	return call, err
}
