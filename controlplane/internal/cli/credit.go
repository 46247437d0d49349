package cli

import (
	"context"
	"iter"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Credit is the noun credit.
type Credit struct {
	Wallet    creditWallet    `cmd:"" help:"Show an account's balances." example:"tollgate credit wallet acct_…"`
	Add       creditAdd       `cmd:"" help:"Add credits to an account." example:"tollgate credit add acct_… --amount 1000 --reason 'invoice 17' --idempotency-key invoice-17"`
	Adjust    creditAdjust    `cmd:"" help:"Correct what an account was granted, upwards or downwards." example:"tollgate credit adjust acct_… --amount=-40 --reason 'typed one zero too many'"`
	Refund    creditRefund    `cmd:"" help:"Make spent credits available again." example:"tollgate credit refund acct_… --amount 3 --entry entry_… --reason 'our fault'"`
	Entries   creditEntries   `cmd:"" help:"List an account's ledger, the newest entries first." example:"tollgate credit entries acct_… --limit 0"`
	Statement creditStatement `cmd:"" help:"Show what moved an account's credits in a period." example:"tollgate credit statement acct_… --from 2026-11-01 --to 2026-12-01 --csv > november.csv"`
}

var walletColumns = []column[client.Wallet]{
	{name: "account", text: func(w client.Wallet) string { return cell(w.AccountID) }},
	{name: "granted", text: func(w client.Wallet) string { return cell(w.Granted) }},
	{name: "available", text: func(w client.Wallet) string { return cell(w.Available) }},
	{name: "reserved", text: func(w client.Wallet) string { return cell(w.Reserved) }},
	{name: "spent", text: func(w client.Wallet) string { return cell(w.Spent) }},
	{name: "written off", text: func(w client.Wallet) string { return cell(w.WrittenOff) }},
}

var creditColumns = []column[client.Credit]{
	{name: "id", text: func(c client.Credit) string { return cell(c.ID) }},
	{name: "account", text: func(c client.Credit) string { return cell(c.AccountID) }},
	{name: "kind", text: func(c client.Credit) string { return cell(c.Kind) }},
	{name: "amount", text: func(c client.Credit) string { return cell(c.Amount) }},
	{name: "available", text: func(c client.Credit) string { return cell(c.Available) }},
	{name: "refunded entry", text: func(c client.Credit) string { return cell(c.RefundedEntry) }},
	{name: "idempotency key", text: func(c client.Credit) string { return cell(c.IdempotencyKey) }},
	{name: "by", text: func(c client.Credit) string { return cell(c.Actor) }},
	{name: "created", text: func(c client.Credit) string { return cell(c.CreatedAt) }},
	{name: "reason", text: func(c client.Credit) string { return cell(c.Reason) }},
}

var entryColumns = []column[client.Entry]{
	{name: "created", text: func(e client.Entry) string { return cell(e.CreatedAt) }},
	{name: "id", text: func(e client.Entry) string { return cell(e.ID) }},
	{name: "transaction", text: func(e client.Entry) string { return cell(e.TransactionID) }},
	{name: "kind", text: func(e client.Entry) string { return cell(e.Kind) }},
	{name: "bucket", text: func(e client.Entry) string { return cell(e.Bucket) }},
	{name: "delta", text: func(e client.Entry) string { return cell(e.Delta) }},
	{name: "key", text: func(e client.Entry) string { return cell(e.KeyID) }},
	{name: "by", text: func(e client.Entry) string { return cell(e.Actor) }},
	{name: "reason", text: func(e client.Entry) string { return cell(e.Reason) }},
}

type creditWallet struct {
	asking
	accountID
}

// Run is called by kong.
func (c *creditWallet) Run(s *Streams) error {
	return one(s, &c.asking, walletColumns, func(ctx context.Context, cl *client.Client) (client.Wallet, error) {
		return cl.Wallet(ctx, c.ID)
	})
}

type creditEntries struct {
	listing
	accountID
}

// Run is called by kong.
func (c *creditEntries) Run(s *Streams) error {
	return many(s, &c.listing, entryColumns, func(ctx context.Context, cl *client.Client) iter.Seq2[client.Entry, error] {
		return cl.Entries(ctx, c.ID)
	})
}

// moving is what every movement takes.
type moving struct {
	asking
	accountID
	repeatable
}

func (c *moving) move(s *Streams, do func(context.Context, *client.Client, ...client.CallOption) (client.Credit, error)) error {
	return one(s, &c.asking, creditColumns, func(ctx context.Context, cl *client.Client) (client.Credit, error) {
		var m client.Meta
		defer func() { note(s, m) }()
		return do(ctx, cl, c.options(&m)...)
	})
}

type creditAdd struct {
	moving
	Amount int64  `required:"" placeholder:"N" help:"How many credits, from 1."`
	Reason string `placeholder:"TEXT" help:"Why; it is kept."`
}

// Run is called by kong.
func (c *creditAdd) Run(s *Streams) error {
	return c.move(s, func(ctx context.Context, cl *client.Client, opts ...client.CallOption) (client.Credit, error) {
		return cl.AddCredits(ctx, c.ID, client.TopUp{Amount: c.Amount, Reason: c.Reason}, opts...)
	})
}

type creditAdjust struct {
	moving
	Amount int64  `required:"" placeholder:"N" help:"How many credits; to take back, as --amount=-N, at most what is available."`
	Reason string `required:"" placeholder:"TEXT" help:"Why; it is kept."`
}

// Run is called by kong.
func (c *creditAdjust) Run(s *Streams) error {
	return c.move(s, func(ctx context.Context, cl *client.Client, opts ...client.CallOption) (client.Credit, error) {
		return cl.AdjustCredits(ctx, c.ID, client.Adjustment{Amount: c.Amount, Reason: c.Reason}, opts...)
	})
}

type creditRefund struct {
	moving
	Amount int64  `required:"" placeholder:"N" help:"How many credits, from 1, at most what is spent."`
	Entry  string `placeholder:"ID" help:"The entry of the ledger that spent them; then at most what it spent."`
	Reason string `required:"" placeholder:"TEXT" help:"Why; it is kept."`
}

// Run is called by kong.
func (c *creditRefund) Run(s *Streams) error {
	return c.move(s, func(ctx context.Context, cl *client.Client, opts ...client.CallOption) (client.Credit, error) {
		return cl.RefundCredits(ctx, c.ID, client.Refund{Amount: c.Amount, EntryID: c.Entry, Reason: c.Reason}, opts...)
	})
}
