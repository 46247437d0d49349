package access

import (
	"github.com/tollgate/tollgate/controlplane/api"
)

// install hands the answer of op to the table, and does in the model what the contract says.
func (s *sim) install(op *simOp) {
	r := op.reply
	broken := r.Verdict == api.Voided
	if s.hostile && s.one(5) {
		known := "lease_0"
		for id, m := range s.byID {
			if !m.final {
				known = id
			}
		}
		r, broken = s.damaged(r, op, known), true
	}
	floor := s.l.changes.floor
	o := s.l.Install(op.flight, r, s.now())
	s.land(op)
	if broken != (o.Result == Broken) {
		s.t.Fatalf("reply %+v lease %+v to want %d: result %d", r, r.Lease, op.want, o.Result)
	}
	if broken {
		s.voided[op.n] = true
		return
	}
	s.advance(r.Epoch)
	outdated := r.Epoch < s.heardEpoch || s.overtaken(op, r)
	switch o.Result {
	case Installed:
		if outdated || op.mode != api.ModeLease {
			s.t.Fatalf("installed %+v, although %v", r, s)
		}
		s.add(op, r)
	case Outdated:
		m := s.model(op, r)
		if !outdated && r.Verdict == api.Granted && s.alive(m) && r.Cursor >= floor {
			s.t.Fatalf("outdated %+v, although %v", r, s)
		}
		m.stopped = true
		if r.Lease != nil && r.Lease.ID != "" {
			s.byID[r.Lease.ID] = m
		}
	case Denied:
		aboutOne := r.Verdict == api.KeyRestricted && op.mode == api.ModeStrict
		if m := s.current[op.cred]; m != nil && r.Verdict != api.InsufficientCredits && !aboutOne {
			m.stopped = true
		}
		if r.Lease != nil {
			s.add(op, r)
		}
	}
}

// overtaken reports whether a change has been heard that the reply does not take into account.
func (s *sim) overtaken(op *simOp, r *api.AcquireReply) bool {
	for _, c := range s.heard {
		if c.Seq > r.Cursor && concerns(c, op.cred) {
			return true
		}
	}
	return false
}

func (s *sim) model(op *simOp, r *api.AcquireReply) *model {
	m := &model{cred: op.cred, sent: op.sent, cursor: r.Cursor, epoch: r.Epoch}
	if r.Lease != nil {
		m.id, m.granted, m.ttl = r.Lease.ID, r.Lease.Credits, r.Lease.TTLMillis*nanosPerMilli
	}
	return m
}

// add has the model follow a lease, if it became the current one.
func (s *sim) add(op *simOp, r *api.AcquireReply) {
	i := s.l.byTag.find(s.tag(op.cred))
	if i < 0 || s.l.entries.at(i).lease == 0 {
		s.t.Fatal("nothing was installed")
	}
	ref := s.l.ref(s.l.entries.at(i).lease - 1)
	if s.byRef[ref] != nil {
		if r.Lease.ID != "" {
			s.t.Fatal("a lease with credits was not installed")
		}
		return
	}
	m := s.model(op, r)
	if was := s.current[op.cred]; was != nil {
		was.stopped = true
	}
	s.current[op.cred], s.byRef[ref] = m, m
	if r.Lease.ID != "" {
		s.byID[r.Lease.ID] = m
	}
}

func (s *sim) advance(epoch int64) {
	if epoch <= s.heardEpoch {
		return
	}
	s.heardEpoch, s.heard = epoch, nil
	for _, m := range s.byRef {
		m.stopped = true
	}
}

// sync sends what there is to report. The control plane may or may not get it, and its answer may take its time.
func (s *sim) sync() {
	if s.one(2) {
		s.l.Sweep(s.now())
	}
	reports, round, _ := s.l.Reports(nil, 1+s.rng.IntN(6), s.now())
	for _, p := range reports {
		m := s.byID[p.Lease]
		switch {
		case m == nil:
			s.t.Fatalf("report %+v of an unknown lease", p)
		case p.Used != m.charged || p.Final && m.held != 0 || m.final && !p.Final:
			s.t.Fatalf("report %+v of %+v", p, *m)
		}
		if p.Final {
			m.final, m.stopped = true, true
		}
	}
	if s.one(5) {
		return
	}
	req := &api.SyncRequest{Leases: reports, Cursor: s.l.Cursor(), Epoch: s.l.Epoch()}
	s.replies = append(s.replies, simReply{round, s.simServer.sync(req, s.real)})
}

// deliverSync delivers one of the answers under way, whichever; it may come again.
func (s *sim) deliverSync() {
	if len(s.replies) == 0 {
		return
	}
	i := s.rng.IntN(len(s.replies))
	d := s.replies[i]
	if !s.one(5) {
		s.replies = append(s.replies[:i], s.replies[i+1:]...)
	}
	if s.one(8) {
		return
	}
	s.synced(d)
}

func (s *sim) synced(d simReply) {
	s.l.Synced(d.round, d.reply)
	if d.reply.Epoch < s.heardEpoch {
		return
	}
	s.advance(d.reply.Epoch)
	if d.round > s.heardRound {
		s.heardRound = d.round
		for _, c := range d.reply.Changes {
			s.hear(c)
		}
	}
	for _, ack := range d.reply.Leases {
		if m := s.byID[ack.Lease]; m != nil && ack.Action != api.LeaseKeep {
			m.drained = true
			if ack.Action == api.LeaseDrain || s.roomy {
				m.stopped = true
			}
		}
	}
}

func (s *sim) hear(c api.Change) {
	s.heard = append(s.heard, c)
	for _, m := range s.byRef {
		if m.epoch == s.heardEpoch && (m.cursor < c.Seq || c.Kind == api.ChangeAll) && concerns(c, m.cred) {
			m.stopped = true
		}
	}
}

// finish heals the world: every hold is settled, time passes, every message arrives. Then every lease that was ever
// installed has been reported final with exactly what was charged, and the table is empty.
func (s *sim) finish() {
	for len(s.ops) > 0 {
		s.ops[0].reply = s.acquire(s.ops[0], s.real)
		s.install(s.ops[0])
	}
	for len(s.open) > 0 {
		s.settleOne()
	}
	s.hostile = false
	s.real += 10 * second
	finals := map[string]int64{}
	for range 50 {
		s.l.Sweep(s.now())
		reports, round, _ := s.l.Reports(nil, 7, s.now())
		for _, p := range reports {
			if p.Final {
				finals[p.Lease] = p.Used
			}
		}
		s.synced(simReply{round, s.simServer.sync(&api.SyncRequest{Leases: reports, Cursor: s.l.Cursor(), Epoch: s.l.Epoch()}, s.real)})
	}
	for id, m := range s.byID {
		if g := s.granted[id]; g != nil && !s.lying && (g.used != m.charged || !g.final) {
			s.t.Errorf("%s: the control plane has %+v of %+v", id, *g, *m)
		}
		if used, ok := finals[id]; !ok && !m.final || ok && used != m.charged {
			s.t.Errorf("%s: final report of %d (%t) for %+v", id, used, ok, *m)
		}
	}
	c := s.l.Counts()
	if c.Leases != 0 || c.Final != 0 || c.Credits != 0 || c.Identities != 0 || c.Holds != 0 || s.l.flights.leasing != 0 {
		s.t.Errorf("counts %+v, %d flights; want nothing left", c, s.l.flights.leasing)
	}
	s.l.Reports(nil, 1, s.now())
	if free := s.l.leaseFree.free; free != s.l.limits.places() {
		s.t.Errorf("%d of %d places are free at the end", free, s.l.limits.places())
	}
}
