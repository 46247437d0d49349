package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

const tokenPrefix = "token_"

// AccessToken is a token as the REST API shows it, without its text.
type AccessToken struct {
	ID         string     `json:"id" example:"token_06f3k2v8s1w0"`
	Name       string     `json:"name"`
	Role       string     `json:"role" enum:"owner,operator,billing,viewer,gate,account"`
	AccountID  *string    `json:"account_id" doc:"The account of a token of role account; null for the others."`
	Status     string     `json:"status" enum:"active,expired,revoked"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at" nullable:"true" doc:"From then on the token is refused; null for never."`
	RevokedAt  *time.Time `json:"revoked_at" nullable:"true"`
	LastUsedAt *time.Time `json:"last_used_at" nullable:"true" doc:"Up to a minute or two late; null if never."`
}

type tokenOutput struct {
	ETag string `header:"ETag" doc:"The token's state, for If-Match; when it was last used is no part of it."`
	Body AccessToken
}

func (s *Server) newTokenOutput(t store.Token) *tokenOutput {
	return &tokenOutput{ETag: etag(t.Tag()), Body: s.showToken(t)}
}

// newAccessToken is the reply of creation, which alone holds the text.
type newAccessToken struct {
	AccessToken
	Secret *string `json:"secret" doc:"The token itself, shown this once; null when the request is repeated."`
}

type newTokenOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true if an earlier request under this key did it."`
	ETag     string `header:"ETag" doc:"The token's state, for If-Match; when it was last used is no part of it."`
	Body     newAccessToken
}

func (s *Server) showToken(t store.Token) AccessToken {
	status := "active"
	switch {
	case t.RevokedAt != nil:
		status = "revoked"
	case !t.Usable(s.now()):
		status = "expired"
	}
	return AccessToken{
		ID: t.ID, Name: t.Name, Role: string(t.Role), AccountID: orNull(t.AccountID), Status: status, CreatedAt: t.CreatedAt.UTC(),
		ExpiresAt: utcOrNull(t.ExpiresAt), RevokedAt: utcOrNull(t.RevokedAt), LastUsedAt: utcOrNull(t.LastUsedAt),
	}
}

// TokenID is the path of one token.
type TokenID struct {
	ID string `path:"id" maxLength:"200" doc:"The token's id."`
}

type createTokenBody struct {
	Name      string   `json:"name" minLength:"1" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters" doc:"Who or what will hold the token."`
	Role      string   `json:"role" enum:"owner,operator,billing,viewer,gate,account"`
	AccountID string   `json:"account_id,omitempty" minLength:"1" maxLength:"200" doc:"The account of a token of role account, and of no other."`
	ExpiresAt *instant `json:"expires_at,omitempty" doc:"In the future; without it the token never expires."`
}

type createTokenInput struct {
	IdempotencyInput
	Body createTokenBody
}

type listTokensInput struct {
	PageQuery
	AccountID string `query:"account_id" maxLength:"200" doc:"Only this account's tokens."`
}

type revokeTokenInput struct {
	TokenID
	IfMatchInput
	// Body takes no field; that it is declared makes huma refuse one.
	Body *struct{} `nameHint:"RevokeTokenBody"`
}

func (s *Server) registerTokens(a huma.API) {
	handle(s, a, manageTokens, huma.Operation{
		OperationID: "create-token", Method: http.MethodPost, Path: "/v1/tokens", Summary: "Create a token",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusNotFound, http.StatusConflict},
	}, s.createToken)
	handle(s, a, manageTokens, huma.Operation{
		OperationID: "list-tokens", Method: http.MethodGet, Path: "/v1/tokens", Summary: "List tokens",
	}, s.listTokens)
	handle(s, a, manageTokens, huma.Operation{
		OperationID: "get-token", Method: http.MethodGet, Path: "/v1/tokens/{id}", Summary: "Show a token",
	}, s.getToken)
	handle(s, a, manageTokens, huma.Operation{
		OperationID: "revoke-token", Method: http.MethodPost, Path: "/v1/tokens/{id}/revoke", Summary: "Revoke a token for good",
		Errors: []int{http.StatusConflict},
	}, s.revokeToken)
}

func (s *Server) createToken(ctx context.Context, in *createTokenInput) (*newTokenOutput, error) {
	b := &in.Body
	if err := b.check(); err != nil {
		return nil, err
	}
	idem, err := in.idempotent(ctx, "POST /v1/tokens", in.Body)
	if err != nil {
		return nil, err
	}
	text := mintToken(store.Role(b.Role))
	row := store.NewToken{
		Name: b.Name, Role: store.Role(b.Role), AccountID: b.AccountID, Digest: apikey.DigestOf(text.Reveal()),
	}
	if b.ExpiresAt != nil {
		row.ExpiresAt = &b.ExpiresAt.Time
	}
	t, replayed, err := s.store.CreateToken(ctx, row, idem)
	if errors.Is(err, store.ErrNotFound) {
		return nil, unknownAccount()
	}
	// Everything else was checked before.
	if errors.Is(err, store.ErrInvalid) && row.ExpiresAt != nil {
		return nil, badExpiry()
	}
	if err != nil {
		return nil, fmt.Errorf("create token: %w", err)
	}
	return &newTokenOutput{Replayed: replay(replayed), ETag: etag(t.Tag()), Body: newAccessToken{
		AccessToken: s.showToken(t), Secret: shownOnce(text, replayed),
	}}, nil
}

// check finds what no schema can tell of, and puts the times that mean the same into the same form.
func (b *createTokenBody) check() error {
	if err := fits("body.name", b.Name, store.MaxNameLen); err != nil {
		return err
	}
	switch of := b.Role == string(store.RoleAccount); {
	case of && b.AccountID == "":
		return badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.account_id", "expected the account of a token of role account, got none")
	case !of && b.AccountID != "":
		return badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.account_id", "expected none: only a token of role account has one")
	}
	if b.ExpiresAt != nil {
		at, err := expiry(b.ExpiresAt.Time)
		if err != nil {
			return err
		}
		b.ExpiresAt = &instant{*at}
	}
	return nil
}

func (s *Server) listTokens(ctx context.Context, in *listTokensInput) (*listOutput[AccessToken], error) {
	page, err := in.page("tokens", tokenPrefix)
	if err != nil {
		return nil, err
	}
	rows, more, err := s.store.Tokens(ctx, store.TokenFilter{AccountID: in.AccountID}, page)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return newList("tokens", rows, more, s.showToken, func(t store.Token) string { return t.ID }), nil
}

func (s *Server) getToken(ctx context.Context, in *TokenID) (*tokenOutput, error) {
	t, err := s.store.Token(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("show token: %w", err)
	}
	return s.newTokenOutput(t), nil
}

func (s *Server) revokeToken(ctx context.Context, in *revokeTokenInput) (*tokenOutput, error) {
	t, err := s.store.RevokeToken(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("revoke token: %w", err)
	}
	return s.newTokenOutput(t), nil
}
