// Command probe is a filter on the SDK that does, per stream, what the request header x-do names,
// so that tests can look at the host from a real guest's side. It owns no behaviour of its own.
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) OnVMStart(size int) types.OnVMStartStatus {
	config, err := proxywasm.GetVMConfiguration()
	if _, early := proxywasm.GetPluginConfiguration(); early == nil {
		proxywasm.LogError("plugin configuration readable in on_vm_start")
		return false
	}
	return size == 0 || err == nil && string(config) != "refuse"
}

func (*vm) NewPluginContext(id uint32) types.PluginContext { return &plugin{id: id} }

type plugin struct {
	types.DefaultPluginContext
	id      uint32
	parked  []uint32
	held    []uint32
	garbage [][]byte
	churn   int
	counter proxywasm.MetricCounter
	gauge   proxywasm.MetricGauge
	hist    proxywasm.MetricHistogram
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	config := []byte{}
	if size > 0 {
		var err error
		if config, err = proxywasm.GetPluginConfiguration(); err != nil {
			proxywasm.LogError(err.Error())
			return false
		}
	}
	for _, word := range strings.Fields(string(config)) {
		name, value, _ := strings.Cut(word, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "refuse":
			proxywasm.LogErrorf("field %q: not understood", value)
			return false
		case "panic":
			panic("told to panic at start")
		case "tick":
			_ = proxywasm.SetTickPeriodMilliSeconds(uint32(n))
		case "churn":
			p.churn = n
		case "timer":
			time.AfterFunc(time.Hour, func() {})
		}
	}
	p.counter = proxywasm.DefineCounterMetric("probe.requests")
	p.gauge = proxywasm.DefineGaugeMetric("probe.level")
	p.hist = proxywasm.DefineHistogramMetric("probe.sizes")
	return true
}

// OnTick resumes every parked stream with a header of its own, as a filter that lets several
// streams wait for one answer does.
func (p *plugin) OnTick() {
	proxywasm.LogInfo("tick")
	for _, id := range p.parked {
		if err := proxywasm.SetEffectiveContext(id); err != nil {
			proxywasm.LogWarnf("wake %d: %v", id, err)
			continue
		}
		_ = proxywasm.AddHttpRequestHeader("x-woken", "tick")
		_ = proxywasm.ResumeHttpRequest()
	}
	for _, id := range p.held {
		_ = proxywasm.SetEffectiveContext(id)
		_ = proxywasm.AddHttpResponseHeader("x-released", "1")
		_ = proxywasm.ResumeHttpResponse()
	}
	p.parked, p.held = nil, nil
}

func (p *plugin) OnPluginDone() bool {
	proxywasm.LogInfo("plugin done")
	return true
}

func (p *plugin) NewHttpContext(id uint32) types.HttpContext { return &stream{plugin: p, id: id} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	id     uint32
	bodyDo string
	respDo string
}

func (s *stream) OnHttpRequestHeaders(_ int, end bool) types.Action {
	s.plugin.counter.Increment(1)
	if s.plugin.churn > 0 {
		s.plugin.garbage = append(s.plugin.garbage[:0], make([]byte, s.plugin.churn))
	}
	s.bodyDo, _ = proxywasm.GetHttpRequestHeader("x-body")
	s.respDo, _ = proxywasm.GetHttpRequestHeader("x-respond")
	do, _ := proxywasm.GetHttpRequestHeader("x-do")
	if command, ok := commands[do]; ok {
		return command(s)
	}
	return types.ActionContinue
}

var commands = map[string]func(*stream) types.Action{
	"maps": doMaps, "callout": doCallout, "local": doLocal, "local-twice": doLocalTwice,
	"resume": doResume, "park": doPark, "wake": doWake, "abandon": doAbandon, "panic": doPanic, "exit": doExit,
	"late": doLate, "property": doProperty, "shared": doShared, "foreign": doForeign,
	"metrics": doMetrics, "clock": doClock, "env": doEnv, "gc": doGC, "fanout": doFanout,
	"answer-other": doAnswerOther, "replace-all": doReplaceAll, "queue": doQueue,
}

func header(name string) string {
	v, _ := proxywasm.GetHttpRequestHeader(name)
	return v
}

