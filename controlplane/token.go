package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"github.com/tollgate/tollgate/controlplane/internal/cli"
	"github.com/tollgate/tollgate/controlplane/internal/server"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// tokenCommand groups what is done to tokens.
type tokenCommand struct {
	Create tokenCreateCommand `cmd:"" help:"Make a token and print it."`
	cli.Token
}

type tokenCreateCommand struct {
	databaseFlag
	Role    string   `enum:"owner,operator,billing,viewer,gate,account," default:"" placeholder:"ROLE" help:"One of owner and operator, who administer, billing, who moves credits, viewer, who reads, gate, for a proxy's filter, and account, for the keys of one account: that is what it is with --account."`
	Name    string   `required:"" placeholder:"NAME" help:"Who or what will hold the token."`
	Account string   `placeholder:"ID" help:"Whose keys the token is for, of role account."`
	Expires cli.When `placeholder:"WHEN" help:"When the token ends: a time such as 2026-12-31T00:00:00Z, or from now on, such as 90d or 12h. Without it, never."`

	// The flags of the other commands that ask a server; that it does is not by default.
	URL       string `name:"url" env:"TOLLGATE_URL" placeholder:"URL" help:"Ask this server instead of writing to a database. TOLLGATE_URL counts where neither --db nor TOLLGATE_DB is given."`
	TokenFile string `name:"token-file" placeholder:"FILE" help:"With --url: a file with an owner's token; without it, TOLLGATE_TOKEN of the environment."`
	JSON      bool   `name:"json" help:"With --url: print what the server answers instead of the token alone."`

	// remote means that a server is asked.
	remote bool
}

// Help is shown by kong.
func (*tokenCreateCommand) Help() string {
	return `Prints the new token and nothing else on standard output. Only its digest is kept: it cannot be shown again.
Works beside a running server and before the first one; with --url it asks a server, which an owner may.

Example:

	TOKEN=$(tollgate token create --role owner --name alice)
	tollgate token create --account acct_06f3k2v8s1w0 --name "Ada's site" --expires 90d
	tollgate token create --url https://tollgate.example --role gate --name edge-1`
}

// Validate is called by kong.
func (c *tokenCreateCommand) Validate() error {
	if err := c.databaseFlag.Validate(); err != nil {
		return err
	}
	if c.Name == "" || len(c.Name) > store.MaxNameLen || !printable(c.Name) {
		return fmt.Errorf("--name: expected 1 to %d bytes of printable text", store.MaxNameLen)
	}
	switch account := string(store.RoleAccount); {
	case c.Account != "" && c.Role == "":
		c.Role = account
	case c.Role == "":
		return errors.New("--role: expected one of owner, operator, billing, viewer, gate, account")
	case (c.Account != "") != (c.Role == account):
		return errors.New("--account: expected with --role account, and with no other")
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// AfterApply is called by kong. What the command line says comes before the environment, and there a database before a
// server.
func (c *tokenCreateCommand) AfterApply(k *kong.Context) error {
	given := map[string]bool{}
	for _, p := range k.Path {
		if p.Flag != nil {
			given[p.Flag.Name] = true
		}
	}
	_, named := os.LookupEnv("TOLLGATE_DB")
	switch {
	case given["url"] && given["db"]:
		return errors.New("--url: expected without --db")
	case given["url"]:
		c.remote = true
	case !given["db"] && !named:
		c.remote = c.URL != ""
	}
	if c.remote {
		return c.connection().Validate()
	}
	if c.TokenFile != "" || c.JSON {
		return errors.New("--token-file, --json: expected with --url")
	}
	return nil
}

func (c *tokenCreateCommand) connection() *cli.Connection {
	return cli.NewConnection(c.URL, c.TokenFile)
}

// Run is called by kong.
func (c *tokenCreateCommand) Run(s *cli.Streams) error {
	if !c.remote {
		return c.createHere(s.Out)
	}
	return c.connection().CreateToken(s, cli.NewToken{
		Name: c.Name, Role: c.Role, AccountID: c.Account, ExpiresAt: c.Expires.At(time.Now()),
	}, c.JSON)
}

// createHere writes the token to the database.
func (c *tokenCreateCommand) createHere(stdout io.Writer) (err error) {
	if err := c.prepare(); err != nil {
		return err
	}
	ctx := context.Background()
	st, err := c.open(ctx, store.Options{Actor: store.LocalActor, KeepSchema: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	token, err := server.IssueToken(ctx, st, store.NewToken{
		Name: c.Name, Role: store.Role(c.Role), AccountID: c.Account, ExpiresAt: c.Expires.At(time.Now()),
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("--account: expected the id of an account: %w", err)
	case errors.Is(err, store.ErrInvalid):
		return fmt.Errorf("--expires: expected a time in the future, before the year 10000: %w", err)
	case err != nil:
		return err
	}
	if _, err := fmt.Fprintln(stdout, token.Reveal()); err != nil {
		return fmt.Errorf("print token: %w", err)
	}
	return nil
}
