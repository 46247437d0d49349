package testenv

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDoPassesAWholeExchange(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{Upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Upstream", r.Host)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%s %s", r.Method, r.URL)
	})})
	r := h.Do(t, Request{Method: "PUT", Path: "/a?b=c", Body: []byte("body"), Headers: []Header{{"X-Case", "v"}}})
	if r.Status != 201 || string(r.Body) != "PUT /a?b=c" || r.Local || r.Err != nil {
		t.Errorf("response %d %q local %t err %v", r.Status, r.Body, r.Local, r.Err)
	}
	if got := r.Header("x-upstream"); got != "gate.test" {
		t.Errorf("x-upstream %q", got)
	}
	if r.Upstream == nil || r.Upstream.Header("x-case") != "v" || string(r.Upstream.Body) != "body" || r.Upstream.Header("content-length") != "4" {
		t.Errorf("upstream got %+v", r.Upstream)
	}
	if got := h.Metric("probe.requests"); got != 1 {
		t.Errorf("probe.requests = %d", got)
	}
	if got := messages(r.Logs); !slices.Contains(got, "done PUT 201") {
		t.Errorf("the log phase saw %q", got)
	}
}

func TestDoPassesTrailersAndChunks(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	r := h.Do(t, Request{
		Body: []byte("abcdef"), ChunkSize: 4, Trailers: []Header{{"x-sum", "7"}},
		Headers: []Header{{"x-body", "edges"}},
	})
	if got := string(r.Upstream.Body); got != "<abcd><ef>" {
		t.Errorf("upstream body %q", got)
	}
	want := []Header{{"x-sum", "7"}, {"x-trailer-seen", "7"}}
	if diff := cmp.Diff(want, r.Upstream.Trailers); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
}

// A filter that keeps credentials from the upstream has to reach those in trailers too, also when
// it held the body back until then.
func TestFilterRemovesTrailers(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	for _, mode := range []string{"", "hold"} {
		r := h.Do(t, Request{
			Body: []byte("abc"), Headers: []Header{{"x-body", mode}},
			Trailers: []Header{{"x-remove", "1"}, {"x-sum", "7"}, {"X-Remove", "2"}},
		})
		want := &UpstreamRequest{Body: []byte("abc"), Trailers: []Header{{"x-sum", "7"}, {"x-trailer-seen", "7"}}}
		if diff := cmp.Diff(want, r.Upstream, cmpopts.IgnoreFields(UpstreamRequest{}, "Headers")); diff != "" {
			t.Errorf("%q: the upstream got (-want +got):\n%s", mode, diff)
		}
	}
}

