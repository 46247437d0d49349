package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

const accountPrefix = "acct_"

// account is an account as the REST API shows it.
type account struct {
	ID          string     `json:"id" example:"acct_06f3k2v8s1w0"`
	Name        string     `json:"name"`
	Status      string     `json:"status" enum:"pending,active,disabled,closed"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	ClosedAt    *time.Time `json:"closed_at,omitempty" doc:"When it was closed."`
	CloseReason string     `json:"close_reason,omitempty" doc:"Why it was closed, as the admin who did it put it."`
}

type accountOutput struct {
	ETag string `header:"ETag" doc:"The account's state, for If-Match."`
	Body account
}

func newAccountOutput(a store.Account) *accountOutput {
	return &accountOutput{ETag: etag(a.Tag()), Body: showAccount(a)}
}

// accountOnceOutput is the reply of what an idempotency key makes repeatable.
type accountOnceOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true if an earlier request under this key did it."`
	ETag     string `header:"ETag" doc:"The account's state, for If-Match."`
	Body     account
}

func showAccount(a store.Account) account {
	out := account{
		ID: a.ID, Name: a.Name, Status: string(a.Status),
		CreatedAt: a.CreatedAt.UTC(), UpdatedAt: a.UpdatedAt.UTC(), CloseReason: a.CloseReason,
	}
	if !a.ClosedAt.IsZero() {
		out.ClosedAt = utcOrNull(&a.ClosedAt)
	}
	return out
}

// AccountID is the path of one account.
type AccountID struct {
	ID string `path:"id" maxLength:"200" doc:"The account's id."`
}

type createAccountBody struct {
	Name   string `json:"name" minLength:"1" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
	Status string `json:"status,omitempty" enum:"pending,active" default:"pending"`
}

type createAccountInput struct {
	IdempotencyInput
	Body createAccountBody
}

type updateAccountInput struct {
	AccountID
	IfMatchInput
	Body struct {
		Name   *string `json:"name,omitempty" minLength:"1" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
		Status *string `json:"status,omitempty" enum:"pending,active,disabled"`
	} `nameHint:"UpdateAccountBody"`
}

func (s *Server) registerAccounts(a huma.API) {
	handle(s, a, writeAccounts, huma.Operation{
		OperationID: "create-account", Method: http.MethodPost, Path: "/v1/accounts", Summary: "Create an account",
		DefaultStatus: http.StatusCreated,
	}, s.createAccount)
	handle(s, a, readAccounts, huma.Operation{
		OperationID: "list-accounts", Method: http.MethodGet, Path: "/v1/accounts", Summary: "List accounts",
	}, s.listAccounts)
	handle(s, a, readAccounts, huma.Operation{
		OperationID: "get-account", Method: http.MethodGet, Path: "/v1/accounts/{id}", Summary: "Show an account",
	}, s.getAccount)
	handle(s, a, writeAccounts, huma.Operation{
		OperationID: "update-account", Method: http.MethodPatch, Path: "/v1/accounts/{id}", Summary: "Rename an account or change its status",
		Errors: []int{http.StatusConflict},
	}, s.updateAccount)
	handle(s, a, closeAccounts, huma.Operation{
		OperationID: "close-account", Method: http.MethodPost, Path: "/v1/accounts/{id}/close", Summary: "Close an account for good",
		Description: "Its keys stop at once, and gates give back what they hold of it: what they have used is paid from that, and " +
			"the rest is taken back like what was available.",
		Errors: []int{http.StatusConflict},
	}, s.closeAccount)
}

func (s *Server) createAccount(ctx context.Context, in *createAccountInput) (*accountOnceOutput, error) {
	if err := fits("body.name", in.Body.Name, store.MaxNameLen); err != nil {
		return nil, err
	}
	idem, err := in.idempotent(ctx, "POST /v1/accounts", in.Body)
	if err != nil {
		return nil, err
	}
	a, replayed, err := s.store.CreateAccount(ctx, store.NewAccount{
		Name: in.Body.Name, Status: store.AccountStatus(in.Body.Status),
	}, idem)
	if err != nil {
		return nil, fmt.Errorf("create account: %w", err)
	}
	return &accountOnceOutput{Replayed: replay(replayed), ETag: etag(a.Tag()), Body: showAccount(a)}, nil
}

func (s *Server) listAccounts(ctx context.Context, in *struct{ PageQuery }) (*listOutput[account], error) {
	page, err := in.page("accounts", accountPrefix)
	if err != nil {
		return nil, err
	}
	rows, more, err := s.store.Accounts(ctx, page)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return newList("accounts", rows, more, showAccount, func(a store.Account) string { return a.ID }), nil
}

func (s *Server) getAccount(ctx context.Context, in *AccountID) (*accountOutput, error) {
	a, err := s.store.Account(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("show account: %w", err)
	}
	return newAccountOutput(a), nil
}

func (s *Server) updateAccount(ctx context.Context, in *updateAccountInput) (*accountOutput, error) {
	b := in.Body
	if b.Name == nil && b.Status == nil {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body", "expected name or status or both")
	}
	update := store.AccountUpdate{Name: b.Name}
	if b.Name != nil {
		if err := fits("body.name", *b.Name, store.MaxNameLen); err != nil {
			return nil, err
		}
	}
	if b.Status != nil {
		status := store.AccountStatus(*b.Status)
		update.Status = &status
	}
	a, err := s.store.UpdateAccount(ctx, in.ID, update)
	if err != nil {
		return nil, fmt.Errorf("update account: %w", err)
	}
	return newAccountOutput(a), nil
}

type closeAccountInput struct {
	AccountID
	IfMatchInput
	IdempotencyInput
	Body closeAccountBody
}

type closeAccountBody struct {
	Balance string `json:"balance" enum:"write_off,refuse" doc:"What becomes of credits that are left: write_off takes them back by an adjustment, refuse closes only an account that has none, available or held by gates."`
	Reason  string `json:"reason" minLength:"1" maxLength:"500" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
}

func (s *Server) closeAccount(ctx context.Context, in *closeAccountInput) (*accountOnceOutput, error) {
	if err := fits("body.reason", in.Body.Reason, store.MaxReasonLen); err != nil {
		return nil, err
	}
	idem, err := in.idempotent(ctx, "POST /v1/accounts/"+in.ID+"/close", in.Body)
	if err != nil {
		return nil, err
	}
	a, replayed, err := s.store.CloseAccount(ctx, in.ID, store.Closing{
		Balance: store.ClosingBalance(in.Body.Balance), Reason: in.Body.Reason, Actor: callerOf(ctx).ID,
	}, idem)
	if err != nil {
		return nil, fmt.Errorf("close account: %w", err)
	}
	return &accountOnceOutput{Replayed: replay(replayed), ETag: etag(a.Tag()), Body: showAccount(a)}, nil
}

// fits checks the length of text in bytes, which the store bounds and a schema cannot express.
func fits(location, text string, limit int) error {
	if len(text) <= limit {
		return nil
	}
	return badField(http.StatusUnprocessableEntity, codeInvalidRequest, location, fmt.Sprintf("expected at most %d bytes of UTF-8", limit))
}
