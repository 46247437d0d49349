package cli

import (
	"context"
	"iter"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Audit is the noun audit; its one verb may be left out.
type Audit struct {
	List auditList `cmd:"" default:"withargs" help:"List what was changed, by whom, the newest first; before and after are in the JSON." example:"tollgate audit list --target key_… --since 7d --json"`
}

type auditList struct {
	listing
	Actor   string `placeholder:"ID" help:"Only what this token did; local is for commands on the database itself, job for the server's own jobs."`
	Action  string `placeholder:"ACTION" help:"Only this, such as key.rotate."`
	Target  string `placeholder:"ID" help:"Only what was done to this."`
	Account string `placeholder:"ID" help:"Only what was done to this account and what belongs to it."`
	Since   Since  `placeholder:"WHEN" help:"Only from then on: a time, a day in UTC such as 2026-11-01, or how long ago, such as 7d."`
	Until   Since  `placeholder:"WHEN" help:"Only what was done before."`
}

var actColumns = []column[client.Act]{
	{name: "at", text: func(a client.Act) string { return cell(a.At) }},
	{name: "by", text: func(a client.Act) string { return cell(a.Actor.ID) }},
	{name: "called", text: func(a client.Act) string { return cell(a.Actor.Name) }},
	{name: "action", text: func(a client.Act) string { return cell(a.Action) }},
	{name: "target", text: func(a client.Act) string { return cell(a.Target.ID) }},
	{name: "account", text: func(a client.Act) string { return cell(a.AccountID) }},
	{name: "request", text: func(a client.Act) string { return cell(a.RequestID) }},
	{name: "reason", text: func(a client.Act) string { return cell(a.Reason) }},
}

// Run is called by kong.
func (c *auditList) Run(s *Streams) error {
	now := time.Now()
	return many(s, &c.listing, actColumns, func(ctx context.Context, cl *client.Client) iter.Seq2[client.Act, error] {
		return cl.Audit(ctx, client.ActFilter{
			Actor: c.Actor, Action: c.Action, Target: c.Target, AccountID: c.Account, Since: c.Since.at(now), Until: c.Until.at(now),
		})
	})
}
