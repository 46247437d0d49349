package testenv

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// failing is a cluster without an answer.
func failing(err error) Cluster {
	return clusterFunc(func(context.Context, *CalloutRequest) (*CalloutResponse, error) { return nil, err })
}

// control answers with what it was asked.
var control = HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Trailer", "X-Sum")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, strings.Join([]string{
		r.Method, r.URL.Path, r.Host, r.Header.Get("x-upper"), r.Header.Get("content-length"),
		r.Header.Get("x-envoy-internal"), r.Header.Get("x-envoy-expected-rq-timeout-ms"), r.Trailer.Get("x-trailer"), string(body),
	}, ","))
	w.Header().Set("X-Sum", "7")
}))

func TestCallout(t *testing.T) {
	t.Parallel()
	clusters := map[string]Cluster{
		"control": control,
		"reset":   failing(ErrReset),
		"down":    failing(io.ErrUnexpectedEOF),
		"silent":  &Script{Cluster: control, Plan: Every(Play{Delay: time.Hour})},
		"full":    answering(200, strings.Repeat("x", 100)),
		"large":   answering(200, strings.Repeat("x", 101)),
		"empty":   answering(204, ""),
		"nobody":  nil,
		"abort":   HandlerCluster(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })),
		"cut": HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			panic(http.ErrAbortHandler)
		})),
	}
	const (
		none    = `answer has headers false body "" false trailers [] false`
		timeout = `answer has headers true body "upstream request timeout" true trailers [] false`
		failure = `answer has headers true body "upstream connect error or disconnect/reset before headers. reset reason: connection failure" true trailers [] false`
	)
	tests := []struct {
		name    string
		request Request
		status  string   // of the answer
		callout []string // as in Want.Callouts
		logs    []string
		took    time.Duration
	}{
		{"answered", with("x-cluster", "control", "x-send", "hello", "x-timeout", "5000"), "202", []string{"control POST /check 202"}, []string{
			"answer 3 41 1", `answer has headers true body "POST,/check,control,v,5,true,5000,t,hello" true trailers [[x-sum 7]] true`,
		}, 0},
		{"no body, no content-length; no timeout", with("x-cluster", "control"), "202", []string{"control POST /check 202"}, []string{
			`answer has headers true body "POST,/check,control,v,,true,,t," true trailers [[x-sum 7]] true`,
		}, 0},
		{"empty answer", with("x-cluster", "empty"), "204", []string{"empty POST /check 204"}, []string{
			"answer 1 0 0", `answer has headers true body "" false trailers [] false`,
		}, 0},
		{"as large as the limit", with("x-cluster", "full"), "200", []string{"full POST /check 200"}, []string{"answer 3 100 0"}, 0},
		{"timeout", with("x-cluster", "silent", "x-timeout", "1500"), "504", []string{"silent POST /check 504"}, []string{"answer 3 24 0", timeout}, 1500 * time.Millisecond},
		{"connection failure", with("x-cluster", "down"), "503", []string{"down POST /check 503"}, []string{failure}, 0},
		{"handler aborts before the answer", with("x-cluster", "abort"), "503", []string{"abort POST /check 503"}, []string{failure}, 0},
		{"reset", with("x-cluster", "reset"), "", []string{"reset POST /check 0"}, []string{"answer 0 0 0", none}, 0},
		{"handler aborts within the answer", with("x-cluster", "cut"), "", []string{"cut POST /check 0"}, []string{"answer 0 0 0", none}, 0},
		{"answer too large", with("x-cluster", "large"), "", []string{"large POST /check 0"}, []string{"answer 0 0 0", none}, 0},
		{"unknown cluster", with("x-cluster", "nowhere"), "", []string{}, []string{"refused: bad argument"}, 0},
		{"no method", with("x-cluster", "control", "x-omit", ":method"), "", []string{}, []string{"refused: bad argument"}, 0},
		{"no path", with("x-cluster", "control", "x-omit", ":path"), "", []string{}, []string{"refused: bad argument"}, 0},
		{"no authority", with("x-cluster", "control", "x-omit", ":authority"), "", []string{}, []string{"refused: bad argument"}, 0},
		{"no host in the cluster", with("x-cluster", "nobody"), "", []string{}, []string{"refused: internal failure"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newGuest(t, "callouts", "", Options{Clusters: clusters, MaxCalloutBytes: 100})
			tt.request.Path = "/ask"
			r := h.Check(t, tt.request, Want{
				Decision: Forwarded, Status: 200, Callouts: tt.callout, LogsNot: []string{"open after"},
				Upstream: map[string]string{"x-status": tt.status, "x-after": ""},
			})
			for _, want := range tt.logs {
				if !slices.Contains(messages(r.Logs), want) {
					t.Errorf("logs %q, want %q", messages(r.Logs), want)
				}
			}
			const after = "answer after its callback: error status returned by host: "
			if !slices.ContainsFunc(messages(r.Logs), func(m string) bool { return strings.HasPrefix(m, after) }) {
				t.Errorf("an answer is readable after its callback: %q", messages(r.Logs))
			}
			if r.Took != tt.took {
				t.Errorf("took %v, want %v", r.Took, tt.took)
			}
		})
	}
}

