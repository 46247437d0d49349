package testenv

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestProfileByName(t *testing.T) {
	t.Parallel()
	for _, want := range Profiles() {
		got, err := ProfileByName(want.Name)
		if err != nil || got != want {
			t.Errorf("ProfileByName(%q) = %+v, %v, want %+v", want.Name, got, err, want)
		}
		if got.String() != want.Name {
			t.Errorf("%q: String() = %q", want.Name, got.String())
		}
	}
	for _, name := range []string{"", "envoy-1.34", "Strict", "custom"} {
		got, err := ProfileByName(name)
		if !errors.Is(err, ErrProfile) || got != (Profile{}) {
			t.Errorf("ProfileByName(%q) = %+v, %v, want ErrProfile", name, got, err)
		}
		for _, p := range Profiles() {
			if err != nil && !strings.Contains(err.Error(), p.Name) {
				t.Errorf("%q: %v does not offer %q", name, err, p.Name)
			}
		}
	}
}

// A Profile that nobody filled in is Envoy 1.33 in every field, not a proxy that never was.
func TestZeroProfileIsEnvoy133(t *testing.T) {
	t.Parallel()
	var zero Profile
	if zero.orDefault() != Envoy133 || zero.String() != Envoy133.Name {
		t.Errorf("the zero Profile is %v (%+v), want %v", zero, zero.orDefault(), Envoy133)
	}
	zero.Name = Envoy133.Name
	if zero != Envoy133 {
		t.Errorf("Envoy133 sets fields: %+v", Envoy133)
	}
	custom := Profile{PollOneoff: PollZero}
	if custom.orDefault() != custom || custom.String() != "custom" {
		t.Errorf("a Profile made by hand became %+v, %q", custom.orDefault(), custom)
	}
}

// Strict may allow and promise only what every release does. The loop meets fields that are added later.
func TestStrictIsTheIntersection(t *testing.T) {
	t.Parallel()
	strict := reflect.ValueOf(Strict)
	for i := range strict.NumField() {
		field := strict.Type().Field(i)
		for _, release := range []Profile{Envoy133, Envoy140} {
			other := reflect.ValueOf(release).Field(i)
			if field.Type.Kind() == reflect.Bool && strict.Field(i).Bool() && !other.Bool() {
				t.Errorf("Strict.%s is true, in %v it is not", field.Name, release)
			}
		}
	}
	if Strict.PollOneoff != PollENOSYS {
		t.Errorf("Strict.PollOneoff = %v, which spares Go's runtime what Envoy 1.33 does to it", Strict.PollOneoff)
	}
	for _, m := range []Misuse{MisuseSecondLocalResponse, MisuseEmptyBody, MisuseCounterDecrement, MisuseIdleContinue} {
		if !Strict.Faults.Has(m) || Envoy133.Faults.Has(m) || Envoy140.Faults.Has(m) {
			t.Errorf("misuse %b must be a fault under Strict alone", m)
		}
	}
	for _, call := range slices.Concat(startingCalls, wasi133, wasiRest, []string{growthNotice, "proxy_get_property"}) {
		for _, release := range []Profile{Envoy133, Envoy140} {
			if Strict.AllowsStarting(call) && !release.AllowsStarting(call) ||
				Strict.AllowsAllocating(call) && !release.AllowsAllocating(call) ||
				Strict.OffersWASI(call) && !release.OffersWASI(call) {
				t.Errorf("Strict allows more of %s than %v", call, release)
			}
		}
	}
}

func TestProfileAllowsCalls(t *testing.T) {
	t.Parallel()
	// The last two of each row are Envoy 1.33 and 1.40.
	type row struct {
		call     string
		old, new bool
	}
	check := func(what string, allows func(Profile, string) bool, rows []row) {
		t.Helper()
		for _, r := range rows {
			if got := allows(Envoy133, r.call); got != r.old {
				t.Errorf("Envoy133.%s(%q) = %t", what, r.call, got)
			}
			if got := allows(Envoy140, r.call); got != r.new {
				t.Errorf("Envoy140.%s(%q) = %t", what, r.call, got)
			}
		}
	}
	check("AllowsAllocating", Profile.AllowsAllocating, []row{
		{"proxy_log", true, true}, {"fd_write", true, true}, {"clock_time_get", true, true},
		{"poll_oneoff", false, true}, {growthNotice, false, true},
		{"random_get", false, false}, {"proxy_get_current_time_nanoseconds", false, false}, {"", false, false},
	})
	check("AllowsStarting", Profile.AllowsStarting, []row{
		{"proxy_log", true, true}, {"random_get", true, true}, {"fd_fdstat_set_flags", true, true},
		{"poll_oneoff", false, true}, {"sched_yield", false, true}, {"proc_exit", false, true},
		{"path_filestat_get", false, true}, {growthNotice, false, true},
		{"proxy_set_tick_period_milliseconds", false, false}, {"pthread_equal", false, false}, {"", false, false},
	})
	check("OffersWASI", Profile.OffersWASI, []row{
		{"poll_oneoff", true, true}, {"sched_yield", true, true}, {"fd_readdir", false, true},
		{"path_filestat_get", false, true}, {"sock_accept", false, true}, {"proc_raise", false, false},
		{"proxy_log", false, false}, {"", false, false},
	})
}

// Preview 1 has 46 functions; the lists name 45 of them, each once.
func TestWASIFunctionsAreNamedOnce(t *testing.T) {
	t.Parallel()
	all := slices.Concat(wasi133, wasiRest)
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) || n != 45 {
		t.Errorf("%d names, %d of them different, want 45", len(all), n)
	}
	if len(wasi133) != 18 {
		t.Errorf("%d functions in Envoy 1.33, want 18", len(wasi133))
	}
	for _, call := range startingCalls {
		if call != "proxy_log" && !slices.Contains(wasi133, call) {
			t.Errorf("%s is allowed at start but not offered", call)
		}
	}
}
