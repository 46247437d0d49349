package testenv

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLocalResponse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request Request
		status  int
		body    string
		headers []Header
	}{
		{"with a body", do("local", Header{"x-send", "teapot"}), 418, "teapot", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"},
			{"x-seen-status", "418"}, {"x-seen-end", "false"},
		}},
		{"without a body", do("local"), 418, "", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"x-seen-status", "418"}, {"x-seen-end", "true"},
		}},
		{"without a body, with a type", do("local", Header{"x-type", "text/html"}), 418, "", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"x-seen-status", "418"}, {"x-seen-end", "true"},
		}},
		{"with a type of its own", do("local", Header{"x-type", "text/html"}, Header{"x-send", "<p>"}), 418, "<p>", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-type", "text/html"}, {"content-length", "3"},
			{"x-seen-status", "418"}, {"x-seen-end", "false"},
		}},
		{"changed by the response path", do("local", Header{"x-send", "secret"}), 418, "hidden", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"},
			{"x-seen-status", "418"}, {"x-seen-end", "false"},
		}},
		{"to HEAD", Request{Method: "HEAD", Headers: []Header{{"x-do", "local"}, {"x-send", "teapot"}}}, 418, "", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"},
			{"x-seen-status", "418"}, {"x-seen-end", "true"},
		}},
		{"to gRPC", do("local", Header{"x-send", "teapot"}, Header{"content-type", "application/grpc+proto"}), 418, "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"content-type", "application/grpc"}, {"grpc-status", "7"}, {"grpc-message", "teapot"},
			{"x-seen-status", "200"}, {"x-seen-end", "true"},
		}},
		{"to gRPC, with a type and a message to escape", do("local", Header{"x-type", "text/html"}, Header{"x-send", "50% ~\té"}, Header{"content-type", "application/grpc"}), 418, "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"content-type", "application/grpc"}, {"grpc-status", "7"}, {"grpc-message", "50%25 %7E%09%C3%A9"},
			{"x-seen-status", "200"}, {"x-seen-end", "true"},
		}},
		{"to gRPC, with a length and a code of its own", do("local", Header{"x-length", "6"}, Header{"x-code", "3"}, Header{"content-type", "application/grpc"}), 418, "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"grpc-status", "3"}, {"content-type", "application/grpc"},
			{"x-seen-status", "200"}, {"x-seen-end", "true"},
		}},
		{"to gRPC with HEAD", Request{Method: "HEAD", Headers: []Header{{"x-do", "local"}, {"x-send", "teapot"}, {"content-type", "application/grpc"}}}, 418, "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"content-type", "application/grpc"}, {"grpc-status", "7"},
			{"x-seen-status", "200"}, {"x-seen-end", "true"},
		}},
		{"to gRPC whose type the filter took away", do("local", Header{"x-untype", "1"}, Header{"content-type", "application/grpc"}), 418, "", []Header{
			{":status", "200"}, {"x-mine", "1"}, {"content-type", "application/grpc"}, {"grpc-status", "7"},
			{"x-seen-status", "200"}, {"x-seen-end", "true"},
		}},
		{"to gRPC-Web", do("local", Header{"x-send", "teapot"}, Header{"content-type", "application/grpc-web"}), 418, "teapot", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"},
			{"x-seen-status", "418"}, {"x-seen-end", "false"},
		}},
		{"to what only begins like gRPC", do("local", Header{"content-type", "application/grpcfoo"}), 418, "", []Header{
			{":status", "418"}, {"x-mine", "1"}, {"x-seen-status", "418"}, {"x-seen-end", "true"},
		}},
	}
	h := newProbe(t, Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := h.Do(t, tt.request)
			if r.Status != tt.status || string(r.Body) != tt.body || !r.Local || r.Upstream != nil {
				t.Errorf("status %d body %q local %t upstream %v", r.Status, r.Body, r.Local, r.Upstream)
			}
			if diff := cmp.Diff(tt.headers, r.Headers); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLocalResponseStopsTheStepWhateverTheFilterReturns(t *testing.T) {
	t.Parallel()
	h := newRaw(t, "local", Options{})
	r := h.Do(t, Request{Body: []byte("body")})
	if r.Status != 204 || !r.Local || r.Details != "details here" {
		t.Errorf("status %d local %t details %q", r.Status, r.Local, r.Details)
	}
}

func TestSecondLocalResponseIsAFault(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	var faults faultLog
	h.t = &faults
	r := h.Do(t, do("local-twice"))
	if r.Status != 401 || string(r.Body) != "first" {
		t.Errorf("the first response must stand, got %d %q", r.Status, r.Body)
	}
	if got := faults.all(); len(got) != 1 || !strings.Contains(got[0], ErrSecondLocalResponse.Error()) {
		t.Errorf("the test was told %q", got)
	}
	h.Expect(ErrSecondLocalResponse)
	h.Do(t, do("local-twice"))
	if got := faults.all(); len(got) != 1 {
		t.Errorf("an expected fault failed the test: %q", got)
	}
}

func TestLocalResponseInResponsePath(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{Upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			_, _ = w.Write([]byte("answer-late"))
			return
		}
		w.WriteHeader(599)
	})})
	r := h.Do(t, Request{})
	if r.Status != 503 || string(r.Body) != "replaced" || r.Header("x-seen-status") != "" {
		t.Errorf("in on_response_headers: %d %q %v", r.Status, r.Body, r.Headers)
	}
	r = h.Do(t, Request{Path: "/late"})
	if !errors.Is(r.Err, ErrStreamReset) || r.Status != 0 {
		t.Errorf("after the headers had left: %d %v", r.Status, r.Err)
	}
}

