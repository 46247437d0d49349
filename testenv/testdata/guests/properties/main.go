// Command properties is a filter that reads and sets the properties that headers of the request name, in the callbacks
// that x-at names.
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

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	return types.OnPluginStartStatus(proxywasm.SetTickPeriodMilliSeconds(1000) == nil)
}

// OnTick reads and sets outside of streams.
func (p *plugin) OnTick() {
	for _, path := range []string{"plugin_name", "plugin_root_id", "plugin_vm_id", "xds.node.id", "request.path", "own"} {
		sayProperty("tick", path)
	}
	say("tick set", proxywasm.SetProperty([]string{"own"}, []byte("v")))
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{} }

type stream struct {
	types.DefaultHttpContext
	at, read, set string
}

func say(what string, results ...any) {
	for i, r := range results {
		if err, ok := r.(error); ok {
			results[i] = strings.TrimPrefix(err.Error(), "error status returned by host: ")
		}
	}
	proxywasm.LogInfo(what + " " + strings.TrimSuffix(fmt.Sprintln(results...), "\n"))
}

// sayProperty takes a path cut by slashes if it has any, else by dots.
func sayProperty(when, path string) {
	separator := "."
	if strings.Contains(path, "/") {
		separator = "/"
	}
	value, err := proxywasm.GetProperty(strings.Split(path, separator))
	if err != nil {
		say(when, path, err)
		return
	}
	say(when, path, fmt.Sprintf("%q", value))
}

func (s *stream) do(when string) {
	if !strings.Contains(s.at, when) {
		return
	}
	for field := range strings.FieldsSeq(s.set) {
		name, value, _ := strings.Cut(field, "=")
		say("set", name, proxywasm.SetProperty([]string{name}, []byte(value)))
	}
	for path := range strings.FieldsSeq(s.read) {
		sayProperty(when, path)
	}
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	s.at, _ = proxywasm.GetHttpRequestHeader("x-at")
	s.read, _ = proxywasm.GetHttpRequestHeader("x-read")
	s.set, _ = proxywasm.GetHttpRequestHeader("x-set")
	s.do("request")
	return types.ActionContinue
}

func (s *stream) OnHttpRequestBody(int, bool) types.Action {
	s.do("body")
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	s.do("response")
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() { s.do("log") }
