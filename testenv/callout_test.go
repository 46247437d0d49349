package testenv

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCallout(t *testing.T) {
	t.Parallel()
	clusters := map[string]Cluster{
		"control": HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(r.Method + " " + r.URL.Path + " " + r.Host + " " + r.Header.Get("x-upper") + " " + r.Header.Get("content-length") + " " + string(body)))
		})),
		"reset": clusterFunc(func(context.Context, *CalloutRequest) (*CalloutResponse, error) { return nil, ErrReset }),
		"down":  clusterFunc(func(context.Context, *CalloutRequest) (*CalloutResponse, error) { return nil, io.ErrUnexpectedEOF }),
		"silent": clusterFunc(func(ctx context.Context, _ *CalloutRequest) (*CalloutResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}),
		"large":  answering(200, strings.Repeat("x", 101)),
		"empty":  answering(204, ""),
		"nobody": nil,
		"abort":  HandlerCluster(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })),
		"cut": HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			panic(http.ErrAbortHandler)
		})),
	}
	bad := "error status returned by host: bad argument"
	tests := []struct {
		name    string
		headers []Header
		status  int    // of a local response, 0 when the request went through
		body    string // of the local response, or the callout's as the filter saw it
		answer  string // :status as the filter saw it
	}{
		{"answered", []Header{{"x-cluster", "control"}, {"x-send", "hello"}, {"x-timeout", "5000"}}, 0, "POST /check control v 5 hello", "202"},
		{"no body, no content-length", []Header{{"x-cluster", "control"}, {"x-timeout", "5000"}}, 0, "POST /check control v  ", "202"},
		{"no timeout", []Header{{"x-cluster", "control"}, {"x-timeout", "0"}}, 0, "POST /check control v  ", "202"},
		{"empty answer", []Header{{"x-cluster", "empty"}}, 0, "", "204"},
		{"unknown cluster", []Header{{"x-cluster", "nowhere"}}, 500, bad, ""},
		{"no method", []Header{{"x-cluster", "control"}, {"x-omit", ":method"}}, 500, bad, ""},
		{"no path", []Header{{"x-cluster", "control"}, {"x-omit", ":path"}}, 500, bad, ""},
		{"no authority", []Header{{"x-cluster", "control"}, {"x-omit", ":authority"}}, 500, bad, ""},
		{"no host in the cluster", []Header{{"x-cluster", "nobody"}}, 500, "error status returned by host: internal failure", ""},
		{"timeout", []Header{{"x-cluster", "silent"}, {"x-timeout", "1"}}, 0, "upstream request timeout", "504"},
		{"connection failure", []Header{{"x-cluster", "down"}}, 0, "upstream connect error or disconnect/reset before headers. reset reason: connection failure", "503"},
		{"handler aborts before the answer", []Header{{"x-cluster", "abort"}}, 0, "upstream connect error or disconnect/reset before headers. reset reason: connection failure", "503"},
		{"reset", []Header{{"x-cluster", "reset"}}, 502, "reset 0", ""},
		{"handler aborts within the answer", []Header{{"x-cluster", "cut"}}, 502, "reset 0", ""},
		{"answer too large", []Header{{"x-cluster", "large"}}, 502, "reset 0", ""},
	}
	h := newProbe(t, Options{Clusters: clusters, MaxCalloutBytes: 100})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := h.Do(t, Request{Headers: append([]Header{{"x-do", "callout"}}, tt.headers...)})
			if tt.status != 0 {
				if r.Status != tt.status || string(r.Body) != tt.body {
					t.Errorf("got %d %q, want %d %q", r.Status, r.Body, tt.status, tt.body)
				}
				return
			}
			if r.Upstream == nil {
				t.Fatalf("the request did not go through: %d %q", r.Status, r.Body)
			}
			if got := r.Upstream.Header("x-answer-body"); got != tt.body {
				t.Errorf("body %q, want %q", got, tt.body)
			}
			if got := r.Upstream.Header("x-answer-status"); got != tt.answer {
				t.Errorf("status %q, want %q", got, tt.answer)
			}
		})
	}
}

func TestCalloutRecord(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{Clusters: map[string]Cluster{"control": answering(201, "")}})
	r := h.Do(t, do("callout", Header{"x-cluster", "control"}, Header{"x-send", "hi"}))
	want := []CalloutRecord{{Cluster: "control", Status: 201, Body: []byte("hi"), Headers: []Header{
		{":method", "POST"}, {":path", "/check"}, {":authority", "control"}, {"x-upper", "v"}, {"content-length", "2"},
	}}}
	if diff := cmp.Diff(want, r.Callouts); diff != "" {
		t.Errorf("callouts (-want +got):\n%s", diff)
	}
	if h.CalloutCount() != 1 || len(h.Do(t, Request{}).Callouts) != 0 {
		t.Errorf("count %d, or another stream's callout was shown", h.CalloutCount())
	}
}

