package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// Proof is a challenge that was answered, and how the later looks at it went.
type Proof struct {
	// Method and Token are the challenge's, ProvenBy is "dns" or "http".
	Method, Token, ProvenBy string
	ProvenAt                time.Time
	// CheckedAt and Outcome tell of the last look.
	CheckedAt time.Time
	Outcome   string
	ProofState
}

// ProofState is what decides when a proof is looked at again, and whether it still holds.
type ProofState struct {
	// SeenAt is when the answer was there last.
	SeenAt time.Time
	// Failures counts the looks since that found it gone; FailingAt is the first of them, nil if there is none.
	Failures  int64
	FailingAt *time.Time
	// NextAt is when to look again.
	NextAt time.Time
}

// DueProofs lists the projects whose proofs are to be looked at by now, the longest due first. Those of closed accounts are
// never looked at again.
func (s *Store) DueProofs(ctx context.Context, limit int) (projectIDs []string, err error) {
	ids, err := s.queries.DueProofs(ctx, queries.DueProofsParams{NowUs: s.now().UnixMicro(), MaxRows: int64(limit)})
	if err != nil {
		return nil, s.readError("proofs", err)
	}
	return ids, nil
}

// Answered is what ProveDomain takes: which challenge was found answered, by "dns" or "http", what was found, and when to
// look again.
type Answered struct {
	Token, By, Outcome string
	NextAt             time.Time
}

// ProveDomain records that the challenge with this token is answered: the domain is verified. It returns ErrNotFound,
// ErrNoChallenge for another token than the present one, ErrAccountClosed, and ErrChallengeExpired.
func (s *Store) ProveDomain(ctx context.Context, projectID string, in Answered) (Domain, error) {
	return write(ctx, s, func(tx *writeTx) (Domain, error) {
		d, err := tx.challenged(projectID, in.Token)
		if err != nil {
			return Domain{}, err
		}
		if !fromMicros(tx.now).Before(d.Challenge.ExpiresAt) {
			return Domain{}, fmt.Errorf("challenge: %w", ErrChallengeExpired)
		}
		next := d.Project
		if err := tx.setDomain(&next, DomainVerified, "challenge answered by "+in.By, tx.actor.ID); err != nil {
			return Domain{}, err
		}
		if err := tx.dropChallenge(projectID); err != nil {
			return Domain{}, err
		}
		err = tx.InsertProof(tx.ctx, queries.InsertProofParams{
			ProjectID: projectID, Method: d.Challenge.Method, Token: in.Token, ProvenBy: in.By, ProvenUs: tx.now, Outcome: in.Outcome,
			NextUs: in.NextAt.UnixMicro(),
		})
		if err != nil {
			return Domain{}, fmt.Errorf("prove domain: %w", err)
		}
		if _, err := tx.replaceProject(act{action: "domain.verify"}, d.Project, next); err != nil {
			return Domain{}, err
		}
		return tx.domain(projectID)
	})
}

// Recheck is what RecordRecheck takes: which proof was looked at, what was found, and what follows. Lapse says why the
// proof holds no longer; empty if it does.
type Recheck struct {
	Token, Outcome string
	State          ProofState
	Lapse          string
}

// RecordRecheck records a look at a proof. One that holds no longer is dropped, and the domain lapses. It returns
// ErrNotFound, ErrNoChallenge if the proof with this token is gone, or ErrAccountClosed for a proof that would hold.
func (s *Store) RecordRecheck(ctx context.Context, projectID string, in Recheck) (Domain, error) {
	if err := checkText("lapse", in.Lapse, 0, MaxReasonLen); err != nil {
		return Domain{}, fmt.Errorf("record recheck: %w", err)
	}
	return write(ctx, s, func(tx *writeTx) (Domain, error) {
		d, err := tx.domain(projectID)
		if err == nil && (d.Proof == nil || d.Proof.Token != in.Token) {
			err = fmt.Errorf("proof: %w", ErrNoChallenge)
		}
		if err != nil {
			return Domain{}, err
		}
		if in.Lapse != "" {
			return tx.lapse(d, in.Lapse)
		}
		if err := tx.checkOpen(d.Project.AccountID); err != nil {
			return Domain{}, fmt.Errorf("record recheck: %w", err)
		}
		err = tx.SetProofOutcome(tx.ctx, queries.SetProofOutcomeParams{
			ProjectID: projectID, SeenUs: in.State.SeenAt.UnixMicro(), CheckedUs: tx.now, Outcome: in.Outcome,
			Failures: in.State.Failures, FailingUs: toMicros(in.State.FailingAt), NextUs: in.State.NextAt.UnixMicro(),
		})
		if err != nil {
			return Domain{}, fmt.Errorf("record recheck: %w", err)
		}
		return tx.domain(projectID)
	})
}

// lapse ends a proof and tells the gates. A challenge that is being answered stays.
func (tx *writeTx) lapse(d Domain, reason string) (Domain, error) {
	next := d.Project
	if err := tx.setDomain(&next, DomainLapsed, reason, tx.actor.ID); err != nil {
		return Domain{}, err
	}
	if _, err := tx.replaceProject(act{action: "domain.lapse", reason: reason}, d.Project, next); err != nil {
		return Domain{}, err
	}
	return tx.domain(d.Project.ID)
}

func proofOf(row queries.DomainProof) *Proof {
	return &Proof{
		Method: row.Method, Token: row.Token, ProvenBy: row.ProvenBy, ProvenAt: fromMicros(row.ProvenUs),
		CheckedAt: fromMicros(row.CheckedUs), Outcome: row.Outcome,
		ProofState: ProofState{
			SeenAt: fromMicros(row.SeenUs), Failures: row.Failures, FailingAt: timeOf(row.FailingUs), NextAt: fromMicros(row.NextUs),
		},
	}
}