func TestCalloutRecord(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "callouts", "", Options{Clusters: map[string]Cluster{"control": answering(201, "")}})
	q := with("x-cluster", "control", "x-send", "hi", "x-timeout", "70")
	q.Path = "/ask"
	r := h.Do(t, q)
	want := []CalloutRecord{{
		Worker: 1, Plugin: "callouts", Cluster: "control", Status: 201, Answered: true, Sent: time.Hour, Body: []byte("hi"),
		Headers: []Header{
			{":method", "POST"}, {":path", "/check"}, {":authority", "control"}, {"x-upper", "v"}, {"content-length", "2"},
			{"x-envoy-internal", "true"}, {"x-envoy-expected-rq-timeout-ms", "70"},
		},
	}}
	if diff := cmp.Diff(want, r.Callouts); diff != "" {
		t.Errorf("callouts (-want +got):\n%s", diff)
	}
	if len(h.Callouts()) != 1 || len(h.Do(t, Request{}).Callouts) != 0 {
		t.Errorf("%d callouts, or another stream's callout was shown", len(h.Callouts()))
	}
}

// The code of get_status outlives its callback, its text does not.
func TestCalloutStatus(t *testing.T) {
	t.Parallel()
	script := &Script{Cluster: answering(200, ""), Plan: Plays(Play{Reset: ResetAfter})}
	h := newGuest(t, "raw", "call", Options{Clusters: map[string]Cluster{"control": script}})
	h.Expect(ErrAbandoned) // the guest wakes the first stream only
	h.Do(t, Request{})
	h.Do(t, Request{})
	want := []string{
		"answer root 1 headers 0 body 0 trailers 0 status 0 11 reset",
		"answer root 1 headers 2 body 0 trailers 0 status 0 11 ",
	}
	if diff := cmp.Diff(want, saying("answer", h.Logs())); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	// Neither answer has trailers, and the reset has nothing.
	if diff := cmp.Diff([]string{"map 2 trailers 2 body 1", "map 0 trailers 2 body 0"}, saying("map", h.Logs())); diff != "" {
		t.Errorf("maps (-want +got):\n%s", diff)
	}
}

