package testenv

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answer is an upstream's response with a body and trailers.
var answer = CalloutResponse{
	Headers:  []Header{{":status", "201"}, {"x-old", "a"}, {"x-remove", "1"}, {"x-old", "b"}, {"x-remove", "2"}},
	Body:     []byte("body"),
	Trailers: []Header{{"x-sum", "7"}, {"x-remove", "1"}, {"X-Remove", "2"}},
}

func TestRequestHeadersAreRead(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "headers", "", Options{})
	q := with("X-Repeat", "one", "x-empty", "", "x-repeat", "two")
	q.Path = "/read"
	r := h.Do(t, q)
	const pairs = ":authority=gate.test;:path=/read;:method=GET;:scheme=http;x-repeat=one;x-empty=;x-repeat=two"
	const final = ":status=200;content-length=2;content-type=text/plain; charset=utf-8;x-seen=200;x-old=now"
	wantMessages(t, r.Logs,
		"request headers: 7 true",
		"get X-Repeat: one <nil>", // the first of several
		"get x-absent:  not found",
		"get x-empty:  <nil>",
		"get host: gate.test <nil>",
		"all: "+pairs,
		"request trailer: bad argument bad argument",
		"response header: bad argument none bad argument",
		"response headers: 3 false 200 <nil>",
		"request header: bad argument", // they have left
		"response body: 2 true",
		"log request: "+pairs+" none",
		"log response: "+final+" none",
		"log write: not found bad argument bad argument bad argument",
	)
}

func TestRequestHeadersAreChanged(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "headers", "", Options{})
	q := with("x-repeat", "one", "x-old", "a", "x-remove", "1", "x-repeat", "two", "x-old", "b", "x-remove", "2")
	q.Path = "/change"
	r := h.Do(t, q)
	want := []Header{
		{":authority", "gate.test"}, {":path", "/change"}, {":method", "GET"}, {":scheme", "http"},
		{"x-repeat", "one"}, {"x-repeat", "two"}, {"x-repeat", "three"}, {"x-new", "1"},
		{"x-old", "now"}, {"x-fresh", ""}, // replacing removes every value and appends one
	}
	if diff := cmp.Diff(want, r.Upstream.Headers); diff != "" {
		t.Errorf("the upstream got (-want +got):\n%s", diff)
	}
	wantMessages(t, r.Logs[1:5], "add: <nil> <nil>", "replace: <nil> <nil>", "remove: <nil> <nil>", "get removed: not found")

	// Another stream has maps of its own.
	h.Check(t, q, Want{Upstream: map[string]string{"x-repeat": "one, two, three"}})
}

func TestWholeMapsAreReplaced(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "headers", "", Options{Upstream: upstream(answer)})
	r := h.Do(t, Request{
		Path: "/all", Body: []byte("x"), Headers: []Header{{"x-gone", "1"}}, Trailers: []Header{{"x-gone", "1"}},
	})
	want := &UpstreamRequest{
		Headers:  []Header{{":method", "PUT"}, {":path", "/all"}, {":authority", "h"}, {"x-only", "1"}, {"x-only", "2"}},
		Body:     []byte("x"),
		Trailers: []Header{{"x-only", "1"}},
	}
	if diff := cmp.Diff(want, r.Upstream); diff != "" {
		t.Errorf("the upstream got (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Header{{":status", "203"}, {"x-only", "1"}}, r.Headers); diff != "" || r.Status != 203 {
		t.Errorf("response %d (-want +got):\n%s", r.Status, diff)
	}
	if diff := cmp.Diff([]Header{{"x-only", "2"}}, r.Trailers); diff != "" {
		t.Errorf("response trailers (-want +got):\n%s", diff)
	}
}

func TestResponseMapsAreChanged(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "headers", "", Options{Upstream: upstream(answer)})
	r := h.Do(t, Request{})
	if diff := cmp.Diff([]Header{{":status", "201"}, {"x-seen", "201"}, {"x-old", "now"}}, r.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Header{{"x-sum", "checked 7"}, {"x-added", "1"}}, r.Trailers); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
	wantMessages(t, r.Logs,
		"request headers: 4 true",
		"response headers: 5 false 201 <nil>",
		"request header: bad argument",
		"response body: 4 false",
		"response trailers: 3 x-sum=7;x-remove=1;x-remove=2",
		"log request: :authority=gate.test;:path=/;:method=GET;:scheme=http none",
		"log response: :status=201;x-seen=201;x-old=now x-sum=checked 7;x-added=1",
		"log write: not found bad argument bad argument bad argument",
	)
}

