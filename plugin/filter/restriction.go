package filter

import (
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/plugin/access"
)

// sourceAddress is the client's, as the proxy takes it: behind other proxies its own settings say whom to believe.
const sourceAddress = "source\x00address"

// permits reports whether the request is one that r allows. Of a key without restriction, r is 0, nothing is read.
func (s *stream) permits(r access.RestrictionRef) bool {
	if r == 0 {
		return true
	}
	rules := s.plugin.leases.Rules(r)
	w := s.where
	if !s.looked {
		w.Method, w.Path = requestHeader(":method"), access.Path(requestHeader(":path"))
		if rules.AsksAddress() {
			w.Address = property(sourceAddress)
		}
	}
	return rules.AllowsRoute(w.Method, w.Path) && rules.AllowsAddress(w.Address)
}

// look notes what restrictions are about, while s is the stream that the host's calls are about: it may have to be judged
// by them once its acquire is answered, or be judged by the control plane.
func (s *stream) look() {
	s.looked = true
	s.where = access.Where{
		Method: strings.Clone(requestHeader(":method")), Path: strings.Clone(access.Path(requestHeader(":path"))),
		Address: strings.Clone(property(sourceAddress)),
	}
}

// restricted refuses a request that the key may not be used for. It costs nothing: what was taken for it is given back.
func (s *stream) restricted(a *access.Admission) types.Action {
	if a.Standing == access.Admitted {
		s.giveBack(a.Lease, a.Hold)
	}
	s.count(a.Lease, access.Tally{Requests: 1, Refused: 1})
	return s.refuse(s.decision.Route.Denial(api.KeyRestricted))
}

// judge has the control plane judge the request that r is made for, or tells it that this gate does.
func (s *stream) judge(r *api.AcquireRequest) {
	if r.Mode != api.ModeStrict {
		r.Judges = api.RestrictionVersion
		return
	}
	w := s.where
	r.Method, r.Path, r.Address = sendable(w.Method), w.Path, sendable(w.Address)
	r.Path = r.Path[:min(len(r.Path), api.MaxPathLen)] // no rule looks further
}

// sendable is text, or nothing where no rule can be about it.
func sendable(text string) string {
	if len(text) > 64 {
		return ""
	}
	return text
}
