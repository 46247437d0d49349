package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
)

type creditStatement struct {
	asking
	accountID
	From Since `placeholder:"WHEN" help:"The beginning of the period: a time, a day in UTC such as 2026-11-01, or how long ago, such as 30d. Without it, the account's first movement."`
	To   Since `placeholder:"WHEN" help:"The end of the period, which is not part of it; without it, now."`
	CSV  bool  `name:"csv" help:"Print CSV, the closing balances first and the opening balances last."`
}

// Validate is called by kong.
func (c *creditStatement) Validate() error {
	if c.CSV && c.JSON {
		return errors.New("--csv: expected without --json")
	}
	return c.Connection.Validate()
}

// Help is shown by kong.
func (*creditStatement) Help() string {
	return `The newest movements come first. What they add up to is the closing less the opening balances, exactly. The JSON is one
object with all movements, whatever their number.`
}

var movementColumns = []column[client.Movement]{
	{name: "created", text: func(m client.Movement) string { return cell(m.CreatedAt) }},
	{name: "transaction", text: func(m client.Movement) string { return cell(m.TransactionID) }},
	{name: "kind", text: func(m client.Movement) string { return cell(m.Kind) }},
	{name: "+available", text: func(m client.Movement) string { return cell(m.Deltas.Available) }},
	{name: "+reserved", text: func(m client.Movement) string { return cell(m.Deltas.Reserved) }},
	{name: "+spent", text: func(m client.Movement) string { return cell(m.Deltas.Spent) }},
	{name: "available", text: func(m client.Movement) string { return cell(m.Balances.Available) }},
	{name: "reserved", text: func(m client.Movement) string { return cell(m.Balances.Reserved) }},
	{name: "spent", text: func(m client.Movement) string { return cell(m.Balances.Spent) }},
	{name: "by", text: func(m client.Movement) string { return cell(m.Actor) }},
	{name: "reason", text: func(m client.Movement) string { return cell(m.Reason) }},
}

// Run is called by kong.
func (c *creditStatement) Run(s *Streams) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		now := time.Now()
		q := client.StatementQuery{From: c.From.at(now), To: c.To.at(now)}
		if c.CSV {
			return cl.StatementCSV(ctx, c.ID, q, s.Out)
		}
		whole, err := wholeStatement(ctx, cl, c.ID, q)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s, whole)
		}
		return printStatement(s, whole)
	})
}

// wholeStatement puts all pages together: each closes with the balances that the one before it opened with.
func wholeStatement(ctx context.Context, cl *client.Client, accountID string, q client.StatementQuery) (client.Statement, error) {
	whole, err := cl.Statement(ctx, accountID, q)
	for err == nil && whole.NextCursor != nil {
		q.Cursor = *whole.NextCursor
		var page client.Statement
		if page, err = cl.Statement(ctx, accountID, q); err == nil {
			whole.Data = append(whole.Data, page.Data...)
			whole.Opening, whole.HasMore, whole.NextCursor = page.Opening, page.HasMore, page.NextCursor
		}
	}
	return whole, err
}

func printStatement(s *Streams, st client.Statement) error {
	ends := func(name string, b client.Balances) {
		_, _ = fmt.Fprintf(s.Out, "%s: available %d, reserved %d, spent %d, written off %d\n", name, b.Available, b.Reserved, b.Spent, b.WrittenOff)
	}
	ends("closing", st.Closing)
	p := printer[client.Movement]{out: s.Out, columns: movementColumns}
	for _, m := range st.Data {
		if err := p.row(m); err != nil {
			return err
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	ends("opening", st.Opening)
	return nil
}
