// Command hostcalls is a filter on the SDK that makes the hostcalls of a hot request of Tollgate's filter, with the same
// arguments and in the same order, with as little around them as can be, and nothing else. The benchmark compares the calls of
// both.
package main

import (
	"unsafe"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

//go:wasmimport env proxy_get_header_map_pairs
//go:noescape
func headerPairs(mapType int32, data unsafe.Pointer, size *int32) int32

//go:wasmimport env proxy_remove_header_map_value
//go:noescape
func removeHeader(mapType int32, name *byte, nameSize int32) int32

//go:wasmimport env proxy_add_header_map_value
//go:noescape
func addHeader(mapType int32, name *byte, nameSize int32, value *byte, valueSize int32) int32

//go:wasmimport env proxy_set_property
//go:noescape
func setProperty(path *byte, pathSize int32, value *byte, valueSize int32) int32

//go:wasmimport env proxy_increment_metric
//go:noescape
func incrementMetric(id int32, offset int64) int32

//go:wasmimport wasi_snapshot_preview1 clock_time_get
//go:noescape
func clock(id int32, precision int64, out *uint64) int32

// Out-variables are at package level: the host writes to them while the guest's stack may move.
var (
	pairs     *byte
	pairsSize int32
	time      uint64
)

func main() {}

func init() { proxywasm.SetPluginContext(func(uint32) types.PluginContext { return &plugin{} }) }

type plugin struct {
	types.DefaultPluginContext
	stream stream
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	p.stream.allowed = proxywasm.DefineCounterMetric("allowed")
	p.stream.credits = proxywasm.DefineCounterMetric("credits")
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &p.stream }

type stream struct {
	types.DefaultHttpContext
	allowed, credits proxywasm.MetricCounter
}

const record = "decision=allow scheme=genrex account=acct_1 key=key_1 cost=1 mode=lease"

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	status := headerPairs(0, unsafe.Pointer(&pairs), &pairsSize)
	status |= remove("authorization")
	status |= clock(1, 1, &time) | clock(0, 1, &time)
	status |= add("x-tollgate-account-id", "acct_1") | add("x-tollgate-key-id", "key_1") | add("x-tollgate-cost", "1")
	status |= setProperty(unsafe.StringData("tollgate"), 8, unsafe.StringData(record), int32(len(record)))
	status |= incrementMetric(int32(s.allowed), 1) | incrementMetric(int32(s.credits), 1)
	if status != 0 {
		proxywasm.LogCritical("a hostcall failed")
		return types.ActionPause
	}
	return types.ActionContinue
}

func remove(name string) int32 {
	return removeHeader(0, unsafe.StringData(name), int32(len(name)))
}

func add(name, value string) int32 {
	return addHeader(0, unsafe.StringData(name), int32(len(name)), unsafe.StringData(value), int32(len(value)))
}
