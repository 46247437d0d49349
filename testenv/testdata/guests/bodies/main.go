// Command bodies is a filter that passes, buffers, changes or holds bodies, each direction as a header of the request
// says: x-request and x-response, or with a configuration x-<configuration>-request and so on. What it holds goes on with
// the next tick.
package main

import (
	"bytes"
	"fmt"
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
	prefix string
	held   []*stream
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	p.prefix = "x-"
	if config, err := proxywasm.GetPluginConfiguration(); err == nil {
		p.prefix += string(config) + "-"
	}
	return types.OnPluginStartStatus(proxywasm.SetTickPeriodMilliSeconds(1000) == nil)
}

// OnTick lets go of everything, marked.
func (p *plugin) OnTick() {
	for _, s := range p.held {
		if err := proxywasm.SetEffectiveContext(s.id); err != nil {
			proxywasm.LogWarn("the stream is gone")
			continue
		}
		mark := []byte("!")
		if s.holding == &s.request {
			say("append", proxywasm.AppendHttpRequestBody(mark))
			_ = proxywasm.ResumeHttpRequest()
			continue
		}
		say("append", proxywasm.AppendHttpResponseBody(mark))
		_ = proxywasm.ResumeHttpResponse()
	}
	p.held = nil
}

func (p *plugin) NewHttpContext(id uint32) types.HttpContext { return &stream{plugin: p, id: id} }

type stream struct {
	types.DefaultHttpContext
	plugin            *plugin
	id                uint32
	request, response body
	holding           *body
}

// body is one direction: what to do with it, and the hostcalls for it.
type body struct {
	name, mode               string
	read                     func(start, size int) ([]byte, error)
	replace, prepend, append func([]byte) error
	addTrailer               func(name, value string) error
}

func say(what string, results ...any) { proxywasm.LogInfo(what + ": " + fmt.Sprint(results...)) }

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	s.request = body{
		"request", "", proxywasm.GetHttpRequestBody, proxywasm.ReplaceHttpRequestBody,
		proxywasm.PrependHttpRequestBody, proxywasm.AppendHttpRequestBody, proxywasm.AddHttpRequestTrailer,
	}
	s.response = body{
		"response", "", proxywasm.GetHttpResponseBody, proxywasm.ReplaceHttpResponseBody,
		proxywasm.PrependHttpResponseBody, proxywasm.AppendHttpResponseBody, proxywasm.AddHttpResponseTrailer,
	}
	s.request.mode, _ = proxywasm.GetHttpRequestHeader(s.plugin.prefix + "request")
	s.response.mode, _ = proxywasm.GetHttpRequestHeader(s.plugin.prefix + "response")
	return s.onHeaders(&s.request)
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action { return s.onHeaders(&s.response) }

func (s *stream) onHeaders(b *body) types.Action {
	if !strings.HasPrefix(b.mode, "stop-headers") {
		return types.ActionContinue
	}
	if b.mode == "stop-headers" {
		s.hold(b)
	}
	return types.ActionPause
}

func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	return s.onBody(&s.request, size, end)
}

func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	return s.onBody(&s.response, size, end)
}

func (s *stream) onBody(b *body, size int, end bool) types.Action {
	data, err := b.read(0, size)
	say(b.name, fmt.Sprintf("%d %t %q", size, end, data), err)
	switch b.mode {
	case "upper", "stop-headers-upper":
		if !end {
			return types.ActionPause
		}
		_ = b.replace(bytes.ToUpper(data))
	case "edges":
		_, _ = b.prepend([]byte("<")), b.append([]byte(">"))
	case "drop":
		_ = b.replace(nil)
	case "slices":
		for _, w := range [][2]int{{1, 2}, {3, 100}, {0, 1}} {
			part, err := b.read(w[0], w[1])
			say("part", string(part), err)
		}
		_, err := b.read(size+1, 1)
		say("past the end", err)
	case "hold", "stop-headers-hold":
		s.hold(b)
		return types.ActionPause
	case "make-trailers": // and lets the tick continue
		if end {
			say("make trailers", b.addTrailer("x-made", b.name))
			s.hold(b)
		}
		return types.ActionPause
	case "go": // holds what comes before the word
		if !bytes.Contains(data, []byte("go")) {
			return types.ActionPause
		}
		b.mode = ""
	}
	return types.ActionContinue
}

func (s *stream) hold(b *body) {
	if s.holding == nil {
		s.holding = b
		s.plugin.held = append(s.plugin.held, s)
	}
}

func (s *stream) OnHttpRequestTrailers(int) types.Action { return s.onTrailers(&s.request) }

func (s *stream) OnHttpResponseTrailers(int) types.Action { return s.onTrailers(&s.response) }

func (s *stream) onTrailers(b *body) types.Action {
	data, _ := b.read(0, 1000)
	say(b.name+" trailers", string(data))
	if b.mode == "hold-trailers" {
		s.hold(b)
		return types.ActionPause
	}
	return types.ActionContinue
}
