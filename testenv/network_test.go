package testenv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/testenv/internal/eventloop"
)

// ledger is a server that notes the paths it is asked for and answers ok and their number.
type ledger struct {
	mu    sync.Mutex
	asked []string
}

func (l *ledger) Call(_ context.Context, req *CalloutRequest) (*CalloutResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, firstHeader(req.Headers, ":path"))
	body := fmt.Sprintf("ok %d", len(l.asked))
	return &CalloutResponse{
		Headers: []Header{{":status", "200"}, {"content-length", fmt.Sprint(len(body))}}, Body: []byte(body),
	}, nil
}

func (l *ledger) paths() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

func TestPlaysReachTheGuest(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	connection := "503 91 upstream connect error or disconnect/reset before headers. reset reason: connection failure"
	tests := []struct {
		name    string
		play    Play
		timeout string
		answers string
		took    time.Duration
		asked   int // by the time of the response
		later   int // in the end
	}{
		{"delivered", Play{}, "1000", "0: 200 4 ok 1", 0, 1, 1},
		{"latency both ways", Play{Delay: 100 * ms, Return: 200 * ms}, "1000", "0: 200 4 ok 1", 300 * ms, 1, 1},
		{"no timeout", Play{Delay: time.Hour / 60, Return: time.Hour / 60}, "0", "0: 200 4 ok 1", time.Hour / 30, 1, 1},
		{"request lost", Play{Lose: LoseRequest}, "500", "0: 504 24 upstream request timeout", 500 * ms, 0, 0},
		{"reply lost", Play{Lose: LoseReply}, "500", "0: 504 24 upstream request timeout", 500 * ms, 1, 1},
		{"request late", Play{Delay: 2000 * ms}, "500", "0: 504 24 upstream request timeout", 500 * ms, 0, 1},
		{"reply late", Play{Return: 2000 * ms}, "500", "0: 504 24 upstream request timeout", 500 * ms, 1, 1},
		{"no connection", Play{Reset: ResetBefore, Delay: 30 * ms}, "500", "0: " + connection, 30 * ms, 0, 0},
		{"broken", Play{Reset: ResetAfter, Return: 30 * ms}, "500", "0: reset 0", 30 * ms, 1, 1},
		{"truncated", Play{Body: Truncated(2)}, "500", "0: 200 4 ok", 0, 1, 1},
		{"padded", Play{Body: Oversized(20)}, "500", "0: 200 21 ok 1", 0, 1, 1},
		{"oversized", Play{Body: Oversized(64)}, "500", "0: reset 0", 0, 1, 1},
		{"repeated", Play{Repeat: 2}, "500", "0: 200 4 ok 1", 0, 3, 3},
		{"answered by the script", Play{Answer: &CalloutResponse{Headers: []Header{{":status", "429"}}}}, "500", "0: 429  ", 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := &ledger{}
			script := &Script{Cluster: server, Plan: Every(tt.play)}
			h := New(t, Options{Clusters: map[string]Cluster{"control": script}, MaxCalloutBytes: 64}, named(t, "gate", "g"))
			r := h.Check(t, with("x-timeout", tt.timeout), Want{
				Decision: Forwarded, Status: 200, Upstream: map[string]string{"x-answers": tt.answers},
			})
			if r.Took != tt.took || len(server.paths()) != tt.asked {
				t.Errorf("took %v, want %v; the server was asked %q, want %d", r.Took, tt.took, server.paths(), tt.asked)
			}
			if got := r.Callouts[0]; !got.Answered || got.Sent != time.Hour || string(got.Body) != "ask" || got.Plugin != "g" || got.Worker != 1 {
				t.Errorf("recorded %+v", got)
			}
			h.Advance(10 * time.Minute)
			if got := len(server.paths()); got != tt.later {
				t.Errorf("in the end the server was asked %d times, want %d", got, tt.later)
			}
		})
	}
}

func TestOverlappingCalloutsAreReordered(t *testing.T) {
	t.Parallel()
	back := func(after time.Duration) Play { return Play{Return: after * time.Millisecond} }
	script := &Script{Cluster: &ledger{}, Plan: Plays(back(30), back(20), back(10))}
	h := New(t, Options{Clusters: map[string]Cluster{"control": script}}, named(t, "gate", "g"))
	r := h.Do(t, with("x-calls", "3"))
	var order []string
	for answer := range strings.SplitSeq(r.Upstream.Header("x-answers"), "; ") {
		order = append(order, answer[:1])
	}
	if want := []string{"2", "1", "0"}; !slices.Equal(order, want) || r.Took != 30*time.Millisecond {
		t.Errorf("answers came as %q after %v, want %q", order, r.Took, want)
	}
	if got := r.Callouts[0].String(); got != "control POST /check/0 200" {
		t.Errorf("the first callout sent is %s", got)
	}
	seen := map[string]bool{}
	h = New(t, Options{Clusters: scripted(Jittered(time.Second, nil))}, named(t, "gate", "g"))
	for range 20 {
		seen[h.Do(t, with("x-calls", "3", "x-timeout", "5000")).Upstream.Header("x-answers")] = true
	}
	if len(seen) < 3 {
		t.Errorf("jitter gave the orders %v", seen)
	}
}

