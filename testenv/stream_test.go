package testenv

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStreamCallsInEnvoysOrder(t *testing.T) {
	t.Parallel()
	h := newRaw(t, "", Options{})
	h.Do(t, Request{})
	s, err := h.VM().NewStream(t.Context(), StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Done(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"create 1 0",
		"create 2 1", "log 2", "done 2", "delete 2",
		"create 3 1", "log 3", "done 3", "delete 3", // a stream that never began is created for its log
	}
	if diff := cmp.Diff(want, messages(h.Logs())); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	h := newRaw(t, "action-2", Options{})
	if r := h.Do(t, Request{}); r.Status != 200 {
		t.Errorf("action 2 (continue and end stream) gave %d %v; Envoy's conversion takes it as continue", r.Status, r.Err)
	}
	h = newRaw(t, "action-9", Options{})
	h.Expect(ErrAbandoned)
	if r := h.Do(t, Request{}); !errors.Is(r.Err, ErrAbandoned) {
		t.Errorf("an unknown action gave %d %v; Envoy takes it as a stop", r.Status, r.Err)
	}
	h = newRaw(t, "body-3", Options{})
	h.Expect(ErrAbandoned)
	if r := h.Do(t, Request{Body: []byte("dropped")}); !errors.Is(r.Err, ErrAbandoned) {
		t.Errorf("stop without buffering gave %d %v", r.Status, r.Err)
	}
}

func TestContinueWithoutPauseIsNothing(t *testing.T) {
	t.Parallel()
	if r := newProbe(t, Options{}).Do(t, do("resume")); r.Status != 200 {
		t.Errorf("status %d err %v", r.Status, r.Err)
	}
	h := newRaw(t, "continue", Options{})
	h.Do(t, Request{})
	if got := messages(h.Logs()); !slices.Contains(got, "continue 0 response 0 unknown 2") || !slices.Contains(got, "done 1") {
		t.Errorf("logs %q", got)
	}
}

func TestAbandonedStream(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	var faults faultLog
	h.t = &faults
	if r := h.Do(t, do("abandon")); !errors.Is(r.Err, ErrAbandoned) || r.Status != 0 {
		t.Errorf("status %d err %v", r.Status, r.Err)
	}
	if len(faults.all()) != 1 {
		t.Errorf("the test was told %q", faults.all())
	}
}

func TestAbandonedByTheLastCallback(t *testing.T) {
	t.Parallel()
	cluster := newGated()
	h := newProbe(t, Options{Clusters: map[string]Cluster{"control": cluster}})
	h.Expect(ErrAbandoned)
	ctx, cancel := context.WithCancel(t.Context())
	gone, err := h.VM().NewStream(ctx, StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() {
		_, err := gone.RequestHeaders(ctx, do("callout", Header{"x-cluster", "control"}).withDefaults().headers(), true)
		stopped <- err
	}()
	<-cluster.begun
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("the step whose context ended returned %v", err)
	}
	if n := h.VM().waitingStreams(); n != 0 {
		t.Errorf("%d streams wait after the context ended", n)
	}
	if err := gone.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	abandoned := make(chan Response, 1)
	go func() { abandoned <- h.Do(t, do("abandon")) }()
	waitFor(t, func() bool { return h.VM().waitingStreams() == 1 })
	close(cluster.release)
	if r := <-abandoned; !errors.Is(r.Err, ErrAbandoned) {
		t.Errorf("the stream nobody resumes got %d %v", r.Status, r.Err)
	}
}

func TestTickWakesStreams(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{PluginConfiguration: []byte("tick=50")})
	if got := h.VM().TickPeriod(); got != 50*time.Millisecond {
		t.Errorf("period %v", got)
	}
	done := make(chan Response, 1)
	go func() { done <- h.Do(t, do("park")) }()
	waitFor(t, func() bool { return h.VM().waitingStreams() == 1 })
	h.Tick()
	r := <-done
	if r.Status != 200 || r.Upstream.Header("x-woken") != "tick" {
		t.Errorf("status %d upstream %+v", r.Status, r.Upstream)
	}
	still := newProbe(t, Options{})
	still.Tick()
	if got := messages(still.Logs()); slices.Contains(got, "tick") {
		t.Error("a filter without a period was ticked")
	}
}

