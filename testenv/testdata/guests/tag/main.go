// Command tag marks what passes it with its plugin's name, so that tests see which filters a message met, in which
// order, and which of them share a VM. The configuration is the name.
package main

import (
	"fmt"
	"os"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

// requests counts those of every plugin in this VM.
var requests int

func (*vm) OnVMStart(int) types.OnVMStartStatus {
	config, _ := proxywasm.GetVMConfiguration()
	proxywasm.LogInfof("vm start %s", config)
	return string(config) != "refuse"
}

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	name string
	held []uint32
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	config, _ := proxywasm.GetPluginConfiguration()
	p.name = string(config)
	proxywasm.LogInfof("plugin start %s", p.name)
	return p.name != "refuse"
}

func (p *plugin) OnPluginDone() bool {
	proxywasm.LogInfof("plugin done %s", p.name)
	return true
}

// OnTick lets go of every response that the filter holds.
func (p *plugin) OnTick() {
	for _, id := range p.held {
		if proxywasm.SetEffectiveContext(id) == nil {
			_ = proxywasm.ResumeHttpResponse()
		}
	}
	p.held = nil
}

func (p *plugin) NewHttpContext(id uint32) types.HttpContext { return &stream{plugin: p, id: id} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	id     uint32
	hold   bool
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	requests++
	_ = proxywasm.AddHttpRequestHeader("x-way", fmt.Sprintf("%s/%d%s", s.plugin.name, requests, os.Getenv("MARK")))
	proxywasm.LogInfof("request %s", s.plugin.name)
	if who, err := proxywasm.GetHttpRequestHeader("x-answer"); err == nil && who == s.plugin.name {
		_ = proxywasm.SendHttpResponse(403, nil, []byte(who), -1)
	}
	if who, err := proxywasm.GetHttpRequestHeader("x-hold"); err == nil && who == s.plugin.name {
		s.hold = true
	}
	return types.ActionContinue
}

// OnHttpRequestBody buffers the body.
func (s *stream) OnHttpRequestBody(_ int, end bool) types.Action {
	if end {
		return types.ActionContinue
	}
	return types.ActionPause
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	_ = proxywasm.AddHttpResponseHeader("x-back", s.plugin.name)
	if s.hold {
		s.plugin.held = append(s.plugin.held, s.id)
		_ = proxywasm.SetTickPeriodMilliSeconds(10_000)
		return types.ActionPause
	}
	return types.ActionContinue
}

// OnHttpStreamDone also does what a filter cannot do any more: move the stream.
func (s *stream) OnHttpStreamDone() {
	proxywasm.LogInfof("done %s", s.plugin.name)
	_ = proxywasm.ResumeHttpRequest()
	_ = proxywasm.SendHttpResponse(599, nil, []byte("too late"), -1)
}
