// Package api is the wire contract between a gate (the filter inside the proxy) and the control plane:
// paths, message shapes, verdicts and limits. Both sides import it; it imports the standard library alone.
//
// Every business outcome is HTTP 200 with a [Verdict]. Any other status, and any body that does not decode
// into the reply, means "could not decide": the gate applies its failure policy and must not guess.
package api

import (
	"errors"
	"fmt"
)

// AcquirePath takes a POSTed [AcquireRequest] and answers with an [AcquireReply]. The gate authenticates
// with "Authorization: Bearer <gate token>".
const AcquirePath = "/gate/v1/acquire"

// SyncPath takes a POSTed [SyncRequest] and answers with a [SyncReply], under the same authentication.
const SyncPath = "/gate/v1/sync"

// MaxCredits is the largest amount or balance on the wire, in credits: 2^53−1, the largest integer that
// every JSON implementation keeps exact (RFC 8259 §6).
const MaxCredits = 1<<53 - 1

// MaxMessageBytes bounds the request and reply body of an acquire, MaxSyncBytes those of a sync. A longer one is
// refused unread.
const (
	MaxMessageBytes = 16 << 10
	MaxSyncBytes    = 256 << 10
)

// MaxSyncOps bounds Void and Unpaid of one sync together.
const MaxSyncOps = 500

// Lengths that bound the identifiers a gate makes up. DigestHexLen is SHA-256 in lower-case hex.
const (
	MaxGateLen   = 128
	MaxBootLen   = 64
	MaxOpIDLen   = 128
	MaxSchemeLen = 64
	MaxDigests   = 2
	DigestHexLen = 64
)

// Verdict is the outcome of an acquire. An unknown verdict means "could not decide".
type Verdict string

// The verdicts. All but Granted are denials; a denial moves no credits.
const (
	Granted             Verdict = "granted"
	UnknownKey          Verdict = "unknown_key"
	KeyPairMismatch     Verdict = "key_pair_mismatch"
	InactiveKey         Verdict = "inactive_key"
	AccountNotActive    Verdict = "account_not_active"
	DomainNotVerified   Verdict = "domain_not_verified"
	InsufficientCredits Verdict = "insufficient_credits"
	// Voided answers an acquire that its gate took back before it arrived.
	Voided Verdict = "voided"
)

// Mode says how credits are taken.
type Mode string

// ModeStrict takes exactly the cost of one request and captures it at once: nothing is left to settle, and
// the gate may keep nothing of the lease for another request.
const ModeStrict Mode = "strict"

// AcquireRequest asks for the credits of one request.
type AcquireRequest struct {
	// Gate names the proxy, for people reading the ledger; 1 to MaxGateLen bytes. It grants nothing: what a
	// gate may do follows from its token.
	Gate string `json:"gate"`
	// Boot is random, made by one VM on its first acquire; 1 to MaxBootLen bytes.
	Boot string `json:"boot"`
	// OpID names this operation once and for all: Boot, "-" and more, at most MaxOpIDLen bytes. The same OpID
	// with the same body gets the same reply and moves credits at most once; with another body it is refused
	// with status 409.
	OpID string `json:"op_id"`
	// Scheme is the name of the credential scheme, 1 to MaxSchemeLen bytes.
	Scheme string `json:"scheme"`
	// Digests are SHA-256 of each secret of the credential, in lower-case hex: one for a secret key, two
	// (publishable, secret) for a pair. The secrets themselves never travel.
	Digests []string `json:"digests"`
	// Cost is the price of the request in credits, 0 to MaxCredits. At 0 no balance is asked for.
	Cost int64 `json:"cost"`
	// Want is how many credits the gate would like to hold; under ModeStrict it equals Cost.
	Want int64 `json:"want"`
	Mode Mode  `json:"mode"`
}

// AcquireReply is the answer to an AcquireRequest.
type AcquireReply struct {
	// OpID repeats the request's.
	OpID    string  `json:"op_id"`
	Verdict Verdict `json:"verdict"`
	// Lease is set if and only if Verdict is Granted.
	Lease *Lease `json:"lease,omitempty"`
}

// Lease is what a granted acquire hands to the gate: credits and the identity they belong to.
type Lease struct {
	// Credits is what was taken from the balance. Under ModeStrict it equals the cost and is already spent.
	Credits int64 `json:"credits"`
	// Available is the account's balance after this operation, for people to see; others may be spending it.
	Available int64 `json:"available"`
	// Account, Project and Key are the ids the request is charged to. Project is empty for keys that belong
	// to an account directly.
	Account string `json:"account"`
	Project string `json:"project,omitempty"`
	Key     string `json:"key"`
}

// SyncRequest reports what became of earlier operations of the same boot. Everything in it may be repeated until
// acknowledged.
type SyncRequest struct {
	Gate string `json:"gate"`
	Boot string `json:"boot"`
	// Void lists acquires whose answers reached no live request: their debits are reversed, and those that have
	// not arrived yet will not debit.
	Void []string `json:"void,omitempty"`
	// Unpaid lists requests that were let through although nobody could decide.
	Unpaid []Unpaid `json:"unpaid,omitempty"`
}

