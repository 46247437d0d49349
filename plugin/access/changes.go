package access

import "github.com/tollgate/tollgate/controlplane/api"

// recentChanges is how many changes are remembered. A reply that may have been overtaken by more than these is taken
// for outdated.
const recentChanges = 1_024

// Salts tell apart what a change is about. The ids they are mixed with are keyed hashes.
const (
	saltKey     uint64 = 0x1fb5c2d84e7a9036
	saltProject uint64 = 0x6d03e917ba42f58c
	saltAccount uint64 = 0xc8a61f3b0957de24
	saltCredits uint64 = 0x92e47d60f81b35ca
)

// changes are what the VM has been told, by which late replies are known to be late.
type changes struct {
	// The VM knows of every change up to cursor, of the database's epoch.
	cursor, epoch int64
	// identity is the newest change of a key, project, account or all, credits the newest of credits.
	identity, credits int64
	// A reply that does not take into account the changes up to floor may lack some that are not in recent.
	floor  int64
	recent [recentChanges]change
	n      int
	// batch holds the changes of one reply, by open addressing: empty where id is 0.
	batch [4 * recentChanges]change
}

// change is about id, which is salted; 0 stands for nothing.
type change struct {
	seq int64
	id  uint64
}

func newChanges() changes { return changes{} }

// begin starts at cursor instead of at the beginning of time, if nothing has been heard yet. Nothing may be live that an
// older change could be about.
func (c *changes) begin(cursor int64) {
	if c.cursor == 0 && cursor > 0 {
		c.reset(cursor)
	}
}

// reset forgets what changed up to cursor: whatever does not take all of that into account is outdated.
func (c *changes) reset(cursor int64) {
	c.cursor, c.floor, c.identity, c.credits, c.n = cursor, cursor, cursor, cursor, 0
}

// since reports whether something happened to one of ids after cursor, or may have.
func (c *changes) since(cursor int64, ids []uint64) bool {
	if cursor < c.floor {
		return true
	}
	for i := c.n - 1; i >= max(0, c.n-recentChanges); i-- {
		r := &c.recent[i%recentChanges]
		if r.seq <= cursor {
			return false
		}
		for _, id := range ids {
			if r.id == id {
				return true
			}
		}
	}
	return false
}

// covers reports whether d may still be given. Nobody knows which key a denial is about, so that a change of any ends
// it; of changes of credits those of its account, which clear it, or of any if that is unknown.
func (c *changes) covers(d *denial) bool {
	return d.cursor >= c.identity && (d.verdict != noCredits || d.account != 0 || d.cursor >= c.credits)
}

// add remembers one change, newer than cursor.
func (c *changes) add(r change) {
	slot := &c.recent[c.n%recentChanges]
	if c.n >= recentChanges {
		c.floor = max(c.floor, slot.seq)
	}
	*slot = r
	c.n++
	c.cursor = r.seq
	for i := r.id % uint64(len(c.batch)); ; i = (i + 1) % uint64(len(c.batch)) {
		if b := &c.batch[i]; b.id == 0 || b.id == r.id {
			*b = r
			return
		}
	}
}

// changed reports whether the batch has a change of id after cursor.
func (c *changes) changed(id uint64, cursor int64) bool {
	for i := id % uint64(len(c.batch)); ; i = (i + 1) % uint64(len(c.batch)) {
		switch b := &c.batch[i]; b.id {
		case id:
			return b.seq > cursor
		case 0:
			return false
		}
	}
}

// ids are the salted ids by which changes concern e.
func (e *lease) ids() []uint64 {
	ids := []uint64{e.key ^ saltKey, e.account ^ saltAccount}
	if e.project != 0 {
		ids = append(ids, e.project^saltProject)
	}
	return ids
}

// learn applies the changes of a reply: the leases they concern stop, and denials that they may end are forgotten. What
// takes a change into account already is left alone.
func (l *Leases) learn(reply *api.SyncReply) {
	c := &l.changes
	clear(c.batch[:])
	last, news := int64(0), false
	for i, h := range reply.Changes {
		id, known := l.changeID(h)
		switch {
		case !known || h.Seq <= last || i >= recentChanges:
			l.stopAll()
			c.reset(max(h.Seq, reply.Cursor, 0))
			return
		case h.Seq > c.cursor:
			c.add(change{h.Seq, id})
			news = true
			if h.Kind == api.ChangeCredits {
				c.credits = h.Seq
			} else {
				c.identity = h.Seq
			}
		}
		last = h.Seq
	}
	if news {
		l.applyBatch()
	}
}

// changeID returns what a change is about, or false if it is about everything.
func (l *Leases) changeID(h api.Change) (uint64, bool) {
	if h.ID == "" {
		return 0, false
	}
	hash := l.hash(h.ID)
	switch h.Kind {
	case api.ChangeKey:
		return hash ^ saltKey, true
	case api.ChangeProject:
		return hash ^ saltProject, true
	case api.ChangeAccount:
		return hash ^ saltAccount, true
	case api.ChangeCredits:
		return hash ^ saltCredits, true
	}
	return 0, false
}

// applyBatch looks at every lease and every denial once, however many changes there are.
func (l *Leases) applyBatch() {
	c := &l.changes
	for place := range l.leaseTop {
		e := l.leases.at(place)
		if !e.open || !e.live {
			continue
		}
		if c.changed(e.key^saltKey, e.cursor) || c.changed(e.account^saltAccount, e.cursor) ||
			e.project != 0 && c.changed(e.project^saltProject, e.cursor) {
			l.stop(place)
		}
	}
	for i := range l.denials.all {
		if d := &l.denials.all[i]; d.account != 0 && c.changed(d.account^saltCredits, d.cursor) {
			l.denials.forget(d.tag)
		}
	}
}

// stopAll stops every lease and forgets every denial.
func (l *Leases) stopAll() {
	for place := range l.leaseTop {
		if l.leases.at(place).open {
			l.stop(place)
		}
	}
	l.denials.clear()
}

// advance begins an epoch: what an older one granted is worth nothing, and its changes do not count. An epoch that is
// not newer is no news.
func (l *Leases) advance(epoch int64) {
	if epoch <= l.changes.epoch {
		return
	}
	l.stopAll()
	l.changes.reset(0)
	l.changes.epoch = epoch
	for i := range l.flights.all {
		l.flights.all[i].cursor = 0
	}
}