func tell(name string, value any) { _ = proxywasm.AddHttpRequestHeader(name, fmt.Sprint(value)) }

func doMaps(*stream) types.Action {
	first, err := proxywasm.GetHttpRequestHeader("X-Repeat")
	tell("x-first", fmt.Sprint(first, err))
	_, err = proxywasm.GetHttpRequestHeader("x-absent")
	tell("x-absent-error", err)
	pairs, err := proxywasm.GetHttpRequestHeaders()
	var list []string
	for _, p := range pairs {
		list = append(list, p[0]+"="+p[1])
	}
	tell("x-pairs", fmt.Sprint(strings.Join(list, ";"), err))
	_, err = proxywasm.GetHttpResponseHeader(":status")
	tell("x-response-error", err)
	_, err = proxywasm.GetHttpResponseHeaders()
	tell("x-response-pairs-error", err)
	tell("X-Upper", "v")
	_ = proxywasm.ReplaceHttpRequestHeader("x-repeat", "new")
	_ = proxywasm.RemoveHttpRequestHeader("X-Remove")
	return types.ActionContinue
}

func doCallout(s *stream) types.Action {
	headers := [][2]string{{":method", "POST"}, {":path", "/check"}, {":authority", "control"}, {"X-Upper", "v"}}
	if omit := header("x-omit"); omit != "" {
		kept := headers[:0]
		for _, h := range headers {
			if h[0] != omit {
				kept = append(kept, h)
			}
		}
		headers = kept
	}
	timeout, _ := strconv.Atoi(header("x-timeout"))
	_, err := proxywasm.DispatchHttpCall(header("x-cluster"), headers, []byte(header("x-send")), nil, uint32(timeout), s.answered)
	if err != nil {
		_ = proxywasm.SendHttpResponse(500, nil, []byte(err.Error()), -1)
	}
	return types.ActionPause
}

func (s *stream) answered(numHeaders, bodySize, _ int) {
	if numHeaders == 0 {
		_ = proxywasm.SendHttpResponse(502, nil, []byte("reset "+strconv.Itoa(bodySize)), -1)
		return
	}
	headers, err := proxywasm.GetHttpCallResponseHeaders()
	body, _ := proxywasm.GetHttpCallResponseBody(0, bodySize)
	for _, h := range headers {
		if h[0] == ":status" {
			tell("x-answer-status", h[1])
		}
	}
	tell("x-answer-error", err)
	tell("x-answer-body", string(body))
	_ = proxywasm.ResumeHttpRequest()
}

func doLocal(*stream) types.Action {
	headers := [][2]string{{"X-Mine", "1"}}
	if v := header("x-type"); v != "" {
		headers = append(headers, [2]string{"content-type", v})
	}
	if v := header("x-length"); v != "" {
		headers = append(headers, [2]string{"content-length", v})
	}
	if v := header("x-code"); v != "" {
		headers = append(headers, [2]string{"grpc-status", v})
	}
	if header("x-untype") != "" {
		_ = proxywasm.RemoveHttpRequestHeader("content-type")
	}
	_ = proxywasm.SendHttpResponse(418, headers, []byte(header("x-send")), 7)
	return types.ActionContinue
}

func doLocalTwice(*stream) types.Action {
	_ = proxywasm.SendHttpResponse(401, nil, []byte("first"), -1)
	_ = proxywasm.SendHttpResponse(402, nil, []byte("second"), -1)
	return types.ActionPause
}

func doResume(*stream) types.Action {
	_ = proxywasm.ResumeHttpRequest()
	_ = proxywasm.ResumeHttpResponse()
	return types.ActionContinue
}

func doPark(s *stream) types.Action {
	s.plugin.parked = append(s.plugin.parked, s.id)
	return types.ActionPause
}

func doWake(s *stream) types.Action {
	for _, id := range s.plugin.parked {
		_ = proxywasm.SetEffectiveContext(id)
		tell("x-woken", "stream")
		_ = proxywasm.SetProperty([]string{"woken"}, []byte("yes"))
		_ = proxywasm.ResumeHttpRequest()
		if err := proxywasm.AddHttpRequestHeader("x-after-resume", "1"); err == nil {
			proxywasm.LogError("request headers open after resume")
		}
	}
	s.plugin.parked = nil
	_ = proxywasm.SetEffectiveContext(s.id)
	tell("x-self", "1")
	return types.ActionContinue
}