// Unpaid is a request that was served undecided. If its acquire was debited after all, it is paid; otherwise its
// cost is written off to the account of the key, and the acquire will not debit any more.
type Unpaid struct {
	OpID    string   `json:"op_id"`
	Scheme  string   `json:"scheme"`
	Digests []string `json:"digests"`
	Cost    int64    `json:"cost"`
}

// SyncReply acknowledges every operation of the request that is settled: it need not be reported again.
type SyncReply struct {
	Acked []string `json:"acked"`
}

// ErrInvalid is wrapped by what Validate returns.
var ErrInvalid = errors.New("invalid gate message")

// problems collects what is out of range in a message.
type problems []error

func (p *problems) add(field, want string) {
	*p = append(*p, fmt.Errorf("%w: %s: expected %s", ErrInvalid, field, want))
}

func (p *problems) name(field, value string, limit int) {
	if value == "" || len(value) > limit || !visible(value) {
		p.add(field, fmt.Sprintf("1 to %d visible ASCII characters", limit))
	}
}

func (p *problems) opID(field, value, boot string) {
	if len(value) > MaxOpIDLen || len(value) <= len(boot)+1 || value[:len(boot)] != boot || value[len(boot)] != '-' || !visible(value) {
		p.add(field, fmt.Sprintf(`the boot, "-" and more, at most %d visible ASCII characters`, MaxOpIDLen))
	}
}

func (p *problems) credential(prefix, scheme string, digests []string, cost int64) {
	p.name(prefix+"scheme", scheme, MaxSchemeLen)
	if len(digests) < 1 || len(digests) > MaxDigests {
		p.add(prefix+"digests", fmt.Sprintf("1 to %d entries", MaxDigests))
	}
	for i, d := range digests {
		if !lowerHex(d) || len(d) != DigestHexLen {
			p.add(fmt.Sprintf("%sdigests[%d]", prefix, i), fmt.Sprintf("%d lower-case hex characters", DigestHexLen))
		}
	}
	if cost < 0 || cost > MaxCredits {
		p.add(prefix+"cost", "an integer from 0 to 2^53-1")
	}
}

// Validate reports every field of r that is out of its documented range, joined, each naming the field. It
// echoes no digest.
func (r *AcquireRequest) Validate() error {
	var p problems
	p.name("gate", r.Gate, MaxGateLen)
	p.name("boot", r.Boot, MaxBootLen)
	p.opID("op_id", r.OpID, r.Boot)
	p.credential("", r.Scheme, r.Digests, r.Cost)
	if r.Mode != ModeStrict {
		p.add("mode", `"strict"`)
	} else if r.Want != r.Cost {
		p.add("want", `the value of cost under mode "strict"`)
	}
	return errors.Join(p...)
}

// Validate reports every field of r that is out of its documented range, as AcquireRequest's does.
func (r *SyncRequest) Validate() error {
	var p problems
	p.name("gate", r.Gate, MaxGateLen)
	p.name("boot", r.Boot, MaxBootLen)
	if len(r.Void)+len(r.Unpaid) > MaxSyncOps {
		p.add("void, unpaid", fmt.Sprintf("at most %d entries together", MaxSyncOps))
		return errors.Join(p...)
	}
	for i, op := range r.Void {
		p.opID(fmt.Sprintf("void[%d]", i), op, r.Boot)
	}
	for i, u := range r.Unpaid {
		field := fmt.Sprintf("unpaid[%d].", i)
		p.opID(field+"op_id", u.OpID, r.Boot)
		p.credential(field, u.Scheme, u.Digests, u.Cost)
	}
	return errors.Join(p...)
}

// Validate reports whether r is a whole answer to the acquire req: the same operation, a known verdict, and
// under Granted exactly the cost and both ids. A gate treats an error as "could not decide".
func (r *AcquireReply) Validate(req *AcquireRequest) error {
	if r.OpID != req.OpID {
		return fmt.Errorf("%w: op_id: the reply is to another operation", ErrInvalid)
	}
	switch r.Verdict {
	case Granted:
		if r.Lease == nil || !id(r.Lease.Account) || !id(r.Lease.Key) || r.Lease.Project != "" && !id(r.Lease.Project) {
			return fmt.Errorf("%w: lease: expected an account and a key, of visible ASCII characters", ErrInvalid)
		}
		if r.Lease.Credits != req.Cost {
			return fmt.Errorf("%w: lease.credits: expected the cost", ErrInvalid)
		}
		return nil
	case UnknownKey, KeyPairMismatch, InactiveKey, AccountNotActive, DomainNotVerified, InsufficientCredits, Voided:
		if r.Lease != nil {
			return fmt.Errorf("%w: lease: a denial has none", ErrInvalid)
		}
		return nil
	}
	return fmt.Errorf("%w: verdict: not one of the known verdicts", ErrInvalid)
}

// id reports whether s can be an id, and so can stand in a header.
func id(s string) bool { return s != "" && len(s) <= MaxOpIDLen && visible(s) }

func visible(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

func lowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
