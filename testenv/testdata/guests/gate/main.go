// Command gate lets requests wait for answers of the cluster "control". The request says how: x-calls is the number of
// callouts at once, x-timeout their timeout in milliseconds, x-omit a pseudo header left out, x-cluster another cluster;
// x-settle sends one when the stream is done, x-late lets the request go on and answers it once the answer comes. The configuration "start" sends one at the start, "tick" one every second.
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

type plugin struct{ types.DefaultPluginContext }

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	config, _ := proxywasm.GetPluginConfiguration()
	switch string(config) {
	case "start":
		_ = ask("control", "/start", 1000, "", logged("start"))
	case "tick":
		_ = proxywasm.SetTickPeriodMilliSeconds(1000)
	}
	return true
}

func (p *plugin) OnTick() { _ = ask("control", "/tick", 1000, "", logged("tick")) }

func logged(what string) func(int, int, int) {
	return func(headers, body, _ int) { proxywasm.LogInfof("%s: %s", what, answer(headers, body)) }
}

// ask sends a callout without the pseudo header named omit.
func ask(cluster, path string, timeout int, omit string, callback func(int, int, int)) error {
	var headers [][2]string
	for _, h := range [][2]string{{":method", "POST"}, {":path", path}, {":authority", "control"}} {
		if h[0] != omit {
			headers = append(headers, h)
		}
	}
	_, err := proxywasm.DispatchHttpCall(cluster, headers, []byte("ask"), nil, uint32(timeout), callback)
	return err
}

// answer tells status, content-length and body.
func answer(headers, size int) string {
	if headers == 0 {
		return fmt.Sprintf("reset %d", size)
	}
	pairs, _ := proxywasm.GetHttpCallResponseHeaders()
	var status, length string
	for _, p := range pairs {
		switch p[0] {
		case ":status":
			status = p[1]
		case "content-length":
			length = p[1]
		}
	}
	var body []byte
	if size > 0 {
		body, _ = proxywasm.GetHttpCallResponseBody(0, size)
	}
	return fmt.Sprintf("%s %s %s", status, length, strings.TrimRight(string(body), " "))
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{} }

type stream struct {
	types.DefaultHttpContext
	answers []string
	settle  bool
}

func header(name, otherwise string) string {
	if v, err := proxywasm.GetHttpRequestHeader(name); err == nil {
		return v
	}
	return otherwise
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	s.settle = header("x-settle", "") != ""
	if header("x-late", "") != "" {
		return answerLate()
	}
	calls, _ := strconv.Atoi(header("x-calls", "1"))
	timeout, _ := strconv.Atoi(header("x-timeout", "1000"))
	for i := range calls {
		path := fmt.Sprintf("/check/%d", i)
		err := ask(header("x-cluster", "control"), path, timeout, header("x-omit", ""), func(headers, body, _ int) {
			s.answers = append(s.answers, fmt.Sprintf("%d: %s", i, answer(headers, body)))
			if len(s.answers) == calls {
				_ = proxywasm.AddHttpRequestHeader("x-answers", strings.Join(s.answers, "; "))
				_ = proxywasm.ResumeHttpRequest()
			}
		})
		if err != nil {
			_ = proxywasm.SendHttpResponse(500, nil, []byte(err.Error()), -1)
			return types.ActionPause
		}
	}
	if calls == 0 {
		return types.ActionContinue
	}
	return types.ActionPause
}

// answerLate lets the request go on before the answer is there.
func answerLate() types.Action {
	err := ask("control", "/late", 60_000, "", func(int, int, int) {
		_ = proxywasm.SendHttpResponse(451, nil, []byte("revoked"), -1)
	})
	if err != nil {
		_ = proxywasm.SendHttpResponse(500, nil, []byte(err.Error()), -1)
	}
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	proxywasm.LogInfof("done with %d answers", len(s.answers))
	if s.settle {
		_ = ask("control", "/settle", 1000, "", logged("settled"))
	}
}
