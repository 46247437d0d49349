package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
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
	Role    string     `required:"" enum:"owner,operator,billing,viewer,gate,account" placeholder:"ROLE" help:"owner and operator administer, billing moves credits, viewer reads, gate is for a proxy's filter, account for the keys of one account: one of ${enum}."`
	Name    string     `required:"" placeholder:"NAME" help:"Who or what will hold the token."`
	Account string     `placeholder:"ID" help:"The account of a token of role account."`
	Expires expiryFlag `placeholder:"WHEN" help:"When the token ends: a time such as 2026-12-31T00:00:00Z, or from now on, such as 90d or 12h. Without it, never."`
}

// Help is shown by kong.
func (*tokenCreateCommand) Help() string {
	return `Prints the new token and nothing else on standard output. Only its digest is kept: it cannot be shown again.
Works beside a running server and before the first one.

Example:

	TOKEN=$(tollgate token create --role owner --name alice)
	tollgate token create --role account --account acct_06f3k2v8s1w0 --name "Ada's site" --expires 90d`
}

// Validate is called by kong.
func (c *tokenCreateCommand) Validate() error {
	if err := c.databaseFlag.Validate(); err != nil {
		return err
	}
	if c.Name == "" || len(c.Name) > store.MaxNameLen || !printable(c.Name) {
		return fmt.Errorf("--name: expected 1 to %d bytes of printable text", store.MaxNameLen)
	}
	if (c.Account != "") != (c.Role == string(store.RoleAccount)) {
		return errors.New("--account: expected with --role account, and with no other")
	}
	return nil
}

// expiryFlag is a time, or how long from now on; its zero value is never.
type expiryFlag struct {
	time time.Time
	from time.Duration
}

// UnmarshalText is called by kong.
func (f *expiryFlag) UnmarshalText(text []byte) (err error) {
	if f.time, err = time.Parse(time.RFC3339, string(text)); err == nil {
		return nil
	}
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		f.from = time.Duration(n) * 24 * time.Hour
		if err == nil && n > 0 {
			return nil
		}
	} else if f.from, err = time.ParseDuration(string(text)); err == nil && f.from > 0 {
		return nil
	}
	return errors.New("expected a time such as 2026-12-31T00:00:00Z, or how long from now on, such as 90d or 12h")
}

func (f *expiryFlag) at(now time.Time) *time.Time {
	switch {
	case !f.time.IsZero():
		return &f.time
	case f.from == 0:
		return nil
	}
	at := now.Add(f.from)
	return &at
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
	token, err := server.IssueToken(ctx, st, store.NewToken{
		Name: c.Name, Role: store.Role(c.Role), AccountID: c.Account, ExpiresAt: c.Expires.at(time.Now()),
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
