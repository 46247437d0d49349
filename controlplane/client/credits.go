package client

import (
	"context"
	"iter"
	"time"
)

// Wallet is an account's balances in credits.
type Wallet struct {
	AccountID string `json:"account_id"`
	// Granted is Available + Reserved + Spent.
	Granted   int64 `json:"granted"`
	Available int64 `json:"available"`
	// Reserved is held by gates.
	Reserved   int64 `json:"reserved"`
	Spent      int64 `json:"spent"`
	WrittenOff int64 `json:"written_off"`
}

// Entry is a row of the ledger.
type Entry struct {
	ID             string    `json:"id"`
	TransactionID  string    `json:"transaction_id"`
	AccountID      string    `json:"account_id"`
	Kind           string    `json:"kind"`
	Bucket         string    `json:"bucket"`
	Delta          int64     `json:"delta"`
	KeyID          string    `json:"key_id,omitempty"`
	OpID           string    `json:"op_id,omitempty"`
	LeaseID        string    `json:"lease_id,omitempty"`
	Reason         string    `json:"reason,omitempty"`
	Actor          string    `json:"actor,omitempty"`
	IdempotencyKey string    `json:"idempotency_key,omitempty"`
	RefundedEntry  string    `json:"refunded_entry,omitempty"`
	CreatedAt      time.Time `json:"created_at"`
}

// Credit is a movement of credits by people.
type Credit struct {
	ID        string `json:"id"`
	AccountID string `json:"account_id"`
	// Kind is top_up, adjustment or refund.
	Kind   string `json:"kind"`
	Amount int64  `json:"amount"`
	// Available is the balance right after the movement.
	Available      int64     `json:"available"`
	Reason         string    `json:"reason"`
	Actor          string    `json:"actor"`
	IdempotencyKey string    `json:"idempotency_key,omitempty"`
	RefundedEntry  string    `json:"refunded_entry,omitempty"`
	CreatedAt      time.Time `json:"created_at"`
}

// TopUp adds credits.
type TopUp struct {
	Amount int64  `json:"amount"`
	Reason string `json:"reason,omitempty"`
}

// Adjustment corrects what was granted, downwards if Amount is negative.
type Adjustment struct {
	Amount int64  `json:"amount"`
	Reason string `json:"reason"`
}

// Refund makes spent credits available again; with EntryID, those that this entry has spent.
type Refund struct {
	Amount  int64  `json:"amount"`
	EntryID string `json:"entry_id,omitempty"`
	Reason  string `json:"reason"`
}

// Wallet returns an account's balances.
func (c *Client) Wallet(ctx context.Context, accountID string, opts ...CallOption) (Wallet, error) {
	return read[Wallet](ctx, c, at(accountsPath+"/", accountID, "/wallet"), nil, opts...)
}

// Entries lists an account's ledger, the newest first.
func (c *Client) Entries(ctx context.Context, accountID string) iter.Seq2[Entry, error] {
	return list[Entry](ctx, c, at(accountsPath+"/", accountID, "/entries"), nil)
}

// AddCredits adds credits to an account.
func (c *Client) AddCredits(ctx context.Context, accountID string, in TopUp, opts ...CallOption) (Credit, error) {
	return once[Credit](ctx, c, at(accountsPath+"/", accountID, "/credits"), in, opts)
}

// AdjustCredits corrects what an account was granted.
func (c *Client) AdjustCredits(ctx context.Context, accountID string, in Adjustment, opts ...CallOption) (Credit, error) {
	return once[Credit](ctx, c, at(accountsPath+"/", accountID, "/credits/adjust"), in, opts)
}

// RefundCredits makes spent credits available again.
func (c *Client) RefundCredits(ctx context.Context, accountID string, in Refund, opts ...CallOption) (Credit, error) {
	return once[Credit](ctx, c, at(accountsPath+"/", accountID, "/credits/refund"), in, opts)
}
