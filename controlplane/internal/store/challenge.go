package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// Errors about challenges; test for them with errors.Is.
var (
	// ErrNoChallenge means that the holder of a project's domain was never asked to prove it, or that what they were asked
	// for is not asked for any more.
	ErrNoChallenge = errors.New("no such challenge")
	// ErrChallengeExpired means that the answer comes too late.
	ErrChallengeExpired = errors.New("challenge has expired")
)

// MaxChallengeLife bounds how long a challenge can be answered.
const MaxChallengeLife = 30 * 24 * time.Hour

// Challenge is what the holder of a project's domain was asked to publish.
type Challenge struct {
	// Method is "dns", "http" or "either".
	Method    string
	Token     string
	CreatedAt time.Time
	ExpiresAt time.Time
	// CheckedAt and Outcome tell of the last look for an answer; nil and empty before the first.
	CheckedAt *time.Time
	Outcome   string
}

// minTokenLen is how long a token has to be that holds 128 bits in base32.
const minTokenLen = 26

// NewChallenge is what StartChallenge takes: a Challenge's Method, a Token of at least 26 characters, and a Life above 0
// and up to MaxChallengeLife.
type NewChallenge struct {
	Method string
	Token  string
	Life   time.Duration
}

func (c NewChallenge) check() error {
	err := checkText("token", c.Token, minTokenLen, MaxNameLen)
	if c.Method != "dns" && c.Method != "http" && c.Method != "either" {
		err = errors.Join(err, fmt.Errorf("%w: method: expected dns, http or either", ErrInvalid))
	}
	if c.Life <= 0 || c.Life > MaxChallengeLife {
		err = errors.Join(err, fmt.Errorf("%w: life: expected up to %s", ErrInvalid, MaxChallengeLife))
	}
	return err
}

// Domain is all that is known of a project's domain. Challenge and Proof are nil where there is none.
type Domain struct {
	Project   Project
	Challenge *Challenge
	// Proof is there exactly while the domain is verified by an answered challenge.
	Proof *Proof
}

// Domain returns what is known of a project's domain, in one state of the database, or ErrNotFound.
func (s *Store) Domain(ctx context.Context, projectID string) (Domain, error) {
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Domain{}, s.readError("domain", err)
	}
	// Nothing was written, so how the transaction ends cannot matter.
	defer func() { _ = tx.Rollback() }()
	d, err := domainOf(ctx, queries.New(tx), projectID)
	if err != nil {
		return Domain{}, s.readError("project", err)
	}
	return d, nil
}

func domainOf(ctx context.Context, q *queries.Queries, projectID string) (Domain, error) {
	row, err := q.Project(ctx, projectID)
	if err != nil {
		return Domain{}, err
	}
	d := Domain{Project: projectOf(row)}
	c, err := q.Challenge(ctx, projectID)
	if err == nil {
		d.Challenge = &Challenge{
			Method: c.Method, Token: c.Token, CreatedAt: fromMicros(c.CreatedUs), ExpiresAt: fromMicros(c.ExpiresUs),
			CheckedAt: timeOf(c.CheckedUs), Outcome: c.Outcome,
		}
	} else if !errors.Is(err, sql.ErrNoRows) {
		return Domain{}, err
	}
	p, err := q.Proof(ctx, projectID)
	if err == nil {
		d.Proof = proofOf(p)
	} else if !errors.Is(err, sql.ErrNoRows) {
		return Domain{}, err
	}
	return d, nil
}

// domain is Domain inside a job.
func (tx *writeTx) domain(projectID string) (Domain, error) {
	d, err := domainOf(tx.ctx, tx.Queries, projectID)
	if errors.Is(err, sql.ErrNoRows) {
		return Domain{}, fmt.Errorf("project: %w", ErrNotFound)
	}
	if err != nil {
		return Domain{}, fmt.Errorf("read domain: %w", err)
	}
	return d, nil
}

// StartChallenge asks the holder of a project's domain for a proof, in the place of what they were asked for before. The
// domain's status stays as it is. It returns ErrNotFound or ErrAccountClosed.
func (s *Store) StartChallenge(ctx context.Context, projectID string, in NewChallenge) (Domain, error) {
	if err := in.check(); err != nil {
		return Domain{}, fmt.Errorf("start challenge: %w", err)
	}
	return write(ctx, s, func(tx *writeTx) (Domain, error) {
		d, err := tx.domain(projectID)
		if err == nil {
			err = tx.checkOpen(d.Project.AccountID)
		}
		if err != nil {
			return Domain{}, fmt.Errorf("start challenge: %w", err)
		}
		c := Challenge{
			Method: in.Method, Token: in.Token, CreatedAt: fromMicros(tx.now), ExpiresAt: fromMicros(tx.now + in.Life.Microseconds()),
		}
		err = tx.UpsertChallenge(tx.ctx, queries.UpsertChallengeParams{
			ProjectID: projectID, Method: c.Method, Token: c.Token, CreatedUs: tx.now, ExpiresUs: c.ExpiresAt.UnixMicro(),
		})
		if err != nil {
			return Domain{}, fmt.Errorf("start challenge: %w", err)
		}
		a := act{action: "domain.challenge", before: viewChallenge(d.Project, d.Challenge), after: viewChallenge(d.Project, &c)}
		d.Challenge = &c
		return d, tx.auditDomain(a, d.Project)
	})
}

// MissChallenge records that the answer to the challenge with this token was looked for and not found. It returns
// ErrNotFound, ErrAccountClosed, or ErrNoChallenge for another token than the present one.
func (s *Store) MissChallenge(ctx context.Context, projectID, token, outcome string) (Domain, error) {
	return write(ctx, s, func(tx *writeTx) (Domain, error) {
		d, err := tx.challenged(projectID, token)
		if err != nil {
			return Domain{}, err
		}
		next, at := *d.Challenge, fromMicros(tx.now)
		next.CheckedAt, next.Outcome = &at, outcome
		err = tx.SetChallengeOutcome(tx.ctx, queries.SetChallengeOutcomeParams{
			ProjectID: projectID, CheckedUs: toMicros(&at), Outcome: outcome,
		})
		if err != nil {
			return Domain{}, fmt.Errorf("record check: %w", err)
		}
		a := act{action: "domain.check", before: viewChallenge(d.Project, d.Challenge), after: viewChallenge(d.Project, &next)}
		d.Challenge = &next
		return d, tx.auditDomain(a, d.Project)
	})
}

// challenged returns a domain whose present challenge has this token and may be answered.
func (tx *writeTx) challenged(projectID, token string) (Domain, error) {
	d, err := tx.domain(projectID)
	if err == nil && (d.Challenge == nil || d.Challenge.Token != token) {
		err = fmt.Errorf("challenge: %w", ErrNoChallenge)
	}
	if err == nil {
		err = tx.checkOpen(d.Project.AccountID)
	}
	return d, err
}

// auditDomain records an act whose views the caller has made.
func (tx *writeTx) auditDomain(a act, p Project) error {
	a.kind, a.id, a.accountID = kindProject, p.ID, p.AccountID
	return tx.audit(a)
}

// dropChallenge forgets what the holder of a domain was asked for.
func (tx *writeTx) dropChallenge(projectID string) error {
	if err := tx.DeleteChallenge(tx.ctx, projectID); err != nil {
		return fmt.Errorf("drop challenge: %w", err)
	}
	return nil
}
