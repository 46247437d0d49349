// Package filter is the proxy-wasm side of Tollgate: contexts, hostcalls, callouts and local responses. It
// carries out what package access decides and is the only package that knows the proxy. It refuses to decide
// anything itself but one thing: where the host or the control plane fails it, the request is refused with
// the route's 503.
//
// # Who ends a paused stream?
//
// A stream is paused in one place, when it waits for an acquire, and ends in exactly one of resume or local response:
// whatever becomes of the acquire, it wakes all that wait for it. What a second local response of one stream comes to
// depends on when it is made: Envoy drops it, sends it in place of the first, or resets the stream; before 1.33 it hung
// (envoyproxy/envoy#28826). So nothing is called on a stream that has finished.
//
// # Why does the tick send acquires again?
//
// The SDK delivers the end of a callout to the context that sent it, and drops it once that is gone. A cold key's acquire
// is sent by the first stream that needs it, because the next tick may be 100 ms away. If that stream leaves while others
// wait, the tick sends the same operation again, from the plugin's context, which stays; the control plane answers it as
// it did before. Renewals are sent by the tick from the beginning.
//
// # Why is there no timer and no goroutine?
//
// On hosts of Envoy 1.33 to about 1.38 a runtime timer ends the VM at the next collection (golang/go#78513),
// and exports have to return to the host with nothing left running. Timeouts are the host's: they are given
// with the callout.
package filter

import (
	"crypto/rand"
	"os"
	"runtime"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/tollgate/tollgate/plugin/access"
)

// yieldEvery is how many streams pass between two yields. Exports return to the host at once, so without a
// yield the collector's background workers never run and the heap grows far beyond its goal; one yield in a
// hundred streams keeps it flat (research/performance.md §1e).
const yieldEvery = 100

// maxFree bounds the contexts that wait to be used again.
const maxFree = 1_024

// plugin is the plugin context: one per VM and plugin configuration.
type plugin struct {
	types.DefaultPluginContext
	config *access.Config
	gate   gate
	stats  *stats
	// leases and usage are nil until the first request with a key, so that a VM that never serves is small.
	leases *access.Leases
	usage  *access.Usage
	// acquires are under way; unsent are those of them, or ended ones, that the next tick has to send.
	acquires, unsent []*acquire
	reports          reports
	syncs            syncs
	streams          uint64
	// quiet is how many ticks pass until the next warning about callouts.
	quiet int
	// headers, text, spare and told are memory that is used again: for a request's headers, a filter state or a number,
	// contexts, what was told of a lease.
	headers [][2]string
	text    state
	spare   []*stream
	told    []told
}

// NewPluginContext makes the context of one plugin configuration. The host calls it before OnPluginStart.
func NewPluginContext(uint32) types.PluginContext {
	return &plugin{headers: make([][2]string, 0, 64), text: make(state, 0, 512)}
}

// begin makes what the first request with a key needs.
func (p *plugin) begin() {
	if p.leases != nil {
		return
	}
	var seed [16]byte
	_, _ = rand.Read(seed[:]) // it never fails: it ends the VM instead
	p.leases = access.NewLeases(access.Limits{}, seed)
	p.usage = access.NewUsage(p.config.Labels(), seed)
	p.told = make([]told, toldCount)
}

// record sets the filter state of the stream that the host's calls are about.
func (p *plugin) record(text state) {
	p.text = text
	text.set()
}

// OnPluginStart reads the configuration and refuses to start when it is not whole: Envoy then does not start,
// or keeps the configuration it has. It makes no callout, because Envoy also starts plugins in a VM that
// never serves.
func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	var data []byte
	if size > 0 {
		var err error
		if data, err = proxywasm.GetPluginConfiguration(); err != nil {
			proxywasm.LogCritical("tollgate: read plugin configuration: " + err.Error())
			return types.OnPluginStartStatusFailed
		}
	}
	config, err := access.ParseConfig(data)
	if err != nil {
		proxywasm.LogCritical("tollgate: " + err.Error())
		return types.OnPluginStartStatusFailed
	}
	token := os.Getenv(config.ControlPlane.TokenEnv)
	if !validToken(token) {
		proxywasm.LogCritical("tollgate: control_plane.token_env: expected the environment variable " +
			config.ControlPlane.TokenEnv + " to hold a gate token; the VM's environment_variables must pass it on")
		return types.OnPluginStartStatusFailed
	}
	p.config = config
	p.gate = gate{controlPlane: config.ControlPlane, token: token}
	p.stats = defineStats()
	p.reports = reports{stats: p.stats}
	if err := proxywasm.SetTickPeriodMilliSeconds(tickMillis); err != nil {
		proxywasm.LogCritical("tollgate: set tick period: " + err.Error())
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

// OnTick does what no request waits for.
func (p *plugin) OnTick() {
	if p.quiet > 0 {
		p.quiet--
	}
	if p.leases == nil {
		return
	}
	t := now()
	p.leases.Sweep(t)
	p.sendAll(t)
	if p.syncs.tick() {
		p.sync(t)
	}
	p.stats.observe(p.leases.Counts())
}

// OnPluginDone takes what this VM holds out of the gauges. Nothing can be reported any more: Envoy cancels callouts when
// the plugin's context ends.
func (p *plugin) OnPluginDone() bool {
	if p.leases != nil {
		p.stats.leave()
	}
	return true
}

// warnEveryTicks keeps a broken control plane from filling the log: one line in ten seconds.
const warnEveryTicks = 10_000 / tickMillis

// warnOnce logs why an acquire brought no answer, unless it did so a moment ago; the counters have every case.
func (p *plugin) warnOnce(f calloutFailure) {
	if f == calloutAnswered || p.quiet > 0 {
		return
	}
	p.quiet = warnEveryTicks
	proxywasm.LogWarn("tollgate: the control plane (cluster " + p.config.ControlPlane.Cluster + ") gave no decision: " +
		calloutFailureNames[f] + "; " + f.hint(p.config.ControlPlane))
}

// NewHttpContext makes the context of one stream.
func (p *plugin) NewHttpContext(id uint32) types.HttpContext {
	last := len(p.spare) - 1
	if last < 0 {
		return &stream{plugin: p, id: id}
	}
	s := p.spare[last]
	p.spare = p.spare[:last]
	s.reuse(id)
	return s
}

// free keeps the context of a stream that is done for another one.
func (p *plugin) free(s *stream) {
	if len(p.spare) < maxFree {
		p.spare = append(p.spare, s)
	}
}

// yield lets the collector's workers run, once in yieldEvery streams.
func (p *plugin) yield() {
	if p.streams++; p.streams%yieldEvery == 0 {
		runtime.Gosched()
	}
}

// validToken reports whether token can stand in a header: visible ASCII, not empty.
func validToken(token string) bool {
	for i := 0; i < len(token); i++ {
		if token[i] < 0x21 || token[i] > 0x7e {
			return false
		}
	}
	return token != ""
}
