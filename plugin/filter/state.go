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

// allowedState reads "decision=allow account=… key=… cost=…"; on an open route "decision=open".
func allowedState(route *access.Route, lease *api.Lease) string {
	if route.Scheme == nil {
		return "decision=open"
	}
	text := "decision=allow scheme=" + route.Scheme.Name + " account=" + lease.Account
	if lease.Project != "" {
		text += " project=" + lease.Project
	}
	return text + " key=" + lease.Key + " cost=" + strconv.FormatInt(route.Cost, 10)
}

// deniedState reads "decision=deny status=… reason=…".
func deniedState(d *access.Denial) string {
	return "decision=deny status=" + strconv.FormatUint(uint64(d.Status), 10) + " reason=" + d.Reason.String()
}
