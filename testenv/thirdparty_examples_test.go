package testenv

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newExample(t *testing.T, name, configuration string, o Options) *Host {
	t.Helper()
	return New(t, o, Plugin{Filter: exampleFilter(t, name), Name: name, Configuration: []byte(configuration)})
}

// post is a body in pieces. The example wants to know its length.
func post(operation string) Request {
	return Request{
		Method: http.MethodPost, Body: []byte("0123456789"), ChunkSize: 3, ChunkGap: time.Millisecond,
		Headers: []Header{{"content-length", "10"}, {"buffer-operation", operation}},
	}
}

// changed is a body that the upstream got instead, with no length that is no longer true.
func changed(body string) Want {
	return Want{
		Decision: Forwarded, Status: http.StatusOK, Body: body,
		UpstreamBody: body, Upstream: map[string]string{"content-length": ""}, Logs: []string{"original request body: 0123456789"},
	}
}

func TestExampleHTTPBody(t *testing.T) {
	t.Parallel()
	for _, p := range Profiles() {
		t.Run(p.Name, func(t *testing.T) {
			newExample(t, "http_body", "", Options{Profile: p}).Run(t,
				Scenario{"append", post("append"), changed("0123456789[this is appended body]")},
				Scenario{"prepend", post("prepend"), changed("[this is prepended body]0123456789")},
				Scenario{"replace", post("replace"), changed("[this is replaced body]")},
				Scenario{"no operation", post(""), changed("[this is replaced body]")},
				Scenario{"no length", Request{}, Want{
					Decision: Answered, Status: http.StatusBadRequest, Body: "content must be provided",
				}},
			)
			newExample(t, "http_body", "echo", Options{Profile: p}).Run(t,
				Scenario{"echo", post(""), Want{Decision: Answered, Status: http.StatusOK, Body: "0123456789"}},
				Scenario{"nothing to echo", Request{}, Want{Decision: Forwarded, Status: http.StatusOK, Body: "ok"}},
			)
		})
	}
}

// authority is the cluster that http_auth_random asks. It lets a request pass if the hash of the answer's body is even:
// that of "a" is, that of "b" is not. This one answers with the last letter of the path.
var authority = HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte(r.URL.Path[len(r.URL.Path)-1:]))
}))

func newAuth(t *testing.T, o Options, plan Plan) *Host {
	t.Helper()
	o.Clusters = map[string]Cluster{"httpbin": &Script{Cluster: authority, Plan: plan}}
	return newExample(t, "http_auth_random", "", o)
}

func granted(callout string) Want {
	return Want{Decision: Forwarded, Status: http.StatusOK, Body: "ok", Callouts: []string{callout}, Logs: []string{"access granted"}}
}

func forbidden(callout string) Want {
	return Want{
		Decision: Answered, Status: http.StatusForbidden, Body: "access forbidden", Callouts: []string{callout},
		Headers: map[string]string{"powered-by": "proxy-wasm-go-sdk!!"}, Logs: []string{"access forbidden"},
	}
}

func TestExampleHTTPAuth(t *testing.T) {
	t.Parallel()
	const outward, back = 40 * time.Millisecond, 2 * time.Millisecond
	h := newAuth(t, Options{}, Plays(Play{Delay: outward, Return: back}, Play{}, Play{Body: Truncated(0)}, Play{Lose: LoseReply}))
	if got := h.Check(t, Request{Path: "/a"}, granted("httpbin GET /a 200")); got.Took != outward+back {
		t.Errorf("the stream took %v, want the callout's %v", got.Took, outward+back)
	}
	h.Check(t, Request{Path: "/b"}, forbidden("httpbin GET /b 200"))
	// The hash of nothing is odd, but the example cannot read an empty body, and lets such requests pass.
	h.Check(t, Request{Path: "/b"}, Want{
		Decision: Forwarded, Callouts: []string{"httpbin GET /b 200"}, Logs: []string{"failed to get response body"},
	})
	// It waits 50 s for an answer, and then takes the text of Envoy's router for the answer; its hash is even.
	got := h.Check(t, Request{Path: "/b"}, granted("httpbin GET /b 504"))
	if want := 50 * time.Second; got.Took != want {
		t.Errorf("the unanswered callout ended after %v, want %v", got.Took, want)
	}
}

