package testenv

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrProfile reports a name that no Profile has.
var ErrProfile = errors.New("unknown profile")

// Profile is the habits in which releases of Envoy differ and which a filter can tell. The zero value of each field is
// the habit of Envoy 1.33, so that the zero Profile is Envoy133 without its name. What a field does not mention is the
// same in every profile. A Profile is a value: compare it with ==, change a copy freely.
type Profile struct {
	// Name is what ProfileByName finds the profile by; empty in the zero Profile and in one made by hand.
	Name string
	// PollOneoff is how the WASI call poll_oneoff answers.
	PollOneoff PollMode
	// PollWhileAllocating lets a guest call poll_oneoff inside proxy_on_memory_allocate or malloc, which Go's collector
	// does. Without it the call ends the VM, whatever PollOneoff says.
	PollWhileAllocating bool
	// GrowthNotice lets a guest call emscripten_notify_memory_growth while it starts and while it allocates. Without it
	// the call ends the VM there; a running guest may always make it.
	GrowthNotice bool
	// FullWASI offers every function of WASI preview 1 except proc_raise, and lets a guest call all of them while it
	// starts. Without it a module that imports more than the 18 functions of Envoy 1.33 does not load.
	FullWASI bool
	// TrapAnswers is 503 for a request whose VM died in a request callback, and for those that come to the dead VM
	// later. Without it they get no answer: the 503 enters the response path, where the dead filter stops it for good.
	// Deaths in response callbacks are answered either way.
	TrapAnswers bool
	// HeadersStopOption knows allow_on_headers_stop_iteration, with which a filter that stops on headers still sees the
	// body. Without it such a configuration is refused, as Envoy refuses a field it does not know.
	HeadersStopOption bool
	// EnvSeparatesVMs keeps plugins that differ in their environment alone in VMs of their own. Without it they share
	// the VM, and the environment, of the one that was configured first.
	EnvSeparatesVMs bool
	// Faults are reported as such although Envoy lets them pass.
	Faults Misuse
}

// PollMode is what the host answers to the WASI call poll_oneoff.
type PollMode int

const (
	// PollENOSYS answers errno 52. Go's runtime throws on it.
	PollENOSYS PollMode = iota
	// PollZero answers success with no event.
	PollZero
	// PollFull answers every subscription as due at once, as a host with full WASI that never has to wait. No release
	// of Envoy does.
	PollFull
)

// ErrMisuse is the fault of a Misuse.
var ErrMisuse = errors.New("misuse of the proxy")

// Misuse is a set of things that every release of Envoy lets pass and no correct filter does.
type Misuse uint

const (
	// MisuseSecondLocalResponse is proxy_send_local_response on a stream that already has a local response.
	MisuseSecondLocalResponse Misuse = 1 << iota
	// MisuseEmptyBody is proxy_get_buffer_bytes of a body that has nothing there. Envoy answers OK and stores nothing;
	// other hosts ask the filter's allocator for zero bytes. Configurations are not bodies.
	MisuseEmptyBody
	// MisuseCounterDecrement is proxy_increment_metric of a counter by zero or less: BadArgument, and nothing counted.
	MisuseCounterDecrement
	// MisuseIdleContinue is proxy_continue_stream for a direction in which the filter has not stopped.
	MisuseIdleContinue

	allMisuse = MisuseIdleContinue<<1 - 1
)

// String lists the members.
func (s Misuse) String() string {
	names := []string{"second local response", "empty body read", "counter not increased", "continue of what is not stopped"}
	var members []string
	for i, name := range names {
		if s.Has(1 << i) {
			members = append(members, name)
		}
	}
	return strings.Join(members, ", ")
}

// Has says whether every member of m is in the set.
func (s Misuse) Has(m Misuse) bool { return s&m == m }

