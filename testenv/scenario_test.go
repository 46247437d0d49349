package testenv

import (
	"slices"
	"strings"
	"testing"
)

// scene is a Host with a filter for every field of Want, and a request that touches them all.
func scene(t testing.TB) (*Host, Request) {
	t.Helper()
	h := New(t, Options{Clusters: scripted(nil)}, named(t, "tag", "a"), named(t, "gate", "b"), named(t, "counter", "c"), named(t, "keeper", "k"))
	r := with("x-do", "add", "x-calls", "2", "x-twice", "1", "x-twice", "2")
	r.Method, r.Path, r.Body = "POST", "/scene", []byte("abc")
	return h, r
}

func TestWant(t *testing.T) {
	t.Parallel()
	calls := []string{"control POST /check/0 200", "control POST /check/1 200"}
	tests := []struct {
		name         string
		right, wrong Want
		text         string // of the wrong one
	}{
		{"decision", Want{Decision: Forwarded}, Want{Decision: Answered}, "the request was forwarded, want it answered"},
		{"broken", Want{Decision: AnyDecision}, Want{Decision: Broken}, "the request was forwarded, want it broken"},
		{"status", Want{Status: 200}, Want{Status: 201}, "status 200, want 201"},
		{"header", Want{Headers: map[string]string{"x-back": "a"}}, Want{Headers: map[string]string{"x-back": "b"}}, `response header x-back: "a", want "b"`},
		{"no header", Want{Headers: map[string]string{"x-none": ""}}, Want{Headers: map[string]string{"x-back": ""}}, `response header x-back: "a", want ""`},
		{"absent header", Want{}, Want{Headers: map[string]string{"x-none": "1"}}, `response header x-none: "", want "1"`},
		{"body", Want{Body: "abc"}, Want{Body: "ab"}, `body "abc", want "ab"`},
		{"part of the body", Want{BodyHas: []string{"b", "a"}}, Want{BodyHas: []string{"b", "x"}}, `body "abc" has no "x"`},
		{"details", Want{Details: ""}, Want{Details: "x"}, `details "", want "x"`},
		{"upstream", Want{Upstream: map[string]string{"x-twice": "1, 2", ":path": "/scene"}}, Want{Upstream: map[string]string{"x-twice": "1"}}, `upstream header x-twice: "1, 2", want "1"`},
		{"nothing upstream", Want{Upstream: map[string]string{"x-none": ""}}, Want{Upstream: map[string]string{"x-empty": ""}}, `upstream header x-empty is there, empty`},
		{"upstream body", Want{UpstreamBody: "abc"}, Want{UpstreamBody: "x"}, `upstream body "abc", want "x"`},
		{"callouts", Want{Callouts: calls}, Want{Callouts: calls[:1]}, `callouts ["control POST /check/0 200" "control POST /check/1 200"], want ["control POST /check/0 200"]`},
		{"no callouts", Want{Callouts: nil}, Want{Callouts: []string{}}, `want []`},
		{"callouts in order", Want{}, Want{Callouts: []string{calls[1], calls[0]}}, `want ["control POST /check/1 200"`},
		{"logs", Want{Logs: []string{"done a", "2 answers"}}, Want{Logs: []string{"done a", "nonsense"}}, `nothing logged with "nonsense" in [info: request a`},
		{"no logs", Want{LogsNot: []string{"nonsense"}}, Want{LogsNot: []string{"2 answers"}}, `logged with "2 answers": [info: request a`},
		{"filter state", Want{FilterState: map[string]string{"wasm.kept": "k"}}, Want{FilterState: map[string]string{"wasm.kept": "x"}}, `filter state wasm.kept: "k", want "x"`},
		{"counter", Want{Metrics: map[string]int64{"keeper.counter": 1}}, Want{Metrics: map[string]int64{"keeper.counter": 2}}, "metric keeper.counter moved by 1, want 2"},
		{"gauge", Want{Metrics: map[string]int64{"keeper.gauge": -3}}, Want{Metrics: map[string]int64{"keeper.gauge": 0}}, "metric keeper.gauge moved by -3, want 0"},
		{"histogram", Want{Metrics: map[string]int64{"keeper.histogram": 2}}, Want{Metrics: map[string]int64{"keeper.histogram": 30}}, "metric keeper.histogram moved by 2, want 30"},
		{"unknown metric", Want{Metrics: map[string]int64{"none": 0}}, Want{Metrics: map[string]int64{"none": 1}}, "metric none is not defined, want it moved by 1"},
		{"impossible header", Want{Headers: map[string]string{"x-back": "a"}}, Want{Headers: map[string]string{"X-Back": ""}}, `wanted response header "X-Back" has capital letters`},
		{"impossible upstream header", Want{}, Want{Upstream: map[string]string{"X-Twice": "1, 2"}}, `wanted upstream header "X-Twice" has capital letters`},
		{"impossible key", Want{}, Want{SharedData: map[string]string{"kept": ""}}, `Want.SharedData has "kept", which is no vm_id/key`},
		{"shared data", Want{SharedData: map[string]string{"k/kept": "k"}}, Want{SharedData: map[string]string{"k/kept": "x"}}, `shared data k/kept: "k", want "x"`},
		{"no shared data", Want{SharedData: map[string]string{"k/none": "", "none/kept": ""}}, Want{SharedData: map[string]string{"k/empty": ""}}, `shared data k/empty is there, empty`},
		{"error", Want{}, Want{Err: ErrStreamReset}, "error <nil>, want the stream was reset"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, r := scene(t)
			if s := stand(t, func(s *standIn) { h.Check(s, r, tt.right) }); s.failed {
				t.Errorf("the right one failed: %q", s.errors)
			}
			var got Response
			s := stand(t, func(s *standIn) { got = h.Check(s, r, tt.wrong) })
			if len(s.errors) != 1 || !strings.HasPrefix(s.told(), "POST /scene:\n\t") || !strings.Contains(s.told(), tt.text) || strings.Count(s.told(), "\n") != 1 {
				t.Errorf("the wrong one told %q, want %q alone", s.errors, tt.text)
			}
			// A response alone tells the same, but nothing of metrics and shared data.
			text := tt.text
			if tt.wrong.Metrics != nil || tt.wrong.SharedData != nil {
				text = "use Host.Check"
			}
			s = stand(t, func(s *standIn) { tt.wrong.Check(s, got) })
			if len(s.errors) != 1 || !strings.HasPrefix(s.told(), "POST /scene:\n\t") || !strings.Contains(s.told(), text) {
				t.Errorf("Want.Check told %q, want %q", s.errors, text)
			}
		})
	}
}

