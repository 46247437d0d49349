package cli

import (
	"context"
	"fmt"
	"iter"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Token is the noun token, without its verb create: the first token is made before there is a server.
type Token struct {
	List   tokenList   `cmd:"" help:"List tokens, the newest first." example:"tollgate token list"`
	Show   tokenShow   `cmd:"" help:"Show a token; never its text." example:"tollgate token show token_…"`
	Revoke tokenRevoke `cmd:"" help:"Revoke a token for good." example:"tollgate token revoke token_…"`
}

var tokenColumns = []column[client.Token]{
	{name: "id", text: func(t client.Token) string { return cell(t.ID) }},
	{name: "role", text: func(t client.Token) string { return cell(t.Role) }},
	{name: "account", text: func(t client.Token) string { return cell(t.AccountID) }},
	{name: "status", text: func(t client.Token) string { return cell(t.Status) }},
	{name: "created", text: func(t client.Token) string { return cell(t.CreatedAt) }},
	{name: "expires", text: func(t client.Token) string { return cell(t.ExpiresAt) }},
	{name: "revoked", detail: true, text: func(t client.Token) string { return cell(t.RevokedAt) }},
	{name: "last used", text: func(t client.Token) string { return cell(t.LastUsedAt) }},
	{name: "name", text: func(t client.Token) string { return cell(t.Name) }},
}

type tokenList struct {
	listing
	Account string `placeholder:"ID" help:"Only this account's tokens."`
}

// Run is called by kong.
func (c *tokenList) Run(s *Streams) error {
	return many(s, &c.listing, tokenColumns, func(ctx context.Context, cl *client.Client) iter.Seq2[client.Token, error] {
		return cl.Tokens(ctx, client.TokenFilter{AccountID: c.Account})
	})
}

type tokenID struct {
	ID string `arg:"" name:"token" help:"The token's id."`
}

type tokenShow struct {
	seen
	tokenID
}

// Run is called by kong.
func (c *tokenShow) Run(s *Streams) error {
	return look(s, &c.seen, tokenColumns, func(ctx context.Context, cl *client.Client, opt client.CallOption) (client.Token, error) {
		return cl.Token(ctx, c.ID, opt)
	})
}

type tokenRevoke struct {
	asking
	tokenID
	conditional
}

// Run is called by kong.
func (c *tokenRevoke) Run(s *Streams) error {
	return one(s, &c.asking, tokenColumns, func(ctx context.Context, cl *client.Client) (client.Token, error) {
		return cl.RevokeToken(ctx, c.ID, c.conditions()...)
	})
}

// NewToken is a token to be made.
type NewToken = client.NewToken

// CreateToken makes a token by REST and prints it as the command on the database does, the token alone, or with asJSON the
// server's answer.
func (c *Connection) CreateToken(s *Streams, in NewToken, asJSON bool) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		var m client.Meta
		t, err := cl.CreateToken(ctx, in, client.Into(&m))
		if err != nil {
			return err
		}
		if t.Secret == "" {
			return fmt.Errorf("token %s was made, but the answer with its text was lost: revoke it and make another", t.ID)
		}
		_, _ = fmt.Fprintln(s.Err, "tollgate: the token is shown this once and kept nowhere: keep it now")
		if asJSON {
			return printJSON(s, struct {
				client.Token
				Secret *string `json:"secret"`
			}{t.Token, revealed(t.Secret)})
		}
		if _, err := fmt.Fprintln(s.Out, t.Secret.Reveal()); err != nil {
			return fmt.Errorf("print token: %w", err)
		}
		return nil
	})
}
