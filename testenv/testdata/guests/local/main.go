// Command local is a filter that answers by itself, where and how headers of the request say: x-at names the callbacks,
// separated by spaces.
package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	held   []uint32
	parked []uint32
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	return types.OnPluginStartStatus(proxywasm.SetTickPeriodMilliSeconds(1000) == nil)
}

// OnTick answers on the root context, where it is nothing, and the parked streams, and lets the held responses go.
func (p *plugin) OnTick() {
	if err := proxywasm.SendHttpResponse(500, nil, nil, -1); err != nil {
		proxywasm.LogError("answer of the root context: " + err.Error())
	}
	for _, id := range p.parked {
		_ = proxywasm.SetEffectiveContext(id)
		_ = proxywasm.SendHttpResponse(408, nil, []byte("waited"), -1)
	}
	for _, id := range p.held {
		_ = proxywasm.SetEffectiveContext(id)
		_ = proxywasm.AddHttpResponseHeader("x-released", "1")
		_ = proxywasm.ResumeHttpResponse()
	}
	p.held, p.parked = nil, nil
}

func (p *plugin) NewHttpContext(id uint32) types.HttpContext { return &stream{plugin: p, id: id} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	id     uint32
	at     []string
	hold   string
	count  int
	header map[string]string
}

// answer sends a response if this is a callback that x-at names, once for each mention.
func (s *stream) answer(callback string) types.Action {
	for _, at := range s.at {
		if at != callback {
			continue
		}
		s.count++
		headers := [][2]string{{"X-Mine", strconv.Itoa(s.count)}}
		for _, name := range []string{"content-type", "content-length", "grpc-status"} {
			if v := s.header[name]; v != "" {
				headers = append(headers, [2]string{name, v})
			}
		}
		body := s.header["body"]
		if s.count > 1 {
			body = fmt.Sprint("answer ", s.count)
		}
		code, err := strconv.Atoi(s.header["grpc"])
		if err != nil {
			code = -1
		}
		if err := proxywasm.SendHttpResponse(uint32(417+s.count), headers, []byte(body), int32(code)); err != nil {
			proxywasm.LogError(err.Error())
		}
	}
	if s.hold == callback {
		s.plugin.held = append(s.plugin.held, s.id)
		return types.ActionPause
	}
	return types.ActionContinue
}

func (s *stream) OnHttpRequestHeaders(_ int, end bool) types.Action {
	s.header = map[string]string{}
	for _, name := range []string{"body", "content-type", "content-length", "grpc-status", "grpc"} {
		s.header[name], _ = proxywasm.GetHttpRequestHeader("x-" + name)
	}
	at, _ := proxywasm.GetHttpRequestHeader("x-at")
	s.at = strings.Split(at, " ")
	s.hold, _ = proxywasm.GetHttpRequestHeader("x-hold")
	if untype, _ := proxywasm.GetHttpRequestHeader("x-untype"); untype != "" {
		_ = proxywasm.RemoveHttpRequestHeader("content-type")
	}
	switch s.at[0] {
	case "park":
		s.plugin.parked = append(s.plugin.parked, s.id)
		return types.ActionPause
	case "follow": // goes on, and is answered all the same
		s.plugin.parked = append(s.plugin.parked, s.id)
		return types.ActionContinue
	case "others": // answers the parked streams while it is itself let through
		for _, id := range s.plugin.parked {
			_ = proxywasm.SetEffectiveContext(id)
			_ = proxywasm.SendHttpResponse(403, nil, []byte("answered"), -1)
		}
		s.plugin.parked = nil
		return types.ActionContinue
	}
	return s.answer("request-headers")
}

func (s *stream) OnHttpRequestBody(int, bool) types.Action { return s.answer("request-body") }

func (s *stream) OnHttpRequestTrailers(int) types.Action { return s.answer("request-trailers") }

func (s *stream) OnHttpResponseHeaders(_ int, end bool) types.Action {
	status, _ := proxywasm.GetHttpResponseHeader(":status")
	_ = proxywasm.AddHttpResponseHeader("x-seen", fmt.Sprint(status, " ", end))
	return s.answer("response-headers")
}

func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	if body, _ := proxywasm.GetHttpResponseBody(0, size); string(body) == "secret" {
		_ = proxywasm.ReplaceHttpResponseBody([]byte("hidden"))
	}
	if end && s.hold == "trailers" {
		_ = proxywasm.AddHttpResponseTrailer("x-made", "1")
	}
	return s.answer("response-body")
}

func (s *stream) OnHttpResponseTrailers(int) types.Action { return s.answer("response-trailers") }

func (s *stream) OnHttpStreamDone() {
	status, _ := proxywasm.GetHttpResponseHeader(":status")
	proxywasm.LogInfo("logged " + status)
	s.answer("log")
}
