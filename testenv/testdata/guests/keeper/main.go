// Command keeper leaves something in every place that outlives a callback: filter state, shared data, and a metric of each
// kind. The configuration is what it leaves. It adds an empty header too.
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
	config    []byte
	counter   proxywasm.MetricCounter
	gauge     proxywasm.MetricGauge
	histogram proxywasm.MetricHistogram
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	p.config, _ = proxywasm.GetPluginConfiguration()
	p.counter = proxywasm.DefineCounterMetric("keeper.counter")
	p.gauge = proxywasm.DefineGaugeMetric("keeper.gauge")
	p.histogram = proxywasm.DefineHistogramMetric("keeper.histogram")
	return true
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	_ = proxywasm.SetProperty([]string{"kept"}, s.plugin.config)
	_ = proxywasm.SetSharedData("kept", s.plugin.config, 0)
	_ = proxywasm.SetSharedData("empty", nil, 0)
	_ = proxywasm.AddHttpRequestHeader("x-empty", "")
	s.plugin.counter.Increment(1)
	s.plugin.gauge.Add(-3)
	s.plugin.histogram.Record(10)
	s.plugin.histogram.Record(20)
	return types.ActionContinue
}
