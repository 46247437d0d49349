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

// Each case runs in both directions: the echoing upstream answers with what it got, and a filter that passes one way
// changes the other.
func TestBodies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, mode string
		chunk      int
		trailers   []Header
		want       string   // what goes on
		steps      []string // what the filter saw: size, end, body, error
	}{
		{name: "passed whole", want: "abcdef", steps: []string{`6 true "abcdef"<nil>`}},
		{name: "passed in chunks", chunk: 4, want: "abcdef", steps: []string{`4 false "abcd"<nil>`, `2 true "ef"<nil>`}},
		{name: "the last chunk before trailers does not end it", trailers: []Header{{"x-sum", "7"}}, want: "abcdef",
			steps: []string{`6 false "abcdef"<nil>`, " trailers: "}},
		{name: "buffered: every step sees the body so far", mode: "upper", chunk: 2, want: "ABCDEF",
			steps: []string{`2 false "ab"<nil>`, `4 false "abcd"<nil>`, `6 true "abcdef"<nil>`}},
		{name: "buffered until the trailers, which continue", mode: "upper", chunk: 3, trailers: []Header{{"x-sum", "7"}}, want: "abcdef",
			steps: []string{`3 false "abc"<nil>`, `6 false "abcdef"<nil>`, " trailers: abcdef"}},
		{name: "prepended and appended", mode: "edges", chunk: 3, want: "<abc><def>",
			steps: []string{`3 false "abc"<nil>`, `3 true "def"<nil>`}},
		{name: "replaced by nothing", mode: "drop", chunk: 3, want: "", steps: []string{`3 false "abc"<nil>`, `3 true "def"<nil>`}},
		{name: "held until the tick, appended meanwhile", mode: "hold", chunk: 2, want: "abcdef!",
			steps: []string{`2 false "ab"<nil>`, `4 false "abcd"<nil>`, `6 true "abcdef"<nil>`}},
		{name: "held with its trailers", mode: "hold-trailers", trailers: []Header{{"x-sum", "7"}}, want: "abcdef",
			steps: []string{`6 false "abcdef"<nil>`, " trailers: "}},
		{name: "streamed after a buffered beginning", mode: "go", chunk: 2, want: "abgodef",
			steps: []string{`2 false "ab"<nil>`, `4 false "abgo"<nil>`, `2 false "de"<nil>`, `1 true "f"<nil>`}},
		{name: "held with headers, which stop everything", mode: "stop-headers", chunk: 3, want: "abcdef",
			steps: []string{`3 false "abc"<nil>`, `3 true "def"<nil>`}},
		{name: "trailers made and held", mode: "make-trailers", chunk: 3, want: "abcdef!",
			steps: []string{`3 false "abc"<nil>`, `6 true "abcdef"<nil>`}},
	}
	for _, tt := range tests {
		for _, way := range []string{"request", "response"} {
			t.Run(way+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				body := []byte("abcdef")
				if tt.mode == "go" {
					body = []byte("abgodef")
				}
				h := newGuest(t, "bodies", "", Options{Upstream: upstream(CalloutResponse{
					Headers: []Header{{":status", "200"}}, Body: body, Trailers: tt.trailers,
				})})
				q := with("x-"+way, tt.mode)
				if q.ResponseChunkSize = tt.chunk; way == "request" {
					q.Body, q.ChunkSize, q.Trailers, q.ResponseChunkSize = body, tt.chunk, tt.trailers, 0
				}
				r := h.Do(t, q)
				if r.Err != nil || r.Status != 200 {
					t.Fatalf("status %d, %v", r.Status, r.Err)
				}
				got, trailers := string(r.Body), r.Trailers
				if way == "request" {
					got, trailers = string(r.Upstream.Body), r.Upstream.Trailers
				}
				if got != tt.want {
					t.Errorf("%q went on, want %q", got, tt.want)
				}
				want := tt.trailers
				if tt.mode == "make-trailers" {
					want = []Header{{"x-made", way}}
				}
				if diff := cmp.Diff(want, trailers); diff != "" {
					t.Errorf("trailers (-want +got):\n%s", diff)
				}
				var steps []string
				for _, s := range tt.steps {
					if !strings.HasPrefix(s, " ") {
						s = ": " + s
					}
					steps = append(steps, way+s)
				}
				if diff := cmp.Diff(steps, saying(way, r.Logs)); diff != "" {
					t.Errorf("steps (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestPartsOfABody(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "bodies", "", Options{})
	q := with("x-request", "slices")
	q.Body = []byte("abcdef")
	r := h.Do(t, q)
	want := []string{`part: bc<nil>`, `part: def<nil>`, `part: a<nil>`}
	if diff := cmp.Diff(want, saying("part", r.Logs)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	if got := saying("past", r.Logs); len(got) != 1 || !strings.HasSuffix(got[0], "bad argument") {
		t.Errorf("beyond the end: %q", got)
	}
}

// What a filter holds, others see when it lets it go, and each what the one before it made of it.
func TestBodiesThroughSeveralFilters(t *testing.T) {
	t.Parallel()
	tests := []struct {
		first, second, want string
	}{
		{"upper", "edges", "<ABCDEF>"}, // buffered by the first: one piece for the second
		{"edges", "upper", "<AB><CD><EF>"},
		{"upper", "upper", "ABCDEF"},
		{"edges", "edges", "<<ab>><<cd>><<ef>>"},
		{"hold", "edges", "<abcdef!>"},
		{"edges", "hold", "<ab><cd><ef>!"},
		{"hold", "hold", "abcdef!!"},
		{"stop-headers", "edges", "<ab><cd><ef>"},
		{"edges", "stop-headers", "<ab><cd><ef>"},
		{"hold", "stop-headers", "abcdef!"},
	}
	for _, way := range []string{"request", "response"} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s %s %s", way, tt.first, tt.second), func(t *testing.T) {
				t.Parallel()
				h := New(t, Options{}, named(t, "bodies", "a"), named(t, "bodies", "b"))
				first, second := "a", "b"
				if way == "response" {
					first, second = "b", "a" // responses pass the filters in reverse
				}
				q := with("x-"+first+"-"+way, tt.first, "x-"+second+"-"+way, tt.second)
				q.Body = []byte("abcdef")
				if q.ResponseChunkSize = 2; way == "request" {
					q.ChunkSize, q.ResponseChunkSize = 2, 0
				}
				h.Check(t, q, Want{Decision: Forwarded, Status: 200, Body: tt.want})
			})
		}
	}
}

func TestBodiesOverTheLimit(t *testing.T) {
	t.Parallel()
	for _, chunk := range []int{0, 10} {
		t.Run(fmt.Sprintf("chunks of %d", chunk), func(t *testing.T) {
			t.Parallel()
			h := newGuest(t, "bodies", "", Options{MaxBufferBytes: 15})
			q := with("x-request", "upper", "x-response", "edges")
			q.Body, q.ChunkSize, q.Trailers = []byte(strings.Repeat("x", 20)), chunk, []Header{{"x-sum", "7"}}
			h.Check(t, q, Want{
				Decision: Answered, Status: 413, Body: "<Payload Too Large>", Details: "request_payload_too_large",
				Headers: map[string]string{"content-type": "text/plain", "content-length": "17"},
			})

			// Bodies as large as the limit, and those that only pass, are not too large.
			q.Body = q.Body[:15]
			h.Check(t, q, Want{Decision: Forwarded, Status: 200})
			q = with("x-request", "edges")
			q.Body, q.ChunkSize = []byte(strings.Repeat("x", 20)), chunk
			h.Check(t, q, Want{Decision: Forwarded, Status: 200})

			// The headers of the response have left.
			q = with("x-response", "hold")
			q.Body, q.ResponseChunkSize = []byte(strings.Repeat("x", 20)), chunk
			h.Check(t, q, Want{Decision: Broken, Err: ErrStreamReset})
		})
	}
}

// A response's headers that another filter holds leave room for an answer, which passes no filter.
func TestResponseOverTheLimitBeforeItsHeadersLeft(t *testing.T) {
	t.Parallel()
	h := New(t, Options{MaxBufferBytes: 15}, named(t, "bodies", "a"), named(t, "bodies", "b"))
	q := with("x-b-response", "upper", "x-a-response", "stop-headers")
	q.Body, q.ResponseChunkSize = []byte(strings.Repeat("x", 20)), 10
	h.Check(t, q, Want{
		Decision: Replaced, Status: 500, Body: "Internal Server Error", Details: "response_payload_too_large",
		Headers: map[string]string{"content-type": "text/plain"},
	})
}

// What waits for a filter that stopped on headers is not too large: Envoy reads no further.
func TestStoppedHeadersKnowNoLimit(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "bodies", "", Options{MaxBufferBytes: 15})
	for _, way := range []string{"request", "response"} {
		q := with("x-"+way, "stop-headers")
		q.Body, q.ChunkSize, q.ResponseChunkSize = []byte(strings.Repeat("x", 20)), 10, 10
		h.Check(t, q, Want{Decision: Forwarded, Status: 200, Body: string(q.Body)})
	}
}

