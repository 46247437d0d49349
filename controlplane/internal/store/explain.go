package store

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// Question is a request that a gate could make. Either KeyID names the key, of which the newest secret is taken, or Scheme
// and Digests say what is presented, in the order of the scheme's formats. Cost is 0 to api.MaxCredits.
//
// Method, Path, decoded and without its query, and Address are the request's; they matter where a key is restricted.
type Question struct {
	KeyID                 string
	Scheme                string
	Digests               []string
	Cost                  int64
	Method, Path, Address string
}

// Outcome is what a step of a decision came to.
type Outcome string

// The outcomes. A decision ends at the first step that fails.
const (
	Passed     Outcome = "passed"
	Failed     Outcome = "failed"
	NotAsked   Outcome = "not_asked"
	NotReached Outcome = "not_reached"
)

// Step is one thing that is asked of a request, in the order in which a gate asks.
type Step struct {
	// Check is "key", "pair", "active", "account", "domain", "restriction" or "credits".
	Check   string
	Outcome Outcome
	// Detail tells people what was found, empty if the step was not reached.
	Detail string
}

// Explanation is what Acquire would decide now, and why. It is made of several reads: what changes meanwhile may be seen
// in some of them alone.
type Explanation struct {
	Verdict api.Verdict
	// Scheme is the key's, or the one that was asked about. The ids are empty where the key is unknown, and ProjectID also
	// where it belongs to an account directly.
	Scheme                      string
	KeyID, ProjectID, AccountID string
	Steps                       []Step
	// Available and Reserved are the account's balances.
	Available, Reserved int64
}

// Explain decides as Acquire does, step by step, and changes nothing. Need is what the key's scheme asks for. It returns
// ErrNotFound for a KeyID that there is none of, and an error wrapping ErrInvalid for what Acquire could not be asked.
func (s *Store) Explain(ctx context.Context, q Question, need Requirements) (Explanation, error) {
	c, presented, err := s.presented(ctx, q)
	switch {
	case err != nil:
	case q.Cost < 0 || q.Cost > api.MaxCredits:
		err = fmt.Errorf("%w: cost: expected 0 to 2^53-1", ErrInvalid)
	case q.Cost > 0 && !need.Balance:
		err = fmt.Errorf("%w: cost: expected 0 for a scheme that is not charged", ErrInvalid)
	}
	if err != nil {
		return Explanation{}, fmt.Errorf("explain: %w", err)
	}
	now := s.now().UnixMicro()
	sub, err := c.find(s.lookup(ctx), now)
	if err != nil {
		return Explanation{}, s.readError("key", err)
	}
	e := explaining{Explanation: Explanation{
		Verdict: sub.verdict(need), Scheme: c.scheme, KeyID: sub.keyID, ProjectID: sub.projectID, AccountID: sub.accountID,
		Available: int64(sub.balances.Available), Reserved: int64(sub.balances.Reserved),
	}}
	if sub.keyID != "" {
		key, err := s.Key(ctx, sub.keyID)
		if err != nil {
			return Explanation{}, fmt.Errorf("explain: %w", err)
		}
		e.key = key
	}
	if e.Verdict == api.Granted && !q.allowedBy(sub.restriction) {
		e.Verdict = api.KeyRestricted
	}
	if e.Verdict == api.Granted && ledger.Credits(q.Cost) > sub.balances.Available {
		e.Verdict = api.InsufficientCredits
	}
	e.walk(&sub, presented, need, q, now)
	return e.Explanation, nil
}

// presented returns what q presents, and how it speaks of it.
func (s *Store) presented(ctx context.Context, q Question) (credential, string, error) {
	if q.KeyID == "" {
		c, err := newCredential(q.Scheme, q.Digests)
		if len(q.Digests) > 1 {
			return c, "these digests", err
		}
		return c, "this digest", err
	}
	if q.Scheme != "" || len(q.Digests) > 0 {
		return credential{}, "", fmt.Errorf("%w: key_id: expected no scheme and no digests beside it", ErrInvalid)
	}
	key, err := s.queries.Key(ctx, q.KeyID)
	if err != nil {
		return credential{}, "", s.readError("key", err)
	}
	rows, err := s.queries.NewestDigests(ctx, q.KeyID)
	if err != nil {
		return credential{}, "", s.readError("key", err)
	}
	c := credential{scheme: key.Scheme}
	for _, digest := range rows {
		c.digests = append(c.digests, [32]byte(digest))
	}
	return c, "its newest secret", nil
}