// The profiles, as data: treat them as constants.
var (
	// Envoy133 is Envoy 1.33, with proxy-wasm-cpp-host c4d7bb0.
	Envoy133 = Profile{Name: "envoy-1.33"}
	// Envoy140 is Envoy 1.40, with a proxy-wasm-cpp-host of mid-2026.
	Envoy140 = Profile{
		Name:                "envoy-1.40",
		PollOneoff:          PollZero,
		PollWhileAllocating: true,
		GrowthNotice:        true,
		FullWASI:            true,
		TrapAnswers:         true,
		HeadersStopOption:   true,
		EnvSeparatesVMs:     true,
	}
	// Strict forbids whatever a release from 1.33 to 1.40 forbids, promises nothing that one of them does not, and
	// faults every Misuse: a filter that passes under it passes under the others.
	Strict = Profile{Name: "strict", Faults: allMisuse}
)

// Profiles returns every named profile, oldest release first and Strict last.
func Profiles() []Profile { return []Profile{Envoy133, Envoy140, Strict} }

// ProfileByName finds one of Profiles. The error wraps ErrProfile and lists the names there are.
func ProfileByName(name string) (Profile, error) {
	var names []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("%w %q: want one of %q", ErrProfile, name, names)
}

// String returns the profile's name, that of Envoy133 for the zero value, and "custom" for one made by hand.
func (p Profile) String() string {
	if p = p.orDefault(); p.Name == "" {
		return "custom"
	}
	return p.Name
}

func (p Profile) orDefault() Profile {
	if p == (Profile{}) {
		return Envoy133
	}
	return p
}

// Hostcalls by name, without their modules: no name is in both env and WASI.
var (
	// allocatingCalls may be made while the guest allocates (wasm.h, allocMemory).
	allocatingCalls = []string{"clock_time_get", "fd_write", "proxy_log"}
	// startingCalls may be made in _initialize, main and _start (wasm.cc, startVm).
	startingCalls = []string{
		"args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get", "fd_fdstat_get",
		"fd_fdstat_set_flags", "fd_prestat_dir_name", "fd_prestat_get", "fd_write", "proxy_log", "random_get",
	}
	// wasi133 are the WASI functions of Envoy 1.33 (exports.h, FOR_ALL_WASI_FUNCTIONS).
	wasi133 = []string{
		"args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get", "fd_close", "fd_fdstat_get",
		"fd_fdstat_set_flags", "fd_prestat_dir_name", "fd_prestat_get", "fd_read", "fd_seek", "fd_write", "path_open",
		"poll_oneoff", "proc_exit", "random_get", "sched_yield",
	}
	// wasiRest are the other functions of WASI preview 1, without proc_raise.
	wasiRest = []string{
		"clock_res_get", "fd_advise", "fd_allocate", "fd_datasync", "fd_fdstat_set_rights", "fd_filestat_get",
		"fd_filestat_set_size", "fd_filestat_set_times", "fd_pread", "fd_pwrite", "fd_readdir", "fd_renumber", "fd_sync",
		"fd_tell", "path_create_directory", "path_filestat_get", "path_filestat_set_times", "path_link", "path_readlink",
		"path_remove_directory", "path_rename", "path_symlink", "path_unlink_file", "sock_accept", "sock_recv", "sock_send",
		"sock_shutdown",
	}
)

const growthNotice = "emscripten_notify_memory_growth"

// OffersWASI says whether a module may import the function from wasi_snapshot_preview1 or wasi_unstable.
func (p Profile) OffersWASI(name string) bool {
	return slices.Contains(wasi133, name) || p.FullWASI && slices.Contains(wasiRest, name)
}

// AllowsStarting says whether a guest may make the hostcall while it starts; any other ends the VM.
func (p Profile) AllowsStarting(call string) bool {
	switch {
	case call == growthNotice:
		return p.GrowthNotice
	case p.FullWASI && p.OffersWASI(call):
		return true
	}
	return slices.Contains(startingCalls, call)
}

// AllowsAllocating says whether a guest may make the hostcall while the host has it allocate; any other ends the VM.
func (p Profile) AllowsAllocating(call string) bool {
	switch call {
	case growthNotice:
		return p.GrowthNotice
	case "poll_oneoff":
		return p.PollWhileAllocating
	}
	return slices.Contains(allocatingCalls, call)
}
