package cli

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Key is the noun key.
type Key struct {
	List    keyList    `cmd:"" aliases:"search" help:"List keys, or search for them." example:"tollgate key list --account acct_… --status active --name ci"`
	Show    keyShow    `cmd:"" help:"Show a key; never its secret." example:"tollgate key show key_…"`
	Create  keyCreate  `cmd:"" help:"Create a key of an account, or a pair of a project." example:"tollgate key create --project proj_… --scheme vexrail --name web --expires 90d"`
	Update  keyUpdate  `cmd:"" help:"Rename, disable or enable a key, or change where and how long it may be used." example:"tollgate key update key_… --status inactive"`
	Rotate  keyRotate  `cmd:"" help:"Renew a key's secret, or a pair's halves, under the same id." example:"tollgate key rotate key_… --overlap 24h"`
	Replace keyReplace `cmd:"" help:"Revoke a compromised key at once and make a new one in its place." example:"tollgate key replace key_…"`
	Revoke  keyRevoke  `cmd:"" help:"Revoke a key for good." example:"tollgate key revoke key_…"`
	Import  keyImport  `cmd:"" help:"Import keys that were made elsewhere, by plaintext or digest." example:"tollgate key import --file keys.csv --account acct_… --scheme genrex"`
}

var keyColumns = []column[client.Key]{
	{name: "id", text: func(k client.Key) string { return cell(k.ID) }},
	{name: "account", text: func(k client.Key) string { return cell(k.AccountID) }},
	{name: "project", text: func(k client.Key) string { return cell(k.ProjectID) }},
	{name: "scheme", text: func(k client.Key) string { return cell(k.Scheme) }},
	{name: "key", text: func(k client.Key) string { return plain(k.Prefix + "…" + k.Last4) }},
	{name: "publishable key", detail: true, text: func(k client.Key) string { return cell(k.PublishableKey) }},
	{name: "environment", text: func(k client.Key) string { return cell(k.Environment) }},
	{name: "status", text: func(k client.Key) string { return cell(k.Status) }},
	{name: "expires", text: func(k client.Key) string { return cell(k.ExpiresAt) }},
	{name: "last used", text: func(k client.Key) string { return cell(k.LastUsedAt) }},
	{name: "created", detail: true, text: func(k client.Key) string { return cell(k.CreatedAt) }},
	{name: "updated", detail: true, text: func(k client.Key) string { return cell(k.UpdatedAt) }},
	{name: "revoked", detail: true, text: func(k client.Key) string { return cell(k.RevokedAt) }},
	{name: "replaced by", detail: true, text: func(k client.Key) string { return cell(k.ReplacedBy) }},
	{name: "external ref", detail: true, text: func(k client.Key) string { return cell(k.ExternalRef) }},
	{name: "routes", detail: true, text: func(k client.Key) string {
		var routes []string
		for _, r := range k.Routes {
			routes = append(routes, routeText(r))
		}
		return cell(strings.Join(routes, "; "))
	}},
	{name: "allowed ips", detail: true, text: func(k client.Key) string { return cell(strings.Join(k.AllowedIPs, ", ")) }},
	{name: "metadata", detail: true, text: func(k client.Key) string {
		var entries []string
		for _, name := range slices.Sorted(maps.Keys(k.Metadata)) {
			entries = append(entries, name+"="+k.Metadata[name])
		}
		return cell(strings.Join(entries, ", "))
	}},
	{name: "name", text: func(k client.Key) string { return cell(k.Name) }},
}

type keyList struct {
	listing
	Account     string `placeholder:"ID" help:"Only this account's keys, its projects' pairs among them."`
	Project     string `placeholder:"ID" help:"Only this project's pairs."`
	Scheme      string `placeholder:"NAME" help:"Only keys of this scheme."`
	Environment string `enum:",production,staging" default:"" placeholder:"ENV" help:"Only production or staging."`
	Status      string `enum:",active,inactive,revoked" default:"" placeholder:"STATUS" help:"Only active, inactive or revoked ones."`
	Prefix      string `placeholder:"TEXT" help:"Only keys whose shown prefix or publishable key starts so. Never a whole secret."`
	Last4       string `name:"last4" placeholder:"TEXT" help:"Only keys whose secret ends so."`
	Name        string `placeholder:"TEXT" help:"Only keys whose name contains this, in whatever case."`
	ExternalRef string `placeholder:"TEXT" help:"Only imported keys that had this name where they came from."`
	Metadata    string `placeholder:"NAME=VALUE" help:"Only keys with this entry."`
}

// Run is called by kong.
func (c *keyList) Run(s *Streams) error {
	return many(s, &c.listing, keyColumns, func(ctx context.Context, cl *client.Client) iter.Seq2[client.Key, error] {
		return cl.Keys(ctx, client.KeyFilter{
			AccountID: c.Account, ProjectID: c.Project, Scheme: c.Scheme, Environment: c.Environment, Status: c.Status,
			Prefix: c.Prefix, Last4: c.Last4, Name: c.Name, ExternalRef: c.ExternalRef, Metadata: c.Metadata,
		})
	})
}

type keyID struct {
	ID string `arg:"" name:"key" help:"The key's id."`
}

type keyShow struct {
	seen
	keyID
}

// Run is called by kong.
func (c *keyShow) Run(s *Streams) error {
	return look(s, &c.seen, keyColumns, func(ctx context.Context, cl *client.Client, opt client.CallOption) (client.Key, error) {
		return cl.Key(ctx, c.ID, opt)
	})
}

type keyRevoke struct {
	asking
	keyID
	conditional
}

// Run is called by kong.
func (c *keyRevoke) Run(s *Streams) error {
	return one(s, &c.asking, keyColumns, func(ctx context.Context, cl *client.Client) (client.Key, error) {
		return cl.RevokeKey(ctx, c.ID, c.conditions()...)
	})
}
