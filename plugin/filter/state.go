package filter

import (
	"strconv"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/plugin/access"
)

// statePath is the filter state object of a stream. Envoy stores it as "wasm.tollgate", and the access log
// prints it with %FILTER_STATE(wasm.tollgate:PLAIN)%.
var statePath = []string{"tollgate"}

// setFilterState records the decision for the access log. Failing to log is no reason to refuse a request.
func setFilterState(text string) {
	if err := proxywasm.SetProperty(statePath, []byte(text)); err != nil {
		proxywasm.LogWarn("tollgate: set filter state: " + err.Error())
	}
}

// passedState reads "decision=allow scheme=… account=… key=… cost=…", "decision=unpaid scheme=… cost=…" for a
// request that nobody could decide upon, and "decision=open" where nobody had to.
func passedState(d *access.Decision, lease *api.Lease) string {
	if d.Route.Scheme == nil || lease == nil && !d.Unpaid {
		return "decision=open"
	}
	cost := " cost=" + strconv.FormatInt(d.Route.Cost, 10)
	if lease == nil {
		return "decision=unpaid scheme=" + d.Route.Scheme.Name + cost
	}
	text := "decision=allow scheme=" + d.Route.Scheme.Name + " account=" + lease.Account
	if lease.Project != "" {
		text += " project=" + lease.Project
	}
	return text + " key=" + lease.Key + cost
}

// pendingState reads "decision=pending scheme=…": the last word on a request whose client left before the control
// plane answered.
func pendingState(route *access.Route) string {
	return "decision=pending scheme=" + route.Scheme.Name
}

// deniedState reads "decision=deny status=… reason=…".
func deniedState(d *access.Denial) string {
	return "decision=deny status=" + strconv.FormatUint(uint64(d.Status), 10) + " reason=" + string(d.Reason)
}
