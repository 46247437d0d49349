package access

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
)

const simCreds = 9

func simKey(cred int) string     { return fmt.Sprint("key_", cred) }
func simAccount(cred int) string { return fmt.Sprint("acct_", cred%4) }

// simProject is empty for every other credential.
func simProject(cred int) string {
	if cred%2 == 1 {
		return ""
	}
	return fmt.Sprint("proj_", cred/3)
}

// concerns reports whether a change of c is one of the credential's leases.
func concerns(c api.Change, cred int) bool {
	switch c.Kind {
	case api.ChangeKey:
		return c.ID == simKey(cred)
	case api.ChangeProject:
		return c.ID == simProject(cred)
	case api.ChangeAccount:
		return c.ID == simAccount(cred)
	case api.ChangeCredits:
		return false
	}
	return true
}

// simServer is a control plane that decides by lot, and keeps simple books of what it is told.
type simServer struct {
	t       *testing.T
	rng     *rand.Rand
	epoch   int64
	changes []api.Change
	granted map[string]*simLease
	answers map[int]*api.AcquireReply
	voided  map[int]bool
	leases  int
	// hostile: it answers what it should not. Lying: it did so at some time, and may have dropped a lease unheard.
	hostile, lying bool
}

type simLease struct {
	granted, used, closes int64
	final                 bool
}

func (s *simServer) one(n int) bool { return s.rng.IntN(n) == 0 }

func (s *simServer) cursor() int64 { return int64(len(s.changes)) }

func (s *simServer) change() {
	kinds := []api.ChangeKind{api.ChangeKey, api.ChangeKey, api.ChangeProject, api.ChangeAccount, api.ChangeCredits}
	cred := s.rng.IntN(simCreds)
	kind := kinds[s.rng.IntN(len(kinds))]
	id := map[api.ChangeKind]string{api.ChangeKey: simKey(cred), api.ChangeProject: "proj_0",
		api.ChangeAccount: simAccount(cred), api.ChangeCredits: simAccount(cred)}[kind]
	if s.one(30) {
		kind, id = api.ChangeAll, ""
	}
	s.changes = append(s.changes, api.Change{Seq: s.cursor() + 1, Kind: kind, ID: id})
}

// restore begins an epoch in which nothing is known.
func (s *simServer) restore() {
	s.epoch++
	s.changes = nil
	clear(s.granted)
	clear(s.answers)
}

// acquire answers op at the real time now, the same each time.
func (s *simServer) acquire(op *simOp, now int64) *api.AcquireReply {
	if r := s.answers[op.n]; r != nil {
		return r
	}
	r := &api.AcquireReply{OpID: fmt.Sprint("boot-", op.n), Cursor: s.cursor(), Epoch: s.epoch, Verdict: api.Granted}
	switch {
	case s.voided[op.n]:
		r.Verdict = api.Voided
		return r
	case s.one(12):
		r.Verdict = deniedVerdicts[s.rng.IntN(len(deniedVerdicts))]
		r.RetryMillis = s.rng.Int64N(3) * 400
	}
	if r.Verdict == api.Granted || r.Verdict == api.InsufficientCredits && op.mode == api.ModeLease && s.one(2) {
		r.Lease = s.lease(op, r.Verdict == api.Granted, now)
	}
	s.answers[op.n] = r
	return r
}

func (s *simServer) lease(op *simOp, credits bool, now int64) *api.Lease {
	l := &api.Lease{Available: 100, Account: simAccount(op.cred), Project: simProject(op.cred), Key: simKey(op.cred)}
	if op.mode == api.ModeStrict {
		l.Credits = op.cost
		return l
	}
	l.TTLMillis = 200 + s.rng.Int64N(3_000)
	l.Restriction = simRestriction(op.cred)
	if credits && op.want > 0 {
		l.Credits = op.cost + s.rng.Int64N(op.want-op.cost+1)
	}
	if l.Credits > 0 {
		s.leases++
		l.ID = fmt.Sprint("lease_", s.leases)
		s.granted[l.ID] = &simLease{granted: l.Credits, closes: now + l.TTLMillis*nanosPerMilli}
	}
	return l
}

// simRestriction has every fourth key anywhere, and the others share three restrictions.
func simRestriction(cred int) *api.Restriction {
	if cred%4 == 0 {
		return nil
	}
	return &api.Restriction{Routes: []api.RouteRule{{Path: fmt.Sprint("/", cred%4)}}}
}

// damaged is a copy of r that is not an answer to any acquire.
func (s *simServer) damaged(r *api.AcquireReply, op *simOp, known string) *api.AcquireReply {
	c := *r
	if c.Lease == nil || c.Verdict != api.Granted || s.one(4) {
		c.Verdict = "perhaps"
		return &c
	}
	l := *c.Lease
	c.Lease = &l
	switch s.rng.IntN(4) {
	case 0:
		l.Credits = max(op.want, op.cost) + 1 + s.rng.Int64N(api.MaxCredits)
	case 1:
		l.TTLMillis = []int64{-1, api.MaxTTLMillis + 1}[s.rng.IntN(2)]
	case 2:
		l.Key = ""
	default:
		l.Credits, l.ID = -1, known
	}
	if op.mode == api.ModeStrict {
		l.Credits = op.cost + 1
	}
	return &c
}

// sync answers reports as the contract says. It fails the test for what a gate must never report.
func (s *simServer) sync(req *api.SyncRequest, now int64) *api.SyncReply {
	r := &api.SyncReply{Cursor: req.Cursor, Epoch: s.epoch}
	for _, p := range req.Leases {
		r.Leases = append(r.Leases, s.report(p, now))
	}
	after := req.Cursor
	if req.Epoch != s.epoch || after > s.cursor() {
		after = 0
	}
	for _, c := range s.changes[after:min(after+5, s.cursor())] {
		r.Changes = append(r.Changes, c)
		r.Cursor = c.Seq
	}
	if s.hostile && s.one(2) {
		r.Leases = append(r.Leases, api.LeaseAck{Lease: fmt.Sprint("lease_", s.rng.IntN(s.leases+2)),
			Used: s.rng.Int64N(50) - 5, Action: []api.LeaseAction{"keep", "drain", "drop", "x"}[s.rng.IntN(4)]})
	}
	return r
}

func (s *simServer) report(p api.LeaseReport, now int64) api.LeaseAck {
	l := s.granted[p.Lease]
	if l == nil {
		return api.LeaseAck{Lease: p.Lease, Action: api.LeaseDrop}
	}
	if p.Used > l.granted || p.Used < 0 || l.final && p.Used > l.used {
		s.t.Fatalf("report %+v of a lease of %d, final %t at %d", p, l.granted, l.final, l.used)
	}
	l.used = max(l.used, p.Used)
	l.final = l.final || p.Final
	ack := api.LeaseAck{Lease: p.Lease, Used: l.used, Action: api.LeaseKeep}
	switch {
	case l.final || now >= l.closes:
		ack.Action = api.LeaseDrop
	case s.one(20):
		ack.Action = api.LeaseDrain
	}
	return ack
}

// simOp is an acquire of the gate.
type simOp struct {
	n, cred    int
	cost, want int64
	mode       api.Mode
	flight     Flight
	sent       Instant
	reply      *api.AcquireReply
}

// shuffle removes and returns one element of list.
func shuffle[T any](rng *rand.Rand, list *[]T) T {
	i := rng.IntN(len(*list))
	x := (*list)[i]
	*list = slices.Delete(*list, i, i+1)
	return x
}
