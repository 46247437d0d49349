package filter

import (
	"strconv"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/tollgate/tollgate/plugin/access"
)

// statePath is the filter state object of a stream. Envoy stores it as "wasm.tollgate", and the access log
// prints it with %FILTER_STATE(wasm.tollgate:PLAIN)%.
const statePath = "tollgate"

// state is the text of a filter state, written over the one before.
type state []byte

// set records the decision for the access log. Failing to log is no reason to refuse a request.
func (t state) set() {
	if !setProperty(statePath, t) {
		proxywasm.LogWarn("tollgate: set filter state: the host refused")
	}
}

// with appends " name=value", or "name=value" at the beginning. An empty value is left out.
func (t state) with(name, value string) state {
	if value == "" {
		return t
	}
	if len(t) > 0 {
		t = append(t, ' ')
	}
	t = append(t, name...)
	t = append(t, '=')
	return append(t, value...)
}

func (t state) number(name string, n int64) state {
	t = append(t, ' ')
	t = append(t, name...)
	t = append(t, '=')
	return strconv.AppendInt(t, n, 10)
}

// allowed reads "decision=allow scheme=… account=… project=… key=… cost=… mode=…", on a shadow route "decision=shadow
// would=allow scheme=…".
func (t state) allowed(r *access.Route, who access.Identity, mode string) state {
	t = t[:0].head(r).with("scheme", r.Scheme.Name).with("account", who.Account)
	return t.with("project", who.Project).with("key", who.Key).with("cost", r.CostText).with("mode", mode)
}

// head is how allowed begins.
func (t state) head(r *access.Route) state {
	if r.Shadow {
		return t.with("decision", "shadow").with("would", "allow")
	}
	return t.with("decision", "allow")
}

// unpaid reads "decision=unpaid scheme=… cost=…": nobody could decide upon the request.
func (t state) unpaid(r *access.Route) state {
	return t[:0].with("decision", "unpaid").with("scheme", r.Scheme.Name).with("cost", r.CostText)
}

// pending reads "decision=pending scheme=…": the last word on a request whose client left before the control plane
// answered.
func (t state) pending(r *access.Route) state {
	return t[:0].with("decision", "pending").with("scheme", r.Scheme.Name)
}

// denied reads "decision=deny status=… reason=…".
func (t state) denied(d *access.Denial) state {
	return t[:0].with("decision", "deny").number("status", int64(d.Status)).with("reason", string(d.Reason))
}

// shadowDenied reads "decision=shadow would=deny status=… reason=…".
func (t state) shadowDenied(d *access.Denial) state {
	return t[:0].with("decision", "shadow").with("would", "deny").number("status", int64(d.Status)).with("reason", string(d.Reason))
}

// plain reads "decision=…".
func (t state) plain(decision string) state { return t[:0].with("decision", decision) }