func TestCloseStreamResets(t *testing.T) {
	t.Parallel()
	h := newRaw(t, "close", Options{})
	if r := h.Do(t, Request{}); !errors.Is(r.Err, ErrStreamReset) {
		t.Errorf("err %v", r.Err)
	}
	if got := messages(h.Logs()); !slices.Contains(got, "close 0") {
		t.Errorf("logs %q", got)
	}
}

func TestBufferOverLimitIs413(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	for _, chunk := range []int{0, 10} {
		s, err := h.VM().NewStream(t.Context(), StreamOptions{MaxBufferBytes: 15})
		if err != nil {
			t.Fatal(err)
		}
		x := &exchange{stream: s, upstream: http.HandlerFunc(echo), request: Request{
			Method: "POST", Path: "/", Host: "h", Scheme: "http", Headers: []Header{{"x-body", "hold"}},
			Body: []byte(strings.Repeat("x", 20)), ChunkSize: chunk,
		}}
		r := x.run(t.Context())
		if r.Status != 413 || r.Details != "request_payload_too_large" || r.Header("x-seen-status") != "413" {
			t.Errorf("chunks of %d: status %d details %q headers %v err %v", chunk, r.Status, r.Details, r.Headers, r.Err)
		}
		if err := s.Done(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestLocalResponsePausedInItsOwnResponsePath(t *testing.T) {
	t.Parallel()
	for _, hold := range []string{"hold", "hold-body"} {
		h := newProbe(t, Options{PluginConfiguration: []byte("tick=1000")})
		done := make(chan Response, 1)
		go func() { done <- h.Do(t, do("local", Header{"x-send", "teapot"}, Header{"x-respond", hold})) }()
		waitFor(t, func() bool { return h.VM().waitingStreams() == 1 })
		h.Tick()
		r := <-done
		if r.Status != 418 || string(r.Body) != "teapot" || !r.Local {
			t.Errorf("%s: status %d body %q err %v", hold, r.Status, r.Body, r.Err)
		}
		if released := r.Header("x-released"); (released == "1") != (hold == "hold") {
			t.Errorf("%s: a header added in the pause reads %q", hold, released)
		}
	}
}

func TestLocalResponsePausedForEver(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	h.Expect(ErrAbandoned)
	r := h.Do(t, do("local", Header{"x-send", "teapot"}, Header{"x-respond", "hold"}))
	if !errors.Is(r.Err, ErrAbandoned) {
		t.Errorf("status %d err %v", r.Status, r.Err)
	}
}

func TestGRPCStatusOf(t *testing.T) {
	t.Parallel()
	for status, want := range map[uint32]int32{400: 13, 401: 16, 403: 7, 404: 12, 402: 2, 429: 14, 503: 14} {
		if got := grpcCode(&LocalResponse{Status: status, GRPCStatus: -1}); got != want {
			t.Errorf("%d: got %d, want %d", status, got, want)
		}
	}
}
