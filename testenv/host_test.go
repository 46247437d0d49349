package testenv

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/testenv/internal/eventloop"
)

// with is a request with these headers, given as name and value by turns.
func with(pairs ...string) Request {
	var r Request
	for p := range slices.Chunk(pairs, 2) {
		r.Headers = append(r.Headers, Header{p[0], p[1]})
	}
	return r
}

// named is a plugin of a guest, in a VM of its own, with its name as its configuration.
func named(t testing.TB, guestName, name string) Plugin {
	t.Helper()
	return Plugin{Filter: guest(t, guestName), Name: name, VMID: name, Configuration: []byte(name)}
}

// scripted are clusters in which "control" plays a script in front of a server that says ok.
func scripted(plan Plan) map[string]Cluster {
	return map[string]Cluster{"control": &Script{Cluster: answering(200, "ok"), Plan: plan}}
}

func TestDoPassesAWholeExchange(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Upstream: HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Upstream", r.Host)
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "%s %s", r.Method, r.URL)
	}))}, named(t, "tag", "a"))
	r := h.Do(t, Request{
		Method: "PUT", Path: "/a?b=c", Host: "other.test", Scheme: "https", Headers: []Header{{"X-Case", "v"}},
		Body: []byte("abcdef"), ChunkSize: 4, Trailers: []Header{{"x-sum", "7"}}, ResponseChunkSize: 3,
	})
	got := *r.Upstream
	want := UpstreamRequest{
		Headers: []Header{
			{":authority", "other.test"}, {":path", "/a?b=c"}, {":method", "PUT"}, {":scheme", "https"},
			{"x-case", "v"}, {"content-length", "6"}, {"x-way", "a/1"},
		},
		Body: []byte("abcdef"), Trailers: []Header{{"x-sum", "7"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the upstream got (-want +got):\n%s", diff)
	}
	Want{
		Decision: Forwarded, Status: 201, Body: "PUT /a?b=c", Logs: []string{"request a", "done a"}, Callouts: []string{},
		Headers: map[string]string{"x-upstream": "other.test", "x-back": "a", "content-length": "10"},
	}.Check(t, r)
	if r.Local || r.Took != 0 || r.Header("x-back") != "a" {
		t.Errorf("local %t, took %v, headers %v", r.Local, r.Took, r.Headers)
	}
}

func TestDefaultsOfARequestAndOfTheUpstream(t *testing.T) {
	t.Parallel()
	h := New(t, Options{})
	h.Run(t, []Scenario{
		{"nothing said", Request{}, Want{Decision: Forwarded, Status: 200, Body: "ok", Upstream: map[string]string{
			":method": "GET", ":path": "/", ":authority": "gate.test", ":scheme": "http", "content-length": "",
		}}},
		{"the body comes back", Request{Body: []byte("abc")}, Want{Body: "abc", UpstreamBody: "abc", Upstream: map[string]string{"content-length": "3"}}},
		{"its length is said", Request{Body: []byte("abc"), Headers: []Header{{"content-length", "4"}}}, Want{Upstream: map[string]string{"content-length": "4"}}},
	}...)
	if h.Now() != Start || h.Clock().Monotonic() != time.Hour {
		t.Errorf("time moved to %v, %v", h.Now(), h.Clock().Monotonic())
	}
}

func TestHostFailsTheTestByItself(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		guest    string
		profile  Profile
		request  Request
		sentinel error
		text     string // of the error
		trace    string
	}{
		{"unknown hostcall", "sloppy", Envoy133, with("x-do", "foreign"), ErrUnimplemented, "proxy_call_foreign_function compress", `fault: hostcall`},
		{"unanswered pause", "sloppy", Envoy133, with("x-do", "abandon"), ErrAbandoned, "GET /", "< on_request_headers = 1"},
		{"panic", "crasher", Envoy140, with("x-crash", "request"), ErrTrap, "proxy_on_request_headers", "VM died"},
		{"exit", "crasher", Envoy140, with("x-crash", "exit"), ErrTrap, "proc_exit(3)", "VM died"},
		{"panic in a tick", "crasher", Envoy140, with("x-crash", "tick"), ErrTrap, "proxy_on_tick", "VM died"},
		{"misuse", "sloppy", Strict, with("x-do", "local-twice"), ErrMisuse, "second local response: status 402 after 401", "fault: misuse"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			plugin := named(t, tt.guest, "p")
			run := func(expect ...error) *standIn {
				return stand(t, func(s *standIn) {
					h := New(s, Options{Profile: tt.profile, Seed: 77}, plugin)
					h.Expect(expect...)
					h.Do(s, tt.request)
					h.Advance(time.Second)
				})
			}
			s := run()
			if len(s.errors) != 1 || !strings.Contains(s.told(), tt.sentinel.Error()) || !strings.Contains(s.told(), tt.text) {
				t.Errorf("the test was told %q, want one error with %q and %q", s.errors, tt.sentinel, tt.text)
			}
			trace := strings.Join(s.logs, "\n")
			if len(s.logs) != 1 || !strings.Contains(trace, "seed 77") || !strings.Contains(trace, tt.trace) {
				t.Errorf("the test printed %q, want one trace with %q", s.logs, tt.trace)
			}
			if s := run(tt.sentinel); s.failed || s.panicked != nil || len(s.logs) > 0 {
				t.Errorf("expected, and still: %q %v, printed %q", s.errors, s.panicked, s.logs)
			}
			if s := run(ErrClosed, ErrKilled); !s.failed {
				t.Error("other sentinels let it pass")
			}
		})
	}
}

