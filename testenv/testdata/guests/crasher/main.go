// Command crasher dies where the request's x-crash says: request, body, trailers, response, response-body, log, callout,
// tick, exit, memory. "sleep" and "spin" never return, "print" prints in pieces, "gc" only lets Go's collector run, "wait" and "ticks" do as callout and tick and live. What it keeps
// in memory (how many requests this VM has had), in shared data and in a metric shows what outlives a VM. The shared value
// "poison", which a request can set, and the configuration "panic" make it die at its start.
package main

import (
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	seen, ticks int
	crash       bool
	requests    proxywasm.MetricCounter
	hoard       [][]byte
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	if _, _, err := proxywasm.GetSharedData("poison"); err == nil {
		panic("poisoned")
	}
	if config, _ := proxywasm.GetPluginConfiguration(); string(config) == "panic" {
		panic("told to die at the start")
	}
	p.requests = proxywasm.DefineCounterMetric("crasher.requests")
	proxywasm.LogInfo("start")
	return true
}

func (p *plugin) OnTick() {
	if p.crash {
		panic("told to die in tick")
	}
	p.ticks++
	proxywasm.LogInfof("tick %d", p.ticks)
}

func (p *plugin) OnPluginDone() bool {
	proxywasm.LogInfo("plugin done")
	return true
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	crash  string
}

func (s *stream) at(place string) {
	if s.crash == place {
		panic("told to die in " + place)
	}
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	s.crash, _ = proxywasm.GetHttpRequestHeader("x-crash")
	s.plugin.seen++
	s.plugin.requests.Increment(1)
	_ = proxywasm.AddHttpRequestHeader("x-seen", strconv.Itoa(s.plugin.seen))
	switch s.crash {
	case "exit":
		os.Exit(3)
	case "memory":
		s.plugin.hoard = append(s.plugin.hoard, make([]byte, 4<<20))
	case "gc":
		time.AfterFunc(time.Hour, func() {})
		s.plugin.hoard = [][]byte{make([]byte, 8192)}
		if s.plugin.seen%20 == 0 {
			runtime.GC()
		}
	case "sleep":
		time.Sleep(time.Second)
	case "spin":
		for start := time.Now(); time.Since(start) < time.Second; {
		}
	case "print":
		print("one ", s.plugin.seen, " line\n", "and a rest")
	case "poison":
		_ = proxywasm.SetSharedData("poison", []byte("1"), 0)
	case "tick":
		s.plugin.crash = true
		_ = proxywasm.SetTickPeriodMilliSeconds(10)
	case "ticks":
		_ = proxywasm.SetTickPeriodMilliSeconds(10)
	case "callout", "wait":
		headers := [][2]string{{":method", "GET"}, {":path", "/"}, {":authority", "control"}}
		_, err := proxywasm.DispatchHttpCall("control", headers, nil, nil, 60_000, func(int, int, int) {
			s.at("callout")
			_ = proxywasm.ResumeHttpRequest()
		})
		if err != nil {
			panic(err)
		}
		return types.ActionPause
	}
	s.at("request")
	return types.ActionContinue
}

func (s *stream) OnHttpRequestBody(int, bool) types.Action {
	s.at("body")
	return types.ActionContinue
}

func (s *stream) OnHttpRequestTrailers(int) types.Action {
	s.at("trailers")
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	s.at("response")
	return types.ActionContinue
}

func (s *stream) OnHttpResponseBody(int, bool) types.Action {
	s.at("response-body")
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	proxywasm.LogInfo("done")
	s.at("log")
}
