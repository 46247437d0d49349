package testenv

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// platform is the guest of that name, told by its environment to make a call at a place.
func platform(t testing.TB, call, place string) Plugin {
	t.Helper()
	return Plugin{Filter: guest(t, "platform"), Name: "p", Env: map[string]string{"CALL": call, "AT": place}}
}

func TestProfilePollAndGrowth(t *testing.T) {
	t.Parallel()
	custom := func(p Profile) Profile {
		p.Name = "custom"
		return p
	}
	full := custom(Profile{PollOneoff: PollFull, PollWhileAllocating: true, FullWASI: true})
	tests := []struct {
		name, call, place string
		profile           Profile
		log               string // none: the VM dies of the call
	}{
		{"poll answers ENOSYS", "poll_oneoff", "request", Envoy133, "poll_oneoff 52, 99 events, mark 0"},
		{"poll answers no event", "poll_oneoff", "request", Envoy140, "poll_oneoff 0, 0 events, mark 0"},
		{"poll answers all", "poll_oneoff", "request", full, "poll_oneoff 0, 1 events, mark 7"},
		{"strict poll", "poll_oneoff", "request", Strict, "poll_oneoff 52, 99 events, mark 0"},
		{"poll while allocating", "poll_oneoff", "allocate", Envoy133, ""},
		{"poll while allocating, strict", "poll_oneoff", "allocate", Strict, ""},
		{"poll while allocating, allowed", "poll_oneoff", "allocate", custom(Profile{PollWhileAllocating: true}), "poll_oneoff 52, 99 events, mark 0"},
		{"poll while allocating in 1.40", "poll_oneoff", "allocate", Envoy140, "poll_oneoff 0, 0 events, mark 0"},
		{"poll at the start", "poll_oneoff", "start", Envoy133, ""},
		{"poll at the start in 1.40", "poll_oneoff", "start", Envoy140, "poll_oneoff 0, 0 events, mark 0"},
		{"poll at the start, full WASI", "poll_oneoff", "start", custom(Profile{FullWASI: true}), "poll_oneoff 52, 99 events, mark 0"},
		{"growth", "notify", "request", Envoy133, "notified"},
		{"growth while allocating", "notify", "allocate", Envoy133, ""},
		{"growth while allocating, allowed", "notify", "allocate", custom(Profile{GrowthNotice: true}), "notified"},
		{"growth at the start", "notify", "start", Strict, ""},
		{"growth at the start, allowed", "notify", "start", custom(Profile{GrowthNotice: true}), "notified"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			plugin := platform(t, tt.call, tt.place)
			var h *Host
			s := stand(t, func(s *standIn) {
				h = New(s, Options{Profile: tt.profile}, plugin)
				h.Do(s, Request{})
			})
			if tt.log == "" {
				call := map[string]string{"poll_oneoff": "poll_oneoff", "notify": growthNotice}[tt.call]
				if !strings.Contains(s.told(), ErrRestricted.Error()+": "+call) {
					t.Errorf("the test was told %q, want that the call is restricted", s.errors)
				}
				return
			}
			if s.failed || !slices.Contains(messages(h.Logs()), tt.log) {
				t.Errorf("told %q, logged %q, want %q", s.errors, messages(h.Logs()), tt.log)
			}
		})
	}
}

// The reason for the runtime overlay of the real filter: Go's own poll_oneoff call ends the VM on Envoy 1.33, and nowhere
// else.
func TestGoRuntimeUnderThePollModes(t *testing.T) {
	t.Parallel()
	allocating := Envoy140
	allocating.PollOneoff = PollENOSYS
	full := Envoy140
	full.PollOneoff = PollFull
	for _, tt := range []struct {
		profile  Profile
		survives bool
	}{{Envoy133, false}, {Strict, false}, {allocating, false}, {Envoy140, true}, {full, true}} {
		h := New(t, Options{Profile: tt.profile}, named(t, "crasher", "p"))
		switch {
		case tt.survives:
		case tt.profile.TrapAnswers:
			h.Expect(ErrTrap)
		default:
			h.Expect(ErrTrap, ErrAbandoned)
		}
		for i := 0; i < 2000 && h.workers[1].Dead() == nil; i++ {
			h.Do(t, with("x-crash", "gc"))
		}
		if err := h.workers[1].Dead(); (err == nil) != tt.survives {
			t.Errorf("%v, poll mode %d: survives %t, want %t (%v)", tt.profile, tt.profile.PollOneoff, err == nil, tt.survives, err)
		}
	}
}

