package testenv

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHandlerCluster(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    CalloutResponse
	}{
		{"says nothing", func(http.ResponseWriter, *http.Request) {}, CalloutResponse{
			Headers: []Header{{":status", "200"}, {"content-length", "0"}},
		}},
		{"writes", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("X-B", "1")
			w.Header().Add("X-A", "2")
			w.Header().Add("X-B", "3")
			w.WriteHeader(http.StatusContinue)
			_, _ = w.Write([]byte("hello"))
			w.Header().Set("X-Late", "no")
			w.WriteHeader(500)
		}, CalloutResponse{
			Headers: []Header{{":status", "200"}, {"content-length", "5"}, {"content-type", "text/plain; charset=utf-8"}, {"x-a", "2"}, {"x-b", "1"}, {"x-b", "3"}},
			Body:    []byte("hello"),
		}},
		{"no content", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, CalloutResponse{
			Headers: []Header{{":status", "204"}},
		}},
		{"trailers", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum, X-Unset")
			w.(http.Flusher).Flush()
			w.Header().Set("X-Sum", "7")
			w.Header().Set(http.TrailerPrefix+"x-undeclared", "8")
		}, CalloutResponse{
			Headers:  []Header{{":status", "200"}, {"content-length", "0"}},
			Trailers: []Header{{"x-sum", "7"}, {"x-undeclared", "8"}},
		}},
		{"sees the request", func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			fmt.Fprint(w, r.Method, r.URL.Path, r.URL.RawQuery, r.RequestURI, r.Host, r.ContentLength, r.Header, r.Trailer, string(body), err)
		}, CalloutResponse{
			Headers: []Header{{":status", "200"}, {"content-length", "56"}, {"content-type", "text/plain; charset=utf-8"}},
			Body:    []byte("POST/aq=1/a?q=1h2 map[X-Twice:[1 2]] map[X-T:[t]]in<nil>"),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := HandlerCluster(tt.handler).Call(t.Context(), &CalloutRequest{
				Headers:  []Header{{":method", "POST"}, {":path", "/a?q=1"}, {":authority", "h"}, {"x-twice", "1"}, {"x-twice", "2"}},
				Body:     []byte("in"),
				Trailers: []Header{{"x-t", "t"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Body) == 0 {
				got.Body = nil
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHandlerClusterRefusesBadPaths(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "no-slash", "/%zz"} {
		_, err := HandlerCluster(http.HandlerFunc(echo)).Call(t.Context(), &CalloutRequest{
			Headers: []Header{{":method", "GET"}, {":path", path}, {":authority", "h"}},
		})
		if err == nil {
			t.Errorf("path %q was served", path)
		}
	}
}

func TestTimeoutDoesNotWaitForTheCluster(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	deaf := clusterFunc(func(context.Context, *CalloutRequest) (*CalloutResponse, error) { <-stop; return nil, nil })
	h := newProbe(t, Options{Clusters: map[string]Cluster{"control": deaf}})
	r := h.Do(t, do("callout", Header{"x-cluster", "control"}, Header{"x-timeout", "1"}))
	if got := r.Upstream.Header("x-answer-status"); got != "504" {
		t.Errorf("the filter saw %q", got)
	}
}

func TestDoFromManyGoroutines(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{Clusters: map[string]Cluster{"control": HandlerCluster(http.HandlerFunc(echo))}})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 25 {
				want := fmt.Sprintf("%d-%d", i, j)
				r := h.Do(t, do("callout", Header{"x-cluster", "control"}, Header{"x-send", want}))
				if got := r.Upstream.Header("x-answer-body"); got != want {
					t.Errorf("stream %s was given the answer %q", want, got)
				}
				if len(r.Callouts) != 1 || string(r.Callouts[0].Body) != want || !slices.Contains(messages(r.Logs), "done GET 200") {
					t.Errorf("stream %s: callouts %v logs %q", want, r.Callouts, messages(r.Logs))
				}
			}
		})
	}
	wg.Wait()
	if h.CalloutCount() != 400 || h.Metric("probe.requests") != 400 {
		t.Errorf("%d callouts, %d requests", h.CalloutCount(), h.Metric("probe.requests"))
	}
}

func BenchmarkStream(b *testing.B) {
	vm, err := guestFilter(b, probeWASM).NewVM(b.Context(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = vm.Close(context.Background()) }()
	headers := Request{}.withDefaults().headers()
	answer := []Header{{":status", "200"}, {"content-type", "text/plain"}}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		s, err := vm.NewStream(ctx, StreamOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.RequestHeaders(ctx, headers, true); err != nil {
			b.Fatal(err)
		}
		if _, err := s.ResponseHeaders(ctx, answer, true); err != nil {
			b.Fatal(err)
		}
		if err := s.Done(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
