// Command lifecycle is a filter that logs what happens to it: its start with both configurations, its environment, ticks,
// clocks, streams and its end. Words of the configuration change it, the path of a request lets it die.
package main

import (
	"fmt"
	"os"
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
	proxywasm.LogInfof("vm start %d %q", size, config)
	if _, early := proxywasm.GetPluginConfiguration(); early == nil {
		proxywasm.LogError("the plugin's configuration is readable while the VM starts")
		return false
	}
	return size == 0 || err == nil && string(config) != "refuse"
}

func (*vm) NewPluginContext(id uint32) types.PluginContext {
	config, _ := proxywasm.GetPluginConfiguration()
	proxywasm.LogInfof("create plugin %d %q", id, config)
	return &plugin{}
}

type plugin struct {
	types.DefaultPluginContext
	ticks, stop int
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	var config []byte
	if size > 0 {
		config, _ = proxywasm.GetPluginConfiguration()
	}
	vmConfig, _ := proxywasm.GetVMConfiguration()
	proxywasm.LogInfof("plugin start %d %q %q", size, config, vmConfig)
	proxywasm.LogInfof("env %q", os.Environ())
	for word := range strings.FieldsSeq(string(config)) {
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
		case "stop":
			p.stop = n
		}
	}
	return true
}

func (p *plugin) OnTick() {
	p.ticks++
	proxywasm.LogInfof("tick %d", p.ticks)
	if p.ticks == p.stop {
		_ = proxywasm.SetTickPeriodMilliSeconds(0)
	}
}

func (p *plugin) OnPluginDone() bool {
	proxywasm.LogInfo("plugin done")
	return true
}

func (p *plugin) NewHttpContext(id uint32) types.HttpContext { return &stream{} }

type stream struct{ types.DefaultHttpContext }

var started = time.Now()

func (*stream) OnHttpRequestHeaders(int, bool) types.Action {
	path, _ := proxywasm.GetHttpRequestHeader(":path")
	name, value, _ := strings.Cut(strings.TrimPrefix(path, "/"), "=")
	switch name {
	case "levels":
		for i, log := range []func(string){
			proxywasm.LogTrace, proxywasm.LogDebug, proxywasm.LogInfo, proxywasm.LogWarn, proxywasm.LogError, proxywasm.LogCritical,
		} {
			log(strconv.Itoa(i))
		}
		fmt.Println("out")
		fmt.Fprint(os.Stderr, "err\n")
	case "clock":
		now := time.Now()
		proxywasm.LogInfof("wall %d mono %v", now.UnixNano(), now.Sub(started))
	case "tick":
		n, _ := strconv.Atoi(value)
		_ = proxywasm.SetTickPeriodMilliSeconds(uint32(n))
	case "panic":
		panic("told to panic")
	case "exit":
		os.Exit(3)
	case "foreign":
		_, err := proxywasm.CallForeignFunction("compress", []byte("x"))
		proxywasm.LogInfof("foreign %v", err)
	case "pause":
		return types.ActionPause
	}
	return types.ActionContinue
}
