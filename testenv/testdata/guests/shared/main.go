// Command shared is a filter that shares data and queues with other VMs. Its configuration lists the queues that it
// registers; what it does with a request is in the path.
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
	queues map[uint32]string
}

func say(what string, results ...any) {
	for i, r := range results {
		if err, ok := r.(error); ok {
			results[i] = strings.TrimPrefix(err.Error(), "error status returned by host: ")
		}
	}
	proxywasm.LogInfo(what + ": " + strings.TrimSuffix(fmt.Sprintln(results...), "\n"))
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	p.queues = map[uint32]string{}
	config, _ := proxywasm.GetPluginConfiguration()
	for name := range strings.FieldsSeq(string(config)) {
		id, err := proxywasm.RegisterSharedQueue(name)
		if err != nil {
			proxywasm.LogCritical(err.Error())
			return false
		}
		p.queues[id] = name
	}
	return true
}

// OnQueueReady takes one value, as there is one call for each.
func (p *plugin) OnQueueReady(id uint32) {
	value, err := proxywasm.DequeueSharedQueue(id)
	say("ready "+p.queues[id], string(value), err)
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{} }

type stream struct{ types.DefaultHttpContext }

func header(name string) string {
	value, _ := proxywasm.GetHttpRequestHeader(name)
	return value
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	key, value := header("x-key"), header("x-value")
	switch header(":path") {
	case "/get":
		sayData(key)
	case "/set":
		cas, _ := strconv.Atoi(header("x-cas"))
		say("set", proxywasm.SetSharedData(key, []byte(value), uint32(cas)))
	case "/cas":
		sayCAS(key)
	case "/add":
		add(key)
	case "/enqueue":
		id, err := proxywasm.ResolveSharedQueue(header("x-vm"), key)
		if err != nil {
			say("resolve", err)
			break
		}
		for v := range strings.FieldsSeq(value) {
			say("enqueue", proxywasm.EnqueueSharedQueue(id, []byte(v)))
		}
	case "/dequeue":
		id, err := proxywasm.ResolveSharedQueue(header("x-vm"), key)
		say("resolve", err)
		got, err := proxywasm.DequeueSharedQueue(id)
		say("dequeue", string(got), err)
	case "/unknown":
		_, err := proxywasm.DequeueSharedQueue(12345)
		say("unknown", err, proxywasm.EnqueueSharedQueue(12345, []byte("x")))
	}
	return types.ActionContinue
}

func sayData(key string) {
	value, _, err := proxywasm.GetSharedData(key)
	say("get", string(value), err)
}

// sayCAS writes with every kind of version number.
func sayCAS(key string) {
	sayData(key)
	say("absent, any cas", proxywasm.SetSharedData(key, []byte("a"), 99))
	_, cas, _ := proxywasm.GetSharedData(key)
	say("wrong cas", proxywasm.SetSharedData(key, []byte("b"), cas+1))
	sayData(key)
	say("right cas", proxywasm.SetSharedData(key, []byte("c"), cas))
	say("spent cas", proxywasm.SetSharedData(key, []byte("d"), cas))
	sayData(key)
	say("no cas", proxywasm.SetSharedData(key, []byte("e"), 0))
	sayData(key)
	_, next, _ := proxywasm.GetSharedData(key)
	say("cas changed", next != cas, next != 0)
}

// add counts up without losing what others add.
func add(key string) {
	for {
		value, cas, _ := proxywasm.GetSharedData(key)
		n, _ := strconv.Atoi(string(value))
		if proxywasm.SetSharedData(key, []byte(strconv.Itoa(n+1)), cas) == nil {
			return
		}
	}
}
