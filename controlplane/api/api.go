// Package api is the wire contract between a gate (the filter inside the proxy) and the control plane:
// paths, message shapes, verdicts and limits, and the gate's own encoding of them: the filter links no encoding/json. Both
// sides import it; it imports the standard library and apikey/strictjson alone.
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

// Bounds of one sync and its reply. MaxSyncOps is of Void and Unpaid together.
const (
	MaxSyncOps     = 500
	MaxSyncLeases  = 1000
	MaxUsageRows   = 500
	MaxSyncChanges = 500
)

// Lengths that bound the identifiers a gate makes up. DigestHexLen is SHA-256 in lower-case hex.
const (
	MaxGateLen   = 128
	MaxBootLen   = 64
	MaxOpIDLen   = 128
	MaxSchemeLen = 64
	MaxIDLen     = 48
	MaxLabelLen  = 256
	MaxDigests   = 2
	DigestHexLen = 64

	maxTargetLen = 3 * 64
)

// Verdict is the outcome of an acquire. An unknown verdict means "could not decide".
type Verdict string

// The verdicts. All but Granted are denials; a denial moves no credits.
const (
	Granted           Verdict = "granted"
	UnknownKey        Verdict = "unknown_key"
	KeyPairMismatch   Verdict = "key_pair_mismatch"
	InactiveKey       Verdict = "inactive_key"
	AccountNotActive  Verdict = "account_not_active"
	DomainNotVerified Verdict = "domain_not_verified"
	// KeyRestricted: the key may not be used for this request, or by a gate that does not know its kind of Restriction.
	// It says nothing of other requests with the key.
	KeyRestricted       Verdict = "key_restricted"
	InsufficientCredits Verdict = "insufficient_credits"
	// Voided answers an acquire that its gate took back before it arrived.
	Voided Verdict = "voided"
)

// Mode says how credits are taken.
type Mode string

// ModeStrict takes exactly the cost of one request and captures it at once: nothing is left to settle, and
// the gate may keep nothing of the lease for another request.
const ModeStrict Mode = "strict"

// ModeLease reserves credits for the gate, which spends them by itself until they are used up or the lease's ttl has
// passed since it first sent the acquire, and reports in syncs what it has used.
const ModeLease Mode = "lease"

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
	// Want is how many credits the gate would like to hold: Cost to MaxCredits; under ModeStrict it equals Cost. The
	// control plane may grant less, but never less than Cost.
	Want int64 `json:"want"`
	Mode Mode  `json:"mode"`
	// Judges is the newest RestrictionVersion that the gate knows. Under ModeLease, where it is the gate that judges, a
	// restricted key is granted to no gate that knows less.
	Judges int64 `json:"judges,omitempty"`
	// Method, Path and Address are the request's, for a restricted key to be judged by under ModeStrict, before anything is
	// debited: its path decoded and without its query, of which MaxPathLen bytes are enough, and the client's address
	// with the port, as the proxy knows it. One that is missing is not allowed.
	Method  string `json:"method,omitempty"`
	Path    string `json:"path,omitempty"`
	Address string `json:"address,omitempty"`
}

// AcquireReply is the answer to an AcquireRequest.
type AcquireReply struct {
	// OpID repeats the request's.
	OpID    string  `json:"op_id"`
	Verdict Verdict `json:"verdict"`
	// Lease is set if Verdict is Granted and, under ModeLease, if it is InsufficientCredits: it then holds no credits,
	// and tells who is calling. Otherwise it is nil.
	Lease *Lease `json:"lease,omitempty"`
	// RetryMillis is how long the gate may give the same denial by itself, for this credential: 0 not at all. A change of
	// the key, its project or its account ends it early.
	RetryMillis int64 `json:"retry_ms,omitempty"`
	// Cursor is the newest Change that this reply takes into account, and Epoch the database's. Under ModeStrict both may
	// be 0.
	Cursor int64 `json:"cursor,omitempty"`
	Epoch  int64 `json:"epoch,omitempty"`
}