func TestLeakedStreamsFailTheTest(t *testing.T) {
	t.Parallel()
	plugin := named(t, "sloppy", "p")
	var paused, unsent *Exchange
	s := stand(t, func(s *standIn) {
		h := New(s, Options{}, plugin)
		h.Do(s, Request{})
		paused = h.Start(with("x-do", "abandon"))
		h.Settle()
		unsent = h.Start(Request{})
	})
	if want := []string{"testenv: 2 streams were still open at the end of the test"}; !slices.Equal(s.errors, want) {
		t.Errorf("the test was told %q, want %q", s.errors, want)
	}
	for _, x := range []*Exchange{paused, unsent} {
		s = stand(t, func(s *standIn) { x.Wait(s) })
		if !strings.Contains(s.told(), "on a Host whose test has ended") {
			t.Errorf("waiting after the end: %q", s.errors)
		}
	}
	s = stand(t, func(s *standIn) {
		New(s, Options{}, plugin).Start(Request{})
		s.Errorf("something else")
	})
	if want := []string{"something else"}; !slices.Equal(s.errors, want) {
		t.Errorf("a test that fails anyway was told %q, want %q", s.errors, want)
	}
}

func TestNewEndsTheTest(t *testing.T) {
	t.Parallel()
	refusing := named(t, "tag", "refuse")
	tag := named(t, "tag", "a")
	closedTwice := tag
	closedTwice.FailurePolicy = 9
	tests := []struct {
		name  string
		start func(s *standIn)
		texts []string
	}{
		{"no file", func(s *standIn) { Load(s, "build/nosuch.wasm") }, []string{"build/nosuch.wasm", "build it first"}},
		{"no module", func(s *standIn) { Load(s, "host_test.go") }, []string{"host_test.go", ErrModule.Error()}},
		{"refused", func(s *standIn) { New(s, Options{}, tag, refusing) }, []string{"canary", `plugin "refuse"`, ErrConfigurationRefused.Error(), "plugin start refuse"}},
		{"no filter", func(s *standIn) { New(s, Options{}, Plugin{Name: "none"}) }, []string{ErrPlugin.Error(), `"none"`}},
		{"no policy", func(s *standIn) { New(s, Options{}, closedTwice) }, []string{ErrPlugin.Error(), "FailurePolicy 9"}},
		{"negative workers", func(s *standIn) { New(s, Options{Workers: -1}, tag) }, []string{"Workers -1 is negative"}},
		{"negative timeout", func(s *standIn) { New(s, Options{RouteTimeout: -1}, tag) }, []string{"RouteTimeout -1ns is negative"}},
		{"negative idle timeout", func(s *standIn) { New(s, Options{StreamIdleTimeout: -1}, tag) }, []string{"StreamIdleTimeout -1ns is negative"}},
		{"negative buffer", func(s *standIn) { New(s, Options{MaxBufferBytes: -1}, tag) }, []string{"MaxBufferBytes -1 is negative"}},
		{"negative chunk", func(s *standIn) { New(s, Options{}, tag).Start(Request{ChunkSize: -1}) }, []string{"Request.ChunkSize -1 is negative"}},
		{"negative response chunk", func(s *standIn) { New(s, Options{}, tag).Start(Request{ResponseChunkSize: -1}) }, []string{"Request.ResponseChunkSize -1 is negative"}},
		{"negative gap", func(s *standIn) { New(s, Options{}, tag).Start(Request{ChunkGap: -1}) }, []string{"Request.ChunkGap -1ns is negative"}},
		{"no property", func(s *standIn) {
			New(s, Options{}, tag).Do(s, Request{Attributes: Attributes{Metadata: Metadata{"a": map[string]any{"b": struct{}{}}}}})
		}, []string{"GET /: ", "Attributes: Metadata: ", ErrPropertyValue.Error()}},
		{"too many pages", func(s *standIn) { New(s, Options{MemoryLimitPages: wasmMaxPages + 1}, tag) }, []string{ErrOptions.Error()}},
		{"an unknown worker", func(s *standIn) { New(s, Options{}, tag).Start(Request{Worker: 2}) }, []string{"no worker 2", "1 to 1"}},
		{"the main thread, without one", func(s *standIn) { New(s, Options{}, tag).Kill(MainThread) }, []string{"no VMs on the main thread", "Options.MainThread"}},
		{"back in time", func(s *standIn) { New(s, Options{}, tag).Advance(-1) }, []string{"time does not go back"}},
		{"replaced by a refusal", func(s *standIn) { New(s, Options{}, tag).Replace(refusing) }, []string{"replace the filters", ErrConfigurationRefused.Error()}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := stand(t, func(s *standIn) {
				tt.start(s)
				s.Errorf("it went on")
			})
			if len(s.errors) != 1 || s.panicked != nil {
				t.Fatalf("told %q, panicked with %v, want one end", s.errors, s.panicked)
			}
			for _, text := range tt.texts {
				if !strings.Contains(s.errors[0], text) {
					t.Errorf("the test ended with %q, which lacks %q", s.errors[0], text)
				}
			}
		})
	}
}

