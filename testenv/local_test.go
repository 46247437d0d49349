package testenv

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLocalResponse(t *testing.T) {
	t.Parallel()
	local := func(pairs ...string) Request { return with(append([]string{"x-at", "request-headers"}, pairs...)...) }
	head := func(r Request) Request { r.Method = "HEAD"; return r }
	const grpc = "application/grpc"
	tests := []struct {
		name    string
		request Request
		body    string
		headers []Header
	}{
		{"with a body", local("x-body", "teapot"), "teapot", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"}, {"x-seen", "418 false"},
		}},
		{"without a body", local(), "", []Header{{":status", "418"}, {"x-mine", "1"}, {"x-seen", "418 true"}}},
		{"without a body, with a type and a length", local("x-content-type", "text/html", "x-content-length", "9"), "", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"x-seen", "418 true"},
		}},
		{"with a type of its own", local("x-content-type", "text/html", "x-body", "<p>"), "<p>", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-type", "text/html"}, {"content-length", "3"}, {"x-seen", "418 false"},
		}},
		{"with a wrong length", local("x-content-length", "99", "x-body", "teapot"), "teapot", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"}, {"x-seen", "418 false"},
		}},
		{"changed by the response path", local("x-body", "secret"), "hidden", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"}, {"x-seen", "418 false"},
		}},
		{"to HEAD", head(local("x-body", "teapot")), "", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"}, {"x-seen", "418 true"},
		}},
		{"to gRPC", local("x-body", "teapot", "x-grpc", "7", "content-type", grpc+"+proto"), "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"content-type", grpc}, {"grpc-status", "7"}, {"grpc-message", "teapot"}, {"x-seen", "200 true"},
		}},
		{"to gRPC without a code", local("content-type", grpc), "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"content-type", grpc}, {"grpc-status", "2"}, {"x-seen", "200 true"},
		}},
		{"to gRPC with a code that is none", local("x-grpc", "17", "content-type", grpc), "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"content-type", grpc}, {"grpc-status", "2"}, {"x-seen", "200 true"},
		}},
		{"to gRPC, with a type and a message to escape", local("x-content-type", "text/html", "x-body", "50% ~\té", "x-grpc", "0", "content-type", grpc), "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"content-type", grpc}, {"grpc-status", "0"}, {"grpc-message", "50%25 %7E%09%C3%A9"}, {"x-seen", "200 true"},
		}},
		{"to gRPC, with a length and a code of its own", local("x-content-length", "6", "x-grpc-status", "3", "content-type", grpc), "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"grpc-status", "3"}, {"content-type", grpc}, {"x-seen", "200 true"},
		}},
		{"to gRPC with HEAD", head(local("x-body", "teapot", "x-grpc", "7", "content-type", grpc)), "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"content-type", grpc}, {"grpc-status", "7"}, {"x-seen", "200 true"},
		}},
		{"to gRPC whose type the filter took away", local("x-untype", "1", "x-grpc", "7", "content-type", grpc), "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"content-type", grpc}, {"grpc-status", "7"}, {"x-seen", "200 true"},
		}},
		{"to gRPC-Web", local("x-body", "teapot", "content-type", grpc+"-web"), "teapot", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"}, {"x-seen", "418 false"},
		}},
		{"to what only begins like gRPC", local("content-type", grpc+"foo"), "", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"x-seen", "418 true"},
		}},
	}
	h := newGuest(t, "local", "", Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := h.Check(t, tt.request, Want{Decision: Answered})
			if !r.Local || string(r.Body) != tt.body {
				t.Errorf("local %t, body %q, want %q", r.Local, r.Body, tt.body)
			}
			if diff := cmp.Diff(tt.headers, r.Headers); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

// Where a filter can answer and what comes of it: an answer of the request's path takes the response's path, one of the
// response's path goes straight to the client, and after the headers there is only the reset.
func TestLocalResponseInEveryCallback(t *testing.T) {
	t.Parallel()
	answered := Want{Decision: Answered, Status: 418, Body: "teapot", Headers: map[string]string{"x-seen": "418 false"}, Logs: []string{"logged 418"}}
	direct := Want{Decision: Replaced, Status: 418, Body: "teapot", Headers: map[string]string{"x-seen": ""}, Logs: []string{"logged 418"}}
	reset := Want{Decision: Broken, Err: ErrStreamReset, Logs: []string{"logged 200"}}
	second := func(status int, headers map[string]string) Want {
		return Want{Decision: Answered, Status: status, Headers: headers}
	}
	tests := []struct {
		at   string
		want Want
	}{
		{"request-headers", answered},
		{"request-body", answered},
		{"request-trailers", answered},
		{"response-headers", direct},
		{"response-body", reset},
		{"response-trailers", reset},
		{"log", Want{Decision: Forwarded, Status: 200, Body: "upstream"}},
		// A second answer in the same callback changes nothing; one to the first answer takes its place, or resets.
		{"request-headers request-headers", second(418, map[string]string{"x-mine": "1", "x-seen": "418 false"})},
		{"request-body request-body", second(418, map[string]string{"x-mine": "1"})},
		{"request-headers response-headers", Want{Decision: Answered, Status: 419, Body: "answer 2", Headers: map[string]string{"x-mine": "2", "x-seen": ""}}},
		{"request-headers response-body", reset418},
		{"response-headers response-headers", Want{Decision: Replaced, Status: 418, Body: "teapot", Headers: map[string]string{"x-mine": "1"}}},
	}
	h := newGuest(t, "local", "", Options{Upstream: upstream(CalloutResponse{
		Headers: []Header{{":status", "200"}}, Body: []byte("upstream"), Trailers: []Header{{"x-sum", "7"}},
	})})
	for _, tt := range tests {
		t.Run(tt.at, func(t *testing.T) {
			q := with("x-at", tt.at, "x-body", "teapot")
			q.Body, q.ChunkSize, q.Trailers = []byte("body"), 2, []Header{{"x-sum", "7"}}
			h.Check(t, q, tt.want)
			h.Check(t, Request{}, Want{Decision: Forwarded, Status: 200}) // the next stream is not touched
		})
	}
}

var reset418 = Want{Decision: Broken, Err: ErrStreamReset, Logs: []string{"logged 418"}}

// A reset does not take back an answer that is whole: without a body there is no second step of it.
func TestLocalResponseWithoutBodyIsNotReset(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "local", "", Options{})
	h.Check(t, with("x-at", "request-headers response-body"), Want{Decision: Answered, Status: 418})
}

