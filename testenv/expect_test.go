package testenv

import (
	"strings"
	"testing"
)

func TestExpectedThatNeverCame(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		run  func(h *Host, s *standIn)
		text string // of the error; empty: none
	}{
		{"nothing came", func(h *Host, s *standIn) { h.Expect(ErrTrap, ErrMisuse, ErrTrap) },
			`expected, and nothing of it came: "` + ErrTrap.Error() + `", "` + ErrMisuse.Error() + `"`},
		{"one of two", func(h *Host, s *standIn) {
			h.Expect(ErrTrap, ErrAbandoned)
			h.Do(s, with("x-crash", "request"))
		}, `nothing of it came: "` + ErrAbandoned.Error() + `"`},
		{"it came", func(h *Host, s *standIn) {
			h.Expect(ErrTrap)
			h.Do(s, with("x-crash", "request"))
		}, ""},
		{"what it wraps came", func(h *Host, s *standIn) { h.Expect(ErrTrap); h.Kill(1) }, ""},
		{"the dead are not killed again", func(h *Host, s *standIn) { h.Kill(1); h.Kill(1) }, ""},
		{"it came too early", func(h *Host, s *standIn) { h.Kill(1); h.Expect(ErrTrap) }, "nothing of it came"},
		{"the test has failed already", func(h *Host, s *standIn) { h.Expect(ErrTrap); s.Errorf("no") }, "no"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := stand(t, func(s *standIn) { tt.run(New(s, Options{Profile: Envoy140}, named(t, "crasher", "p")), s) })
			if s.failed != (tt.text != "") || !strings.Contains(s.told(), tt.text) || len(s.errors) > 1 {
				t.Errorf("told %q, want %q", s.errors, tt.text)
			}
		})
	}
}

// What goes wrong while a test waits for its stream is that test's, what goes wrong otherwise is the Host's test's.
func TestWhoIsTold(t *testing.T) {
	t.Parallel()
	var waiting *standIn
	own := stand(t, func(s *standIn) {
		h := New(s, Options{Profile: Envoy140}, named(t, "crasher", "p"))
		waiting = stand(t, func(w *standIn) { h.Do(w, with("x-crash", "request")) })
		if len(waiting.errors) != 1 || !strings.Contains(waiting.told(), ErrTrap.Error()) || s.failed {
			t.Errorf("the waiting test was told %q, the Host's %q", waiting.errors, s.errors)
		}
	})
	if own.failed {
		t.Errorf("the Host's test was told %q", own.errors)
	}
	own = stand(t, func(s *standIn) {
		h := New(s, Options{Profile: Envoy140}, named(t, "crasher", "p"))
		h.Do(t, with("x-crash", "tick"))
		h.Advance(1e9)
	})
	if len(own.errors) != 1 || !strings.Contains(own.told(), "proxy_on_tick") {
		t.Errorf("after the wait the Host's test was told %q", own.errors)
	}
}

// A stream that no filter paused says whose death it hangs from.
func TestStreamsThatHangFromADeadVM(t *testing.T) {
	t.Parallel()
	s := stand(t, func(s *standIn) {
		h := New(s, Options{}, named(t, "tag", "a"), named(t, "crasher", "p"))
		h.Expect(ErrTrap)
		h.Do(s, with("x-crash", "request"))
	})
	want := "its filter's VM (p) died and envoy-1.33 answers nothing: GET /: "
	if len(s.errors) != 1 || !strings.Contains(s.told(), want) || strings.Contains(s.told(), "paused") {
		t.Errorf("told %q, want %q", s.errors, want)
	}
}

// Plain Go prints its panic nowhere once poll_oneoff has failed it.
func TestTrapsSayWhereTheirTextIs(t *testing.T) {
	t.Parallel()
	for _, profile := range []Profile{Envoy133, Envoy140} {
		s := stand(t, func(s *standIn) {
			h := New(s, Options{Profile: profile}, named(t, "crasher", "p"))
			h.Do(s, with("x-crash", "callout")) // refused: there is no cluster
		})
		hint := strings.Contains(s.told(), "run under Envoy140 to see it")
		if want := profile == Envoy133; hint != want {
			t.Errorf("%v: told %q, want the hint: %t", profile, s.errors, want)
		}
		if trace := strings.Join(s.logs, ""); !strings.Contains(trace, "p VM died: in proxy_on_request_headers of p") {
			t.Errorf("%v: the trace is %s", profile, trace)
		}
	}
}

func TestPrintedPiecesAreLines(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, named(t, "crasher", ""))
	r := h.Check(t, with("x-crash", "print"), Want{Status: 200})
	wantMessages(t, r.Logs, "one 1 line", "and a rest", "done")
	if trace := h.record.trace.String(); !strings.Contains(trace, "w1 plugin#2 log error: one 1 line\n") {
		t.Errorf("the trace is\n%s", trace)
	}
}
