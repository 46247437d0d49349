package access

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
)

// model is what a lease may do, told in the simplest way.
type model struct {
	cred                   int
	id                     string
	granted, charged, held int64
	sent                   Instant
	ttl, cursor, epoch     int64
	stopped, final         bool
	// lapsed: it was once too old at the end of a step; drained: the control plane may have told it to stop.
	lapsed, drained bool
}

type modelHold struct {
	hold   Hold
	of     *model
	amount int64
	opened int64
}

type simReply struct {
	round Round
	reply *api.SyncReply
}

// sim drives one table through a lossy world, and compares it with the models of its leases.
type sim struct {
	t   *testing.T
	rng *rand.Rand
	l   *Leases
	*simServer
	limits Limits
	// Real time and what the clocks make of it, in nanoseconds.
	real, slept, wallOff int64
	clockSteps           bool

	byRef   map[LeaseRef]*model
	byID    map[string]*model
	current [simCreds]*model
	open    []modelHold
	settled []Hold
	ops     []*simOp
	landed  []*simOp
	replies []simReply
	// What the gate has heard: changes of the epoch, and the newest sync that was answered.
	heard      []api.Change
	heardEpoch int64
	heardRound Round
	admitted   int64
	opCount    int
	// roomy: nothing is evicted, so that it is known what has to be admitted.
	roomy bool
}

func newSim(t *testing.T, seed uint64, limits Limits, clockSteps, hostile bool) *sim {
	rng := rand.New(rand.NewPCG(seed, 5))
	return &sim{
		t: t, rng: rng, l: NewLeases(limits, [16]byte{byte(seed), 9}), limits: limits,
		simServer: &simServer{t: t, rng: rng, epoch: 1, granted: map[string]*simLease{}, answers: map[int]*api.AcquireReply{},
			voided: map[int]bool{}, hostile: hostile, lying: hostile},
		clockSteps: clockSteps, byRef: map[LeaseRef]*model{}, byID: map[string]*model{}, roomy: limits.Keys >= simCreds,
	}
}

func (s *sim) now() Instant {
	return Instant{Mono: 1_000*second + s.real - s.slept, Wall: 1_700_000_000*second + s.real + s.wallOff}
}

func (s *sim) tag(cred int) Tag { return s.l.Tag(cred%2, simKey(cred), "x") }

func TestSimulation(t *testing.T) {
	t.Parallel()
	roomy := Limits{Keys: 16, Flights: 12, Holds: 12, Denials: 16, UnknownPerSecond: 1_000, UnknownBurst: 1_000, Slab: 40}
	tight := Limits{Keys: 3, Flights: 2, Holds: 3, Denials: 2, UnknownPerSecond: 20, UnknownBurst: 3, Slab: 40, Restrictions: 2}
	for _, c := range []struct {
		name                string
		limits              Limits
		clockSteps, hostile bool
	}{
		{"roomy", roomy, false, false},
		{"roomy, clocks are set and stand still", roomy, true, false},
		{"tight, clocks are set and stand still", tight, true, false},
		{"tight, hostile control plane", tight, false, true},
		{"roomy, hostile control plane", roomy, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var admitted, leases int64
			for seed := range uint64(150) {
				s := newSim(t, seed, c.limits, c.clockSteps, c.hostile)
				for range 1_500 {
					s.step()
					s.settleClocks()
				}
				s.finish()
				admitted += s.admitted
				leases += int64(s.leases)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			if admitted < 1_000 || leases < 500 {
				t.Errorf("admitted %d credits of %d leases: nothing much was tried", admitted, leases)
			}
		})
	}
}

func (s *sim) step() {
	switch n := s.rng.IntN(100); {
	case n < 35:
		s.request()
	case n < 45:
		s.settleOne()
	case n < 70:
		s.moveOp()
	case n < 80:
		s.sync()
	case n < 88:
		s.deliverSync()
	case n < 92:
		s.l.Sweep(s.now())
	case n < 94:
		s.change()
	case n == 94 && s.one(20):
		s.restore()
	default:
		s.pass()
	}
}

// pass lets time go by, and sometimes has a clock jump or the machine sleep.
func (s *sim) pass() {
	s.real += s.rng.Int64N(200 * nanosPerMilli)
	if !s.clockSteps || !s.one(12) {
		return
	}
	switch s.rng.IntN(3) {
	case 0:
		s.wallOff += 3_600 * second
	case 1:
		s.wallOff -= 3_600 * second
	default:
		sleep := s.rng.Int64N(4 * second)
		s.real += sleep
		s.slept += sleep
	}
}

// settleClocks notes which leases are too old by now.
func (s *sim) settleClocks() {
	for _, m := range s.byRef {
		if !s.alive(m) {
			m.lapsed = true
		}
	}
}

// alive is the rule of the deadline, told once more.
func (s *sim) alive(m *model) bool {
	now := s.now()
	mono, wall := now.Mono-m.sent.Mono, now.Wall-m.sent.Wall
	return mono >= 0 && mono < m.ttl && wall >= 0 && wall < m.ttl
}