func TestSecondLocalResponseIsAMisuse(t *testing.T) {
	t.Parallel()
	profile := Strict
	for _, at := range []string{"request-headers request-headers", "request-headers response-headers"} {
		s := stand(t, func(s *standIn) {
			h := New(s, Options{Profile: profile}, Plugin{Filter: guest(t, "local")})
			h.Do(s, with("x-at", at))
		})
		if told := s.told(); len(s.errors) != 1 || !strings.Contains(told, "second local response: status 419 after 418") {
			t.Errorf("%s: the test was told %q", at, told)
		}
		h := newGuest(t, "local", "", Options{Profile: profile})
		h.Expect(ErrMisuse)
		h.Do(t, with("x-at", at))
	}
}

func TestLocalResponseStopsTheStepWhateverTheFilterReturns(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "raw", "local", Options{})
	h.Check(t, Request{Body: []byte("body")}, Want{Decision: Answered, Status: 204, Details: "details_here"})
}

// A local response passes every filter of the chain that saw the request, and those after the one that sent it see
// neither.
func TestLocalResponseThroughSeveralFilters(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, named(t, "local", "first"), named(t, "headers", "before"), named(t, "raw", ""))
	r := h.Do(t, with("x-at", "request-headers"))
	want := []Header{{":status", "418"}, {"x-mine", "1"}, {"x-seen", "418 true"}}
	if diff := cmp.Diff(want, r.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}

	h = New(t, Options{}, named(t, "headers", "first"), named(t, "local", "second"), named(t, "headers", "third"))
	r = h.Do(t, with("x-at", "request-headers", "x-body", "teapot"))
	want = []Header{
		{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"},
		{"x-seen", "418 false"}, {"x-seen", "418"}, {"x-old", "now"},
	}
	if diff := cmp.Diff(want, r.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if got := saying("request headers", r.Logs); len(got) != 1 {
		t.Errorf("the request was seen %d times by the filters around the answering one, want 1", len(got))
	}

	// An answer to the upstream's response skips the filters that the response has not reached.
	h = New(t, Options{}, named(t, "headers", "first"), named(t, "local", "second"))
	r = h.Do(t, with("x-at", "response-headers", "x-body", "teapot"))
	if r.Status != 418 || r.Header("x-seen") != "" || r.Header("x-old") != "" {
		t.Errorf("status %d, headers %v", r.Status, r.Headers)
	}
}

func TestCloseStreamResets(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "raw", "close", Options{})
	r := h.Check(t, Request{}, Want{Decision: Broken, Err: ErrStreamReset, Logs: []string{"close 0"}})
	if want := "close TCP 0 0 unknown 2"; !slices.Contains(messages(r.Logs), want) {
		t.Errorf("logs %q, want %q", messages(r.Logs), want)
	}
}

