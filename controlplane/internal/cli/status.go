package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Status is the verb status.
type Status struct{ asking }

var statusColumns = []column[client.Status]{
	{name: "version", text: func(s client.Status) string { return cell(s.Version) }},
	{name: "SQLite", text: func(s client.Status) string { return cell(s.SQLiteVersion) }},
	{name: "started", text: func(s client.Status) string { return cell(s.StartedAt) }},
	{name: "uptime", text: func(s client.Status) string { return cell(time.Duration(s.UptimeSeconds) * time.Second) }},
	{name: "time", text: func(s client.Status) string { return cell(s.Time) }},
	{name: "schema", text: func(s client.Status) string { return cell(s.Schema) }},
	{name: "epoch", text: func(s client.Status) string { return cell(s.Epoch) }},
	{name: "writable", text: func(s client.Status) string { return cell(s.Writable) }},
	{name: "learning for", text: func(s client.Status) string { return cell(time.Duration(s.LearningSeconds) * time.Second) }},
	{name: "lost credits", text: func(s client.Status) string { return cell(s.LostCredits) }},
	{name: "database bytes", text: func(s client.Status) string { return cell(s.DatabaseBytes) }},
	{name: "log bytes", text: func(s client.Status) string { return cell(s.LogBytes) }},
	{name: "open leases", text: func(s client.Status) string { return cell(s.OpenLeases) }},
	{name: "reserved credits", text: func(s client.Status) string { return cell(s.ReservedCredits) }},
	{name: "backups", text: func(s client.Status) string { return cell(s.Backups) }},
}

var gateColumns = []column[client.GateStatus]{
	{name: "gate", text: func(g client.GateStatus) string { return cell(g.Gate) }},
	{name: "vms", text: func(g client.GateStatus) string { return cell(g.VMs) }},
	{name: "last heard", text: func(g client.GateStatus) string { return cell(g.LastHeardAt) }},
	{name: "stale", text: func(g client.GateStatus) string { return cell(g.Stale) }},
}

// CreateBackup has the server back up its database, and prints what it made.
func (c *Connection) CreateBackup(s *Streams, asJSON bool) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		b, err := cl.CreateBackup(ctx)
		if err != nil {
			return err
		}
		return show(s, format{asJSON}, backupColumns, b)
	})
}

var backupColumns = []column[client.Backup]{
	{name: "name", text: func(b client.Backup) string { return cell(b.Name) }},
	{name: "bytes", text: func(b client.Backup) string { return cell(b.Bytes) }},
	{name: "schema", text: func(b client.Backup) string { return cell(b.Schema) }},
	{name: "accounts", text: func(b client.Backup) string { return cell(b.Accounts) }},
	{name: "transactions", text: func(b client.Backup) string { return cell(b.Transactions) }},
	{name: "entries", text: func(b client.Backup) string { return cell(b.Entries) }},
	{name: "created", text: func(b client.Backup) string { return cell(b.CreatedAt) }},
}

// Run is called by kong.
func (c *Status) Run(s *Streams) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		st, err := cl.Status(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s, st)
		}
		if err := show(s, c.format, statusColumns, st); err != nil {
			return err
		}
		_, _ = fmt.Fprintln(s.Out)
		p := printer[client.GateStatus]{out: s.Out, columns: gateColumns}
		for _, g := range st.Gates {
			if err := p.row(g); err != nil {
				return err
			}
		}
		return p.end()
	})
}