// explaining builds an Explanation.
type explaining struct {
	Explanation
	key   Key
	ended bool
}

// step adds one, unless an earlier one has failed.
func (e *explaining) step(check string, ok bool, detail string, args ...any) {
	switch {
	case e.ended:
		e.Steps = append(e.Steps, Step{Check: check, Outcome: NotReached})
		return
	case ok:
		e.Steps = append(e.Steps, Step{check, Passed, fmt.Sprintf(detail, args...)})
	default:
		e.Steps = append(e.Steps, Step{check, Failed, fmt.Sprintf(detail, args...)})
	}
	e.ended = !ok
}

// skip adds one that is not asked for, unless an earlier one has failed.
func (e *explaining) skip(check, why string) {
	if e.ended {
		e.step(check, false, "")
		return
	}
	e.Steps = append(e.Steps, Step{check, NotAsked, why})
}

// walk goes through the steps in the order of subject.verdict.
func (e *explaining) walk(sub *subject, presented string, need Requirements, q Question, now int64) {
	if sub.keyID == "" {
		e.step("key", false, "no key of scheme %s has %s", e.Scheme, presented)
	} else {
		e.step("key", true, "%s: key %s, %q, of scheme %s", presented, sub.keyID, e.key.Name, e.Scheme)
	}
	switch {
	case e.key.ProjectID == "":
		e.skip("pair", "the key is one secret")
	case sub.mixed:
		e.step("pair", !sub.live, "the halves belong to different keys")
	default:
		e.step("pair", true, "both halves are of one pair")
	}
	e.step("active", sub.live, "%s", e.life(sub, now))
	e.step("account", sub.account == AccountActive, "account %s is %s", sub.accountID, sub.account)
	if need.DomainVerified {
		e.step("domain", sub.domain == DomainVerified, "the domain of project %s is %s", sub.projectID, sub.domain)
	} else {
		e.skip("domain", "the scheme asks for no verified domain")
	}
	if r := sub.restriction; r == nil {
		e.skip("restriction", "the key may be used anywhere")
	} else {
		e.step("restriction", q.allowedBy(r), "%s, %s", inWords("the key's routes", q.Method+" "+q.Path, r.rules.AllowsRoute(q.Method, q.Path)),
			inWords("its networks", q.Address, r.rules.AllowsAddress(q.Address)))
	}
	if q.Cost == 0 {
		e.skip("credits", "the request costs nothing")
		return
	}
	e.step("credits", int64(sub.balances.Available) >= q.Cost, "%d available for a cost of %d; gates hold %d more in leases",
		sub.balances.Available, q.Cost, sub.balances.Reserved)
}

func (q *Question) allowedBy(r *restriction) bool {
	return r == nil || r.rules.AllowsRoute(q.Method, q.Path) && r.rules.AllowsAddress(q.Address)
}

// inWords says whether a set allows something, which may be missing.
func inWords(set, what string, allowed bool) string {
	if what = strings.TrimSpace(what); what == "" {
		what = "what was not told"
	}
	if allowed {
		return set + " allow " + what
	}
	return set + " do not allow " + what
}

// life says whether what was presented works, and why not.
func (e *explaining) life(sub *subject, now int64) string {
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch k := &e.key; {
	case k.Status == KeyRevoked:
		text := "the key was revoked at " + at(*k.RevokedAt)
		if k.ReplacedBy != "" {
			text += ", and replaced by " + k.ReplacedBy
		}
		return text
	case k.Status == KeyInactive:
		return "the key is inactive"
	case k.ExpiresAt != nil && now >= k.ExpiresAt.UnixMicro():
		return "the key expired at " + at(*k.ExpiresAt)
	case !sub.live && sub.mixed:
		return "one of the two keys, or the half that is presented of it, works no more"
	case !sub.live:
		return "it was rotated out, and works no more since " + at(fromMicros(sub.expires))
	case sub.expires < math.MaxInt64:
		return "the key is active; what is presented works until " + at(fromMicros(sub.expires))
	}
	return "the key is active"
}