func TestStreamWakesAnother(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{PluginConfiguration: []byte("tick=1000")})
	done := make(chan Response, 1)
	go func() { done <- h.Do(t, do("park")) }()
	waitFor(t, func() bool { return h.VM().waitingStreams() == 1 })
	waker := h.Do(t, do("wake"))
	r := <-done
	for _, l := range h.Logs() {
		if l.Level == LevelError {
			t.Error(l.Message)
		}
	}
	if got := r.Upstream.Header("x-woken"); got != "stream" || r.FilterState["wasm.woken"] != "yes" {
		t.Errorf("the woken stream got header %q, state %v", got, r.FilterState)
	}
	if waker.Upstream.Header("x-self") != "1" || waker.Upstream.Header("x-woken") != "" || len(waker.FilterState) != 0 {
		t.Errorf("the waker got %v, state %v", waker.Upstream.Headers, waker.FilterState)
	}
}

// A local response on another stream also stops the step that sent it: the host's flag is the
// VM's, not the stream's.
func TestLocalResponseForAnotherStreamStopsThisStepToo(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{PluginConfiguration: []byte("tick=1000")})
	parked := make(chan Response, 1)
	go func() { parked <- h.Do(t, do("park")) }()
	waitFor(t, func() bool { return h.VM().waitingStreams() == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	s, err := h.VM().NewStream(ctx, StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() {
		_, err := s.RequestHeaders(ctx, do("answer-other").withDefaults().headers(), true)
		stopped <- err
	}()
	if r := <-parked; r.Status != 403 || string(r.Body) != "answered" {
		t.Errorf("the parked stream got %d %q", r.Status, r.Body)
	}
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("the answering step returned %v", err)
	}
	if err := s.Done(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEffectiveContext(t *testing.T) {
	t.Parallel()
	h := newRaw(t, "context", Options{})
	h.Do(t, Request{})
	if got := messages(h.Logs()); !slices.Contains(got, "effective root 0 none 0 unknown 2") {
		t.Errorf("logs %q", got)
	}
}

func TestBodyBuffering(t *testing.T) {
	t.Parallel()
	clusters := map[string]Cluster{"control": answering(200, "")}
	tests := []struct {
		name, mode, want string
		chunk            int
	}{
		{"one chunk", "buffer", "ABCDEF", 0},
		{"the filter sees all chunks at the end", "buffer", "ABCDEF", 2},
		{"passed through", "", "abcdef", 2},
		{"resumed by a callout", "callout", "checked abcdef", 3},
	}
	h := newProbe(t, Options{Clusters: clusters})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := h.Do(t, Request{Body: []byte("abcdef"), ChunkSize: tt.chunk, Headers: []Header{{"x-body", tt.mode}}})
			if r.Err != nil || string(r.Upstream.Body) != tt.want {
				t.Errorf("err %v, upstream got %q, want %q", r.Err, r.Upstream.Body, tt.want)
			}
		})
	}
}

