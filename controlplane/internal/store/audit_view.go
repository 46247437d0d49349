package store

import "time"

// The views hold names, states, times and amounts, and of a key the ends that people tell keys apart by. A field that
// is added here must be one that everybody who may read the audit log may see for as long as there is a backup.

type accountView struct {
	Name   string        `json:"name"`
	Status AccountStatus `json:"status"`
}

func (accountView) view() {}

func viewAccount(a Account) accountView { return accountView{Name: a.Name, Status: a.Status} }

type projectView struct {
	Name         string       `json:"name"`
	Domain       string       `json:"domain"`
	DomainStatus DomainStatus `json:"domain_status"`
	DomainReason string       `json:"domain_reason,omitempty"`
	DomainActor  string       `json:"domain_actor,omitempty"`
}

func (projectView) view() {}

func viewProject(p Project) projectView {
	return projectView{
		Name: p.Name, Domain: p.Domain, DomainStatus: p.DomainStatus, DomainReason: p.DomainReason, DomainActor: p.DomainActor,
	}
}

// challengeView leaves out the token: it is no secret, but nothing that anybody has to find here.
type challengeView struct {
	Domain    string     `json:"domain"`
	Method    string     `json:"method"`
	ExpiresAt *time.Time `json:"expires_at"`
	CheckedAt *time.Time `json:"checked_at,omitempty"`
	Outcome   string     `json:"outcome,omitempty"`
}

func (challengeView) view() {}

// viewChallenge is nil where there is no challenge.
func viewChallenge(p Project, c *Challenge) view {
	if c == nil {
		return nil
	}
	return challengeView{Domain: p.Domain, Method: c.Method, ExpiresAt: &c.ExpiresAt, CheckedAt: c.CheckedAt, Outcome: c.Outcome}
}

type keyView struct {
	ProjectID   string      `json:"project_id,omitempty"`
	Scheme      string      `json:"scheme"`
	Name        string      `json:"name"`
	Environment Environment `json:"environment"`
	Prefix      string      `json:"prefix"`
	Last4       string      `json:"last4"`
	// PublishableLast4 is there although the publishable half is no secret: no whole key is in the audit log.
	PublishableLast4 string      `json:"publishable_last4,omitempty"`
	Status           KeyStatus   `json:"status"`
	ExpiresAt        *time.Time  `json:"expires_at,omitempty"`
	ReplacedBy       string      `json:"replaced_by,omitempty"`
	Metadata         Metadata    `json:"metadata,omitempty"`
	Restriction      Restriction `json:"restriction,omitempty"`
	// OverlapSeconds is what a rotation gave the old halves.
	OverlapSeconds int64 `json:"overlap_seconds,omitempty"`
}

func (keyView) view() {}

func viewKey(k Key) keyView {
	return keyView{
		ProjectID: k.ProjectID, Scheme: k.Scheme, Name: k.Name, Environment: k.Environment, Prefix: k.Prefix, Last4: k.Last4,
		PublishableLast4: k.Publishable[max(0, len(k.Publishable)-last4Len):], Status: k.Status, ExpiresAt: k.ExpiresAt,
		ReplacedBy: k.ReplacedBy, Metadata: k.Metadata, Restriction: k.Restriction,
	}
}

// creditView is an account's balance before or after a movement, and after it how much was moved.
type creditView struct {
	Available int64 `json:"available"`
	Amount    int64 `json:"amount,omitempty"`
	// RefundedEntry is the id of what a refund is of.
	RefundedEntry string `json:"refunded_entry,omitempty"`
}

func (creditView) view() {}

type tokenView struct {
	Name      string     `json:"name"`
	Role      Role       `json:"role"`
	AccountID string     `json:"account_id,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

func (tokenView) view() {}

func viewToken(t Token) tokenView {
	return tokenView{Name: t.Name, Role: t.Role, AccountID: t.AccountID, ExpiresAt: t.ExpiresAt, RevokedAt: t.RevokedAt}
}

type backupView struct {
	Bytes   int64 `json:"bytes"`
	Schema  int64 `json:"schema"`
	Entries int64 `json:"entries"`
}

func (backupView) view() {}

// restoreView has no more of the backup's path than its name.
type restoreView struct {
	From  string `json:"from"`
	Epoch int64  `json:"epoch"`
}

func (restoreView) view() {}

// importView says how many keys an account got by an import. Each of them names the import.
type importView struct {
	Keys int `json:"keys"`
}

func (importView) view() {}