func (s *sim) request() {
	cred, cost, hold := s.rng.IntN(simCreds), s.rng.Int64N(6), s.one(3)
	now := s.now()
	var a Admission
	if hold {
		a = s.l.AdmitHeld(s.tag(cred), cost, now)
	} else {
		a = s.l.Admit(s.tag(cred), cost, now)
	}
	s.restricted(cred, a)
	m := s.current[cred]
	if a.Standing == Admitted {
		s.admit(cred, cost, a)
	} else if m != nil && s.roomy && !m.stopped && !m.lapsed && !m.drained && m.granted-m.charged-m.held >= cost &&
		(a.Standing != NoDecision || len(s.open) < s.limits.Holds) {
		s.t.Fatalf("not admitted (%d): cost %d of %+v", a.Standing, cost, *m)
	}
	switch {
	case a.Renew:
		s.sent(cred, cost, s.l.Renew(s.tag(cred), cost, now))
	case a.Standing == NoLease && s.one(8):
		s.sent(cred, cost, s.l.AskStrict(s.tag(cred), cost, now))
	case a.Standing == NoLease:
		s.sent(cred, cost, s.l.Ask(s.tag(cred), cost, now))
	}
}

// restricted checks that a key is known with its own restriction.
func (s *sim) restricted(cred int, a Admission) {
	want := simRestriction(cred)
	if a.Lease == (LeaseRef{}) && a.Restriction == 0 || a.Lease != (LeaseRef{}) && (want == nil) == (a.Restriction == 0) {
		if a.Restriction == 0 || s.l.Rules(a.Restriction).AllowsRoute("GET", want.Routes[0].Path) {
			return
		}
	}
	s.t.Fatalf("credential %d is restricted as %d", cred, a.Restriction)
}

// admit checks one admission against the model, and books it there.
func (s *sim) admit(cred int, cost int64, a Admission) {
	m := s.byRef[a.Lease]
	switch {
	case m == nil || m.cred != cred:
		s.t.Fatalf("admitted on a lease that was never installed for it")
	case m.stopped || m.final || !s.alive(m) || m.epoch != s.heardEpoch:
		s.t.Fatalf("admitted on a lease that has ended: %+v at %+v", *m, s.now())
	case m.charged+m.held+cost > m.granted:
		s.t.Fatalf("admitted %d more of %+v", cost, *m)
	}
	// With clocks that only run, the control plane may close a lease one ttl after it has granted it.
	if g := s.granted[m.id]; g != nil && !s.clockSteps && s.real >= g.closes {
		s.t.Fatalf("admitted at %d on a lease that closed: %+v", s.real, *g)
	}
	if id, ok := s.l.Identity(a.Lease); !ok || id != (Identity{simAccount(cred), simProject(cred), simKey(cred)}) {
		s.t.Fatalf("admitted as %s %s %s", id.Account, id.Project, id.Key)
	}
	s.admitted += cost
	if a.Hold != (Hold{}) {
		m.held += cost
		s.open = append(s.open, modelHold{a.Hold, m, cost, s.now().Mono})
		return
	}
	m.charged += cost
}

func (s *sim) settleOne() {
	if len(s.settled) > 0 && s.one(3) {
		s.l.Settle(s.settled[s.rng.IntN(len(s.settled))], s.rng.Int64N(9))
	}
	if len(s.open) == 0 {
		return
	}
	h := shuffle(s.rng, &s.open)
	charge := s.rng.Int64N(12) - 3
	s.l.Settle(h.hold, charge)
	h.of.held -= h.amount
	h.of.charged += max(0, min(charge, h.amount))
	s.settled = append(s.settled, h.hold)
}

func (s *sim) sent(cred int, cost int64, a Asking) {
	if a.Turn != Send {
		return
	}
	if a.Want < cost || a.Want > max(cost, s.limits.Slab) || a.Mode == api.ModeStrict && a.Want != cost {
		s.t.Fatalf("asking %+v for %d", a, cost)
	}
	if s.one(3) {
		if raised := s.l.Raise(a.Flight, s.rng.Int64N(60)); raised >= a.Want && raised <= max(a.Want, s.limits.Slab) {
			a.Want = raised
		} else {
			s.t.Fatalf("asking %+v, raised to %d", a, raised)
		}
	}
	s.opCount++
	s.ops = append(s.ops, &simOp{n: s.opCount, cred: cred, cost: cost, want: a.Want, mode: a.Mode, flight: a.Flight,
		sent: s.now()})
}

// moveOp has something happen to an acquire: it arrives, its answer arrives, once more, damaged, or too late.
func (s *sim) moveOp() {
	if len(s.landed) > 0 && s.one(4) {
		op := s.landed[s.rng.IntN(len(s.landed))]
		if o := s.l.Install(op.flight, s.acquire(op, s.real), s.now()); o.Result != Ignored {
			s.t.Fatalf("a flight landed twice: %+v", o)
		}
		return
	}
	if len(s.ops) == 0 {
		return
	}
	op := s.ops[s.rng.IntN(len(s.ops))]
	switch {
	case s.one(2):
		op.reply = s.acquire(op, s.real)
	case s.one(8):
		s.l.Failed(op.flight, s.now())
		s.land(op)
		s.voided[op.n] = true
	case op.reply != nil:
		s.install(op)
	}
}

func (s *sim) land(op *simOp) {
	for i := range s.ops {
		if s.ops[i] == op {
			s.ops = append(s.ops[:i], s.ops[i+1:]...)
			break
		}
	}
	s.landed = append(s.landed, op)
}

func (s *sim) String() string { return fmt.Sprintf("heard %v of epoch %d", s.heard, s.heardEpoch) }
