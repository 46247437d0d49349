// Command sloppy does, as the request's x-do says, what no filter should: local-twice, empty-body, decrement, continue,
// foreign (a call that no host has to know), abandon (a stop that nothing ends). Anything else passes.
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
	counter proxywasm.MetricCounter
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	p.counter = proxywasm.DefineCounterMetric("sloppy.requests")
	p.counter.Increment(1)
	return true
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	body   bool // stop on headers, and tell of the body
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	do, _ := proxywasm.GetHttpRequestHeader("x-do")
	switch do {
	case "local-twice":
		_ = proxywasm.SendHttpResponse(401, nil, []byte("first"), -1)
		_ = proxywasm.SendHttpResponse(402, nil, []byte("second"), -1)
	case "empty-body":
		_, _ = proxywasm.GetHttpRequestBody(0, 10)
	case "decrement":
		func() {
			defer func() { _ = recover() }() // the SDK panics for a status that is not OK
			s.plugin.counter.Increment(0)
		}()
	case "continue":
		_ = proxywasm.ResumeHttpRequest()
	case "foreign":
		_, err := proxywasm.CallForeignFunction("compress", []byte("x"))
		_ = proxywasm.AddHttpRequestHeader("x-foreign", err.Error())
	case "abandon":
		return types.ActionPause
	case "body":
		s.body = true
		return types.ActionPause
	}
	return types.ActionContinue
}

// OnHttpRequestBody is reached, after a stop on headers, only where the host knows that option.
func (s *stream) OnHttpRequestBody(int, bool) types.Action {
	if s.body {
		_ = proxywasm.AddHttpRequestHeader("x-body-seen", "1")
	}
	return types.ActionContinue
}
