// Package types is the API of the older SDK's package of this path, by aliases of its successor's.
package types

import "github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

type (
	Action               = types.Action
	DefaultHttpContext   = types.DefaultHttpContext
	DefaultPluginContext = types.DefaultPluginContext
	DefaultTcpContext    = types.DefaultTcpContext
	DefaultVMContext     = types.DefaultVMContext
	HttpContext          = types.HttpContext
	OnPluginStartStatus  = types.OnPluginStartStatus
	OnVMStartStatus      = types.OnVMStartStatus
	PeerType             = types.PeerType
	PluginContext        = types.PluginContext
	TcpContext           = types.TcpContext
	VMContext            = types.VMContext
)

const (
	ActionContinue            = types.ActionContinue
	ActionPause               = types.ActionPause
	OnPluginStartStatusFailed = types.OnPluginStartStatusFailed
	OnPluginStartStatusOK     = types.OnPluginStartStatusOK
	OnVMStartStatusOK         = types.OnVMStartStatusOK
)

var (
	ErrorStatusCasMismatch = types.ErrorStatusCasMismatch
	ErrorStatusEmpty       = types.ErrorStatusEmpty
	ErrorStatusNotFound    = types.ErrorStatusNotFound
)