func TestWantOfOtherDecisions(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, named(t, "tag", "a"), named(t, "sloppy", "b"))
	h.Expect(ErrAbandoned)
	answered, broken := with("x-answer", "a"), with("x-do", "abandon")
	tests := []struct {
		name    string
		request Request
		want    Want
		texts   []string // none: it passes
	}{
		{"answered", answered, Want{Decision: Answered, Status: 403}, nil},
		{"answered, not forwarded", answered, Want{Decision: Forwarded}, []string{"the request was answered, want it forwarded"}},
		{"nothing reached the upstream", answered, Want{Upstream: map[string]string{"a": ""}}, []string{"the request did not leave the filter chain"}},
		{"no body did", answered, Want{UpstreamBody: "x"}, []string{"the request did not leave the filter chain"}},
		{"broken", broken, Want{Decision: Broken}, nil},
		{"broken by something", broken, Want{Err: ErrAbandoned}, nil},
		{"both", broken, Want{Decision: Broken, Err: ErrAbandoned}, nil},
		{"broken by something else", broken, Want{Decision: Broken, Err: ErrStreamReset}, []string{"error " + ErrAbandoned.Error(), "want " + ErrStreamReset.Error()}},
		{"nobody said that it may break", broken, Want{}, []string{"error " + ErrAbandoned.Error()}},
		{"everything at once", broken, Want{Decision: Answered, Status: 403, Body: "a"}, []string{"broken, want it answered", "status 0, want 403", `body "", want "a"`, "error "}},
	}
	for _, tt := range tests {
		s := stand(t, func(s *standIn) { h.Check(s, tt.request, tt.want) })
		if want := min(len(tt.texts), 1); len(s.errors) != want {
			t.Errorf("%s: told %q, want %q", tt.name, s.errors, tt.texts)
		}
		for _, text := range tt.texts {
			if !strings.Contains(s.told(), text) {
				t.Errorf("%s: told %q, which lacks %q", tt.name, s.told(), text)
			}
		}
	}
}

func TestRunIsATestForEachScenario(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, named(t, "tag", "a"))
	scenarios := []Scenario{
		{"first", Request{}, Want{Upstream: map[string]string{"x-way": "a/1"}}},
		{"second", Request{}, Want{Upstream: map[string]string{"x-way": "a/2"}}},
	}
	h.Run(t, scenarios...)
	if ran := logged(h.Logs(), "request"); !slices.Equal(ran, []string{"1 a request a", "1 a request a"}) {
		t.Errorf("ran %q", ran)
	}
}

func TestDecisionNames(t *testing.T) {
	t.Parallel()
	for d, want := range map[Decision]string{AnyDecision: "anything", Forwarded: "forwarded", Answered: "answered", Broken: "broken", 9: "Decision(9)", -1: "Decision(-1)"} {
		if got := d.String(); got != want {
			t.Errorf("Decision(%d) is %q, want %q", int(d), got, want)
		}
	}
}
