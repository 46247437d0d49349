package testenv

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What a filter's return values amount to, those too that the SDK cannot return. The tick lets go of what is held.
func TestActions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, returns string // headers, chunks, trailers
		alone         bool   // AllowOnHeadersStopIteration
		tick          bool   // only the tick lets it go
		trailers      bool
		limit         int
		want          string   // the body that goes on
		status        int      // 0 means 200
		steps         []string // what the body steps saw
	}{
		{name: "continue", returns: "0 0,0 0", want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "headers 2, continue and end the stream, are continue", returns: "2 0,0 0", want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "headers 1 stop everything", returns: "1 0,0 0", tick: true, want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "headers 1 alone let the body come", returns: "1 0,0 0", alone: true, want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "headers 1 alone, and the body stays too", returns: "1 1,1 0", tick: true, alone: true, want: "abcdef", steps: []string{`3 0 "abc"`, `6 1 "abcdef"`}},
		{name: "headers 4 stop everything whatever is allowed", returns: "4 0,0 0", tick: true, alone: true, limit: 5, want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "headers 9 are 4", returns: "9 0,0 0", tick: true, alone: true, limit: 5, want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "headers 3 stop everything", returns: "3 0,0 0", tick: true, alone: true, want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "headers 3 buffer within the limit", returns: "3 0,0 0", limit: 5, status: 413},
		{name: "body 1 buffers", returns: "0 1,1 0", tick: true, want: "abcdef", steps: []string{`3 0 "abc"`, `6 1 "abcdef"`}},
		{name: "body 1 buffers within the limit", returns: "0 1,1 0", limit: 5, status: 413, steps: []string{`3 0 "abc"`}},
		{name: "body 2 keeps what the filter sees no more", returns: "0 2,0 0", want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "body 2 until the tick", returns: "0 2,2 0", tick: true, want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "body 2 reads no further than the limit", returns: "0 2,2 0", tick: true, limit: 2, want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "body 2 then 1", returns: "0 2,1 0", tick: true, want: "abcdef", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "body 3 drops the chunk", returns: "0 3,0 0", want: "def", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "body 3 drops to the end", returns: "0 3,3 0", tick: true, want: "", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "body 3 cannot drop what was buffered", returns: "0 1,3 0", tick: true, want: "abcdef", steps: []string{`3 0 "abc"`, `6 1 "abcdef"`}},
		{name: "body 9 is 3", returns: "0 9,0 0", want: "def", steps: []string{`3 0 "abc"`, `3 1 "def"`}},
		{name: "trailers 1 stop", returns: "0 0,0 1", tick: true, trailers: true, want: "abcdef", steps: []string{`3 0 "abc"`, `3 0 "def"`}},
		{name: "trailers 7 stop", returns: "0 1,1 7", tick: true, trailers: true, want: "abcdef", steps: []string{`3 0 "abc"`, `6 0 "abcdef"`}},
		{name: "trailers 0 let a buffered body go", returns: "0 1,1 0", trailers: true, want: "abcdef", steps: []string{`3 0 "abc"`, `6 0 "abcdef"`}},
		{name: "trailers 0 let headers go too", returns: "1 1,1 0", alone: true, trailers: true, want: "abcdef", steps: []string{`3 0 "abc"`, `6 0 "abcdef"`}},
	}
	for _, tt := range tests {
		for _, way := range []string{"request", "response"} {
			t.Run(way+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				var trailers []Header
				if tt.trailers {
					trailers = []Header{{"x-sum", "7"}}
				}
				h := New(t, Options{Profile: Envoy140, MaxBufferBytes: tt.limit, Upstream: upstream(CalloutResponse{
					Headers: []Header{{":status", "200"}}, Body: []byte("abcdef"), Trailers: trailers,
				})}, Plugin{
					Filter: guest(t, "actions"), AllowOnHeadersStopIteration: tt.alone, Configuration: []byte(way + " " + tt.returns),
				})
				q := Request{ResponseChunkSize: 3}
				if way == "request" {
					q = Request{Body: []byte("abcdef"), ChunkSize: 3, Trailers: trailers}
				}
				r := h.Do(t, q)
				var steps []string
				for _, s := range tt.steps {
					steps = append(steps, way+" body "+s)
				}
				if diff := cmp.Diff(steps, saying(way+" body", r.Logs)); diff != "" {
					t.Errorf("steps (-want +got):\n%s", diff)
				}
				if waited := r.Took >= time.Second; waited != tt.tick {
					t.Errorf("took %v", r.Took)
				}
				wantActions(t, way, r, tt.status, tt.want, trailers)
			})
		}
	}
}

// wantActions fails t unless a message of this body went through, or was answered with 413; too large a response is
// answered with 500 or reset.
func wantActions(t *testing.T, way string, r Response, status int, body string, trailers []Header) {
	t.Helper()
	if status == 413 {
		if way == "request" && r.Status != 413 || way == "response" && r.Status != 500 && !errors.Is(r.Err, ErrStreamReset) {
			t.Errorf("status %d, %v", r.Status, r.Err)
		}
		return
	}
	if r.Err != nil || r.Status != 200 || r.Local {
		t.Fatalf("status %d, local %t, %v", r.Status, r.Local, r.Err)
	}
	got, rest := string(r.Body), r.Trailers
	if way == "request" {
		got, rest = string(r.Upstream.Body), r.Upstream.Trailers
	}
	if got != body {
		t.Errorf("%q went on, want %q", got, body)
	}
	if diff := cmp.Diff(trailers, rest); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
}