func TestCalloutsThatAreNotSent(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Clusters: map[string]Cluster{"control": &ledger{}, "empty": nil}}, named(t, "gate", "g"))
	refused := func(text string) Want {
		return Want{Decision: Answered, Status: 500, BodyHas: []string{text}, Callouts: []string{}}
	}
	h.Run(t, []Scenario{
		{"missing cluster", with("x-cluster", "nowhere"), refused("bad argument")},
		{"cluster without hosts", with("x-cluster", "empty"), refused("internal failure")},
		{"no path", with("x-omit", ":path"), refused("bad argument")},
		{"no method", with("x-omit", ":method"), refused("bad argument")},
		{"no authority", with("x-omit", ":authority"), refused("bad argument")},
		{"negative timeout", with("x-timeout", "-1"), refused("bad argument")},
		{"nothing omitted", Request{}, Want{Status: 200, Callouts: []string{"control POST /check/0 200"}}},
	}...)
}

func TestCalloutRequestHeaders(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Clusters: scripted(nil)}, named(t, "gate", "g"))
	want := []Header{
		{":method", "POST"}, {":path", "/check/0"}, {":authority", "control"}, {"content-length", "3"},
		{"x-envoy-internal", "true"}, {"x-envoy-expected-rq-timeout-ms", "1000"},
	}
	if diff := cmp.Diff(want, h.Do(t, Request{}).Callouts[0].Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	want = want[:5]
	if diff := cmp.Diff(want, h.Do(t, with("x-timeout", "0")).Callouts[0].Headers); diff != "" {
		t.Errorf("headers without a timeout (-want +got):\n%s", diff)
	}
}

func TestLostCalloutWithoutTimeoutIsAbandoned(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Clusters: scripted(Every(Play{Lose: LoseReply}))}, named(t, "gate", "g"))
	h.Expect(ErrAbandoned)
	if r := h.Do(t, with("x-timeout", "0")); !errors.Is(r.Err, ErrAbandoned) || r.Took != 0 {
		t.Errorf("after %v: %v", r.Took, r.Err)
	}
}

// A callback comes on the root context, whether the stream is still there or not.
func TestAnswersAfterTheStream(t *testing.T) {
	t.Parallel()
	var transcript strings.Builder
	h := New(t, Options{Transcript: &transcript, Clusters: scripted(Every(Play{Return: 100 * time.Millisecond}))}, named(t, "gate", "g"))
	x := h.Start(Request{})
	h.Settle()
	x.Reset()
	r := x.Wait(t)
	if len(r.Callouts) != 1 || r.Callouts[0].Answered {
		t.Errorf("callouts %+v", r.Callouts)
	}
	r = h.Do(t, with("x-calls", "0", "x-settle", "1"))
	if len(r.Callouts) != 1 || r.Callouts[0].Answered || r.Took != 0 {
		t.Errorf("after %v: callouts %+v", r.Took, r.Callouts)
	}
	h.Advance(100 * time.Millisecond)
	for i, c := range h.Callouts() {
		if !c.Answered || c.Status != 200 {
			t.Errorf("callout %d: %+v", i, c)
		}
	}
	if got := strings.Count(transcript.String(), "w1 g > on_http_call_response"); got != 2 {
		t.Errorf("the plugin was called back %d times:\n%s", got, transcript.String())
	}
}

func TestCalloutsOfTicks(t *testing.T) {
	t.Parallel()
	server := &ledger{}
	h := New(t, Options{Clusters: map[string]Cluster{"control": &Script{Cluster: server, Plan: Plays(Play{}, Play{Reset: ResetAfter})}}}, named(t, "gate", "tick"))
	h.Advance(3500 * time.Millisecond)
	want := []string{"1 tick tick: 200 4 ok 1", "1 tick tick: reset 0", "1 tick tick: 200 4 ok 3"}
	if got := logged(h.Logs(), "tick:"); !slices.Equal(got, want) {
		t.Errorf("logs %q, want %q", got, want)
	}
}

// A script that cannot be played is the test's mistake, wherever it comes to light: never a trap of the filter.
func TestScriptsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	gate := named(t, "gate", "g")
	for name, tt := range map[string]struct {
		script *Script
		text   string
	}{
		"no cluster":  {&Script{}, "Script without Cluster"},
		"no sense":    {&Script{Cluster: &ledger{}, Plan: func(Call) Play { return Play{Delay: -1} }}, "makes no sense"},
		"plan panics": {&Script{Cluster: &ledger{}, Plan: func(Call) Play { panic("oh dear") }}, "oh dear"},
	} {
		for _, where := range []string{"cluster", "upstream"} {
			s := stand(t, func(s *standIn) {
				script := &Script{Cluster: tt.script.Cluster, Plan: tt.script.Plan}
				o, calls := Options{Clusters: map[string]Cluster{"control": script}}, "1"
				if where == "upstream" {
					o, calls = Options{Upstream: script}, "0"
				}
				h := New(s, o, gate)
				h.Expect(ErrTrap, ErrAbandoned)
				h.Do(s, with("x-calls", calls))
			})
			p, ok := s.panicked.(*eventloop.Panic)
			if !ok || !strings.Contains(fmt.Sprint(p.Value), tt.text) {
				t.Errorf("%s in the %s: panicked with %v, told %q", name, where, s.panicked, s.errors)
			}
		}
	}
}
