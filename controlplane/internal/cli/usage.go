package cli

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Usage is the noun usage; its one verb may be left out.
type Usage struct {
	List usageList `cmd:"" default:"withargs" help:"Sum the requests that gates have counted." example:"tollgate usage list --by key,day --account acct_… --from 7d"`
}

type usageList struct {
	listing
	By           []string `enum:"account,project,key,route,conversation,hour,day" placeholder:"WHAT,…" help:"What to sum by, separated by commas: account, project, key, route, conversation, and hour or day. Without it there is one sum."`
	Account      string   `placeholder:"ID" help:"Only this account's keys."`
	Project      string   `placeholder:"ID" help:"Only this project's keys."`
	Key          string   `placeholder:"ID" help:"Only this key."`
	Route        string   `placeholder:"ROUTE" help:"Only this route, as the gate's configuration has it."`
	Conversation string   `placeholder:"ID" help:"Only this conversation."`
	From         Since    `placeholder:"WHEN" help:"Only hours that begin at this time or later: a time, a day in UTC such as 2026-11-01, or how long ago, such as 7d."`
	To           Since    `placeholder:"WHEN" help:"Only hours that begin before this time."`
}

// columns are those by which it is summed, and the sums.
func (c *usageList) columns() []column[client.Usage] {
	var shown []column[client.Usage]
	for _, g := range []struct {
		name string
		text func(client.Usage) string
	}{
		{"hour", func(u client.Usage) string { return cell(u.Hour) }},
		{"day", func(u client.Usage) string { return cell(u.Day) }},
		{"account", func(u client.Usage) string { return cell(u.AccountID) }},
		{"project", func(u client.Usage) string { return cell(u.ProjectID) }},
		{"key", func(u client.Usage) string { return cell(u.KeyID) }},
		{"route", func(u client.Usage) string { return cell(u.Route) }},
		{"conversation", func(u client.Usage) string { return cell(u.ConversationID) }},
	} {
		if slices.Contains(c.By, g.name) {
			shown = append(shown, column[client.Usage]{name: g.name, text: g.text})
		}
	}
	return append(shown, []column[client.Usage]{
		{name: "requests", text: func(u client.Usage) string { return cell(u.Requests) }},
		{name: "credits", text: func(u client.Usage) string { return cell(u.Credits) }},
		{name: "refused", text: func(u client.Usage) string { return cell(u.Refused) }},
	}...)
}

// Run is called by kong.
func (c *usageList) Run(s *Streams) error {
	now := time.Now()
	return many(s, &c.listing, c.columns(), func(ctx context.Context, cl *client.Client) iter.Seq2[client.Usage, error] {
		return cl.Usage(ctx, client.UsageQuery{
			AccountID: c.Account, ProjectID: c.Project, KeyID: c.Key, Route: c.Route, ConversationID: c.Conversation,
			From: c.From.at(now), To: c.To.at(now), GroupBy: c.By,
		})
	})
}