func TestRequestTrailersAreChanged(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "headers", "", Options{})
	r := h.Do(t, Request{
		Body: []byte("abcdef"), ChunkSize: 4, Trailers: []Header{{"x-sum", "7"}, {"x-remove", "1"}, {"x-old", "a"}, {"X-Remove", "2"}},
	})
	want := []Header{{"x-sum", "7"}, {"x-seen", "7"}, {"x-old", "now"}}
	if diff := cmp.Diff(want, r.Upstream.Trailers); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
	wantMessages(t, r.Logs[:4],
		"request headers: 5 false", "request body: 4 false", "request body: 2 false",
		"request trailers: 4 x-sum=7;x-remove=1;x-old=a;x-remove=2",
	)
	if got := saying("log", r.Logs); len(got) != 3 || !strings.HasSuffix(got[0], " none") || !strings.HasPrefix(got[2], "log write: not found") {
		t.Errorf("request trailers in the access log: %q", got)
	}
}

// Trailers of a message without any are made in the step that sees its end, and not before.
func TestTrailersAreMade(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "headers", "", Options{})
	q := Request{Path: "/add-trailers", Body: []byte("abcd"), ChunkSize: 2, ResponseChunkSize: 2}
	r := h.Do(t, q)
	if diff := cmp.Diff([]Header{{"x-made", "1"}}, r.Upstream.Trailers); diff != "" {
		t.Errorf("request trailers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Header{{"x-made", "2"}}, r.Trailers); diff != "" {
		t.Errorf("response trailers (-want +got):\n%s", diff)
	}
	if string(r.Upstream.Body) != "abcd" || string(r.Body) != "abcd" {
		t.Errorf("bodies %q, %q", r.Upstream.Body, r.Body)
	}
	want := []string{"add trailer: bad argument none", "add trailer: <nil> x-made=1"}
	if diff := cmp.Diff(want, saying("add trailer", r.Logs)); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
	if got := saying("request trailers", r.Logs); got != nil {
		t.Errorf("the filter was shown the trailers it made: %q", got)
	}

	// The next filter gets to see them.
	h = New(t, Options{}, named(t, "headers", "first"), named(t, "headers", "second"))
	q.ChunkSize = 0
	r = h.Do(t, q)
	if got := saying("request trailers", r.Logs); len(got) != 1 || got[0] != "request trailers: 1 x-made=1" {
		t.Errorf("the second filter saw %q", got)
	}
}

func TestMapsCloseOnceTheStepHasPassed(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "headers", "", Options{})
	r := h.Check(t, Request{Path: "/late", Body: []byte("x")}, Want{
		Logs: []string{"late: bad argument none bad argument bad argument bad argument"},
	})
	if got := r.Upstream.Header("x-late"); got != "" || r.Upstream.Header(":path") != "/late" {
		t.Errorf("headers changed after they had left: %v", r.Upstream.Headers)
	}
}

func TestInlineHeadersAreJoined(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "headers", "", Options{InlineHeaders: []string{"x-repeat"}})
	q := with("x-repeat", "one", "x-remove", "1", "x-repeat", "two")
	q.Path = "/read"
	h.Check(t, q, Want{Logs: []string{"request headers: 6 true", "get X-Repeat: one,two <nil>"}})
}

// The access log shows the maps as the last filter left them, to every filter, those included that a local response kept
// from seeing the request.
func TestLogShowsTheFinalMaps(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Upstream: upstream(answer)}, named(t, "headers", "first"), named(t, "headers", "second"))
	r := h.Do(t, Request{Path: "/change"})
	const request = "log request: :authority=gate.test;:path=/change;:method=GET;:scheme=http;" +
		"x-repeat=three;x-new=1;x-repeat=three;x-new=1;x-old=now;x-fresh= none"
	const response = "log response: :status=201;x-seen=201;x-seen=201;x-old=now x-added=1;x-sum=checked checked 7;x-added=1"
	if diff := cmp.Diff([]string{request, request}, saying("log request", r.Logs)); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{response, response}, saying("log response", r.Logs)); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}

	h = New(t, Options{}, named(t, "local", "answers"), named(t, "headers", "skipped"))
	r = h.Do(t, with("x-at", "request-headers"))
	want := []string{
		"logged 418",
		"log request: :authority=gate.test;:path=/;:method=GET;:scheme=http;x-at=request-headers none",
		"log response: :status=418;x-mine=1;x-seen=418 true none",
		"log write: not found bad argument bad argument bad argument",
	}
	wantMessages(t, r.Logs, want...)
}

func TestHeaderMap(t *testing.T) {
	t.Parallel()
	m := newHeaderMap([]Header{{"Cookie", "a=1"}, {"X", "1"}, {"cookie", "b=2"}}, nil)
	if v, _ := m.get("cookie"); v != "a=1" || len(m.pairs) != 3 {
		t.Errorf("first cookie %q of %v", v, m.pairs)
	}
	if m.byteSize() != 6+3+1+1+6+3 {
		t.Errorf("%d bytes", m.byteSize())
	}
	if got := lower("X-\u212aEY-É"); got != "x-\u212aey-É" {
		t.Errorf("lower folds more than ASCII: %q", got) // U+212A is a K to Unicode
	}
}
