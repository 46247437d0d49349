// Command watch tells what the host's clocks and its source of random bytes say, on each request in headers and on each
// tick in the log. The configuration is the tick's period in milliseconds.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct{ types.DefaultPluginContext }

//go:wasmimport env proxy_get_current_time_nanoseconds
func currentTime(out unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 clock_time_get
func clockTime(id uint32, precision uint64, out unsafe.Pointer) uint32

func clock(id uint32) int64 {
	var ns int64
	if errno := clockTime(id, 0, unsafe.Pointer(&ns)); errno != 0 {
		panic(errno)
	}
	return ns
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	config, _ := proxywasm.GetPluginConfiguration()
	if period, err := strconv.Atoi(string(config)); err == nil {
		_ = proxywasm.SetTickPeriodMilliSeconds(uint32(period))
	}
	return true
}

func (p *plugin) OnTick() { proxywasm.LogInfof("tick at %v", time.Duration(clock(1))) }

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{} }

type stream struct{ types.DefaultHttpContext }

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	var proxy int64
	_ = currentTime(unsafe.Pointer(&proxy))
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	tell("x-wall", time.Unix(0, clock(0)).UTC().Format(time.RFC3339Nano))
	tell("x-proxy", time.Unix(0, proxy).UTC().Format(time.RFC3339Nano))
	tell("x-go", time.Now().UTC().Format(time.RFC3339Nano))
	tell("x-mono", time.Duration(clock(1)))
	tell("x-random", hex.EncodeToString(random))
	if period, err := proxywasm.GetHttpRequestHeader("x-period"); err == nil {
		ms, _ := strconv.Atoi(period)
		_ = proxywasm.SetTickPeriodMilliSeconds(uint32(ms))
	}
	return types.ActionContinue
}

func tell(name string, value any) { _ = proxywasm.AddHttpRequestHeader(name, fmt.Sprint(value)) }
