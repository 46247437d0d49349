package filter

import (
	"unsafe"

	"github.com/tollgate/tollgate/plugin/access"
)

// told is what the upstream and the access log are told of the requests of one lease on one route: it is the same for all of
// them, and put together once.
type told struct {
	lease access.LeaseRef
	route int32
	// next asked in vain last: where many leases share a place, only one that asks twice in a row is worth the writing.
	next access.LeaseRef
	// text is the filter state, size bytes of it, and the ids lie in it.
	size                  uint16
	account, project, key span
	text                  [384]byte
}

// span is a piece of a told's text.
type span struct{ from, size uint16 }

// toldCount is how many are kept, by place of the lease.
const toldCount = 128

func (e *told) piece(s span) string {
	if s.size == 0 {
		return ""
	}
	return unsafe.String(&e.text[s.from], int(s.size))
}

// tell returns who a request that is admitted by a lease on r belongs to, and the filter state for it. Both are good until the
// next call. It is false if the lease is forgotten.
func (p *plugin) tell(lease access.LeaseRef, r *access.Route) (who access.Identity, text state, ok bool) {
	e := &p.told[lease.Place()%toldCount]
	if e.lease == lease && e.route == int32(r.Number) && e.size > 0 {
		who = access.Identity{Account: e.piece(e.account), Project: e.piece(e.project), Key: e.piece(e.key)}
		return who, e.text[:e.size], true
	}
	if who, ok = p.leases.Identity(lease); !ok {
		return who, nil, false
	}
	p.text = p.text.allowed(r, who, "lease")
	if e.next == lease {
		e.write(lease, r, who, p.text)
	}
	e.next = lease
	return who, p.text, true
}

// write makes e that of a lease and a route, if the text fits.
func (e *told) write(lease access.LeaseRef, r *access.Route, who access.Identity, text state) {
	e.size = 0
	if len(text) > len(e.text) {
		return
	}
	e.lease, e.route = lease, int32(r.Number)
	e.size = uint16(copy(e.text[:], text))
	// The ids come behind the scheme, each with its name before it, and an empty one not at all.
	end := len(state(nil).head(r)) + len(" scheme=") + len(r.Scheme.Name)
	next := func(name, value string) span {
		if value == "" {
			return span{}
		}
		from := end + len(" ") + len(name) + len("=")
		end = from + len(value)
		return span{uint16(from), uint16(len(value))}
	}
	e.account, e.project, e.key = next("account", who.Account), next("project", who.Project), next("key", who.Key)
}