// A handler is the test's own code: what it does to the test has to reach it, and not pass for a trap of the filter or
// leave the Host locked.
func TestHandlersThatEndTheTest(t *testing.T) {
	t.Parallel()
	gate, counter := named(t, "gate", "p"), named(t, "counter", "c")
	counter.VMID = "shared"
	tests := map[string]struct {
		end  func(s *standIn)
		want func(s *standIn) bool
	}{
		"panic": {func(*standIn) { panic("oh dear") }, func(s *standIn) bool {
			p, ok := s.panicked.(*eventloop.Panic)
			return ok && p.Value == "oh dear"
		}},
		"FailNow": {(*standIn).FailNow, func(s *standIn) bool { return s.panicked == nil && s.failed && len(s.errors) == 0 }},
	}
	for name, tt := range tests {
		for _, where := range []string{"cluster", "upstream"} {
			for seed := range uint64(6) {
				s := stand(t, func(s *standIn) {
					ending := HandlerCluster(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { tt.end(s) }))
					o := Options{Workers: 3, Seed: seed, Clusters: map[string]Cluster{"control": ending}}
					calls := "1"
					if where == "upstream" {
						o.Upstream, calls = ending, "0"
					}
					h := New(s, o, counter, gate)
					for range 4 {
						h.Start(with("x-do", "add", "x-calls", calls))
					}
					h.Do(s, with("x-do", "add", "x-calls", calls))
				})
				if !tt.want(s) {
					t.Errorf("%s in the %s, seed %d: panicked with %v, told %q, failed %t", name, where, seed, s.panicked, s.errors, s.failed)
				}
			}
		}
	}
}

func TestMethodsFromSeveralGoroutines(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Workers: 2, Clusters: scripted(Every(Play{Delay: time.Millisecond}))}, named(t, "gate", "p"))
	var wg sync.WaitGroup
	started := make(chan *Exchange, 4)
	for i := range 4 {
		wg.Go(func() {
			started <- h.Start(Request{Path: "/started"})
			for range 5 {
				path := fmt.Sprintf("/%d", i)
				if r := h.Do(t, Request{Path: path}); r.Upstream.Header(":path") != path || len(r.Callouts) != 1 {
					t.Errorf("%s: got the response of %v, callouts %v", path, r.Upstream, r.Callouts)
				}
				h.Logs()
				h.Callouts()
				h.Metric("m")
				h.MemoryBytes()
				h.Advance(time.Millisecond)
			}
		})
	}
	for range cap(started) {
		wg.Go(func() {
			x := <-started
			if r := x.Wait(t); r.Upstream.Header(":path") != "/started" || !x.Ended() {
				t.Errorf("waited from elsewhere for %v", r.Upstream)
			}
		})
	}
	wg.Wait()
	if got := len(h.Callouts()); got != 24 {
		t.Errorf("%d callouts, want 24", got)
	}
}

// Stream contexts, callouts and everything else kept per stream go when the stream does.
func TestNothingGrowsWithStreams(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Profile: Envoy140, Workers: 2, Clusters: scripted(Jittered(time.Second, nil))},
		named(t, "tag", "a"), named(t, "gate", "b"))
	kinds := []Request{with("x-calls", "0"), with("x-answer", "a"), with("x-calls", "2"), with("x-settle", "1"), with("x-timeout", "100")}
	var settled uint64
	const streams = 2000
	for i := range streams {
		x := h.Start(kinds[i%len(kinds)])
		if i%7 == 0 {
			h.Settle()
			x.Reset()
		}
		x.Wait(t)
		if i == streams/2 {
			settled = h.MemoryBytes()
		}
	}
	h.Advance(time.Minute)
	if n := h.loop.Pending(); n != 0 || len(h.open) != 0 {
		t.Errorf("%d events, %d streams", n, len(h.open))
	}
	for _, w := range h.workers[1:] {
		for _, s := range w.slots {
			if a, b, c, d := len(w.streams), len(s.vm.contexts), len(s.vm.callouts), len(s.vm.deferred); a+b+c+d != 0 {
				t.Errorf("streams %d, contexts %d, callouts %d, deferred %d", a, b, c, d)
			}
		}
	}
	if got := h.MemoryBytes(); settled == 0 || got > settled+8<<20 {
		t.Errorf("guest memory grew from %d to %d over %d streams", settled, got, streams/2)
	}
}
