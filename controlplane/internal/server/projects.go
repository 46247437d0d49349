package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

const projectPrefix = "proj_"

// project is a project as the REST API shows it.
type project struct {
	ID              string     `json:"id" example:"proj_06f3k2v8s1w0"`
	AccountID       string     `json:"account_id"`
	Name            string     `json:"name"`
	Domain          string     `json:"domain" example:"app.example.com"`
	DomainStatus    string     `json:"domain_status" enum:"unverified,verified,lapsed"`
	DomainReason    *string    `json:"domain_reason" doc:"Why the status is what it is, as the admin who set it put it; null before."`
	DomainChangedAt *time.Time `json:"domain_changed_at" nullable:"true" doc:"When the status changed last; null if it never did."`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`
}

type projectOutput struct {
	ETag string `header:"ETag" doc:"The project's state, for If-Match."`
	Body project
}

func newProjectOutput(p store.Project) *projectOutput {
	return &projectOutput{ETag: etag(p.Tag()), Body: showProject(p)}
}

// projectOnceOutput is the reply of what an idempotency key makes repeatable.
type projectOnceOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true if an earlier request under this key did it."`
	ETag     string `header:"ETag" doc:"The project's state, for If-Match."`
	Body     project
}

func showProject(p store.Project) project {
	return project{
		ID: p.ID, AccountID: p.AccountID, Name: p.Name, Domain: p.Domain, DomainStatus: string(p.DomainStatus),
		DomainReason: orNull(p.DomainReason), DomainChangedAt: utcOrNull(p.DomainChangedAt),
		CreatedAt: p.CreatedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(),
	}
}

// orNull shows the store's empty text as null.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// utcOrNull shows a time in UTC, null if there is none.
func utcOrNull(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	at := t.UTC()
	return &at
}

// ProjectID is the path of one project.
type ProjectID struct {
	ID string `path:"id" maxLength:"200" doc:"The project's id."`
}

type createProjectInput struct {
	IdempotencyInput
	Body struct {
		AccountID string `json:"account_id" minLength:"1" maxLength:"200"`
		Name      string `json:"name" minLength:"1" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
		Domain    string `json:"domain" doc:"A registered domain or a name below one, in Unicode or A-labels, without port and wildcard; kept in A-labels and lower case."`
	} `nameHint:"CreateProjectBody"`
}

type updateProjectInput struct {
	ProjectID
	IfMatchInput
	Body struct {
		Name   *string `json:"name,omitempty" minLength:"1" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
		Domain *string `json:"domain,omitempty" doc:"Another domain has to be verified anew."`
	} `nameHint:"UpdateProjectBody"`
}

type domainStatusInput struct {
	ProjectID
	IfMatchInput
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters" doc:"Kept with the status, beside who set it."`
	} `nameHint:"DomainStatusBody"`
}

func (s *Server) registerProjects(a huma.API) {
	handle(s, a, writeProjects, huma.Operation{
		OperationID: "create-project", Method: http.MethodPost, Path: "/v1/projects", Summary: "Create a project with its domain, unverified",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusNotFound, http.StatusConflict},
	}, s.createProject)
	handle(s, a, readProjects, huma.Operation{
		OperationID: "list-projects", Method: http.MethodGet, Path: "/v1/projects", Summary: "List projects",
	}, s.listProjects)
	handle(s, a, readProjects, huma.Operation{
		OperationID: "get-project", Method: http.MethodGet, Path: "/v1/projects/{id}", Summary: "Show a project",
	}, s.getProject)
	handle(s, a, writeProjects, huma.Operation{
		OperationID: "update-project", Method: http.MethodPatch, Path: "/v1/projects/{id}", Summary: "Rename a project or change its domain",
		Errors: []int{http.StatusConflict},
	}, s.updateProject)
}

func (s *Server) createProject(ctx context.Context, in *createProjectInput) (*projectOnceOutput, error) {
	if err := fits("body.name", in.Body.Name, store.MaxNameLen); err != nil {
		return nil, err
	}
	domain, err := readDomain(in.Body.Domain)
	if err != nil {
		return nil, err
	}
	idem, err := in.idempotent(ctx, "POST /v1/projects", in.Body)
	if err != nil {
		return nil, err
	}
	p, replayed, err := s.store.CreateProject(ctx, store.NewProject{
		AccountID: in.Body.AccountID, Name: in.Body.Name, Domain: domain,
	}, idem)
	if errors.Is(err, store.ErrNotFound) {
		return nil, unknownAccount()
	}
	if err != nil {
		return nil, fmt.Errorf("create project: %w", err)
	}
	return &projectOnceOutput{Replayed: replay(replayed), ETag: etag(p.Tag()), Body: showProject(p)}, nil
}

type listProjectsInput struct {
	PageQuery
	AccountID string `query:"account_id" maxLength:"200" doc:"Only this account's projects."`
}

func (in *listProjectsInput) confine(ctx context.Context, s *Server, accountID string) error {
	return s.confineList(ctx, accountID, &in.AccountID, "", "")
}

func (s *Server) listProjects(ctx context.Context, in *listProjectsInput) (*listOutput[project], error) {
	page, err := in.page("projects", projectPrefix)
	if err != nil {
		return nil, err
	}
	rows, more, err := s.store.Projects(ctx, store.ProjectFilter{AccountID: in.AccountID}, page)
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	return newList("projects", rows, more, showProject, func(p store.Project) string { return p.ID }), nil
}

func (s *Server) getProject(ctx context.Context, in *ProjectID) (*projectOutput, error) {
	p, err := s.store.Project(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("show project: %w", err)
	}
	return newProjectOutput(p), nil
}

func (s *Server) updateProject(ctx context.Context, in *updateProjectInput) (*projectOutput, error) {
	b := in.Body
	if b.Name == nil && b.Domain == nil {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body", "expected name or domain or both")
	}
	update := store.ProjectUpdate{Name: b.Name}
	if b.Name != nil {
		if err := fits("body.name", *b.Name, store.MaxNameLen); err != nil {
			return nil, err
		}
	}
	if b.Domain != nil {
		domain, err := readDomain(*b.Domain)
		if err != nil {
			return nil, err
		}
		update.Domain = &domain
	}
	p, err := s.store.UpdateProject(ctx, in.ID, update)
	if err != nil {
		return nil, fmt.Errorf("update project: %w", err)
	}
	return newProjectOutput(p), nil
}
