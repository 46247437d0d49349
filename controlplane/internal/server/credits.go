package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// credit is a movement of credits by people as the REST API shows it.
type credit struct {
	ID             string    `json:"id" example:"txn_06f3k2v8s1w0"`
	AccountID      string    `json:"account_id"`
	Kind           string    `json:"kind" enum:"top_up,adjustment,refund"`
	Amount         int64     `json:"amount" doc:"Negative for an adjustment that takes credits back."`
	Available      int64     `json:"available" doc:"The available balance right after this movement."`
	Reason         string    `json:"reason"`
	Actor          string    `json:"actor" doc:"The id of the token that made the request."`
	IdempotencyKey string    `json:"idempotency_key,omitempty" doc:"The Idempotency-Key of the request, if it had one."`
	RefundedEntry  string    `json:"refunded_entry,omitempty" doc:"The entry of which this refund gives credits back, if it names one."`
	CreatedAt      time.Time `json:"created_at"`
}

type creditBody struct {
	Amount int64  `json:"amount" minimum:"1" maximum:"9007199254740991" doc:"Credits to add, an integer up to 2^53-1."`
	Reason string `json:"reason,omitempty" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
}

type creditInput struct {
	AccountID
	IdempotencyInput
	Body creditBody
}

type adjustmentBody struct {
	Amount int64  `json:"amount" minimum:"-9007199254740991" maximum:"9007199254740991" doc:"Credits to add, or to take back if negative, up to 2^53-1 and not 0."`
	Reason string `json:"reason" minLength:"1" maxLength:"500" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
}

type adjustmentInput struct {
	AccountID
	IdempotencyInput
	Body adjustmentBody
}

type refundBody struct {
	Amount  int64  `json:"amount" minimum:"1" maximum:"9007199254740991" doc:"Spent credits to give back, an integer up to 2^53-1."`
	EntryID string `json:"entry_id,omitempty" minLength:"1" maxLength:"200" doc:"The entry into the bucket spent of which they are given back; all refunds of it together are at most its delta."`
	Reason  string `json:"reason" minLength:"1" maxLength:"500" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
}

type refundInput struct {
	AccountID
	IdempotencyInput
	Body refundBody
}

type creditOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true if an earlier request under this key did it."`
	Body     credit
}

func showCredit(txn store.Transaction, replayed bool) *creditOutput {
	return &creditOutput{Replayed: replay(replayed), Body: credit{
		ID: txn.ID, AccountID: txn.AccountID, Kind: txn.Kind, Amount: txn.Amount, Available: txn.Available,
		Reason: txn.Reason, Actor: txn.Actor, IdempotencyKey: txn.IdempotencyKey, RefundedEntry: txn.RefundedEntry,
		CreatedAt: txn.CreatedAt.UTC(),
	}}
}

func (s *Server) registerCredits(a huma.API) {
	handle(s, a, topUpCredits, huma.Operation{
		OperationID: "add-credits", Method: http.MethodPost, Path: "/v1/accounts/{id}/credits", Summary: "Add credits to an account",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
	}, s.addCredits)
	handle(s, a, adjustCredits, huma.Operation{
		OperationID: "adjust-credits", Method: http.MethodPost, Path: "/v1/accounts/{id}/credits/adjust",
		Summary:       "Correct what an account was granted, upwards or downwards",
		Description:   "No more can be taken back than is available: what gates hold in leases is not.",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
	}, s.adjustCredits)
	handle(s, a, adjustCredits, huma.Operation{
		OperationID: "refund-credits", Method: http.MethodPost, Path: "/v1/accounts/{id}/credits/refund",
		Summary:       "Make spent credits available again",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
	}, s.refundCredits)
}

func (s *Server) addCredits(ctx context.Context, in *creditInput) (*creditOutput, error) {
	if err := fits("body.reason", in.Body.Reason, store.MaxReasonLen); err != nil {
		return nil, err
	}
	idem, err := in.idempotent(ctx, "POST /v1/accounts/"+in.ID+"/credits", in.Body)
	if err != nil {
		return nil, err
	}
	txn, replayed, err := s.store.TopUp(ctx, store.TopUp{
		AccountID: in.ID, Amount: in.Body.Amount, Reason: in.Body.Reason, Actor: callerOf(ctx).ID,
	}, idem)
	if err != nil {
		return nil, fmt.Errorf("add credits: %w", err)
	}
	return showCredit(txn, replayed), nil
}

func (s *Server) adjustCredits(ctx context.Context, in *adjustmentInput) (*creditOutput, error) {
	if in.Body.Amount == 0 {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.amount", "expected an integer other than 0")
	}
	if err := fits("body.reason", in.Body.Reason, store.MaxReasonLen); err != nil {
		return nil, err
	}
	idem, err := in.idempotent(ctx, "POST /v1/accounts/"+in.ID+"/credits/adjust", in.Body)
	if err != nil {
		return nil, err
	}
	txn, replayed, err := s.store.Adjust(ctx, store.Adjustment{
		AccountID: in.ID, Amount: in.Body.Amount, Reason: in.Body.Reason, Actor: callerOf(ctx).ID,
	}, idem)
	if err != nil {
		return nil, fmt.Errorf("adjust credits: %w", err)
	}
	return showCredit(txn, replayed), nil
}

func (s *Server) refundCredits(ctx context.Context, in *refundInput) (*creditOutput, error) {
	if err := fits("body.reason", in.Body.Reason, store.MaxReasonLen); err != nil {
		return nil, err
	}
	notSpent := badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.entry_id",
		"expected an entry of this account that spent credits which were not taken back")
	if in.Body.EntryID != "" && !isID(in.Body.EntryID, entryPrefix) {
		return nil, notSpent
	}
	idem, err := in.idempotent(ctx, "POST /v1/accounts/"+in.ID+"/credits/refund", in.Body)
	if err != nil {
		return nil, err
	}
	txn, replayed, err := s.store.RefundCredits(ctx, store.Refund{
		AccountID: in.ID, Amount: in.Body.Amount, EntryID: in.Body.EntryID, Reason: in.Body.Reason, Actor: callerOf(ctx).ID,
	}, idem)
	switch {
	case errors.Is(err, store.ErrNotSpent):
		return nil, notSpent
	case errors.Is(err, store.ErrRefundExceeds):
		return nil, badField(http.StatusConflict, codeInsufficientCredits, "body.amount", "expected at most what the entry spent and what is not refunded of it")
	case errors.Is(err, ledger.ErrInsufficientCredits):
		return nil, badField(http.StatusConflict, codeInsufficientCredits, "body.amount", "expected at most what is spent")
	case err != nil:
		return nil, fmt.Errorf("refund credits: %w", err)
	}
	return showCredit(txn, replayed), nil
}
