package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// ErrDomainNotVerified means that a project's domain is not verified.
var ErrDomainNotVerified = errors.New("domain is not verified")

// MaxDomainLen bounds a domain, in bytes (RFC 1035 §2.3.4, without the final dot).
const MaxDomainLen = 253

// DomainStatus is the state of a project's domain.
type DomainStatus string

// The domain states. A domain starts unverified and returns there when it is changed; what was verified may lapse,
// and what lapsed may be verified again.
const (
	DomainUnverified DomainStatus = "unverified"
	DomainVerified   DomainStatus = "verified"
	DomainLapsed     DomainStatus = "lapsed"
)

// Project is one of an account's sites, with the one domain that its key pairs are for.
type Project struct {
	ID           string
	AccountID    string
	Name         string
	Domain       string
	DomainStatus DomainStatus
	// DomainReason and DomainActor say why and by whom the status was set; empty while it is DomainUnverified.
	DomainReason string
	DomainActor  string
	// DomainChangedAt is when the domain was attested, lapsed or changed; nil if it never was.
	DomainChangedAt *time.Time
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// NewProject is what CreateProject takes. Name is 1 to MaxNameLen bytes; Domain is 1 to MaxDomainLen bytes in lower
// case, and the caller has made sure that it is a domain.
type NewProject struct {
	AccountID string
	Name      string
	Domain    string
}

// ProjectFilter narrows Projects; an empty AccountID lists every account's.
type ProjectFilter struct {
	AccountID string
}

// ProjectUpdate names the fields to change, within NewProject's bounds; nil leaves a field as it is.
type ProjectUpdate struct {
	Name   *string
	Domain *string
}

// CreateProject records a project with an unverified domain, for an account in any state but closed. Replayed is true if an
// earlier call under idem did it; then the project is that call's, in its present state. It returns ErrNotFound for an unknown
// account, ErrAccountClosed, or ErrIdempotencyMismatch.
func (s *Store) CreateProject(ctx context.Context, in NewProject, idem *Idempotency) (p Project, replayed bool, err error) {
	if err := errors.Join(checkText("name", in.Name, 1, MaxNameLen), checkDomain(in.Domain), idem.check()); err != nil {
		return Project{}, false, fmt.Errorf("create project: %w", err)
	}
	out, err := write(ctx, s, func(tx *writeTx) (outcome[Project], error) {
		return once(tx, idem, "create_project", tx.project, func() (Project, string, error) {
			p, err := tx.createProject(in)
			return p, p.ID, err
		})
	})
	return out.result, out.replayed, err
}

func (tx *writeTx) createProject(in NewProject) (Project, error) {
	if err := tx.checkOpen(in.AccountID); err != nil {
		return Project{}, err
	}
	id, err := tx.newID(prefixProject)
	if err != nil {
		return Project{}, err
	}
	err = tx.InsertProject(tx.ctx, queries.InsertProjectParams{
		ID: id, AccountID: in.AccountID, Name: in.Name, Domain: in.Domain, CreatedUs: tx.now,
	})
	if err != nil {
		return Project{}, fmt.Errorf("create project: %w", err)
	}
	at := fromMicros(tx.now)
	p := Project{
		ID: id, AccountID: in.AccountID, Name: in.Name, Domain: in.Domain, DomainStatus: DomainUnverified,
		CreatedAt: at, UpdatedAt: at,
	}
	return p, tx.audit(act{action: "project.create", kind: kindProject, id: id, accountID: p.AccountID, after: viewProject(p)})
}

// Project returns one project, or ErrNotFound.
func (s *Store) Project(ctx context.Context, id string) (Project, error) {
	row, err := s.queries.Project(ctx, id)
	if err != nil {
		return Project{}, s.readError("project", err)
	}
	return projectOf(row), nil
}

// Projects lists projects newest first and reports whether more follow the page. An unknown account has none.
func (s *Store) Projects(ctx context.Context, filter ProjectFilter, page Page) ([]Project, bool, error) {
	after, rows, err := page.bounds()
	if err != nil {
		return nil, false, fmt.Errorf("list projects: %w", err)
	}
	var found []queries.Project
	if filter.AccountID == "" {
		found, err = s.queries.Projects(ctx, queries.ProjectsParams{After: after, MaxRows: rows})
	} else {
		found, err = s.queries.ProjectsOfAccount(ctx, queries.ProjectsOfAccountParams{
			AccountID: filter.AccountID, After: after, MaxRows: rows,
		})
	}
	if err != nil {
		return nil, false, s.readError("projects", err)
	}
	projects, more := cut(found, page, projectOf)
	return projects, more, nil
}

// UpdateProject changes the named fields, all or none. Another domain is unverified and without challenge, whatever the
// old one was. It returns ErrNotFound, ErrStale or ErrAccountClosed.
func (s *Store) UpdateProject(ctx context.Context, id string, in ProjectUpdate) (Project, error) {
	if err := in.check(); err != nil {
		return Project{}, fmt.Errorf("update project: %w", err)
	}
	return write(ctx, s, func(tx *writeTx) (Project, error) {
		old, err := tx.project(id)
		if err != nil {
			return Project{}, err
		}
		if err := tx.expect(old); err != nil {
			return Project{}, fmt.Errorf("update project: %w", err)
		}
		if err := tx.checkOpen(old.AccountID); err != nil {
			return Project{}, fmt.Errorf("update project: %w", err)
		}
		next := old
		if in.Name != nil {
			next.Name = *in.Name
		}
		if in.Domain != nil && *in.Domain != old.Domain {
			next.Domain = *in.Domain
			if err := tx.setDomain(&next, DomainUnverified, "", ""); err != nil {
				return Project{}, err
			}
			if err := tx.dropChallenge(id); err != nil {
				return Project{}, err
			}
		}
		if next == old {
			return old, nil
		}
		return tx.replaceProject(act{action: "project.update"}, old, next)
	})
}

// AttestDomain records that actor vouches for a project's domain, whatever its state was; it is not looked at again. Reason is 1 to
// MaxReasonLen bytes, actor 1 to MaxNameLen. It returns ErrNotFound, ErrStale or ErrAccountClosed.
func (s *Store) AttestDomain(ctx context.Context, id, reason, actor string) (Project, error) {
	return s.judgeDomain(ctx, "domain.attest", id, DomainVerified, reason, actor)
}

// LapseDomain records that actor no longer vouches for a project's verified domain. Reason and actor are as for
// AttestDomain. It returns ErrNotFound, ErrStale, or ErrInvalidTransition for a domain that is not verified.
func (s *Store) LapseDomain(ctx context.Context, id, reason, actor string) (Project, error) {
	return s.judgeDomain(ctx, "domain.lapse", id, DomainLapsed, reason, actor)
}

func (s *Store) judgeDomain(ctx context.Context, action, id string, to DomainStatus, reason, actor string) (Project, error) {
	err := errors.Join(checkText("reason", reason, 1, MaxReasonLen), checkText("actor", actor, 1, MaxNameLen))
	if err != nil {
		return Project{}, fmt.Errorf("set domain to %s: %w", to, err)
	}
	return write(ctx, s, func(tx *writeTx) (Project, error) {
		old, err := tx.project(id)
		if err != nil {
			return Project{}, err
		}
		if err := tx.expect(old); err != nil {
			return Project{}, fmt.Errorf("set domain to %s: %w", to, err)
		}
		if to == DomainVerified {
			if err := tx.checkOpen(old.AccountID); err != nil {
				return Project{}, fmt.Errorf("set domain to %s: %w", to, err)
			}
		}
		if to == DomainLapsed && old.DomainStatus != DomainVerified {
			return Project{}, fmt.Errorf("domain from %s to %s: %w", old.DomainStatus, to, ErrInvalidTransition)
		}
		next := old
		if err := tx.setDomain(&next, to, reason, actor); err != nil {
			return Project{}, err
		}
		// Whoever withdraws a domain does not mean to have it back by a challenge of before.
		if to == DomainLapsed {
			if err := tx.dropChallenge(id); err != nil {
				return Project{}, err
			}
		}
		return tx.replaceProject(act{action: action, reason: reason}, old, next)
	})
}

// setDomain changes p, which its caller records, and tells the gates. No proof outlives it: what was proven before has
// been withdrawn, replaced by somebody's word, or was of another domain.
func (tx *writeTx) setDomain(p *Project, to DomainStatus, reason, actor string) error {
	at := fromMicros(tx.now)
	p.DomainStatus, p.DomainReason, p.DomainActor, p.DomainChangedAt = to, reason, actor, &at
	if err := tx.DeleteProof(tx.ctx, p.ID); err != nil {
		return fmt.Errorf("drop proof: %w", err)
	}
	return tx.change(api.ChangeProject, p.ID)
}

func (tx *writeTx) project(id string) (Project, error) {
	row, err := tx.Queries.Project(tx.ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Project{}, fmt.Errorf("project: %w", ErrNotFound)
	}
	if err != nil {
		return Project{}, fmt.Errorf("read project: %w", err)
	}
	return projectOf(row), nil
}

// replaceProject records the changeable fields of p and returns it with its new update time. The act a, which made p of
// old, needs no more than its action and reason.
func (tx *writeTx) replaceProject(a act, old, p Project) (Project, error) {
	p.UpdatedAt = fromMicros(tx.now)
	err := tx.Queries.UpdateProject(tx.ctx, queries.UpdateProjectParams{
		ID: p.ID, Name: p.Name, Domain: p.Domain, DomainStatus: string(p.DomainStatus), DomainReason: p.DomainReason,
		DomainActor: p.DomainActor, DomainChangedUs: toMicros(p.DomainChangedAt), UpdatedUs: tx.now,
	})
	if err != nil {
		return Project{}, fmt.Errorf("update project: %w", err)
	}
	a.kind, a.id, a.accountID, a.before, a.after = kindProject, p.ID, p.AccountID, viewProject(old), viewProject(p)
	return p, tx.audit(a)
}

func (u ProjectUpdate) check() error {
	var err error
	if u.Name != nil {
		err = checkText("name", *u.Name, 1, MaxNameLen)
	}
	if u.Domain != nil {
		err = errors.Join(err, checkDomain(*u.Domain))
	}
	return err
}

func checkDomain(domain string) error {
	if err := checkText("domain", domain, 1, MaxDomainLen); err != nil {
		return err
	}
	if strings.ToLower(domain) != domain {
		return fmt.Errorf("%w: domain: expected lower case", ErrInvalid)
	}
	return nil
}

func projectOf(row queries.Project) Project {
	return Project{
		ID: row.ID, AccountID: row.AccountID, Name: row.Name, Domain: row.Domain,
		DomainStatus: DomainStatus(row.DomainStatus), DomainReason: row.DomainReason, DomainActor: row.DomainActor,
		DomainChangedAt: timeOf(row.DomainChangedUs), CreatedAt: fromMicros(row.CreatedUs),
		UpdatedAt: fromMicros(row.UpdatedUs),
	}
}
