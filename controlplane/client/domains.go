package client

import (
	"context"
	"net/http"
	"time"
)

// Domain is all there is to know of a project's domain.
type Domain struct {
	ProjectID string `json:"project_id"`
	Domain    string `json:"domain"`
	// Status is unverified, verified or lapsed.
	Status string `json:"status"`
	// VerifiedBy is dns, http or attest, nil while it is not verified.
	VerifiedBy *string    `json:"verified_by"`
	Reason     *string    `json:"reason"`
	ChangedAt  *time.Time `json:"changed_at"`
	// Challenge is what the holder is asked for, Proof the answer by which the domain is verified.
	Challenge *Challenge `json:"challenge,omitempty"`
	Proof     *Proof     `json:"proof,omitempty"`
}

// Publication is what has to be put where: one of the two is enough.
type Publication struct {
	Method string     `json:"method"`
	DNS    *DNSRecord `json:"dns,omitempty"`
	HTTP   *HTTPFile  `json:"http,omitempty"`
}

// DNSRecord is a record to be made.
type DNSRecord struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// HTTPFile is a file to be served.
type HTTPFile struct {
	URL     string `json:"url"`
	Content string `json:"content"`
}

// Challenge waits for an answer.
type Challenge struct {
	Publication
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   time.Time  `json:"expires_at"`
	CheckedAt   *time.Time `json:"checked_at"`
	LastOutcome *string    `json:"last_outcome"`
}

// Proof is an answered challenge.
type Proof struct {
	Publication
	ProvenAt    time.Time  `json:"proven_at"`
	SeenAt      time.Time  `json:"seen_at"`
	CheckedAt   time.Time  `json:"checked_at"`
	LastOutcome string     `json:"last_outcome"`
	Failures    int64      `json:"failures"`
	FailingAt   *time.Time `json:"failing_at"`
	NextCheckAt time.Time  `json:"next_check_at"`
}

// NewChallenge says where the answer may be put: dns, http, or either, which it is by default.
type NewChallenge struct {
	Method string `json:"method,omitempty"`
}

// Verification is what a look for an answer has found.
type Verification struct {
	// Outcome is verified or what stood in the way, Detail what that means, for people.
	Outcome string  `json:"outcome"`
	Detail  string  `json:"detail"`
	Checks  []Check `json:"checks"`
	Domain  Domain  `json:"domain"`
}

// Check is what one way to look has found.
type Check struct {
	Method     string `json:"method"`
	Resolver   *int   `json:"resolver"`
	Outcome    string `json:"outcome"`
	HTTPStatus *int   `json:"http_status"`
}

// Domain returns a project's domain.
func (c *Client) Domain(ctx context.Context, projectID string, opts ...CallOption) (Domain, error) {
	return read[Domain](ctx, c, at(projectsPath+"/", projectID, "/domain"), nil, opts...)
}

// StartDomainChallenge asks the holder of a project's domain for a proof. It takes the place of an earlier challenge.
func (c *Client) StartDomainChallenge(ctx context.Context, projectID string, in NewChallenge, opts ...CallOption) (Domain, error) {
	return change[Domain](ctx, c, http.MethodPost, at(projectsPath+"/", projectID, "/domain"), in, opts)
}

// VerifyDomain looks for the proof now.
func (c *Client) VerifyDomain(ctx context.Context, projectID string, opts ...CallOption) (Verification, error) {
	return change[Verification](ctx, c, http.MethodPost, at(projectsPath+"/", projectID, "/domain/verify"), nil, opts)
}

// AttestDomain vouches for a project's domain.
func (c *Client) AttestDomain(ctx context.Context, projectID string, in DomainStatus, opts ...CallOption) (Project, error) {
	return change[Project](ctx, c, http.MethodPost, at(projectsPath+"/", projectID, "/domain/attest"), in, opts)
}

// LapseDomain withdraws a verified domain.
func (c *Client) LapseDomain(ctx context.Context, projectID string, in DomainStatus, opts ...CallOption) (Project, error) {
	return change[Project](ctx, c, http.MethodPost, at(projectsPath+"/", projectID, "/domain/lapse"), in, opts)
}