// doFanout parks the stream behind one callout that wakes all parked ones.
func doFanout(s *stream) types.Action {
	s.plugin.parked = append(s.plugin.parked, s.id)
	headers := [][2]string{{":method", "GET"}, {":path", "/"}, {":authority", "control"}}
	_, err := proxywasm.DispatchHttpCall(header("x-cluster"), headers, nil, nil, 5000, func(int, int, int) {
		for i, id := range s.plugin.parked {
			_ = proxywasm.SetEffectiveContext(id)
			if i%2 == 1 {
				_ = proxywasm.SendHttpResponse(402, nil, []byte("answered"), -1)
				continue
			}
			tell("x-woken", "callout")
			_ = proxywasm.ResumeHttpRequest()
		}
		s.plugin.parked = nil
	})
	if err != nil {
		panic(err)
	}
	return types.ActionPause
}

// doAnswerOther answers the parked streams while it is itself let through.
func doAnswerOther(s *stream) types.Action {
	for _, id := range s.plugin.parked {
		_ = proxywasm.SetEffectiveContext(id)
		_ = proxywasm.SendHttpResponse(403, nil, []byte("answered"), -1)
	}
	s.plugin.parked = nil
	_ = proxywasm.SetEffectiveContext(s.id)
	return types.ActionContinue
}

func doReplaceAll(*stream) types.Action {
	_ = proxywasm.ReplaceHttpRequestHeaders([][2]string{{":method", "PUT"}, {":path", "/new"}, {":authority", "h"}, {"X-Only", "1"}})
	return types.ActionContinue
}

func doQueue(*stream) types.Action {
	_, err := proxywasm.RegisterSharedQueue("q")
	tell("x-queue", err)
	return types.ActionContinue
}

func doAbandon(*stream) types.Action { return types.ActionPause }

func doPanic(*stream) types.Action { panic("told to panic") }

func doExit(*stream) types.Action {
	os.Exit(3)
	return types.ActionContinue
}

func doLate(s *stream) types.Action {
	s.bodyDo = "late"
	return types.ActionContinue
}

func doProperty(*stream) types.Action {
	for _, path := range strings.Fields(header("x-path")) {
		v, err := proxywasm.GetProperty(strings.Split(path, "."))
		tell("x-property", fmt.Sprintf("%s=%q %v", path, v, err))
	}
	_ = proxywasm.SetProperty([]string{"tollgate"}, []byte("decided"))
	v, err := proxywasm.GetProperty([]string{"tollgate"})
	tell("x-own", fmt.Sprint(string(v), err))
	return types.ActionContinue
}

func doShared(*stream) types.Action {
	_, _, err := proxywasm.GetSharedData("k")
	tell("x-shared", err)
	tell("x-shared", proxywasm.SetSharedData("k", []byte("a"), 99))
	v, cas, err := proxywasm.GetSharedData("k")
	tell("x-shared", fmt.Sprint(string(v), err))
	tell("x-shared", proxywasm.SetSharedData("k", []byte("b"), cas+1))
	tell("x-shared", proxywasm.SetSharedData("k", []byte("c"), cas))
	tell("x-shared", proxywasm.SetSharedData("k", []byte("d"), 0))
	v, _, _ = proxywasm.GetSharedData("k")
	tell("x-shared", string(v))
	return types.ActionContinue
}

func doForeign(*stream) types.Action {
	_, err := proxywasm.CallForeignFunction("compress", []byte("x"))
	tell("x-foreign", err)
	return types.ActionContinue
}

func doMetrics(s *stream) types.Action {
	s.plugin.gauge.Add(5)
	s.plugin.gauge.Add(-7)
	s.plugin.hist.Record(10)
	s.plugin.hist.Record(30)
	tell("x-counter", s.plugin.counter.Value())
	tell("x-gauge", s.plugin.gauge.Value())
	return types.ActionContinue
}

var started = time.Now()

