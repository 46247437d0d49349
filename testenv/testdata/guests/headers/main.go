// Command headers is a filter that reads and changes the maps of a stream, as the path of the request says, and logs what
// the host answered.
package main

import (
	"fmt"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct{ types.DefaultPluginContext }

func (*plugin) NewHttpContext(uint32) types.HttpContext { return &stream{} }

type stream struct {
	types.DefaultHttpContext
	path string
}

// say logs what hostcalls returned, errors without the SDK's own words.
func say(what string, results ...any) {
	for i, r := range results {
		if err, ok := r.(error); ok {
			results[i] = strings.TrimPrefix(err.Error(), "error status returned by host: ")
		}
	}
	proxywasm.LogInfo(what + ": " + strings.TrimSuffix(fmt.Sprintln(results...), "\n"))
}

func list(pairs [][2]string, err error) string {
	if err != nil {
		return "none"
	}
	var all []string
	for _, p := range pairs {
		all = append(all, p[0]+"="+p[1])
	}
	return strings.Join(all, ";")
}

func (s *stream) OnHttpRequestHeaders(n int, end bool) types.Action {
	s.path, _ = proxywasm.GetHttpRequestHeader(":path")
	say("request headers", n, end)
	switch s.path {
	case "/read":
		for _, name := range []string{"X-Repeat", "x-absent", "x-empty", "host"} {
			value, err := proxywasm.GetHttpRequestHeader(name)
			say("get "+name, value, err)
		}
		say("all", list(proxywasm.GetHttpRequestHeaders()))
		_, err := proxywasm.GetHttpRequestTrailer("x-sum")
		say("request trailer", err, proxywasm.AddHttpRequestTrailer("x-sum", "1"))
		_, err = proxywasm.GetHttpResponseHeader(":status")
		say("response header", err, list(proxywasm.GetHttpResponseHeaders()), proxywasm.AddHttpResponseHeader("x", "y"))
	case "/change":
		say("add", proxywasm.AddHttpRequestHeader("X-Repeat", "three"), proxywasm.AddHttpRequestHeader("x-New", "1"))
		say("replace", proxywasm.ReplaceHttpRequestHeader("X-Old", "now"), proxywasm.ReplaceHttpRequestHeader("x-fresh", ""))
		say("remove", proxywasm.RemoveHttpRequestHeader("X-Remove"), proxywasm.RemoveHttpRequestHeader("x-absent"))
		_, err := proxywasm.GetHttpRequestHeader("x-remove")
		say("get removed", err)
	case "/all":
		say("set", proxywasm.ReplaceHttpRequestHeaders([][2]string{
			{":method", "PUT"}, {":path", "/all"}, {":authority", "h"}, {"X-Only", "1"}, {"x-only", "2"},
		}))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	say("request body", size, end)
	switch s.path {
	case "/late":
		_, err := proxywasm.GetHttpRequestHeader(":path")
		say("late", err, list(proxywasm.GetHttpRequestHeaders()), proxywasm.AddHttpRequestHeader("x-late", "1"),
			proxywasm.RemoveHttpRequestHeader(":path"), proxywasm.ReplaceHttpRequestHeaders(nil))
	case "/add-trailers":
		say("add trailer", proxywasm.AddHttpRequestTrailer("X-Made", "1"), list(proxywasm.GetHttpRequestTrailers()))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpRequestTrailers(n int) types.Action {
	say("request trailers", n, list(proxywasm.GetHttpRequestTrailers()))
	sum, _ := proxywasm.GetHttpRequestTrailer("X-Sum")
	_ = proxywasm.AddHttpRequestTrailer("X-Seen", sum)
	_ = proxywasm.ReplaceHttpRequestTrailer("x-old", "now")
	_ = proxywasm.RemoveHttpRequestTrailer("X-Remove")
	if s.path == "/all" {
		say("set trailers", proxywasm.ReplaceHttpRequestTrailers([][2]string{{"X-Only", "1"}}))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(n int, end bool) types.Action {
	status, err := proxywasm.GetHttpResponseHeader(":status")
	say("response headers", n, end, status, err)
	_, err = proxywasm.GetHttpRequestHeader(":path")
	say("request header", err)
	_ = proxywasm.AddHttpResponseHeader("X-Seen", status)
	_ = proxywasm.ReplaceHttpResponseHeader("x-old", "now")
	_ = proxywasm.RemoveHttpResponseHeader("X-Remove")
	if s.path == "/all" {
		say("set response", proxywasm.ReplaceHttpResponseHeaders([][2]string{{":status", "203"}, {"X-Only", "1"}}))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	say("response body", size, end)
	if s.path == "/add-trailers" {
		say("add response trailer", proxywasm.AddHttpResponseTrailer("x-made", "2"))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseTrailers(n int) types.Action {
	say("response trailers", n, list(proxywasm.GetHttpResponseTrailers()))
	sum, _ := proxywasm.GetHttpResponseTrailer("x-sum")
	_ = proxywasm.ReplaceHttpResponseTrailer("x-sum", "checked "+sum)
	_ = proxywasm.RemoveHttpResponseTrailer("X-Remove")
	_ = proxywasm.AddHttpResponseTrailer("X-Added", "1")
	if s.path == "/all" {
		say("set response trailers", proxywasm.ReplaceHttpResponseTrailers([][2]string{{"x-only", "2"}}))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	say("log request", list(proxywasm.GetHttpRequestHeaders()), list(proxywasm.GetHttpRequestTrailers()))
	say("log response", list(proxywasm.GetHttpResponseHeaders()), list(proxywasm.GetHttpResponseTrailers()))
	_, err := proxywasm.GetHttpRequestTrailer("x-sum")
	say("log write", err, proxywasm.AddHttpRequestHeader("x", "y"), proxywasm.AddHttpResponseHeader("x", "y"),
		proxywasm.AddHttpResponseTrailer("x", "y"))
}
