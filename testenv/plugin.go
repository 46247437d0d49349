package testenv

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// Plugin is a filter with its configuration: one wasm entry of Envoy's HTTP filters.
type Plugin struct {
	// Filter is the compiled module.
	Filter *Filter
	// Name and RootID are the filter's own, as it reads them with the properties plugin_name and plugin_root_id.
	Name, RootID string
	// VMID separates shared data and shared queues. Plugins of a worker that agree in VMID, module, VMConfiguration and,
	// where Profile.EnvSeparatesVMs says so, Env live in one VM.
	VMID string
	// VMConfiguration and Configuration are handed to proxy_on_vm_start and proxy_on_configure.
	VMConfiguration, Configuration []byte
	// Env is the environment the filter sees; nothing of the host's own leaks in.
	Env map[string]string
	// AllowOnHeadersStopIteration lets a filter that stops on headers still see the body, where the profile knows the
	// option; otherwise a stop on headers stops everything.
	AllowOnHeadersStopIteration bool
	// FailurePolicy is what becomes of requests once the VM has died.
	FailurePolicy FailurePolicy
	// ReloadBackoff is the least time between two starts of the VM under FailReload; 0 means the worker's.
	ReloadBackoff time.Duration
}

// FailurePolicy is what a worker does with the requests of a plugin whose VM has died, as failure_policy of Envoy's
// wasm.proto.
type FailurePolicy int

const (
	// FailClosed answers every request with 503.
	FailClosed FailurePolicy = iota
	// FailReload starts a new VM for the first request after a backoff, and answers 503 until then.
	FailReload
	// FailOpen leaves the filter out of later requests; the one whose step killed the VM gets 503.
	FailOpen
)

// String returns the policy's name as wasm.proto has it.
func (p FailurePolicy) String() string {
	switch p {
	case FailClosed:
		return "FAIL_CLOSED"
	case FailReload:
		return "FAIL_RELOAD"
	case FailOpen:
		return "FAIL_OPEN"
	}
	return fmt.Sprintf("FailurePolicy(%d)", int(p))
}

// ErrPlugin reports a Plugin that no worker can run.
var ErrPlugin = errors.New("invalid plugin")

func (p Plugin) check(profile Profile) error {
	switch {
	case p.Filter == nil:
		return fmt.Errorf("%w %q: no Filter", ErrPlugin, p.Name)
	case p.FailurePolicy < FailClosed || p.FailurePolicy > FailOpen:
		return fmt.Errorf("%w %q: FailurePolicy %d is none", ErrPlugin, p.Name, p.FailurePolicy)
	case p.ReloadBackoff < 0:
		return fmt.Errorf("%w %q: ReloadBackoff %v is negative", ErrPlugin, p.Name, p.ReloadBackoff)
	case p.AllowOnHeadersStopIteration && !profile.HeadersStopOption:
		return fmt.Errorf("%w %q: %v knows no AllowOnHeadersStopIteration", ErrPlugin, p.Name, profile)
	}
	if err := p.Filter.checkImports(profile); err != nil {
		return fmt.Errorf("plugin %q: %w", p.Name, err)
	}
	return nil
}

// sharesVM says whether two plugins of one worker live in the same VM.
func (p Plugin) sharesVM(o Plugin, profile Profile) bool {
	return p.Filter == o.Filter && p.VMID == o.VMID && string(p.VMConfiguration) == string(o.VMConfiguration) &&
		(!profile.EnvSeparatesVMs || maps.Equal(p.Env, o.Env))
}

// pluginContext is a root context: a plugin inside a VM.
type pluginContext struct {
	Plugin
	vm *wasmVM
	id uint32

	configuring bool // the plugin's configuration can be read
	done        bool // proxy_on_done was called
	tick        time.Duration
	// due is the monotonic time of the next tick, while tick is not 0.
	due time.Duration
}

// start creates the root context and lets the plugin read its configurations.
func (p *pluginContext) start() error {
	vm := p.vm
	if vm.startLog == nil {
		vm.startLog = &strings.Builder{}
	}
	err := p.configure()
	if err != nil {
		err = fmt.Errorf("plugin %q: %w", p.label(), vm.startFailure(err))
	}
	vm.startLog = nil
	return err
}

func (p *pluginContext) configure() error {
	vm := p.vm
	p.configuring = true
	vm.call(onContextCreate, p.id, 0)
	p.configuring = false
	ok := vm.ask(onVMStart, p.id, uint64(len(p.VMConfiguration)))
	if vm.dead == nil && !ok {
		return fmt.Errorf("%w: proxy_on_vm_start returned false", ErrConfigurationRefused)
	}
	p.configuring = true
	ok = vm.ask(onConfigure, p.id, uint64(len(p.Configuration)))
	p.configuring = false
	if vm.dead != nil {
		return vm.dead
	}
	if !ok {
		return fmt.Errorf("%w: proxy_on_configure returned false", ErrConfigurationRefused)
	}
	return nil
}

// label names the plugin in traces and errors.
func (p *pluginContext) label() string { return cmp.Or(p.Name, "plugin") }

// end is proxy_on_done and, unless that asks for more time, which it does not get, proxy_on_delete.
func (p *pluginContext) end() {
	p.done = true
	if p.vm.ask(onDone, p.id) {
		p.vm.call(onDelete, p.id)
	}
}

// setTick starts, changes or, with 0, stops the plugin's timer.
func (p *pluginContext) setTick(period time.Duration) {
	p.tick = period
	p.rearm()
}

func (p *pluginContext) rearm() {
	if p.tick > 0 {
		p.due = p.vm.w.opts.Monotonic() + p.tick
	}
	if p.vm.w.opts.timers != nil {
		p.vm.w.opts.timers(p)
	}
}

// fire calls the tick handler. Envoy arms the timer again once the handler has returned.
func (p *pluginContext) fire() {
	p.vm.call(onTick, p.id)
	if p.tick > 0 && p.vm.dead == nil && p.vm.callbacks[onTick] != nil {
		p.rearm()
	}
}

// startFailure adds what the filter logged: without it a refusal cannot be understood.
func (vm *wasmVM) startFailure(err error) error {
	if vm.startLog == nil || vm.startLog.Len() == 0 {
		return err
	}
	return fmt.Errorf("%w; the filter logged: %s", err, strings.TrimSuffix(vm.startLog.String(), "\n"))
}