func TestCalloutStatusAndNegativeTimeout(t *testing.T) {
	t.Parallel()
	reset := clusterFunc(func(context.Context, *CalloutRequest) (*CalloutResponse, error) { return nil, ErrReset })
	h := newRaw(t, "call", Options{Clusters: map[string]Cluster{"control": reset}})
	h.Do(t, Request{})
	if want := "answer root 1 headers 0 body 0 trailers 0 status 0 11 reset"; !slices.Contains(messages(h.Logs()), want) {
		t.Errorf("logs %q, want %q", messages(h.Logs()), want)
	}
	h = newRaw(t, "negative", Options{Clusters: map[string]Cluster{"control": reset}})
	h.Do(t, Request{})
	if want := "negative timeout 2"; !slices.Contains(messages(h.Logs()), want) {
		t.Errorf("logs %q, want %q", messages(h.Logs()), want)
	}
}

// gated is a cluster that answers when told to.
type gated struct{ begun, release chan struct{} }

func newGated() *gated { return &gated{make(chan struct{}, 16), make(chan struct{})} }

func (g *gated) Call(ctx context.Context, _ *CalloutRequest) (*CalloutResponse, error) {
	g.begun <- struct{}{}
	select {
	case <-g.release:
		return &CalloutResponse{Headers: []Header{{":status", "200"}}}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestCallbackOfAGoneStreamIsDropped(t *testing.T) {
	t.Parallel()
	cluster := newGated()
	h := newProbe(t, Options{Clusters: map[string]Cluster{"control": cluster}})
	s, err := h.VM().NewStream(t.Context(), StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	paused := make(chan error, 1)
	go func() {
		_, err := s.RequestHeaders(context.Background(), do("callout", Header{"x-cluster", "control"}).withDefaults().headers(), true)
		paused <- err
	}()
	<-cluster.begun
	if err := s.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-paused; !errors.Is(err, ErrStreamClosed) {
		t.Errorf("the paused step returned %v", err)
	}
	close(cluster.release)
	h.VM().sending.Wait()
	if err := h.VM().Dead(); err != nil {
		t.Errorf("the late callback killed the VM: %v", err)
	}
	if r := h.Do(t, Request{}); r.Status != 200 {
		t.Errorf("the next stream got %d", r.Status)
	}
}

func TestCloseCancelsCalloutsWithoutCallback(t *testing.T) {
	t.Parallel()
	cluster := newGated()
	var mu sync.Mutex
	var logs []string
	vm, err := guestFilter(t, rawWASM).NewVM(t.Context(), Options{
		PluginConfiguration: []byte("call"), Clusters: map[string]Cluster{"control": cluster},
		Log: func(_ Level, m string) { mu.Lock(); defer mu.Unlock(); logs = append(logs, m) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := vm.NewStream(t.Context(), StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.RequestHeaders(context.Background(), Request{}.withDefaults().headers(), true)
		ended <- err
	}()
	<-cluster.begun
	if err := vm.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrStreamClosed) {
		t.Errorf("the paused step returned %v", err)
	}
	if err := vm.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := vm.NewStream(t.Context(), StreamOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("NewStream after Close: %v", err)
	}
	if err := vm.Tick(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Tick after Close: %v", err)
	}
	want := []string{"create 1 0", "create 2 1", "call 0", "done 1", "delete 1"}
	if diff := cmp.Diff(want, logs); diff != "" {
		t.Errorf("the guest was called (-want +got):\n%s", diff)
	}
	if n := vm.MemoryBytes(); n != 0 {
		t.Errorf("%d bytes of memory after Close", n)
	}
}

func TestOneCalloutWakesSeveralStreams(t *testing.T) {
	t.Parallel()
	cluster := newGated()
	h := newProbe(t, Options{Clusters: map[string]Cluster{"control": cluster}})
	results := make(chan Response, 2)
	park := func(what string) {
		results <- h.Do(t, do(what, Header{"x-cluster", "control"}))
	}
	go park("fanout")
	<-cluster.begun
	go park("park")
	waitFor(t, func() bool { return h.VM().waitingStreams() == 2 })
	close(cluster.release)
	got := map[int]string{}
	for range 2 {
		r := <-results
		got[r.Status] = string(r.Body)
		if r.Upstream != nil && r.Upstream.Header("x-woken") != "callout" {
			t.Errorf("upstream got %v", r.Upstream.Headers)
		}
	}
	if diff := cmp.Diff(map[int]string{200: "ok", 402: "answered"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if h.CalloutCount() != 1 {
		t.Errorf("%d callouts", h.CalloutCount())
	}
}

// waitingStreams is the number of streams with a step that waits.
func (vm *VM) waitingStreams() int {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	return len(vm.waiting)
}

// waitFor gives other goroutines time to reach a state that this process alone brings about.
func waitFor(t *testing.T, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !reached() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatal("the state was not reached")
		}
	}
}
