package access

import "github.com/tollgate/tollgate/controlplane/api"

// denials are what the control plane has refused lately, by credential. They are a table of their own, so that no flood
// of unknown keys displaces a lease; the oldest makes room for the next.
type denials struct {
	// all grows to most, and then begins again at next.
	all   []denial
	most  int
	byTag tagIndex
	next  int
}

// denial may be given again for span nanoseconds from at, to a request of at least cost.
type denial struct {
	tag  Tag
	at   Instant
	span int64
	cost int64
	// It takes into account every change up to cursor.
	cursor int64
	// account is the hash of the account's id, 0 if that is unknown.
	account uint64
	// verdict is an index of deniedVerdicts.
	verdict uint8
}

// deniedVerdicts are the denials by number, so that a table of them holds no pointers.
var deniedVerdicts = [...]api.Verdict{api.UnknownKey, api.KeyPairMismatch, api.InactiveKey, api.AccountNotActive,
	api.DomainNotVerified, api.KeyRestricted, api.InsufficientCredits}

// noCredits is the number of api.InsufficientCredits.
const noCredits = uint8(len(deniedVerdicts) - 1)

func newDenials(n int) denials { return denials{most: n, byTag: newTagIndex()} }

// add remembers d in place of what was known of its credential.
func (s *denials) add(d denial) {
	if i := s.byTag.find(d.tag); i >= 0 {
		s.all[i] = d
		return
	}
	if len(s.all) < s.most {
		s.all = append(s.all, denial{})
	}
	i := s.next
	s.next = (s.next + 1) % s.most
	if o := &s.all[i]; o.span > 0 {
		s.byTag.remove(o.tag)
	}
	s.all[i] = d
	s.byTag.put(d.tag, int32(i))
}

func (s *denials) forget(t Tag) {
	if i := s.byTag.find(t); i >= 0 {
		s.byTag.remove(t)
		s.all[i] = denial{}
	}
}

func (s *denials) clear() {
	clear(s.all)
	s.byTag.clear()
}

// Denied returns the verdict by which a request is to be refused without asking, if there is one.
func (l *Leases) Denied(t Tag, cost int64, now Instant) (api.Verdict, bool) {
	i := l.denials.byTag.find(t)
	if i < 0 {
		return "", false
	}
	d := &l.denials.all[i]
	if cost < d.cost || !now.within(d.at, d.span) || !l.changes.covers(d) {
		return "", false
	}
	l.counts.DenialHits++
	return deniedVerdicts[d.verdict], true
}
