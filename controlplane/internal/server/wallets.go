package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

const entryPrefix = "entry_"

// wallet is an account's balances as the REST API shows them.
type wallet struct {
	AccountID  string `json:"account_id"`
	Granted    int64  `json:"granted" doc:"All that was ever topped up, with all adjustments: available + reserved + spent."`
	Available  int64  `json:"available"`
	Reserved   int64  `json:"reserved" doc:"What gates hold in leases and have not reported as used."`
	Spent      int64  `json:"spent"`
	WrittenOff int64  `json:"written_off" doc:"Credits used that nobody paid for; in none of the other balances."`
}

type walletOutput struct{ Body wallet }

// entry is a row of the ledger as the REST API shows it.
type entry struct {
	ID             string    `json:"id" example:"entry_06f3k2v8s1w0"`
	TransactionID  string    `json:"transaction_id"`
	AccountID      string    `json:"account_id"`
	Kind           string    `json:"kind" enum:"top_up,debit,void,unpaid,reserve,use,release,forfeit,late_use,late_write_off,late_refund,adjustment,refund" doc:"People top up, adjust and refund. A void takes a debit back; unpaid is the cost of a request that was served undecided. A gate's lease reserves credits, uses some and releases the rest; one that ends unreported may forfeit them. The late kinds settle a report that came after the lease had ended."`
	Bucket         string    `json:"bucket" enum:"funding,available,reserved,spent,written_off"`
	Delta          int64     `json:"delta" doc:"Credits; negative takes from the bucket. The deltas of a transaction sum to zero, but that an unpaid or late_write_off one is a single memo in written_off."`
	KeyID          string    `json:"key_id,omitempty"`
	OpID           string    `json:"op_id,omitempty"`
	LeaseID        string    `json:"lease_id,omitempty"`
	Reason         string    `json:"reason,omitempty"`
	Actor          string    `json:"actor,omitempty" doc:"The id of the token that made the request."`
	IdempotencyKey string    `json:"idempotency_key,omitempty" doc:"The Idempotency-Key of that request, if it had one."`
	RefundedEntry  string    `json:"refunded_entry,omitempty" doc:"Of a refund, the entry that it gives credits back of, if it names one."`
	CreatedAt      time.Time `json:"created_at"`
}

func showEntry(e store.Entry) entry {
	return entry{
		ID: e.ID, TransactionID: e.TransactionID, AccountID: e.AccountID, Kind: string(e.Kind), Bucket: string(e.Bucket),
		Delta: e.Delta, KeyID: e.KeyID, OpID: e.OpID, LeaseID: e.LeaseID, Reason: e.Reason, Actor: e.Actor,
		IdempotencyKey: e.IdempotencyKey, RefundedEntry: e.RefundedEntry, CreatedAt: e.CreatedAt.UTC(),
	}
}

func (s *Server) registerWallets(a huma.API) {
	handle(s, a, readCredits, huma.Operation{
		OperationID: "get-wallet", Method: http.MethodGet, Path: "/v1/accounts/{id}/wallet", Summary: "Show an account's balances",
	}, s.getWallet)
	handle(s, a, readCredits, huma.Operation{
		OperationID: "list-entries", Method: http.MethodGet, Path: "/v1/accounts/{id}/entries", Summary: "List an account's ledger entries",
	}, s.listEntries)
}

func (s *Server) getWallet(ctx context.Context, in *AccountID) (*walletOutput, error) {
	w, err := s.store.Wallet(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("show wallet: %w", err)
	}
	return &walletOutput{Body: wallet{
		AccountID: w.AccountID, Granted: w.Granted, Available: w.Available,
		Reserved: w.Reserved, Spent: w.Spent, WrittenOff: w.WrittenOff,
	}}, nil
}

func (s *Server) listEntries(ctx context.Context, in *struct {
	AccountID
	PageQuery
}) (*listOutput[entry], error) {
	page, err := in.page("entries", entryPrefix)
	if err != nil {
		return nil, err
	}
	rows, more, err := s.store.Entries(ctx, in.ID, page)
	if page.After != "" && errors.Is(err, store.ErrInvalid) {
		return nil, badCursor()
	}
	if err != nil {
		return nil, fmt.Errorf("list entries: %w", err)
	}
	return newList("entries", rows, more, showEntry, func(e store.Entry) string { return e.ID }), nil
}
