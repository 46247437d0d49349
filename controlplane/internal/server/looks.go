package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/domain"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// Bounds of how often domains are looked at on request. A look takes up to 5 seconds and a few sockets.
const (
	lookEvery  = 5 * time.Second
	maxLooking = 16
)

// Bounds of RecheckDomains.
const (
	recheckAtOnce  = 100
	recheckWorkers = 4
)

// looks bounds the looks on request: one of a project at a time and per lookEvery, and maxLooking in all. Its zero value
// works.
type looks struct {
	mu sync.Mutex
	// began is when each project was looked at last, for lookEvery; running says which looks have not ended.
	began   map[string]time.Time
	running map[string]bool
}

// enter lets one look begin, which ends with leave, or says how long to wait.
func (l *looks) enter(projectID string, now time.Time) (leave func(), wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began == nil {
		l.began, l.running = map[string]time.Time{}, map[string]bool{}
	}
	for id, at := range l.began {
		if age := now.Sub(at); age < 0 || age >= lookEvery {
			delete(l.began, id)
		}
	}
	if at, ok := l.began[projectID]; ok {
		return nil, lookEvery - now.Sub(at)
	}
	if l.running[projectID] || len(l.running) >= maxLooking {
		return nil, time.Second
	}
	l.began[projectID], l.running[projectID] = now, true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.running, projectID)
	}, 0
}

// look looks for the answer to d's challenge, or else for its proof, and records what was found. It returns the domain as
// it is then.
func (s *Server) look(ctx context.Context, d store.Domain) (domain.Result, store.Domain, error) {
	c, id := d.Challenge, d.Project.ID
	expired := c != nil && !s.now().Before(c.ExpiresAt)
	if c == nil || expired && d.Proof != nil {
		return s.recheck(ctx, d)
	}
	if expired {
		return domain.Result{Outcome: domain.ChallengeExpired}, d, nil
	}
	found := s.check(ctx, d.Project.Domain, c.Token, c.Method)
	if found.Outcome != domain.Verified {
		d, err := s.store.MissChallenge(ctx, id, c.Token, string(found.Outcome))
		return found, d, err
	}
	next, err := s.store.ProveDomain(ctx, id, store.Answered{
		Token: c.Token, By: string(found.Method), Outcome: string(found.Outcome), NextAt: s.rechecks.First(s.now()).NextAt,
	})
	if errors.Is(err, store.ErrChallengeExpired) {
		return domain.Result{Outcome: domain.ChallengeExpired, Views: found.Views}, d, nil
	}
	return found, next, err
}

// recheck looks for d's proof, and ends it if it is gone for good.
func (s *Server) recheck(ctx context.Context, d store.Domain) (domain.Result, store.Domain, error) {
	p := d.Proof
	found := s.check(ctx, d.Project.Domain, p.Token, p.Method)
	h, lapses := s.rechecks.After(domain.History(p.ProofState), found.Outcome, s.now())
	r := store.Recheck{Token: p.Token, Outcome: string(found.Outcome), State: store.ProofState(h)}
	if lapses {
		r.Lapse = fmt.Sprintf("%s; seen last on %s", found.Outcome, h.SeenAt.UTC().Format(time.DateOnly))
	}
	next, err := s.store.RecordRecheck(ctx, d.Project.ID, r)
	if err == nil && lapses {
		s.log.WarnContext(ctx, "domain lapsed", "project_id", d.Project.ID, "outcome", found.Outcome, "seen_at", h.SeenAt)
	}
	return found, next, err
}

func (s *Server) check(ctx context.Context, name, token, method string) domain.Result {
	found := s.domains.Check(ctx, domain.Challenge{Domain: name, Token: token, Method: domain.Method(method)})
	s.metrics.looks.WithLabelValues(string(found.Outcome)).Inc()
	return found
}

// recheckActor makes the changes of RecheckDomains.
var recheckActor = store.JobActor("domain re-check")

// RecheckDomains looks at the proofs that are due, up to a hundred, a few at a time, and returns how many that were. Each
// is looked at for itself: the error joins those of the proofs of which nothing could be recorded.
func (s *Server) RecheckDomains(ctx context.Context) (int, error) {
	due, err := s.store.DueProofs(ctx, recheckAtOnce)
	if err != nil {
		return 0, fmt.Errorf("re-check domains: %w", err)
	}
	ctx = store.WithActor(ctx, recheckActor)
	errs := make([]error, len(due))
	slots := make(chan struct{}, recheckWorkers)
	var wg sync.WaitGroup
	for i, id := range due {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = s.recheckProject(ctx, id)
		})
	}
	wg.Wait()
	return len(due), errors.Join(errs...)
}

func (s *Server) recheckProject(ctx context.Context, id string) error {
	d, err := s.store.Domain(ctx, id)
	if err == nil && d.Proof != nil {
		_, _, err = s.recheck(ctx, d)
	}
	// Somebody has changed the domain meanwhile, or closed the account.
	if errors.Is(err, store.ErrNoChallenge) || errors.Is(err, store.ErrAccountClosed) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("re-check domain of %s: %w", id, err)
	}
	return nil
}
