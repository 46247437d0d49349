package cli

import (
	"context"
	"errors"
	"iter"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Account is the noun account.
type Account struct {
	List   accountList   `cmd:"" help:"List accounts, the newest first." example:"tollgate account list --limit 20"`
	Show   accountShow   `cmd:"" help:"Show an account." example:"tollgate account show acct_… --json"`
	Create accountCreate `cmd:"" help:"Create an account." example:"tollgate account create --name Acme --status active"`
	Update accountUpdate `cmd:"" help:"Rename an account or change its status." example:"tollgate account update acct_… --status disabled"`
	Close  accountClose  `cmd:"" help:"Close an account for good; its keys stop at once." example:"tollgate account close acct_… --balance refuse --reason 'left us'"`
}

var accountColumns = []column[client.Account]{
	{name: "id", text: func(a client.Account) string { return cell(a.ID) }},
	{name: "status", text: func(a client.Account) string { return cell(a.Status) }},
	{name: "created", text: func(a client.Account) string { return cell(a.CreatedAt) }},
	{name: "updated", detail: true, text: func(a client.Account) string { return cell(a.UpdatedAt) }},
	{name: "closed", detail: true, text: func(a client.Account) string { return cell(a.ClosedAt) }},
	{name: "close reason", detail: true, text: func(a client.Account) string { return cell(a.CloseReason) }},
	{name: "name", text: func(a client.Account) string { return cell(a.Name) }},
}

type accountList struct{ listing }

// Run is called by kong.
func (c *accountList) Run(s *Streams) error {
	return many(s, &c.listing, accountColumns, func(ctx context.Context, cl *client.Client) iter.Seq2[client.Account, error] {
		return cl.Accounts(ctx)
	})
}

type accountID struct {
	ID string `arg:"" name:"account" help:"The account's id."`
}

type accountShow struct {
	seen
	accountID
}

// Run is called by kong.
func (c *accountShow) Run(s *Streams) error {
	return look(s, &c.seen, accountColumns, func(ctx context.Context, cl *client.Client, opt client.CallOption) (client.Account, error) {
		return cl.Account(ctx, c.ID, opt)
	})
}

type accountCreate struct {
	asking
	repeatable
	Name   string `required:"" placeholder:"NAME" help:"Who it is."`
	Status string `default:"pending" enum:"pending,active" placeholder:"STATUS" help:"pending, or active to let its keys pass (${default})."`
}

// Run is called by kong.
func (c *accountCreate) Run(s *Streams) error {
	return one(s, &c.asking, accountColumns, func(ctx context.Context, cl *client.Client) (client.Account, error) {
		var m client.Meta
		defer func() { note(s, m) }()
		return cl.CreateAccount(ctx, client.NewAccount{Name: c.Name, Status: c.Status}, c.options(&m)...)
	})
}

type accountUpdate struct {
	asking
	accountID
	conditional
	Name   string `placeholder:"NAME" help:"Another name."`
	Status string `enum:",active,disabled" default:"" placeholder:"STATUS" help:"active or disabled."`
}

// Validate is called by kong.
func (c *accountUpdate) Validate() error {
	if c.Name == "" && c.Status == "" {
		return errors.New("expected --name or --status or both")
	}
	return c.Connection.Validate()
}

// Run is called by kong.
func (c *accountUpdate) Run(s *Streams) error {
	return one(s, &c.asking, accountColumns, func(ctx context.Context, cl *client.Client) (client.Account, error) {
		return cl.UpdateAccount(ctx, c.ID, client.AccountUpdate{Name: orNil(c.Name), Status: orNil(c.Status)}, c.conditions()...)
	})
}

type accountClose struct {
	asking
	accountID
	repeatable
	conditional
	Balance string `required:"" enum:"write_off,refuse" placeholder:"WHAT" help:"What becomes of credits that are left: write_off takes them back, refuse closes only an account that has none."`
	Reason  string `required:"" placeholder:"TEXT" help:"Why; it is kept."`
}

// Run is called by kong.
func (c *accountClose) Run(s *Streams) error {
	return one(s, &c.asking, accountColumns, func(ctx context.Context, cl *client.Client) (client.Account, error) {
		var m client.Meta
		defer func() { note(s, m) }()
		return cl.CloseAccount(ctx, c.ID, client.Closing{Balance: c.Balance, Reason: c.Reason}, append(c.options(&m), c.conditions()...)...)
	})
}
