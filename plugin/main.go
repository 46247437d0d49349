// The tollgate filter: a proxy-wasm plugin that puts API keys and prepaid credits in front of an upstream. It
// is built for wasip1 as a reactor module (see the Makefile) and loaded by Envoy, or by testenv.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/tollgate/tollgate/plugin/filter"
)

func main() {}

func init() {
	proxywasm.SetPluginContext(filter.NewPluginContext)
}
