package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

const tokensPath = "/v1/tokens"

// Token is an access token without its text.
type Token struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role string `json:"role"`
	// AccountID is that of a token of role account.
	AccountID *string `json:"account_id"`
	// Status is active, expired or revoked.
	Status     string     `json:"status"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

// TokenWithSecret is a token that was just made. Secret is empty if the answer repeats an earlier one.
type TokenWithSecret struct {
	Token
	Secret Secret `json:"secret"`
}

// NewToken is a token to be made. Only one of role account has an AccountID.
type NewToken struct {
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	AccountID string     `json:"account_id,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// TokenFilter says which tokens are listed.
type TokenFilter struct {
	AccountID string `query:"account_id"`
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, in NewToken, opts ...CallOption) (TokenWithSecret, error) {
	return once[TokenWithSecret](ctx, c, tokensPath, in, opts)
}

// Tokens lists tokens, the newest first.
func (c *Client) Tokens(ctx context.Context, f TokenFilter) iter.Seq2[Token, error] {
	return list[Token](ctx, c, tokensPath, f)
}

// Token returns one token.
func (c *Client) Token(ctx context.Context, id string, opts ...CallOption) (Token, error) {
	return read[Token](ctx, c, at(tokensPath+"/", id), nil, opts...)
}

// RevokeToken revokes a token for good.
func (c *Client) RevokeToken(ctx context.Context, id string, opts ...CallOption) (Token, error) {
	return change[Token](ctx, c, http.MethodPost, at(tokensPath+"/", id, "/revoke"), nil, opts)
}
