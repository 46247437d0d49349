// Package proxywasm is the API of the older SDK's package of this path, by aliases of its successor's.
package proxywasm

import (
	_ "unsafe" // for linkname

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

type MetricCounter = proxywasm.MetricCounter

var (
	AppendHttpRequestBody       = proxywasm.AppendHttpRequestBody
	CallForeignFunction         = proxywasm.CallForeignFunction
	DefineCounterMetric         = proxywasm.DefineCounterMetric
	DequeueSharedQueue          = proxywasm.DequeueSharedQueue
	DispatchHttpCall            = proxywasm.DispatchHttpCall
	EnqueueSharedQueue          = proxywasm.EnqueueSharedQueue
	GetDownstreamData           = proxywasm.GetDownstreamData
	GetHttpCallResponseBody     = proxywasm.GetHttpCallResponseBody
	GetHttpCallResponseHeaders  = proxywasm.GetHttpCallResponseHeaders
	GetHttpCallResponseTrailers = proxywasm.GetHttpCallResponseTrailers
	GetHttpRequestBody          = proxywasm.GetHttpRequestBody
	GetHttpRequestHeader        = proxywasm.GetHttpRequestHeader
	GetHttpRequestHeaders       = proxywasm.GetHttpRequestHeaders
	GetHttpResponseBody         = proxywasm.GetHttpResponseBody
	GetHttpResponseHeader       = proxywasm.GetHttpResponseHeader
	GetHttpResponseHeaders      = proxywasm.GetHttpResponseHeaders
	GetPluginConfiguration      = proxywasm.GetPluginConfiguration
	GetProperty                 = proxywasm.GetProperty
	GetSharedData               = proxywasm.GetSharedData
	GetUpstreamData             = proxywasm.GetUpstreamData
	GetVMConfiguration          = proxywasm.GetVMConfiguration
	LogCritical                 = proxywasm.LogCritical
	LogCriticalf                = proxywasm.LogCriticalf
	LogDebug                    = proxywasm.LogDebug
	LogDebugf                   = proxywasm.LogDebugf
	LogError                    = proxywasm.LogError
	LogErrorf                   = proxywasm.LogErrorf
	LogInfo                     = proxywasm.LogInfo
	LogInfof                    = proxywasm.LogInfof
	LogTracef                   = proxywasm.LogTracef
	LogWarn                     = proxywasm.LogWarn
	LogWarnf                    = proxywasm.LogWarnf
	PrependHttpRequestBody      = proxywasm.PrependHttpRequestBody
	RegisterSharedQueue         = proxywasm.RegisterSharedQueue
	RemoveHttpRequestHeader     = proxywasm.RemoveHttpRequestHeader
	ReplaceHttpRequestBody      = proxywasm.ReplaceHttpRequestBody
	ReplaceHttpRequestHeader    = proxywasm.ReplaceHttpRequestHeader
	ReplaceHttpResponseBody     = proxywasm.ReplaceHttpResponseBody
	ResolveSharedQueue          = proxywasm.ResolveSharedQueue
	ResumeHttpRequest           = proxywasm.ResumeHttpRequest
	SendHttpResponse            = proxywasm.SendHttpResponse
	SetEffectiveContext         = proxywasm.SetEffectiveContext
	SetSharedData               = proxywasm.SetSharedData
	SetTickPeriodMilliSeconds   = proxywasm.SetTickPeriodMilliSeconds
)

// runMain is the filter's main, where filters of the older SDK register. TinyGo ran it as the module started; a
// reactor of the standard compiler never does.
//
//go:linkname runMain main.main
func runMain()

var registered types.VMContext

// SetVMContext is called by the filter's main.
func SetVMContext(c types.VMContext) { registered = c }

func init() { proxywasm.SetVMContext(lateVMContext{}) }

// lateVMContext runs the filter's main when the host first asks for something: every package is initialized by then.
type lateVMContext struct{}

func vmContext() types.VMContext {
	if registered == nil {
		runMain()
	}
	return registered
}

func (lateVMContext) OnVMStart(size int) types.OnVMStartStatus { return vmContext().OnVMStart(size) }

func (lateVMContext) NewPluginContext(id uint32) types.PluginContext {
	return vmContext().NewPluginContext(id)
}