// A callout whose connection breaks after the answer began ends without headers. The example then returns without resuming
// the request, which Envoy would leave standing until its idle timeout.
func TestExampleHTTPAuthReset(t *testing.T) {
	t.Parallel()
	h := newAuth(t, Options{}, Every(Play{Reset: ResetAfter}))
	h.Expect(ErrAbandoned)
	h.Check(t, Request{Path: "/a"}, Want{
		Decision: Broken, Err: ErrAbandoned, Callouts: []string{"httpbin GET /a 0"}, Logs: []string{"failed to get response body"},
	})
}

// Every request is decided by its own callout, in whatever order the answers come; a seed gives one order.
func TestExampleHTTPAuthOverlapping(t *testing.T) {
	t.Parallel()
	const seeds, streams = 8, 10
	orders := map[string]bool{}
	for seed := range uint64(seeds) {
		order := overlap(t, seed, streams)
		if again := overlap(t, seed, streams); again != order {
			t.Errorf("seed %d: the streams ended in the orders %s and %s", seed, order, again)
		}
		orders[order] = true
	}
	if len(orders) < seeds/2 {
		t.Errorf("%d seeds gave %d orders", seeds, len(orders))
	}
}

// overlap starts streams together and returns the order in which they ended.
func overlap(t *testing.T, seed uint64, streams int) string {
	t.Helper()
	h := newAuth(t, Options{Workers: 2, Seed: seed}, Jittered(time.Second, nil))
	open := make([]*Exchange, streams)
	for i := range open {
		open[i] = h.Start(Request{Path: fmt.Sprintf("/%d/%c", i, "ab"[i%2])})
	}
	took := make([]time.Duration, streams)
	order := make([]int, streams)
	for i, x := range open {
		path := fmt.Sprintf("httpbin GET /%d/%c 200", i, "ab"[i%2])
		want := granted(path)
		if i%2 == 1 {
			want = forbidden(path)
		}
		got := x.Wait(t)
		want.Check(t, got)
		took[i], order[i] = got.Took, i
	}
	slices.SortFunc(order, func(a, b int) int { return int(took[a] - took[b]) })
	return fmt.Sprint(order)
}

// Each tick sends a callout to a path that the filter's own random numbers choose.
func TestExampleCalloutOnTick(t *testing.T) {
	t.Parallel()
	const period, ticks = 100 * time.Millisecond, 20
	answers := map[string]CalloutResponse{
		"/ok":   {Headers: []Header{{":status", "200"}}, Trailers: []Header{{"x-late", "yes"}}},
		"/fail": {Headers: []Header{{":status", "503"}}},
	}
	run := func(seed uint64) string {
		h := newExample(t, "dispatch_call_on_tick", "", Options{Seed: seed, Clusters: map[string]Cluster{
			"web_service": &Script{Plan: func(c Call) Play {
				answer := answers[firstHeader(c.Request.Headers, ":path")]
				return Play{Delay: 250 * time.Millisecond, Answer: &answer}
			}},
		}})
		h.Advance(ticks * period)
		checkTicks(t, h, period, ticks)
		return fmt.Sprint(h.Callouts())
	}
	first := run(1)
	if diff := cmp.Diff(first, run(1)); diff != "" {
		t.Errorf("two runs of one seed (-first +second):\n%s", diff)
	}
	if run(2) == first {
		t.Error("two seeds chose the same paths")
	}
}

// checkTicks wants a callout at each tick. The last three were sent within 250 ms of the end, and are on their way.
func checkTicks(t *testing.T, h *Host, period time.Duration, ticks int) {
	t.Helper()
	callouts := h.Callouts()
	if len(callouts) != ticks {
		t.Fatalf("%d callouts after %d ticks", len(callouts), ticks)
	}
	trailers := 0
	for i, c := range callouts {
		if want := callouts[0].Sent + time.Duration(i)*period; c.Sent != want {
			t.Errorf("callout %d was sent at %v, want %v", i, c.Sent, want)
		}
		if want := i < ticks-3; c.Answered != want {
			t.Errorf("callout %d answered: %v, want %v", i, c.Answered, want)
		}
		if c.Answered && strings.HasSuffix(c.String(), "/ok 200") {
			trailers++
		}
	}
	if got := countLogs(h.Logs(), LevelInfo, "response trailer for the dispatched call: x-late: yes"); got != trailers {
		t.Errorf("%d trailers were logged, %d answers had one", got, trailers)
	}
}