func TestOneCalloutWakesSeveralStreams(t *testing.T) {
	t.Parallel()
	slow := &Script{Cluster: control, Plan: Every(Play{Delay: time.Second})}
	h := newGuest(t, "callouts", "", Options{Clusters: map[string]Cluster{"control": slow}})
	q := with("x-cluster", "control")
	q.Path = "/fan"
	var all []*Exchange
	for range 5 {
		all = append(all, h.Start(q))
		h.Settle()
	}
	all[2].Reset() // its context is gone when the answer comes
	h.Advance(999 * time.Millisecond)
	for i, x := range all {
		if x.Ended() != (i == 2) {
			t.Errorf("stream %d has ended: %t, before the answer", i, x.Ended())
		}
	}
	for i, want := range []Want{
		{Decision: Forwarded, Status: 200, Upstream: map[string]string{"x-woken": "0"}, Callouts: []string{"control POST /check 202"}},
		{Decision: Answered, Status: 402, Body: "pay", Callouts: []string{}},
		{Decision: Broken, Err: ErrStreamClosed},
		{Decision: Answered, Status: 402, Callouts: []string{}},
		{Decision: Forwarded, Status: 200, Upstream: map[string]string{"x-woken": "4"}},
	} {
		r := all[i].Wait(t)
		want.Check(t, r)
		if i != 2 && r.Took != time.Second {
			t.Errorf("stream %d took %v", i, r.Took)
		}
	}
	if n := len(h.Callouts()); n != 1 {
		t.Errorf("%d callouts", n)
	}
	if got := saying("the stream is gone", h.Logs()); len(got) != 1 {
		t.Errorf("logs %q", messages(h.Logs()))
	}
}

func TestSeveralCallouts(t *testing.T) {
	t.Parallel()
	// The second answer comes first.
	script := &Script{Cluster: control, Plan: Plays(Play{Delay: 2 * time.Second}, Play{Delay: time.Second})}
	h := newGuest(t, "callouts", "", Options{Clusters: map[string]Cluster{"control": script}})
	q := with("x-cluster", "control")
	q.Path = "/both"
	r := h.Check(t, q, Want{Decision: Forwarded, Callouts: []string{"control POST /first 202", "control POST /second 202"}})
	if r.Took != 2*time.Second {
		t.Errorf("took %v", r.Took)
	}

	// The SDK runs a callback on the context of the stream that asked, so what it sends is that stream's.
	q.Path = "/twice"
	h.Check(t, q, Want{Decision: Forwarded, Upstream: map[string]string{"x-status": "202"}, Callouts: []string{
		"control POST /first 202", "control POST /second 202",
	}})
	if n := len(h.Callouts()); n != 4 {
		t.Errorf("%d callouts", n)
	}
	q.Path = "/local"
	h.Check(t, q, Want{Decision: Answered, Status: 402, Body: "pay"})
}

func TestCalloutFromATick(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "callouts", "250", Options{Clusters: map[string]Cluster{"control": control}})
	h.Advance(time.Second)
	if got := saying("tick answered 3", h.Logs()); len(got) != 4 {
		t.Errorf("logs %q", messages(h.Logs()))
	}
	for _, c := range h.Callouts() {
		if c.Header(":path") != "/tick" || c.Status != 202 {
			t.Errorf("callout %v", c)
		}
	}
}

// A stream that has gone takes no callout with it.
func TestCallbackOfAGoneStreamIsHarmless(t *testing.T) {
	t.Parallel()
	slow := &Script{Cluster: control, Plan: Every(Play{Delay: time.Second})}
	h := newGuest(t, "callouts", "", Options{Clusters: map[string]Cluster{"control": slow}})
	q := with("x-cluster", "control")
	q.Path = "/ask"
	x := h.Start(q)
	h.Settle()
	x.Reset()
	h.Advance(time.Second)
	if got := h.Callouts(); len(got) != 1 || !got[0].Answered || got[0].Status != 202 {
		t.Errorf("callouts %v", got)
	}
	h.Check(t, Request{}, Want{Decision: Forwarded, Status: 200})
}

// A callback's answer is gone before what it asked for happens to streams.
func TestAnswerIsNotSeenByWokenStreams(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Clusters: map[string]Cluster{"control": control}},
		Plugin{Filter: guest(t, "callouts"), Name: "a"}, Plugin{Filter: guest(t, "callouts"), Name: "b"}) // in one VM
	q := with("x-cluster", "control")
	q.Path = "/local"
	r := h.Check(t, q, Want{Decision: Answered, Status: 402})
	const want = "answer after its callback: error status returned by host: not found, error status returned by host: not found"
	if got := saying("answer after", r.Logs); len(got) != 1 || got[0] != want {
		t.Errorf("the response path of the answer saw %q", got)
	}
}
