package access

import "github.com/tollgate/tollgate/controlplane/api"

// maxRestrictions bounds how many different restrictions a VM keeps. Keys with the same one share it.
const maxRestrictions = 8_192

// RestrictionRef points to what a key may be used for; the zero value is everything. It is good until the next call of
// Install or Synced.
type RestrictionRef int32

// Where is a request as restrictions see it: its path is decoded and without its query, the address the client's, with its
// port.
type Where struct{ Method, Path, Address string }

// restrictions are those of the live leases, each once. They are a table of their own, so that a lease holds but a number;
// one that was not judged by lately makes room for the next, and its leases end.
type restrictions struct {
	all   blocks[restriction]
	free  freeList
	byTag tagIndex
	hand  int32
}

type restriction struct {
	rules *api.Rules
	// leases counts those that are live.
	leases int32
	// recent: somebody was judged by it since the hand that looks for one to drop came by.
	recent bool
}

// intern returns the restriction r, 0 for none. It counts one more lease of it.
func (l *Leases) intern(r *api.Restriction) RestrictionRef {
	if r.Empty() {
		return 0
	}
	s := &l.restrictions
	tag := l.key.id(restrictionText(r))
	i := s.byTag.find(tag)
	if i < 0 {
		if s.free.free == 0 {
			l.dropRestriction()
		}
		i = s.free.take()
		s.byTag.put(tag, i)
		s.all.reserve(i)
		*s.all.at(i) = restriction{rules: r.Rules(), recent: true}
	}
	s.all.at(i).leases++
	return RestrictionRef(i + 1)
}

// restrictionText tells r from others: no valid text in it holds a zero, or is empty but for one of a rule's paths.
func restrictionText(r *api.Restriction) string {
	var b []byte
	text := func(s string) { b = append(append(b, s...), 0) }
	for i := range r.Routes {
		rule := &r.Routes[i]
		text(rule.Path)
		text(rule.Prefix)
		for _, m := range rule.Methods {
			text(m)
		}
		b = append(b, 1)
	}
	b = append(b, 2)
	for _, ip := range r.AllowedIPs {
		text(ip)
	}
	return string(b)
}

// dropRestriction makes room for one.
func (l *Leases) dropRestriction() {
	s := &l.restrictions
	for range l.limits.Restrictions {
		s.hand = (s.hand + 1) % int32(l.limits.Restrictions)
		o := s.all.at(s.hand)
		if !o.recent {
			break
		}
		o.recent = false
	}
	victim := RestrictionRef(s.hand + 1)
	for place := range l.leaseTop {
		if e := l.leases.at(place); e.open && e.live && e.restriction == victim {
			l.stop(place)
		}
	}
}

// release is for a lease that has come to its end.
func (l *Leases) release(r RestrictionRef) {
	if r == 0 {
		return
	}
	s := &l.restrictions
	o := s.all.at(int32(r - 1))
	if o.leases--; o.leases > 0 {
		return
	}
	s.byTag.remove(s.byTag.tag(int32(r - 1)))
	*o = restriction{}
	s.free.give(int32(r - 1))
}

// nothing are the rules of a restriction that went with its last lease.
var nothing = (&api.Restriction{AllowedIPs: []string{"none"}}).Rules()

// Rules are those that r stands for, which is not 0.
func (l *Leases) Rules(r RestrictionRef) *api.Rules {
	o := l.restrictions.all.at(int32(r - 1))
	if o.leases == 0 {
		return nothing
	}
	o.recent = true
	return o.rules
}

// Path is that of a request whose :path is target, as restrictions and routes see it: decoded, and without its query. It is
// empty if it does not read the same to everybody; then no route has let it pass.
func Path(target string) string {
	path, _ := routePath(target)
	return path
}
