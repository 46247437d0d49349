// Command counter counts in shared data, with and without regard for other VMs, and moves values through a shared queue.
// Its configuration names what it does beside: "start" counts at the start too, "tick" at every 100 ms, "queue" registers
// the queue.
package main

import (
	"errors"
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
	retries, taken proxywasm.MetricCounter
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	config, _ := proxywasm.GetPluginConfiguration()
	p.retries = proxywasm.DefineCounterMetric("counter.retries")
	p.taken = proxywasm.DefineCounterMetric("counter.taken")
	for _, key := range []string{"n", "starts", "ticks"} {
		if _, _, err := proxywasm.GetSharedData(key); err != nil {
			_ = proxywasm.SetSharedData(key, []byte("0"), 0)
		}
	}
	if strings.Contains(string(config), "start") {
		p.add("starts")
	}
	if strings.Contains(string(config), "tick") {
		_ = proxywasm.SetTickPeriodMilliSeconds(100)
	}
	if strings.Contains(string(config), "queue") {
		if _, err := proxywasm.RegisterSharedQueue("work"); err != nil {
			proxywasm.LogErrorf("register: %v", err)
		}
	}
	return true
}

func (p *plugin) OnTick() { p.add("ticks") }

// OnQueueReady takes one value, as there is one call for each.
func (p *plugin) OnQueueReady(queue uint32) {
	value, err := proxywasm.DequeueSharedQueue(queue)
	if err != nil {
		proxywasm.LogErrorf("dequeue: %v", err)
		return
	}
	p.taken.Increment(1)
	proxywasm.LogInfof("took %s", value)
}

// add counts as filters have to: again, until nobody was faster. It is safe for keys that exist: the first write of a key
// is nobody's to refuse.
func (p *plugin) add(key string) {
	for {
		n, cas := read(key)
		err := proxywasm.SetSharedData(key, []byte(strconv.Itoa(n+1)), cas)
		if err == nil {
			return
		}
		if !errors.Is(err, types.ErrorStatusCasMismatch) {
			proxywasm.LogErrorf("set: %v", err)
			return
		}
		p.retries.Increment(1)
	}
}

func read(key string) (int, uint32) {
	data, cas, err := proxywasm.GetSharedData(key)
	if err != nil {
		return 0, 0
	}
	n, err := strconv.Atoi(string(data))
	if err != nil {
		proxywasm.LogErrorf("read %s: %v", key, err)
	}
	return n, cas
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	do, _ := proxywasm.GetHttpRequestHeader("x-do")
	switch do {
	case "add":
		s.plugin.add("n")
	case "create":
		key, _ := proxywasm.GetHttpRequestHeader("x-value")
		s.plugin.add(key)
	case "lossy": // as if nobody else were there
		n, _ := read("n")
		_ = proxywasm.SetSharedData("n", []byte(strconv.Itoa(n+1)), 0)
	case "enqueue":
		value, _ := proxywasm.GetHttpRequestHeader("x-value")
		queue, err := proxywasm.ResolveSharedQueue("", "work")
		if err == nil {
			err = proxywasm.EnqueueSharedQueue(queue, []byte(value))
		}
		if err != nil {
			_ = proxywasm.SendHttpResponse(500, nil, []byte(err.Error()), -1)
		}
	}
	return types.ActionContinue
}
