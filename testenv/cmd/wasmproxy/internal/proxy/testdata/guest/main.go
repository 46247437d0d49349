// Command guest is the filter that wasmproxy's tests run. The request header x-guest says what it
// does to a stream; its configuration is a list of words.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
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
	name    string
	trap    bool
	started proxywasm.MetricCounter
	ended   proxywasm.MetricCounter
}

// OnPluginStart takes the words "refuse", "tick=MILLISECONDS", "trap-in-tick" and "name=NAME".
func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	var config []byte
	if size > 0 {
		config, _ = proxywasm.GetPluginConfiguration()
	}
	p.name = "guest"
	for _, word := range strings.Fields(string(config)) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "refuse":
			proxywasm.LogError("word \"refuse\": told to")
			return types.OnPluginStartStatusFailed
		case "tick":
			n, _ := strconv.Atoi(value)
			_ = proxywasm.SetTickPeriodMilliSeconds(uint32(n))
		case "trap-in-tick":
			p.trap = true
		case "name":
			p.name = value
		}
	}
	p.started = proxywasm.DefineCounterMetric("guest.started")
	p.ended = proxywasm.DefineCounterMetric("guest.ended")
	proxywasm.LogInfo("started with GUEST_ENV=" + os.Getenv("GUEST_ENV"))
	return types.OnPluginStartStatusOK
}

func (p *plugin) OnTick() {
	if p.trap {
		panic("told to trap")
	}
	_, _ = proxywasm.DispatchHttpCall("side", callTo("/tick"), nil, nil, 1000, func(int, int, int) {})
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{p: p} }

type stream struct {
	types.DefaultHttpContext
	p  *plugin
	do string
}

func (s *stream) OnHttpRequestHeaders(_ int, end bool) types.Action {
	s.p.started.Increment(1)
	s.do, _ = proxywasm.GetHttpRequestHeader("x-guest")
	_ = proxywasm.AddHttpRequestHeader("x-end", fmt.Sprint(end))
	_ = proxywasm.AddHttpRequestHeader("x-by", s.p.name)
	_ = proxywasm.SetProperty([]string{"guest"}, []byte("seen-by-"+s.p.name))
	switch s.do {
	case "names":
		s.tellNames()
	case "identity":
		_ = proxywasm.ReplaceHttpRequestHeader("x-identity", "from-the-filter")
	case "deny", "deny:" + s.p.name:
		return deny(403, "denied\n")
	case "reroute":
		_ = proxywasm.ReplaceHttpRequestHeader(":path", "/nowhere")
	case "remove-method":
		_ = proxywasm.RemoveHttpRequestHeader(":method")
	case "framing":
		_ = proxywasm.AddHttpRequestHeader("transfer-encoding", "gzip")
		_ = proxywasm.AddHttpRequestHeader("connection", "close")
	case "trap", "trap:" + s.p.name:
		panic("told to trap")
	case "tick":
		_ = proxywasm.SetTickPeriodMilliSeconds(5)
	case "pause":
		return types.ActionPause
	case "properties":
		s.tellProperties()
	}
	if path, ok := strings.CutPrefix(s.do, "call:"); ok {
		return s.call(path)
	}
	return types.ActionContinue
}

func (s *stream) tellNames() {
	headers, _ := proxywasm.GetHttpRequestHeaders()
	var names []string
	for _, h := range headers {
		names = append(names, h[0])
	}
	_ = proxywasm.AddHttpRequestHeader("x-names", strings.Join(names, " "))
}

func (s *stream) tellProperties() {
	for _, path := range []string{
		"source.address", "destination.address", "request.protocol", "connection.id",
		"xds.route_name", "xds.cluster_name", "xds.virtual_host_name", "xds.node.id",
	} {
		v, _ := proxywasm.GetProperty(strings.Split(path, "."))
		if path == "connection.id" {
			v = fmt.Append(nil, binary.LittleEndian.Uint64(v))
		}
		_ = proxywasm.AddHttpRequestHeader("x-"+strings.ReplaceAll(path, ".", "-"), string(v))
	}
}

// call asks the cluster "side" and resumes with what it said.
func (s *stream) call(path string) types.Action {
	_, err := proxywasm.DispatchHttpCall("side", callTo(path), []byte("ask"), nil, 300, func(headers, size, _ int) {
		status := "none"
		if headers > 0 {
			for _, h := range must(proxywasm.GetHttpCallResponseHeaders()) {
				if h[0] == ":status" {
					status = h[1]
				}
			}
		}
		_ = proxywasm.AddHttpRequestHeader("x-call", fmt.Sprintf("%s %d", status, size))
		_ = proxywasm.ResumeHttpRequest()
	})
	if err != nil {
		return deny(500, err.Error())
	}
	return types.ActionPause
}

func must(headers [][2]string, _ error) [][2]string { return headers }

func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	switch s.do {
	case "deny-body":
		return deny(422, "bad body\n")
	case "buffer":
		if !end {
			return types.ActionPause
		}
		body, _ := proxywasm.GetHttpRequestBody(0, size)
		_ = proxywasm.ReplaceHttpRequestBody(bytes.ToUpper(body))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpRequestTrailers(int) types.Action {
	_ = proxywasm.AddHttpRequestTrailer("x-guest-trailer", "request")
	_ = proxywasm.RemoveHttpRequestTrailer("x-secret")
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(_ int, end bool) types.Action {
	_ = proxywasm.AddHttpResponseHeader("x-response-by", s.p.name)
	_ = proxywasm.AddHttpResponseHeader("x-response-end", fmt.Sprint(end))
	switch s.do {
	case "hold-response":
		return types.ActionPause
	case "deny-response":
		return deny(451, "withheld\n")
	case "trap-response":
		panic("told to trap")
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseBody(int, bool) types.Action {
	if s.do == "deny-response-body" {
		return deny(451, "withheld\n")
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseTrailers(int) types.Action {
	_ = proxywasm.AddHttpResponseTrailer("x-guest-trailer", "response")
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() { s.p.ended.Increment(1) }

func deny(status uint32, body string) types.Action {
	_ = proxywasm.SendHttpResponse(status, [][2]string{{"content-type", "text/plain"}}, []byte(body), -1)
	return types.ActionPause
}

func callTo(path string) [][2]string {
	return [][2]string{{":method", "POST"}, {":path", path}, {":authority", "side"}}
}