func doClock(*stream) types.Action {
	now := time.Now()
	tell("x-wall", now.UnixNano())
	tell("x-mono", now.Sub(started))
	return types.ActionContinue
}

func doEnv(*stream) types.Action {
	tell("x-env", strings.Join(os.Environ(), ","))
	return types.ActionContinue
}

func doGC(*stream) types.Action {
	runtime.GC()
	return types.ActionContinue
}

func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	switch s.bodyDo {
	case "late":
		err := proxywasm.AddHttpRequestHeader("x-late", "1")
		_, err2 := proxywasm.GetHttpRequestHeader(":path")
		_, err3 := proxywasm.GetHttpRequestHeaders()
		proxywasm.LogInfof("late: %v, %v, %v", err, err2, err3)
	case "buffer":
		if !end {
			return types.ActionPause
		}
		body, _ := proxywasm.GetHttpRequestBody(0, size)
		_ = proxywasm.ReplaceHttpRequestBody(bytes.ToUpper(body))
	case "edges":
		_ = proxywasm.PrependHttpRequestBody([]byte("<"))
		_ = proxywasm.AppendHttpRequestBody([]byte(">"))
	case "callout":
		if end {
			return doBodyCallout(s)
		}
		return types.ActionPause
	case "hold":
		return types.ActionPause
	case "flush":
		s.bodyDo = ""
		return doBodyCallout(s)
	}
	return types.ActionContinue
}

func doBodyCallout(s *stream) types.Action {
	headers := [][2]string{{":method", "GET"}, {":path", "/"}, {":authority", "control"}}
	_, err := proxywasm.DispatchHttpCall("control", headers, nil, nil, 5000, func(int, int, int) {
		_ = proxywasm.PrependHttpRequestBody([]byte("checked "))
		_ = proxywasm.ResumeHttpRequest()
	})
	if err != nil {
		panic(err)
	}
	return types.ActionPause
}

func (s *stream) OnHttpRequestTrailers(int) types.Action {
	v, _ := proxywasm.GetHttpRequestTrailer("x-sum")
	_ = proxywasm.AddHttpRequestTrailer("x-trailer-seen", v)
	_ = proxywasm.RemoveHttpRequestTrailer("X-Remove")
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(_ int, end bool) types.Action {
	status, _ := proxywasm.GetHttpResponseHeader(":status")
	_ = proxywasm.AddHttpResponseHeader("x-seen-status", status)
	_ = proxywasm.AddHttpResponseHeader("x-seen-end", strconv.FormatBool(end))
	if s.respDo == "hold" {
		s.plugin.held = append(s.plugin.held, s.id)
		return types.ActionPause
	}
	switch status {
	case "599":
		_ = proxywasm.SendHttpResponse(503, nil, []byte("replaced"), -1)
	case "401":
		_ = proxywasm.RemoveHttpResponseHeader("x-hide")
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	body, _ := proxywasm.GetHttpResponseBody(0, size)
	switch {
	case s.respDo == "buffer" && !end:
		return types.ActionPause
	case s.respDo == "buffer":
		_ = proxywasm.ReplaceHttpResponseBody(bytes.ToUpper(body))
	case s.respDo == "hold-body":
		s.plugin.held = append(s.plugin.held, s.id)
		return types.ActionPause
	case bytes.HasPrefix(body, []byte("secret")):
		_ = proxywasm.ReplaceHttpResponseBody([]byte("hidden"))
	case bytes.HasPrefix(body, []byte("answer-late")):
		_ = proxywasm.SendHttpResponse(503, nil, nil, -1)
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseTrailers(int) types.Action {
	v, _ := proxywasm.GetHttpResponseTrailer("x-sum")
	_ = proxywasm.ReplaceHttpResponseTrailer("x-sum", "checked "+v)
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	if code, err := proxywasm.GetProperty([]string{"response", "code"}); err == nil && len(code) == 8 {
		proxywasm.LogDebugf("code %d", uint32(code[0])|uint32(code[1])<<8)
	}
	method, _ := proxywasm.GetHttpRequestHeader(":method")
	status, _ := proxywasm.GetHttpResponseHeader(":status")
	proxywasm.LogDebugf("done %s %s", method, status)
}
