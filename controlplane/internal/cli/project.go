package cli

import (
	"context"
	"errors"
	"iter"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Project is the noun project.
type Project struct {
	List   projectList   `cmd:"" help:"List projects, the newest first." example:"tollgate project list --account acct_…"`
	Show   projectShow   `cmd:"" help:"Show a project." example:"tollgate project show proj_…"`
	Create projectCreate `cmd:"" help:"Create a project with its domain, unverified." example:"tollgate project create --account acct_… --name site --domain app.example.com"`
	Update projectUpdate `cmd:"" help:"Rename a project or change its domain." example:"tollgate project update proj_… --domain www.example.com"`
}

var projectColumns = []column[client.Project]{
	{name: "id", text: func(p client.Project) string { return cell(p.ID) }},
	{name: "account", text: func(p client.Project) string { return cell(p.AccountID) }},
	{name: "domain", text: func(p client.Project) string { return cell(p.Domain) }},
	{name: "domain status", text: func(p client.Project) string { return cell(p.DomainStatus) }},
	{name: "domain reason", detail: true, text: func(p client.Project) string { return cell(p.DomainReason) }},
	{name: "domain changed", detail: true, text: func(p client.Project) string { return cell(p.DomainChangedAt) }},
	{name: "created", text: func(p client.Project) string { return cell(p.CreatedAt) }},
	{name: "updated", detail: true, text: func(p client.Project) string { return cell(p.UpdatedAt) }},
	{name: "name", text: func(p client.Project) string { return cell(p.Name) }},
}

type projectList struct {
	listing
	Account string `placeholder:"ID" help:"Only this account's projects."`
}

// Run is called by kong.
func (c *projectList) Run(s *Streams) error {
	return many(s, &c.listing, projectColumns, func(ctx context.Context, cl *client.Client) iter.Seq2[client.Project, error] {
		return cl.Projects(ctx, client.ProjectFilter{AccountID: c.Account})
	})
}

type projectID struct {
	ID string `arg:"" name:"project" help:"The project's id."`
}

type projectShow struct {
	seen
	projectID
}

// Run is called by kong.
func (c *projectShow) Run(s *Streams) error {
	return look(s, &c.seen, projectColumns, func(ctx context.Context, cl *client.Client, opt client.CallOption) (client.Project, error) {
		return cl.Project(ctx, c.ID, opt)
	})
}

type projectCreate struct {
	asking
	repeatable
	Account string `required:"" placeholder:"ID" help:"The account that it belongs to."`
	Name    string `required:"" placeholder:"NAME" help:"What it is called."`
	Domain  string `required:"" placeholder:"DOMAIN" help:"A registered domain or a name below one, in Unicode or as xn--…, without port and wildcard."`
}

// Run is called by kong.
func (c *projectCreate) Run(s *Streams) error {
	return one(s, &c.asking, projectColumns, func(ctx context.Context, cl *client.Client) (client.Project, error) {
		var m client.Meta
		defer func() { note(s, m) }()
		return cl.CreateProject(ctx, client.NewProject{AccountID: c.Account, Name: c.Name, Domain: c.Domain}, c.options(&m)...)
	})
}

type projectUpdate struct {
	asking
	projectID
	conditional
	Name   string `placeholder:"NAME" help:"Another name."`
	Domain string `placeholder:"DOMAIN" help:"Another domain, which has to be verified anew."`
}

// Validate is called by kong.
func (c *projectUpdate) Validate() error {
	if c.Name == "" && c.Domain == "" {
		return errors.New("expected --name or --domain or both")
	}
	return c.Connection.Validate()
}

// Run is called by kong.
func (c *projectUpdate) Run(s *Streams) error {
	return one(s, &c.asking, projectColumns, func(ctx context.Context, cl *client.Client) (client.Project, error) {
		return cl.UpdateProject(ctx, c.ID, client.ProjectUpdate{Name: orNil(c.Name), Domain: orNil(c.Domain)}, c.conditions()...)
	})
}
