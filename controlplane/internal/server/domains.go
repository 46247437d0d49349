package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/internal/domain"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// domainState is all there is to know of a project's domain.
type domainState struct {
	ProjectID  string           `json:"project_id"`
	Domain     string           `json:"domain" example:"app.example.com"`
	Status     string           `json:"status" enum:"unverified,verified,lapsed"`
	VerifiedBy *string          `json:"verified_by" enum:"dns,http,attest" doc:"What the domain counts as verified by; null while it does not."`
	Reason     *string          `json:"reason" doc:"Why the status is what it is; null before it was ever set."`
	ChangedAt  *time.Time       `json:"changed_at" nullable:"true" doc:"When the status changed last; null if it never did."`
	Challenge  *domainChallenge `json:"challenge,omitempty" doc:"What the holder of the domain is asked for; absent if nothing."`
	Proof      *domainProof     `json:"proof,omitempty" doc:"The answered challenge by which the domain is verified: what was published has to stay. Absent if there is none."`
}

// Publication is what has to be put where: one of the two is enough.
type Publication struct {
	Method string     `json:"method" enum:"dns,http,either"`
	DNS    *dnsRecord `json:"dns,omitempty" doc:"Absent if the method is http."`
	HTTP   *httpFile  `json:"http,omitempty" doc:"Absent if the method is dns."`
}

type dnsRecord struct {
	Name  string `json:"name" example:"_tollgate-challenge.app.example.com"`
	Type  string `json:"type" enum:"TXT"`
	Value string `json:"value" example:"tollgate-challenge=JBSWY3DPEHPK3PXPJBSWY3DPEH"`
}

type httpFile struct {
	URL     string `json:"url" example:"http://app.example.com/.well-known/tollgate-challenge" doc:"If nothing answers there, the same on https is tried."`
	Content string `json:"content" doc:"The whole content; blanks around it do not matter."`
}

type domainChallenge struct {
	Publication
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   time.Time  `json:"expires_at" doc:"From then on no answer counts: start another challenge."`
	CheckedAt   *time.Time `json:"checked_at" nullable:"true" doc:"When it was looked for last; null if never."`
	LastOutcome *string    `json:"last_outcome" doc:"What was found then."`
}

type domainProof struct {
	Publication
	ProvenAt    time.Time  `json:"proven_at"`
	SeenAt      time.Time  `json:"seen_at" doc:"When the answer was there last."`
	CheckedAt   time.Time  `json:"checked_at"`
	LastOutcome string     `json:"last_outcome" doc:"What was found at checked_at."`
	Failures    int64      `json:"failures" doc:"How often in a row it was found to be gone."`
	FailingAt   *time.Time `json:"failing_at" nullable:"true" doc:"The first of these; null if there is none."`
	NextCheckAt time.Time  `json:"next_check_at"`
}

type domainOutput struct{ Body domainState }

func publish(name, method, token string) Publication {
	p := Publication{Method: method}
	if method != string(domain.HTTP) {
		p.DNS = &dnsRecord{Type: "TXT"}
		p.DNS.Name, p.DNS.Value = domain.Record(name, token)
	}
	if method != string(domain.DNS) {
		p.HTTP = &httpFile{}
		p.HTTP.URL, p.HTTP.Content = domain.File(name, token)
	}
	return p
}

func showDomain(d store.Domain) domainState {
	p := d.Project
	out := domainState{
		ProjectID: p.ID, Domain: p.Domain, Status: string(p.DomainStatus), Reason: orNull(p.DomainReason), ChangedAt: utcOrNull(p.DomainChangedAt),
	}
	if c := d.Challenge; c != nil {
		out.Challenge = &domainChallenge{
			Publication: publish(p.Domain, c.Method, c.Token), CreatedAt: c.CreatedAt.UTC(), ExpiresAt: c.ExpiresAt.UTC(),
			CheckedAt: utcOrNull(c.CheckedAt), LastOutcome: orNull(c.Outcome),
		}
	}
	by := ""
	switch r := d.Proof; {
	case r != nil:
		by = r.ProvenBy
		out.Proof = &domainProof{
			Publication: publish(p.Domain, r.Method, r.Token), ProvenAt: r.ProvenAt.UTC(), SeenAt: r.SeenAt.UTC(), CheckedAt: r.CheckedAt.UTC(),
			LastOutcome: r.Outcome, Failures: r.Failures, FailingAt: utcOrNull(r.FailingAt), NextCheckAt: r.NextAt.UTC(),
		}
	case p.DomainStatus == store.DomainVerified:
		by = "attest"
	}
	out.VerifiedBy = orNull(by)
	return out
}

type startChallengeInput struct {
	ProjectID
	Body struct {
		Method string `json:"method,omitempty" enum:"dns,http,either" default:"either" doc:"Where the answer may be put: in a TXT record, in a file, or in either."`
	} `nameHint:"StartChallengeBody"`
}

type verifyDomainInput struct {
	ProjectID
	// Body takes no field; that it is declared makes huma refuse one.
	Body *struct{} `nameHint:"VerifyDomainBody"`
}

// checkedIn is what one way to look, with one resolver's view of DNS, has found.
type checkedIn struct {
	Method     string `json:"method" enum:"dns,http"`
	Resolver   *int   `json:"resolver" doc:"Which of the configured resolvers was asked, from 1; null for the system's."`
	Outcome    string `json:"outcome" enum:"verified,nxdomain,no_record,wrong_value,resolvers_disagree,dns_failed,timeout,refused_address,unreachable,tls,http_status,redirect_refused,too_large,challenge_expired"`
	HTTPStatus *int   `json:"http_status" doc:"The status of the last answer; null without one."`
}

