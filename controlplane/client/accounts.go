package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

const accountsPath = "/v1/accounts"

// Account is who pays.
type Account struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Status is pending, active, disabled or closed.
	Status      string     `json:"status"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	ClosedAt    *time.Time `json:"closed_at,omitempty"`
	CloseReason string     `json:"close_reason,omitempty"`
}

// NewAccount is an account to be made; without Status, which may be pending or active, it is pending.
type NewAccount struct {
	Name   string `json:"name"`
	Status string `json:"status,omitempty"`
}

// AccountUpdate is what changes about an account; nil leaves it as it is.
type AccountUpdate struct {
	Name *string `json:"name,omitempty"`
	// Status may become active or disabled.
	Status *string `json:"status,omitempty"`
}

// Closing is how an account is closed.
type Closing struct {
	// Balance is write_off or refuse.
	Balance string `json:"balance"`
	Reason  string `json:"reason"`
}

// CreateAccount makes an account.
func (c *Client) CreateAccount(ctx context.Context, in NewAccount, opts ...CallOption) (Account, error) {
	return once[Account](ctx, c, accountsPath, in, opts)
}

// Accounts lists all accounts, the newest first.
func (c *Client) Accounts(ctx context.Context) iter.Seq2[Account, error] {
	return list[Account](ctx, c, accountsPath, nil)
}

// Account returns one account.
func (c *Client) Account(ctx context.Context, id string, opts ...CallOption) (Account, error) {
	return read[Account](ctx, c, at(accountsPath+"/", id), nil, opts...)
}

// UpdateAccount renames an account or changes its status.
func (c *Client) UpdateAccount(ctx context.Context, id string, in AccountUpdate, opts ...CallOption) (Account, error) {
	return change[Account](ctx, c, http.MethodPatch, at(accountsPath+"/", id), in, opts)
}

// CloseAccount closes an account for good.
func (c *Client) CloseAccount(ctx context.Context, id string, in Closing, opts ...CallOption) (Account, error) {
	return once[Account](ctx, c, at(accountsPath+"/", id, "/close"), in, opts)
}