// With allow_on_headers_stop_iteration a filter that stopped on headers still sees the body, and both go on together.
func TestStopOnHeadersAlone(t *testing.T) {
	t.Parallel()
	for _, allowed := range []bool{true, false} {
		t.Run(fmt.Sprint(allowed), func(t *testing.T) {
			t.Parallel()
			p := Plugin{Filter: guest(t, "bodies"), AllowOnHeadersStopIteration: allowed}
			h := New(t, Options{Profile: Envoy140, MaxBufferBytes: 15}, p)
			q := with("x-request", "stop-headers-upper")
			q.Body, q.ChunkSize = []byte("abcdef"), 3
			if !allowed {
				h.Expect(ErrAbandoned)
				r := h.Check(t, q, Want{Decision: Broken, Err: ErrAbandoned})
				if got := saying("request", r.Logs); got != nil {
					t.Errorf("the filter saw %q", got)
				}
				return
			}
			r := h.Check(t, q, Want{Decision: Forwarded, UpstreamBody: "ABCDEF", Body: "ABCDEF", Upstream: map[string]string{":method": "GET"}})
			want := []string{`request: 3 false "abc"<nil>`, `request: 6 true "abcdef"<nil>`}
			if diff := cmp.Diff(want, saying("request", r.Logs)); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}

			q = with("x-response", "stop-headers-upper")
			q.Body, q.ResponseChunkSize = []byte("abcdef"), 3
			h.Check(t, q, Want{Decision: Forwarded, Body: "ABCDEF"})
			q = with("x-request", "stop-headers-hold")
			q.Body = []byte("abcdef")
			h.Check(t, q, Want{Decision: Forwarded, Body: "abcdef!"})

			// Too large, while the headers are still here: 413, and 500 instead of a reset.
			q = with("x-request", "stop-headers-hold")
			q.Body = []byte(strings.Repeat("x", 20))
			h.Check(t, q, Want{Decision: Answered, Status: 413})
			q = with("x-response", "stop-headers-upper")
			q.Body, q.ResponseChunkSize = []byte(strings.Repeat("x", 20)), 10
			h.Check(t, q, Want{Status: 500, Details: "response_payload_too_large"})
		})
	}
}

// A filter learns of a tick only after the time it took, and streams that ended meanwhile are no trouble.
func TestHeldBodyOfAStreamThatIsGone(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "bodies", "", Options{})
	q := with("x-request", "hold")
	q.Body = []byte("abc")
	x := h.Start(q)
	h.Settle()
	x.Reset()
	if r := x.Wait(t); !errors.Is(r.Err, ErrStreamClosed) || r.Upstream != nil {
		t.Errorf("the stream ended with %v, upstream %v", r.Err, r.Upstream)
	}
	h.Advance(time.Second)
	if got := messages(h.Logs()); !slices.Contains(got, "the stream is gone") {
		t.Errorf("logs %q", got)
	}
}
