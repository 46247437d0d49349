package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
		{"no content, and a body", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(304)
			if n, err := w.Write([]byte("hello")); n != 0 || !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("wrote %d, %v", n, err)
			}
		}, CalloutResponse{Headers: []Header{{":status", "304"}}}},
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

func TestHandlerClusterThatGivesUp(t *testing.T) {
	t.Parallel()
	call := func(h http.HandlerFunc) (err error) {
		_, err = HandlerCluster(h).Call(t.Context(), &CalloutRequest{
			Headers: []Header{{":method", "GET"}, {":path", "/"}, {":authority", "h"}},
		})
		return err
	}
	if err := call(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }); err == nil || errors.Is(err, ErrReset) {
		t.Errorf("before the answer: %v, want a failed connection", err)
	}
	if err := call(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic(http.ErrAbortHandler) }); !errors.Is(err, ErrReset) {
		t.Errorf("within the answer: %v, want a reset", err)
	}
	defer func() {
		if v := recover(); v != "a bug" {
			t.Errorf("recovered %v: other panics are the test's own", v)
		}
	}()
	_ = call(func(http.ResponseWriter, *http.Request) { panic("a bug") })
}

// A request's context is the callout's.
func TestHandlerClusterPassesTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var seen error
	handler := HandlerCluster(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Context().Err() }))
	if _, err := handler.Call(ctx, &CalloutRequest{Headers: []Header{{":method", "GET"}, {":path", "/"}, {":authority", "h"}}}); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(seen, context.Canceled) {
		t.Errorf("the handler's context: %v", seen)
	}
}
