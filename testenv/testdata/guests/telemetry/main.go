// Command telemetry is a filter that counts requests, their open number and their bodies' sizes, and shows what it reads
// back.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	requests, again proxywasm.MetricCounter
	open            proxywasm.MetricGauge
	sizes           proxywasm.MetricHistogram
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	p.requests = proxywasm.DefineCounterMetric("telemetry.requests")
	p.again = proxywasm.DefineCounterMetric("telemetry.requests")
	p.open = proxywasm.DefineGaugeMetric("telemetry.open")
	p.sizes = proxywasm.DefineHistogramMetric("telemetry.sizes")
	return true
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	size   int
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	p := s.plugin
	p.requests.Increment(1)
	p.open.Add(1)
	proxywasm.LogInfof("requests %d, defined again %d, open %d", p.requests.Value(), p.again.Value(), p.open.Value())
	if path, _ := proxywasm.GetHttpRequestHeader(":path"); path == "/below" {
		p.open.Add(-3)
		proxywasm.LogInfof("open %d", p.open.Value())
		p.open.Add(3)
	}
	return types.ActionContinue
}

func (s *stream) OnHttpRequestBody(size int, _ bool) types.Action {
	s.size += size
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	s.plugin.open.Add(-1)
	s.plugin.sizes.Record(uint64(s.size))
}