func TestStepsOutOfOrder(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	s, err := h.VM().NewStream(t.Context(), StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	headers := Request{}.withDefaults().headers()
	if _, err := s.RequestBody(t.Context(), []byte("x"), true); !errors.Is(err, ErrStepOrder) {
		t.Errorf("body first: %v", err)
	}
	if _, err := s.RequestTrailers(t.Context(), nil); !errors.Is(err, ErrStepOrder) {
		t.Errorf("trailers first: %v", err)
	}
	if _, err := s.RequestHeaders(t.Context(), headers, true); err != nil {
		t.Error(err)
	}
	if _, err := s.RequestHeaders(t.Context(), headers, true); !errors.Is(err, ErrStepOrder) {
		t.Errorf("headers twice: %v", err)
	}
	if _, err := s.RequestBody(t.Context(), []byte("x"), true); !errors.Is(err, ErrStepOrder) {
		t.Errorf("body after the end: %v", err)
	}
	if err := s.Done(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.ResponseHeaders(t.Context(), []Header{{":status", "200"}}, true); !errors.Is(err, ErrStreamClosed) {
		t.Errorf("after Done: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	f := guestFilter(t, probeWASM)
	for name, o := range map[string]Options{
		"memory": {MemoryLimitPages: 65537}, "callout": {MaxCalloutBytes: -1}, "poll": {PollOneoff: 3},
	} {
		if _, err := f.NewVM(t.Context(), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newProbe(t, Options{}).VM().NewStream(t.Context(), StreamOptions{MaxBufferBytes: -1}); !errors.Is(err, ErrOptions) {
		t.Errorf("stream: %v", err)
	}
}

func TestResumeBetweenBodySteps(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{Clusters: map[string]Cluster{"control": answering(200, "")}})
	s, err := h.VM().NewStream(t.Context(), StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	headers := Request{Headers: []Header{{"x-body", "flush"}}}.withDefaults().headers()
	if _, err := s.RequestHeaders(t.Context(), headers, false); err != nil {
		t.Fatal(err)
	}
	r, err := s.RequestBody(t.Context(), []byte("ab"), false)
	if err != nil || len(r.Body) != 0 {
		t.Errorf("a buffered chunk gave %q, %v", r.Body, err)
	}
	h.VM().sending.Wait()
	r, err = s.RequestBody(t.Context(), []byte("cd"), true)
	if err != nil || string(r.Body) != "checked abcd" {
		t.Errorf("the chunk after the resume gave %q, %v", r.Body, err)
	}
	if err := s.Done(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestResponsePath(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	s, err := h.VM().NewStream(t.Context(), StreamOptions{MaxBufferBytes: 8})
	if err != nil {
		t.Fatal(err)
	}
	headers := Request{Headers: []Header{{"x-respond", "buffer"}}}.withDefaults().headers()
	if _, err := s.RequestHeaders(t.Context(), headers, true); err != nil {
		t.Fatal(err)
	}
	r, err := s.ResponseHeaders(t.Context(), []Header{{":status", "302"}}, false)
	want := []Header{{":status", "302"}, {"x-seen-status", "302"}, {"x-seen-end", "false"}}
	if diff := cmp.Diff(want, r.Headers); diff != "" || err != nil {
		t.Errorf("headers (-want +got):\n%s%v", diff, err)
	}
	for _, chunk := range []string{"ab", "cd"} {
		if r, err = s.ResponseBody(t.Context(), []byte(chunk), false); err != nil || len(r.Body) != 0 {
			t.Errorf("a buffered chunk gave %q, %v", r.Body, err)
		}
	}
	r, err = s.ResponseTrailers(t.Context(), []Header{{"x-sum", "7"}})
	if diff := cmp.Diff(StepResult{Headers: []Header{{"x-sum", "checked 7"}}, Body: []byte("abcd")}, r); diff != "" || err != nil {
		t.Errorf("trailers (-want +got):\n%s%v", diff, err)
	}
	if err := s.Done(t.Context()); err != nil {
		t.Error(err)
	}
	if got := messages(h.Logs()); !slices.Contains(got, "code 302") {
		t.Errorf("response.code in the log phase: %q", got)
	}
}

func TestResponseOverTheLimitIsReset(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	s, err := h.VM().NewStream(t.Context(), StreamOptions{MaxBufferBytes: 8})
	if err != nil {
		t.Fatal(err)
	}
	headers := Request{Headers: []Header{{"x-respond", "buffer"}}}.withDefaults().headers()
	if _, err := s.RequestHeaders(t.Context(), headers, true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ResponseHeaders(t.Context(), []Header{{":status", "200"}}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ResponseBody(t.Context(), []byte("123456789"), false); !errors.Is(err, ErrStreamReset) {
		t.Errorf("nine bytes in a buffer of eight: %v", err)
	}
	if _, err := s.ResponseBody(t.Context(), nil, true); !errors.Is(err, ErrStreamReset) {
		t.Errorf("the step after the reset: %v", err)
	}
	if err := s.Done(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.ResponseBody(t.Context(), nil, true); !errors.Is(err, ErrStreamReset) {
		t.Errorf("what ended the stream was forgotten: %v", err)
	}
}

func TestLocalResponseIsHandedOutOnce(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{})
	s, err := h.VM().NewStream(t.Context(), StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.RequestHeaders(t.Context(), do("local").withDefaults().headers(), false)
	if err != nil || r.Local == nil || r.Local.Status != 418 || r.Local.GRPCStatus != 7 {
		t.Errorf("result %+v err %v", r, err)
	}
	if r, err := s.RequestBody(t.Context(), []byte("x"), true); !errors.Is(err, ErrStreamClosed) || r.Local != nil {
		t.Errorf("the next step gave %+v, %v", r, err)
	}
	if err := s.Done(t.Context()); err != nil {
		t.Error(err)
	}
}