func TestProfileFullWASI(t *testing.T) {
	t.Parallel()
	plugin := Plugin{Filter: guest(t, "extras"), Name: "p"}
	h := New(t, Options{Profile: Envoy140}, plugin)
	h.Check(t, Request{}, Want{Status: 200, Logs: []string{"fd_tell 0 0, sock_shutdown 58"}})
	for _, profile := range []Profile{Envoy133, Strict} {
		_, err := NewWorker(t.Context(), WorkerOptions{Profile: profile}, plugin)
		if want := "wasi_snapshot_preview1.fd_tell, wasi_snapshot_preview1.sock_shutdown"; !errors.Is(err, ErrMissingImport) ||
			!strings.HasSuffix(err.Error(), want) || !strings.Contains(err.Error(), profile.Name) {
			t.Errorf("%v: %v, want %v naming %s", profile, err, ErrMissingImport, want)
		}
	}
}

func TestProfileTrapAnswers(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{false, true} {
		h := New(t, Options{Profile: Profile{Name: "custom", TrapAnswers: answers}}, named(t, "tag", "a"), named(t, "crasher", "p"))
		h.Expect(ErrTrap)
		want := Want{Err: ErrAbandoned}
		if !answers {
			h.Expect(ErrAbandoned)
		} else {
			want = Want{Decision: Answered, Status: 503, Headers: map[string]string{"x-back": "a"}}
		}
		h.Check(t, with("x-crash", "request"), want)
		h.Check(t, Request{}, want)
	}
}

func TestProfileHeadersStopOption(t *testing.T) {
	t.Parallel()
	stopping := named(t, "sloppy", "p")
	stopping.AllowOnHeadersStopIteration = true
	for _, profile := range []Profile{Envoy133, Strict} {
		if _, err := NewWorker(t.Context(), WorkerOptions{Profile: profile}, stopping); !errors.Is(err, ErrPlugin) {
			t.Errorf("%v: %v, want %v", profile, err, ErrPlugin)
		}
	}
	r := with("x-do", "body")
	r.Body = []byte("abc")
	h := New(t, Options{Profile: Profile{Name: "custom", HeadersStopOption: true}}, stopping)
	h.Check(t, r, Want{Decision: Forwarded, UpstreamBody: "abc", Upstream: map[string]string{"x-body-seen": "1"}})
	h = New(t, Options{Profile: Envoy140}, named(t, "sloppy", "p"))
	h.Expect(ErrAbandoned)
	h.Check(t, r, Want{Err: ErrAbandoned})
}

func TestProfileEnvSeparatesVMs(t *testing.T) {
	t.Parallel()
	a, b := named(t, "tag", "a"), named(t, "tag", "b")
	a.VMID, b.VMID = "vm", "vm"
	a.Env, b.Env = map[string]string{"MARK": "!"}, map[string]string{"MARK": "?"}
	for _, tt := range []struct {
		separates bool
		way       string
	}{{false, "a/1!, b/2!"}, {true, "a/1!, b/1?"}} {
		h := New(t, Options{Profile: Profile{Name: "custom", EnvSeparatesVMs: tt.separates}}, a, b)
		h.Check(t, Request{}, Want{Upstream: map[string]string{"x-way": tt.way}})
	}
	b.Env = map[string]string{"MARK": "!"}
	h := New(t, Options{Profile: Envoy140}, a, b)
	h.Check(t, Request{}, Want{Upstream: map[string]string{"x-way": "a/1!, b/2!"}})
}

func TestProfileFaults(t *testing.T) {
	t.Parallel()
	plugin := named(t, "sloppy", "p")
	faults := map[Misuse]struct{ do, text string }{
		MisuseSecondLocalResponse: {"local-twice", "second local response: status 402 after 401"},
		MisuseEmptyBody:           {"empty-body", "empty body read: 10 bytes from 0 of a body of 0"},
		MisuseCounterDecrement:    {"decrement", "counter not increased: sloppy.requests by 0"},
		MisuseIdleContinue:        {"continue", "continue of what is not stopped: direction 0"},
	}
	for misuse := Misuse(1); misuse <= allMisuse; misuse <<= 1 {
		fault, ok := faults[misuse]
		if !ok {
			t.Fatalf("no guest commits misuse %d (%v)", misuse, misuse)
		}
		for _, tt := range []struct {
			profile Profile
			faulted bool
		}{
			{Envoy133, false}, {Envoy140, false}, {Strict, true},
			{Profile{Name: "custom", Faults: misuse}, true}, {Profile{Name: "custom", Faults: allMisuse &^ misuse}, false},
		} {
			s := stand(t, func(s *standIn) { New(s, Options{Profile: tt.profile}, plugin).Do(s, with("x-do", fault.do)) })
			want := []string{"testenv: " + ErrMisuse.Error() + ": " + fault.text}
			if !tt.faulted {
				want = nil
			}
			if !slices.Equal(s.errors, want) {
				t.Errorf("%s under %v with %v: told %q, want %q", fault.do, tt.profile, tt.profile.Faults, s.errors, want)
			}
		}
	}
	s := stand(t, func(s *standIn) { New(s, Options{Profile: Strict}, plugin).Do(s, Request{Body: []byte("abc")}) })
	if s.failed {
		t.Errorf("no misuse, and the test was told %q", s.errors)
	}
}