// verification is what a look for an answer has found. Of what was fetched it holds nothing.
type verification struct {
	Outcome string      `json:"outcome" enum:"verified,nxdomain,no_record,wrong_value,resolvers_disagree,dns_failed,timeout,refused_address,unreachable,tls,http_status,redirect_refused,too_large,challenge_expired"`
	Detail  string      `json:"detail" doc:"What the outcome means, for people."`
	Checks  []checkedIn `json:"checks" nullable:"false" doc:"What was found in each way and with each resolver."`
	Domain  domainState `json:"domain" doc:"What is known of the domain now."`
}

type verificationOutput struct{ Body verification }

func (s *Server) registerDomains(a huma.API) {
	handle(s, a, readProjects, huma.Operation{
		OperationID: "get-domain", Method: http.MethodGet, Path: "/v1/projects/{id}/domain", Summary: "Show a project's domain, its challenge and its proof",
	}, s.getDomain)
	handle(s, a, writeDomains, huma.Operation{
		OperationID: "start-domain-challenge", Method: http.MethodPost, Path: "/v1/projects/{id}/domain",
		Summary:     "Ask the holder of a project's domain for a proof",
		Description: "The reply says what to put where, and until when. It takes the place of an earlier challenge; the domain's status stays as it is.", DefaultStatus: http.StatusCreated,
		Errors: []int{http.StatusConflict},
	}, s.startChallenge)
	handle(s, a, writeDomains, huma.Operation{
		OperationID: "verify-domain", Method: http.MethodPost, Path: "/v1/projects/{id}/domain/verify", Summary: "Look for the proof now, and say what was found",
		Description: "Looks for the answer to the challenge, or without one for the proof by which the domain is verified. One look at a project's domain at a time, and one in 5 seconds.",
		Errors:      []int{http.StatusConflict},
	}, s.verifyDomain)
	handle(s, a, writeDomains, huma.Operation{
		OperationID: "attest-domain", Method: http.MethodPost, Path: "/v1/projects/{id}/domain/attest",
		Summary: "Vouch for a project's domain: it counts as verified, and is not looked at again",
		Errors:  []int{http.StatusConflict},
	}, s.changeDomain("attest domain", s.store.AttestDomain))
	handle(s, a, writeDomains, huma.Operation{
		OperationID: "lapse-domain", Method: http.MethodPost, Path: "/v1/projects/{id}/domain/lapse",
		Summary: "Withdraw a verified domain: requests that need it are refused", Errors: []int{http.StatusConflict},
	}, s.changeDomain("lapse domain", s.store.LapseDomain))
}

func (s *Server) getDomain(ctx context.Context, in *ProjectID) (*domainOutput, error) {
	d, err := s.store.Domain(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("show domain: %w", err)
	}
	return &domainOutput{Body: showDomain(d)}, nil
}

func (s *Server) startChallenge(ctx context.Context, in *startChallengeInput) (*domainOutput, error) {
	p, err := s.store.Project(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("start challenge: %w", err)
	}
	// A domain may be older than the rules.
	if name, err := domain.Normalize(p.Domain); err != nil || name != p.Domain {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "path.id", "expected a project whose domain can be verified; change it")
	}
	d, err := s.store.StartChallenge(ctx, in.ID, store.NewChallenge{Method: in.Body.Method, Token: domain.NewToken(), Life: domain.ChallengeLife})
	if err != nil {
		return nil, fmt.Errorf("start challenge: %w", err)
	}
	return &domainOutput{Body: showDomain(d)}, nil
}

func (s *Server) verifyDomain(ctx context.Context, in *verifyDomainInput) (*verificationOutput, error) {
	d, err := s.store.Domain(ctx, in.ID)
	if err == nil && d.Challenge == nil && d.Proof == nil {
		err = store.ErrNoChallenge
	}
	if err == nil {
		err = s.checkOpen(ctx, d.Project.AccountID)
	}
	if err != nil {
		return nil, fmt.Errorf("verify domain: %w", err)
	}
	leave, wait := s.looks.enter(in.ID, s.now())
	if wait > 0 {
		return nil, tooSoon(wait, "a domain is looked at once in 5 seconds, and only so many at a time; see the Retry-After header")
	}
	defer leave()
	found, d, err := s.look(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("verify domain: %w", err)
	}
	return &verificationOutput{Body: showVerification(found, d)}, nil
}

// checkOpen returns store.ErrAccountClosed for an account of which nothing changes any more.
func (s *Server) checkOpen(ctx context.Context, accountID string) error {
	a, err := s.store.Account(ctx, accountID)
	if err == nil && a.Status == store.AccountClosed {
		err = store.ErrAccountClosed
	}
	return err
}

func showVerification(found domain.Result, d store.Domain) verification {
	v := verification{Outcome: string(found.Outcome), Detail: found.Outcome.Explain(), Checks: []checkedIn{}, Domain: showDomain(d)}
	for _, view := range found.Views {
		c := checkedIn{Method: string(view.Method), Outcome: string(view.Outcome)}
		if view.Resolver > 0 {
			c.Resolver = &view.Resolver
		}
		if view.Status > 0 {
			c.HTTPStatus = &view.Status
		}
		v.Checks = append(v.Checks, c)
	}
	return v
}

// changeDomain returns the handler of one of the two ways in which an admin sets a domain's status.
func (s *Server) changeDomain(
	what string, change func(ctx context.Context, id, reason, actor string) (store.Project, error),
) func(context.Context, *domainStatusInput) (*projectOutput, error) {
	return func(ctx context.Context, in *domainStatusInput) (*projectOutput, error) {
		if err := fits("body.reason", in.Body.Reason, store.MaxReasonLen); err != nil {
			return nil, err
		}
		p, err := change(ctx, in.ID, in.Body.Reason, callerOf(ctx).ID)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		return newProjectOutput(p), nil
	}
}