func TestHeaderMaps(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	r := h.Do(t, do("maps", Header{"X-Repeat", "one"}, Header{"x-remove", "1"}, Header{"x-repeat", "two"}, Header{"x-remove", "2"}))
	for name, want := range map[string]string{
		"x-first":                "one<nil>",
		"x-absent-error":         "error status returned by host: not found",
		"x-response-error":       "error status returned by host: bad argument",
		"x-response-pairs-error": "error status returned by host: not found",
		"x-upper":                "v",
		"x-repeat":               "new",
		"x-remove":               "",
	} {
		if got := r.Upstream.Header(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	const pairs = ":authority=gate.test;:path=/;:method=GET;:scheme=http;x-do=maps;x-repeat=one;x-remove=1;x-repeat=two;x-remove=2;"
	if got := r.Upstream.Header("x-pairs"); !strings.HasPrefix(got, pairs) {
		t.Errorf("pairs %q", got)
	}
	repeats := slices.DeleteFunc(slices.Clone(r.Upstream.Headers), func(h Header) bool { return h[0] != "x-repeat" })
	if len(repeats) != 1 {
		t.Errorf("replace left %v: Envoy's setCopy removes every value first", repeats)
	}
}

func TestReplaceAllHeaders(t *testing.T) {
	t.Parallel()
	r := newProbe(t, Options{}).Do(t, do("replace-all", Header{"x-gone", "1"}))
	want := []Header{{":method", "PUT"}, {":path", "/new"}, {":authority", "h"}, {"x-only", "1"}}
	if diff := cmp.Diff(want, r.Upstream.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestInlineHeadersAreJoined(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{InlineHeaders: []string{"x-repeat"}})
	r := h.Do(t, do("maps", Header{"x-repeat", "one"}, Header{"x-repeat", "two"}))
	if got := r.Upstream.Header("x-first"); got != "one,two<nil>" {
		t.Errorf("first value %q", got)
	}
}

func TestMapsCloseOnceTheStepHasPassed(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	r := h.Do(t, Request{Body: []byte("x"), Headers: []Header{{"x-do", "late"}}})
	bad := "error status returned by host: bad argument"
	if want := "late: " + bad + ", " + bad + ", error status returned by host: not found"; !slices.Contains(messages(r.Logs), want) {
		t.Errorf("logs %q, want %q", messages(r.Logs), want)
	}
	if got := r.Upstream.Header("x-late"); got != "" {
		t.Errorf("a header was added after the headers had left: %q", got)
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{PluginName: "gate", RootID: "root", VMID: "vm", NodeID: "node-1"})
	q := do("property", Header{"x-path", "plugin_name plugin_root_id plugin_vm_id node.id source.address request.url_path request.method absent.path"})
	q.Path, q.Properties = "/p?q=1", map[string][]byte{"source.address": []byte("10.0.0.1:5")}
	r := h.Do(t, q)
	var got []string
	for _, h := range r.Upstream.Headers {
		if h[0] == "x-property" {
			got = append(got, h[1])
		}
	}
	want := []string{
		`plugin_name="gate" <nil>`, `plugin_root_id="root" <nil>`, `plugin_vm_id="vm" <nil>`, `node.id="node-1" <nil>`,
		`source.address="10.0.0.1:5" <nil>`, `request.url_path="/p" <nil>`, `request.method="GET" <nil>`,
		`absent.path="" error status returned by host: not found`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if got := r.Upstream.Header("x-own"); got != "decided<nil>" {
		t.Errorf("own property %q", got)
	}
	if diff := cmp.Diff(map[string]string{"wasm.tollgate": "decided"}, r.FilterState); diff != "" {
		t.Errorf("filter state (-want +got):\n%s", diff)
	}
}

func TestSharedData(t *testing.T) {
	t.Parallel()
	shared := NewSharedData()
	h := newProbe(t, Options{SharedData: shared, VMID: "a"})
	r := h.Do(t, do("shared"))
	var got []string
	for _, h := range r.Upstream.Headers {
		if h[0] == "x-shared" {
			got = append(got, h[1])
		}
	}
	want := []string{
		"error status returned by host: not found",
		"<nil>", // an absent key ignores the cas
		"a<nil>",
		"error status returned by host: cas mismatch",
		"<nil>", "<nil>", "d",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shared data (-want +got):\n%s", diff)
	}
	other := newProbe(t, Options{SharedData: shared, VMID: "b"})
	r = other.Do(t, do("shared"))
	if got := r.Upstream.Header("x-shared"); got != want[0] {
		t.Errorf("another vm_id sees %q", got)
	}
	if a, b, c := shared.Len("a"), shared.Len("b"), shared.Len("c"); a != 1 || b != 1 || c != 0 {
		t.Errorf("keys: a %d, b %d, c %d", a, b, c)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	metrics := NewMetrics()
	h := newProbe(t, Options{Metrics: metrics})
	newProbe(t, Options{Metrics: metrics}).Do(t, Request{})
	r := h.Do(t, do("metrics"))
	if got := r.Upstream.Header("x-counter"); got != "2" {
		t.Errorf("two VMs count in one metric: the second sees %s", got)
	}
	if got := r.Upstream.Header("x-gauge"); got != "-2" {
		t.Errorf("gauge %s", got)
	}
	want := []Metric{
		{Name: "probe.level", Kind: Gauge, Value: ^uint64(1)},
		{Name: "probe.requests", Kind: Counter, Value: 2},
		{Name: "probe.sizes", Kind: Histogram, Count: 2, Sum: 40},
	}
	if diff := cmp.Diff(want, metrics.Snapshot()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if h.Metric("probe.level") != -2 || h.Metric("probe.sizes") != 2 || h.Metric("absent") != 0 {
		t.Errorf("level %d sizes %d absent %d", h.Metric("probe.level"), h.Metric("probe.sizes"), h.Metric("absent"))
	}
}