// A filter may hold its own answer back.
func TestLocalResponsePausedInItsOwnResponsePath(t *testing.T) {
	t.Parallel()
	for _, hold := range []string{"response-headers", "response-body"} {
		h := newGuest(t, "local", "", Options{})
		r := h.Check(t, with("x-at", "request-headers", "x-body", "teapot", "x-hold", hold), Want{
			Decision: Answered, Status: 418, Body: "teapot",
		})
		if released := r.Header("x-released"); (released == "1") != (hold == "response-headers") {
			t.Errorf("%s: a header added in the pause reads %q", hold, released)
		}
		if r.Took != time.Second {
			t.Errorf("%s: took %v, want one tick", hold, r.Took)
		}
	}
}

// What the upstream answers while a filter holds a local response back is dropped.
func TestLocalResponseKeepsOutTheUpstreams(t *testing.T) {
	t.Parallel()
	late := &Script{Cluster: answering(200, "upstream"), Plan: Every(Play{Delay: 1500 * time.Millisecond})}
	h := newGuest(t, "local", "", Options{Upstream: late})
	h.Check(t, with("x-at", "follow", "x-hold", "response-headers"), Want{
		Decision: Replaced, Status: 408, Body: "waited", Headers: map[string]string{"x-seen": "408 false", "x-released": "1"},
	})
}

func TestLocalResponseMayGetTrailers(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "local", "", Options{})
	r := h.Check(t, with("x-at", "request-headers", "x-body", "teapot", "x-hold", "trailers"), Want{
		Decision: Answered, Status: 418, Body: "teapot",
	})
	if diff := cmp.Diff([]Header{{"x-made", "1"}}, r.Trailers); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
}

// On the root context an answer is nothing, for a stream of the filter's choice it is one.
func TestLocalResponseFromATick(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "local", "", Options{})
	h.Check(t, with("x-at", "park"), Want{Decision: Answered, Status: 408, Body: "waited", Headers: map[string]string{"x-seen": "408 false"}})
	for _, l := range h.Logs() {
		if l.Level == LevelError {
			t.Error(l.Message)
		}
	}
}

// A local response on another stream also stops the step that sent it: the host's flag is the VM's, not the stream's.
func TestLocalResponseForAnotherStreamStopsThisStepToo(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "local", "", Options{})
	parked := h.Start(with("x-at", "park"))
	h.Settle()
	h.Expect(ErrAbandoned)
	other := h.Do(t, with("x-at", "others"))
	if !errors.Is(other.Err, ErrAbandoned) || other.Upstream != nil {
		t.Errorf("the answering stream got %d %v", other.Status, other.Err)
	}
	if r := parked.Wait(t); r.Status != 403 || string(r.Body) != "answered" {
		t.Errorf("the parked stream got %d %q", r.Status, r.Body)
	}
}

func TestGRPCStatusOf(t *testing.T) {
	t.Parallel()
	for status, want := range map[uint32]int32{
		400: 13, 401: 16, 403: 7, 404: 12, 402: 2, 429: 14, 500: 2, 502: 14, 503: 14, 504: 14, 200: 2,
	} {
		for _, none := range []int32{-1, 17} {
			if got := grpcCode(&LocalResponse{Status: status, GRPCStatus: none}); got != want {
				t.Errorf("%d: got %d, want %d", status, got, want)
			}
		}
		if got := grpcCode(&LocalResponse{Status: status, GRPCStatus: 16}); got != 16 {
			t.Errorf("%d with a code of its own: %d", status, got)
		}
	}
}

func TestPercentEncode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "plain text": "plain text", "100%": "100%25", "a\nb": "a%0Ab", "~}\x7f": "%7E}%7F"} {
		if got := percentEncode([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := percentEncode([]byte{0, 255}); got != fmt.Sprintf("%%%02X%%%02X", 0, 255) {
		t.Errorf("bytes: %q", got)
	}
}
