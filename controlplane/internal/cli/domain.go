package cli

import (
	"context"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Domain is the noun domain.
type Domain struct {
	Show   domainShow   `cmd:"" help:"Show a project's domain, its challenge and its proof." example:"tollgate domain show proj_…"`
	Start  domainStart  `cmd:"" help:"Ask the holder of a project's domain for a proof: says what to publish." example:"tollgate domain start proj_… --method dns"`
	Verify domainVerify `cmd:"" help:"Look for the proof now." example:"tollgate domain verify proj_…"`
	Attest domainAttest `cmd:"" help:"Vouch for a domain: it counts as verified." example:"tollgate domain attest proj_… --reason 'seen the registration'"`
	Lapse  domainLapse  `cmd:"" help:"Withdraw a verified domain: requests that need it are refused." example:"tollgate domain lapse proj_… --reason 'sold'"`
}

var domainColumns = []column[client.Domain]{
	{name: "project", text: func(d client.Domain) string { return cell(d.ProjectID) }},
	{name: "domain", text: func(d client.Domain) string { return cell(d.Domain) }},
	{name: "status", text: func(d client.Domain) string { return cell(d.Status) }},
	{name: "verified by", text: func(d client.Domain) string { return cell(d.VerifiedBy) }},
	{name: "reason", text: func(d client.Domain) string { return cell(d.Reason) }},
	{name: "changed", text: func(d client.Domain) string { return cell(d.ChangedAt) }},
}

var challengeColumns = append(publicationColumns(func(c client.Challenge) client.Publication { return c.Publication }), []column[client.Challenge]{
	{name: "until", text: func(c client.Challenge) string { return cell(c.ExpiresAt) }},
	{name: "checked", text: func(c client.Challenge) string { return cell(c.CheckedAt) }},
	{name: "last outcome", text: func(c client.Challenge) string { return cell(c.LastOutcome) }},
}...)

var proofColumns = append(publicationColumns(func(p client.Proof) client.Publication { return p.Publication }), []column[client.Proof]{
	{name: "proven", text: func(p client.Proof) string { return cell(p.ProvenAt) }},
	{name: "seen", text: func(p client.Proof) string { return cell(p.SeenAt) }},
	{name: "checked", text: func(p client.Proof) string { return cell(p.CheckedAt) }},
	{name: "last outcome", text: func(p client.Proof) string { return cell(p.LastOutcome) }},
	{name: "failures", text: func(p client.Proof) string { return cell(p.Failures) }},
	{name: "next check", text: func(p client.Proof) string { return cell(p.NextCheckAt) }},
}...)

func publicationColumns[T any](of func(T) client.Publication) []column[T] {
	return []column[T]{
		{name: "DNS record", text: func(v T) string {
			if r := of(v).DNS; r != nil {
				return plain(fmt.Sprintf("%s %s %q", r.Name, r.Type, r.Value))
			}
			return cell(nil)
		}},
		{name: "or file at", text: func(v T) string {
			if f := of(v).HTTP; f != nil {
				return cell(f.URL)
			}
			return cell(nil)
		}},
		{name: "with", text: func(v T) string {
			if f := of(v).HTTP; f != nil {
				return cell(f.Content)
			}
			return cell(nil)
		}},
	}
}

// showDomain prints a domain with what is asked for and what was proven.
func showDomain(s *Streams, f format, d client.Domain) error {
	if f.JSON {
		return printJSON(s, d)
	}
	err := show(s, f, domainColumns, d)
	if err == nil && d.Challenge != nil {
		_, _ = fmt.Fprintln(s.Out, "\nto be published, one of the two:")
		err = show(s, f, challengeColumns, *d.Challenge)
	}
	if err == nil && d.Proof != nil {
		_, _ = fmt.Fprintln(s.Out, "\nproven, and to be left where it is:")
		err = show(s, f, proofColumns, *d.Proof)
	}
	return err
}

type domainShow struct {
	asking
	projectID
}

// Run is called by kong.
func (c *domainShow) Run(s *Streams) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		d, err := cl.Domain(ctx, c.ID)
		if err != nil {
			return err
		}
		return showDomain(s, c.format, d)
	})
}

type domainStart struct {
	asking
	projectID
	Method string `default:"either" enum:"dns,http,either" placeholder:"METHOD" help:"Where the proof may be put: dns, http or either (${default})."`
}

// Run is called by kong.
func (c *domainStart) Run(s *Streams) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		d, err := cl.StartDomainChallenge(ctx, c.ID, client.NewChallenge{Method: c.Method})
		if err != nil {
			return err
		}
		return showDomain(s, c.format, d)
	})
}

type domainVerify struct {
	asking
	projectID
}

// Help is shown by kong.
func (*domainVerify) Help() string {
	return "The exit code is 0 if the proof was found and 1 if not; what was found is printed either way."
}

// errNotVerified means that a look has found no proof.
var errNotVerified = fmt.Errorf("the proof was not found")

var checkColumns = []column[client.Check]{
	{name: "method", text: func(c client.Check) string { return cell(c.Method) }},
	{name: "resolver", text: func(c client.Check) string {
		if c.Resolver == nil {
			return cell(nil)
		}
		return cell(*c.Resolver)
	}},
	{name: "outcome", text: func(c client.Check) string { return cell(c.Outcome) }},
	{name: "http status", text: func(c client.Check) string {
		if c.HTTPStatus == nil {
			return cell(nil)
		}
		return cell(*c.HTTPStatus)
	}},
}

// Run is called by kong.
func (c *domainVerify) Run(s *Streams) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		v, err := cl.VerifyDomain(ctx, c.ID)
		if err != nil {
			return err
		}
		if err := c.print(s, v); err != nil || v.Outcome == "verified" {
			return err
		}
		return fmt.Errorf("%w: %s", errNotVerified, v.Detail)
	})
}

func (c *domainVerify) print(s *Streams, v client.Verification) error {
	if c.JSON {
		return printJSON(s, v)
	}
	p := printer[client.Check]{out: s.Out, columns: checkColumns}
	for _, check := range v.Checks {
		if err := p.row(check); err != nil {
			return err
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(s.Out)
	return showDomain(s, c.format, v.Domain)
}

type domainStatus struct {
	asking
	projectID
	conditional
	Reason string `required:"" placeholder:"TEXT" help:"Why; it is kept."`
}

type domainAttest struct{ domainStatus }

// Run is called by kong.
func (c *domainAttest) Run(s *Streams) error {
	return one(s, &c.asking, projectColumns, func(ctx context.Context, cl *client.Client) (client.Project, error) {
		return cl.AttestDomain(ctx, c.ID, client.DomainStatus{Reason: c.Reason}, c.conditions()...)
	})
}

type domainLapse struct{ domainStatus }

// Run is called by kong.
func (c *domainLapse) Run(s *Streams) error {
	return one(s, &c.asking, projectColumns, func(ctx context.Context, cl *client.Client) (client.Project, error) {
		return cl.LapseDomain(ctx, c.ID, client.DomainStatus{Reason: c.Reason}, c.conditions()...)
	})
}
