// Command callouts is a filter that asks a cluster, in the way that the path of the request says, before it lets the
// request go on.
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
	waiting []uint32
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	config, _ := proxywasm.GetPluginConfiguration()
	if period, err := strconv.Atoi(string(config)); err == nil {
		_ = proxywasm.SetTickPeriodMilliSeconds(uint32(period))
	}
	return true
}

// OnTick asks on behalf of no stream.
func (p *plugin) OnTick() {
	ask("control", "/tick", "", 0, func(headers, body, trailers int) {
		proxywasm.LogInfof("tick answered %d %d %d", headers, body, trailers)
	})
}

func (p *plugin) NewHttpContext(id uint32) types.HttpContext { return &stream{plugin: p, id: id} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	id     uint32
	left   int
}

func header(name string) string {
	value, _ := proxywasm.GetHttpRequestHeader(name)
	return value
}

// ask sends a request without the pseudo headers in omit, and logs why it could not be sent.
func ask(cluster, path, omit string, timeout uint32, answered func(int, int, int)) bool {
	var headers [][2]string
	for _, h := range [][2]string{{":method", "POST"}, {":path", path}, {":authority", "control"}, {"X-Upper", "v"}} {
		if h[0] != omit {
			headers = append(headers, h)
		}
	}
	_, err := proxywasm.DispatchHttpCall(cluster, headers, []byte(header("x-send")), [][2]string{{"X-Trailer", "t"}}, timeout, answered)
	if err != nil {
		proxywasm.LogInfo("refused: " + strings.TrimPrefix(err.Error(), "error status returned by host: "))
	}
	return err == nil
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	cluster, path := header("x-cluster"), header(":path")
	timeout, _ := strconv.Atoi(header("x-timeout"))
	sent := false
	switch path {
	case "/ask":
		sent = ask(cluster, "/check", header("x-omit"), uint32(timeout), s.answered)
	case "/fan": // one answer for everybody who waits
		s.plugin.waiting = append(s.plugin.waiting, s.id)
		if sent = true; len(s.plugin.waiting) == 1 {
			sent = ask(cluster, "/check", "", uint32(timeout), s.plugin.wake)
		}
	case "/both": // goes on with the second of two answers
		s.left = 2
		sent = ask(cluster, "/first", "", 0, s.counted) && ask(cluster, "/second", "", 0, s.counted)
	case "/twice": // asks again from the callback
		sent = ask(cluster, "/first", "", 0, func(int, int, int) { ask(cluster, "/second", "", 0, s.answered) })
	case "/local":
		sent = ask(cluster, "/check", "", 0, func(int, int, int) {
			_ = proxywasm.SendHttpResponse(402, nil, []byte("pay"), -1)
		})
	}
	if sent {
		return types.ActionPause
	}
	return types.ActionContinue
}

func tell(name string, value any) { _ = proxywasm.AddHttpRequestHeader(name, fmt.Sprint(value)) }

func (s *stream) answered(headers, size, trailers int) {
	pairs, err := proxywasm.GetHttpCallResponseHeaders()
	for _, p := range pairs {
		if p[0] == ":status" {
			tell("x-status", p[1])
		}
	}
	body, bodyErr := proxywasm.GetHttpCallResponseBody(0, size)
	rest, restErr := proxywasm.GetHttpCallResponseTrailers()
	proxywasm.LogInfof("answer %d %d %d", headers, size, trailers)
	proxywasm.LogInfof("answer has headers %t body %q %t trailers %v %t", err == nil, body, bodyErr == nil, rest, restErr == nil)
	_ = proxywasm.ResumeHttpRequest()
	if err := proxywasm.AddHttpRequestHeader("x-after", "1"); err == nil {
		proxywasm.LogError("the request's headers are open after it was continued")
	}
}

func (s *stream) counted(int, int, int) {
	if s.left--; s.left == 0 {
		_ = proxywasm.ResumeHttpRequest()
	}
}

// wake lets every other stream go on and answers the rest.
func (p *plugin) wake(int, int, int) {
	for i, id := range p.waiting {
		if err := proxywasm.SetEffectiveContext(id); err != nil {
			proxywasm.LogInfo("the stream is gone")
			continue
		}
		if i%2 == 1 {
			_ = proxywasm.SendHttpResponse(402, nil, []byte("pay"), -1)
			continue
		}
		tell("x-woken", i)
		_ = proxywasm.ResumeHttpRequest()
	}
	p.waiting = nil
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	_, err := proxywasm.GetHttpCallResponseHeaders()
	_, bodyErr := proxywasm.GetHttpCallResponseBody(0, 1)
	proxywasm.LogInfof("answer after its callback: %v, %v", err, bodyErr)
	return types.ActionContinue
}
