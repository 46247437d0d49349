package testenv

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Defaults of Options, in the units of their fields.
const (
	DefaultMemoryLimitPages = 4096
	DefaultMaxBufferBytes   = 1 << 20
	DefaultMaxCalloutBytes  = 32 << 20
)

const wasmMaxPages = 65536

// ErrOptions reports an Options field that no VM can be made from.
var ErrOptions = errors.New("invalid options")

// PollMode is what the host answers to the WASI call poll_oneoff.
type PollMode int

const (
	// PollENOSYS answers errno 52 and forbids the call while memory is allocated: Envoy 1.33
	// to about 1.38. Go's runtime throws on it.
	PollENOSYS PollMode = iota
	// PollZero answers success with no event: Envoy from about 1.39.
	PollZero
	// PollFull answers every subscription as due at once, as a host with full WASI that never
	// has to wait.
	PollFull
)

// Options configure one VM and the plugin in it. The zero value is a filter without
// configuration, clusters or environment on the real clocks.
type Options struct {
	PluginName, RootID, VMID string
	// VMConfiguration and PluginConfiguration are handed to proxy_on_vm_start and
	// proxy_on_configure.
	VMConfiguration, PluginConfiguration []byte
	// Env is the environment the filter sees; nothing of the host's own leaks in.
	Env map[string]string
	// NodeID answers the property node.id.
	NodeID string
	// Clusters are the upstreams a callout may name. A name with a nil Cluster exists but cannot
	// be sent to: proxy_http_call answers InternalFailure.
	Clusters map[string]Cluster
	// Log receives what the filter logs, also through standard output (info) and standard error
	// (error). It runs while the VM is locked and must not call into it.
	Log func(Level, string)
	// OnFault receives what a filter must never do but a host survives: an error wrapping
	// ErrUnimplemented or ErrSecondLocalResponse. It runs while the VM is locked. Nil drops them.
	OnFault func(error)
	// Metrics and SharedData are the VM's own when nil; give several VMs the same to let them
	// count and share together.
	Metrics    *Metrics
	SharedData *SharedData
	// Now is the wall clock (WASI clock 0) and Monotonic the monotonic one (WASI clock 1); nil
	// means the real ones.
	Now       func() time.Time
	Monotonic func() time.Duration
	// Rand answers random_get; nil means crypto/rand.
	Rand io.Reader
	// MemoryLimitPages bounds linear memory in pages of 64 KiB, reserved up front so that growth
	// never copies; 0 means DefaultMemoryLimitPages.
	MemoryLimitPages uint32
	// MaxCalloutBytes bounds the body of a callout's answer; a longer one is a reset. 0 means
	// DefaultMaxCalloutBytes.
	MaxCalloutBytes int
	// PollOneoff is how poll_oneoff answers.
	PollOneoff PollMode
	// InlineHeaders names headers that this build of Envoy registered as inline: repeats of them
	// arrive joined by a comma as one value.
	InlineHeaders []string

	// Upstream answers what Host.Do forwards; nil means a handler that echoes the body, or says
	// "ok" to an empty one. VMs do not use it.
	Upstream http.Handler

	record *recorder
}

// withDefaults fills in what was left zero and refuses what cannot work.
func (o Options) withDefaults() (Options, error) {
	if o.MemoryLimitPages > wasmMaxPages {
		return o, fmt.Errorf("%w: MemoryLimitPages %d is above %d", ErrOptions, o.MemoryLimitPages, wasmMaxPages)
	}
	if o.MaxCalloutBytes < 0 {
		return o, fmt.Errorf("%w: MaxCalloutBytes %d is negative", ErrOptions, o.MaxCalloutBytes)
	}
	if o.PollOneoff < PollENOSYS || o.PollOneoff > PollFull {
		return o, fmt.Errorf("%w: PollOneoff %d is not a PollMode", ErrOptions, o.PollOneoff)
	}
	if o.MemoryLimitPages == 0 {
		o.MemoryLimitPages = DefaultMemoryLimitPages
	}
	if o.MaxCalloutBytes == 0 {
		o.MaxCalloutBytes = DefaultMaxCalloutBytes
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.SharedData == nil {
		o.SharedData = NewSharedData()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Monotonic == nil {
		start := time.Now()
		o.Monotonic = func() time.Duration { return time.Since(start) }
	}
	return o, nil
}
