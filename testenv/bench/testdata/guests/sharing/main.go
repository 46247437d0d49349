// Command sharing is a filter on the SDK that counts requests in shared data: two hostcalls where the workers of a Host
// may take turns, more when another VM was faster.
package main

import (
	"encoding/binary"
	"errors"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

const key = "requests"

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct{ types.DefaultPluginContext }

func (*plugin) NewHttpContext(uint32) types.HttpContext { return &stream{} }

type stream struct{ types.DefaultHttpContext }

func (*stream) OnHttpRequestHeaders(int, bool) types.Action {
	for {
		err := increment()
		if err == nil {
			return types.ActionContinue
		}
		if !errors.Is(err, types.ErrorStatusCasMismatch) {
			proxywasm.LogCritical("count the request: " + err.Error())
			return types.ActionPause
		}
	}
}

func increment() error {
	data, cas, err := proxywasm.GetSharedData(key)
	if err != nil && !errors.Is(err, types.ErrorStatusNotFound) {
		return err
	}
	var count uint64
	if len(data) == 8 {
		count = binary.LittleEndian.Uint64(data)
	}
	return proxywasm.SetSharedData(key, binary.LittleEndian.AppendUint64(nil, count+1), cas)
}
