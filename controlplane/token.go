package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"github.com/tollgate/tollgate/controlplane/internal/server"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// tokenCommand groups what is done to tokens.
type tokenCommand struct {
	Create tokenCreateCommand `cmd:"" help:"Make a token and print it."`
}

type tokenCreateCommand struct {
	databaseFlag
	Role string `required:"" enum:"owner,operator,viewer,gate" placeholder:"ROLE" help:"owner and operator administer, viewer reads, gate is for a proxy's filter: one of ${enum}."`
	Name string `required:"" placeholder:"NAME" help:"Who or what will hold the token."`
}

// Help is shown by kong.
func (*tokenCreateCommand) Help() string {
	return `Prints the new token and nothing else on standard output. Only its digest is kept: it cannot be shown again.
Works beside a running server and before the first one.

Example:

	TOKEN=$(tollgate token create --role owner --name alice)`
}

// Validate is called by kong.
func (c *tokenCreateCommand) Validate() error {
	if err := c.databaseFlag.Validate(); err != nil {
		return err
	}
	if c.Name == "" || len(c.Name) > store.MaxNameLen || !printable(c.Name) {
		return fmt.Errorf("--name: expected 1 to %d bytes of printable text", store.MaxNameLen)
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

// Run is called by kong.
func (c *tokenCreateCommand) Run(stdout io.Writer) (err error) {
	if err := c.prepare(); err != nil {
		return err
	}
	ctx := context.Background()
	st, err := c.open(ctx, store.Options{Actor: store.LocalActor, KeepSchema: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	token, err := server.IssueToken(ctx, st, c.Name, store.Role(c.Role))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, token.Reveal()); err != nil {
		return fmt.Errorf("print token: %w", err)
	}
	return nil
}
