package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

const projectsPath = "/v1/projects"

// Project belongs to an account and has a domain.
type Project struct {
	ID        string `json:"id"`
	AccountID string `json:"account_id"`
	Name      string `json:"name"`
	Domain    string `json:"domain"`
	// DomainStatus is unverified, verified or lapsed.
	DomainStatus    string     `json:"domain_status"`
	DomainReason    *string    `json:"domain_reason"`
	DomainChangedAt *time.Time `json:"domain_changed_at"`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`
}

// NewProject is a project to be made.
type NewProject struct {
	AccountID string `json:"account_id"`
	Name      string `json:"name"`
	Domain    string `json:"domain"`
}

// ProjectUpdate is what changes about a project; nil leaves it as it is.
type ProjectUpdate struct {
	Name   *string `json:"name,omitempty"`
	Domain *string `json:"domain,omitempty"`
}

// ProjectFilter says which projects are listed.
type ProjectFilter struct {
	AccountID string `query:"account_id"`
}

// DomainStatus sets whether a domain counts as verified.
type DomainStatus struct {
	Reason string `json:"reason"`
}

// CreateProject makes a project, whose domain is unverified.
func (c *Client) CreateProject(ctx context.Context, in NewProject, opts ...CallOption) (Project, error) {
	return once[Project](ctx, c, projectsPath, in, opts)
}

// Projects lists projects, the newest first.
func (c *Client) Projects(ctx context.Context, f ProjectFilter) iter.Seq2[Project, error] {
	return list[Project](ctx, c, projectsPath, f)
}

// Project returns one project.
func (c *Client) Project(ctx context.Context, id string, opts ...CallOption) (Project, error) {
	return read[Project](ctx, c, at(projectsPath+"/", id), nil, opts...)
}

// UpdateProject renames a project or changes its domain.
func (c *Client) UpdateProject(ctx context.Context, id string, in ProjectUpdate, opts ...CallOption) (Project, error) {
	return change[Project](ctx, c, http.MethodPatch, at(projectsPath+"/", id), in, opts)
}