// Lease is what a granted acquire hands to the gate: credits and the identity they belong to.
type Lease struct {
	// ID names a lease that holds credits; it is empty under ModeStrict and where Credits is 0.
	ID string `json:"id,omitempty"`
	// Credits is what was taken from the balance. Under ModeStrict it equals the cost and is already spent; under
	// ModeLease it is reserved, 0 or at least the cost.
	Credits int64 `json:"credits"`
	// TTLMillis is how long the lease may be used, counted from the first time that its acquire was sent, 1 to
	// MaxTTLMillis; 0 under ModeStrict. Identity and policy are good for as long, also where Credits is 0.
	TTLMillis int64 `json:"ttl_ms,omitempty"`
	// Available is the account's balance after this operation, for people to see; others may be spending it.
	Available int64 `json:"available"`
	// Restriction says which requests the gate may let through under ModeLease; nil: all.
	Restriction *Restriction `json:"restriction,omitempty"`
	// Account, Project and Key are the ids the request is charged to. Project is empty for keys that belong
	// to an account directly.
	Account string `json:"account"`
	Project string `json:"project,omitempty"`
	Key     string `json:"key"`
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
	switch {
	case r.Mode != ModeStrict && r.Mode != ModeLease:
		p.add("mode", `"lease" or "strict"`)
	case r.Mode == ModeStrict && r.Want != r.Cost:
		p.add("want", `the value of cost under mode "strict"`)
	case r.Want < r.Cost || r.Want > MaxCredits:
		p.add("want", "an integer from cost to 2^53-1")
	}
	if r.Judges < 0 {
		p.add("judges", "0 or more")
	}
	// What a gate cannot encode takes three bytes for each.
	for _, f := range []struct {
		name, value string
		limit       int
	}{{"method", r.Method, maxTargetLen}, {"path", r.Path, 3 * MaxPathLen}, {"address", r.Address, maxTargetLen}} {
		if len(f.value) > f.limit {
			p.add(f.name, fmt.Sprintf("at most %d bytes", f.limit))
		}
	}
	return errors.Join(p...)
}

// Validate reports whether r is a whole answer to the acquire req: the same operation, a known verdict, and where there
// is a lease both ids, and credits and a ttl as req's mode has them. A gate treats an error as "could not decide".
func (r *AcquireReply) Validate(req *AcquireRequest) error {
	if r.OpID != req.OpID {
		return fmt.Errorf("%w: op_id: the reply is to another operation", ErrInvalid)
	}
	if r.RetryMillis < 0 || r.Cursor < 0 || r.Epoch < 0 {
		return fmt.Errorf("%w: retry_ms, cursor, epoch: expected 0 or more", ErrInvalid)
	}
	switch r.Verdict {
	case Granted:
		return r.Lease.validate(req)
	case InsufficientCredits:
		if r.Lease != nil && (req.Mode != ModeLease || r.Lease.Credits != 0) {
			return fmt.Errorf("%w: lease: expected none, or under mode lease one without credits", ErrInvalid)
		}
		if r.Lease == nil {
			return nil
		}
		return r.Lease.identified(req)
	case UnknownKey, KeyPairMismatch, InactiveKey, AccountNotActive, DomainNotVerified, KeyRestricted, Voided:
		if r.Lease != nil {
			return fmt.Errorf("%w: lease: a denial has none", ErrInvalid)
		}
		return nil
	}
	return fmt.Errorf("%w: verdict: not one of the known verdicts", ErrInvalid)
}

func (l *Lease) validate(req *AcquireRequest) error {
	if err := l.identified(req); err != nil {
		return err
	}
	held := l.Credits > 0 && req.Mode == ModeLease
	switch {
	case req.Mode == ModeStrict && l.Credits != req.Cost:
		return fmt.Errorf("%w: lease.credits: expected the cost", ErrInvalid)
	case l.Credits < req.Cost || l.Credits > max(req.Want, req.Cost):
		return fmt.Errorf("%w: lease.credits: expected cost to want", ErrInvalid)
	case held != id(l.ID):
		return fmt.Errorf("%w: lease.id: expected one if and only if the lease holds credits", ErrInvalid)
	}
	return nil
}

// identified checks everything but the credits.
func (l *Lease) identified(req *AcquireRequest) error {
	if l == nil || !id(l.Account) || !id(l.Key) || l.Project != "" && !id(l.Project) {
		return fmt.Errorf("%w: lease: expected an account and a key, of 1 to %d visible ASCII characters", ErrInvalid, MaxIDLen)
	}
	if req.Mode == ModeLease && (l.TTLMillis < 1 || l.TTLMillis > MaxTTLMillis) {
		return fmt.Errorf("%w: lease.ttl_ms: expected 1 to %d", ErrInvalid, MaxTTLMillis)
	}
	if l.Restriction != nil {
		return l.Restriction.Validate()
	}
	return nil
}

// id reports whether s can be an id, and so can stand in a header.
func id(s string) bool { return s != "" && len(s) <= MaxIDLen && visible(s) }

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
