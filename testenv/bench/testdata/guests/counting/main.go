// Command counting is Tollgate's filter, or with COUNT=sdk one that has the SDK read the request's headers and does nothing
// with them, that tells in the gauge "mallocs" with
// each tick how many objects it has allocated.
package main

import (
	"os"
	"runtime"
	"unsafe"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/tollgate/tollgate/plugin/filter"
)

func main() {}

func init() {
	proxywasm.SetPluginContext(func(id uint32) types.PluginContext {
		if os.Getenv("COUNT") == "sdk" {
			return &counting{PluginContext: &plugin{}}
		}
		return &counting{PluginContext: filter.NewPluginContext(id)}
	})
}

type counting struct {
	types.PluginContext
	mallocs proxywasm.MetricGauge
	ticks   proxywasm.MetricCounter
	told    int64
	stats   runtime.MemStats
}

func (c *counting) OnPluginStart(size int) types.OnPluginStartStatus {
	c.ticks = proxywasm.DefineCounterMetric("ticks")
	c.mallocs = proxywasm.DefineGaugeMetric("mallocs")
	return c.PluginContext.OnPluginStart(size)
}

func (c *counting) OnTick() {
	runtime.ReadMemStats(&c.stats)
	c.mallocs.Add(int64(c.stats.Mallocs) - c.told)
	c.told = int64(c.stats.Mallocs)
	c.ticks.Increment(1)
	c.PluginContext.OnTick()
}

// plugin's stream is used again for each request, as the filter's are.
type plugin struct {
	types.DefaultPluginContext
	stream stream
}

func (*plugin) OnPluginStart(int) types.OnPluginStartStatus {
	if err := proxywasm.SetTickPeriodMilliSeconds(50); err != nil {
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &p.stream }

// stream has the headers put into a buffer that the SDK allocates, and not read from there.
type stream struct{ types.DefaultHttpContext }

//go:wasmimport env proxy_get_header_map_pairs
//go:noescape
func headerPairs(mapType int32, data unsafe.Pointer, size *int32) int32

// Out-variables are at package level: the host writes to them while the guest's stack may move.
var (
	pairs     *byte
	pairsSize int32
)

func (*stream) OnHttpRequestHeaders(int, bool) types.Action {
	if headerPairs(0, unsafe.Pointer(&pairs), &pairsSize) != 0 {
		proxywasm.LogCritical("the host has no headers")
		return types.ActionPause
	}
	return types.ActionContinue
}
