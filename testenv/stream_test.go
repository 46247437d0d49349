package testenv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStreamSteps(t *testing.T) {
	t.Parallel()
	w := newWorker(t, WorkerOptions{}, Plugin{Filter: guest(t, "headers")})
	s := newStream(t, w, StreamOptions{})
	ctx := t.Context()
	want := func(what string, want StepResult) func(StepResult, error) {
		return func(got StepResult, err error) {
			t.Helper()
			if len(got.Body) == 0 {
				got.Body = nil
			}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
			}
		}
	}
	want("request headers", StepResult{Headers: requestMap("/")})(s.RequestHeaders(ctx, requestMap("/"), false))
	want("request body", StepResult{Body: []byte("ab")})(s.RequestBody(ctx, []byte("ab"), false))
	want("request trailers", StepResult{Headers: []Header{{"x-sum", "7"}, {"x-seen", "7"}, {"x-old", "now"}}})(
		s.RequestTrailers(ctx, []Header{{"x-sum", "7"}}))
	want("response headers", StepResult{Headers: []Header{{":status", "302"}, {"x-seen", "302"}, {"x-old", "now"}}})(
		s.ResponseHeaders(ctx, []Header{{":status", "302"}}, false))
	want("response body", StepResult{Body: []byte("cd")})(s.ResponseBody(ctx, []byte("cd"), false))
	want("response trailers", StepResult{Headers: []Header{{"x-sum", "checked "}, {"x-added", "1"}}})(s.ResponseTrailers(ctx, nil))
	if w.Streams() != 1 {
		t.Errorf("%d streams", w.Streams())
	}
	done(t, s)
	if w.Streams() != 0 {
		t.Errorf("%d streams after Done", w.Streams())
	}
}

func TestBufferedSteps(t *testing.T) {
	t.Parallel()
	w := newWorker(t, WorkerOptions{}, Plugin{Filter: guest(t, "bodies")})
	ctx := t.Context()
	s := newStream(t, w, StreamOptions{MaxBufferBytes: 8})
	if _, err := s.RequestHeaders(ctx, requestMap("/", "x-response", "upper"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ResponseHeaders(ctx, []Header{{":status", "200"}}, false); err != nil {
		t.Fatal(err)
	}
	for _, chunk := range []string{"ab", "cd"} {
		if r, err := s.ResponseBody(ctx, []byte(chunk), false); err != nil || len(r.Body) != 0 {
			t.Errorf("a buffered chunk gave %q, %v", r.Body, err)
		}
	}
	r, err := s.ResponseTrailers(ctx, []Header{{"x-sum", "7"}})
	if diff := cmp.Diff(StepResult{Headers: []Header{{"x-sum", "7"}}, Body: []byte("abcd")}, r); diff != "" || err != nil {
		t.Errorf("trailers let the body go (-want +got):\n%s%v", diff, err)
	}
	done(t, s)

	s = newStream(t, w, StreamOptions{MaxBufferBytes: 8})
	if _, err := s.RequestHeaders(ctx, requestMap("/", "x-response", "upper"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ResponseHeaders(ctx, []Header{{":status", "200"}}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ResponseBody(ctx, []byte("123456"), false); err != nil {
		t.Error(err)
	}
	for _, what := range []string{"nine bytes in a buffer of eight", "the step after the reset"} {
		if _, err := s.ResponseBody(ctx, []byte("789"), false); !errors.Is(err, ErrStreamReset) {
			t.Errorf("%s: %v", what, err)
		}
	}
	done(t, s)
	if _, err := s.ResponseBody(ctx, nil, true); !errors.Is(err, ErrStreamReset) {
		t.Errorf("what ended the stream was forgotten: %v", err)
	}
}

func TestStepsOutOfOrder(t *testing.T) {
	t.Parallel()
	w := newWorker(t, WorkerOptions{}, Plugin{Filter: guest(t, "headers")})
	s := newStream(t, w, StreamOptions{})
	ctx := t.Context()
	for _, step := range []struct {
		what string
		do   func() (StepResult, error)
		want error
	}{
		{"body first", func() (StepResult, error) { return s.RequestBody(ctx, []byte("x"), true) }, ErrStepOrder},
		{"trailers first", func() (StepResult, error) { return s.RequestTrailers(ctx, nil) }, ErrStepOrder},
		{"headers", func() (StepResult, error) { return s.RequestHeaders(ctx, requestMap("/"), true) }, nil},
		{"headers twice", func() (StepResult, error) { return s.RequestHeaders(ctx, requestMap("/"), true) }, ErrStepOrder},
		{"body after the end", func() (StepResult, error) { return s.RequestBody(ctx, []byte("x"), true) }, ErrStepOrder},
		{"response body first", func() (StepResult, error) { return s.ResponseBody(ctx, []byte("x"), true) }, ErrStepOrder},
	} {
		if _, err := step.do(); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.what, err, step.want)
		}
	}
	done(t, s)
	if _, err := s.ResponseHeaders(ctx, []Header{{":status", "200"}}, true); !errors.Is(err, ErrStreamClosed) {
		t.Errorf("after Done: %v", err)
	}
}

func TestLocalResponseIsHandedOutOnce(t *testing.T) {
	t.Parallel()
	w := newWorker(t, WorkerOptions{}, Plugin{Filter: guest(t, "local")})
	s := newStream(t, w, StreamOptions{})
	r, err := s.RequestHeaders(t.Context(), requestMap("/", "x-at", "request-headers", "x-grpc", "7", "x-body", "teapot"), false)
	want := &LocalResponse{Status: 418, GRPCStatus: 7, Body: []byte("teapot"), Headers: []Header{
		{":status", "418"}, {"x-mine", "1"}, {"content-length", "6"}, {"content-type", "text/plain"}, {"x-seen", "418 false"},
	}}
	if diff := cmp.Diff(StepResult{Local: want}, r); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if r, err := s.RequestBody(t.Context(), []byte("x"), true); !errors.Is(err, ErrStreamClosed) || r.Local != nil {
		t.Errorf("the next step gave %+v, %v", r, err)
	}
	done(t, s)
}

// A step of a paused stream blocks until a callout resumes it; body steps that are not the last do not.
func TestStepsBlock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gate := make(gated)
		w := newWorker(t, WorkerOptions{Clusters: map[string]Cluster{"control": gate}}, Plugin{Filter: guest(t, "callouts")})
		s := newStream(t, w, StreamOptions{})
		step := aside(func() (StepResult, error) {
			return s.RequestHeaders(context.Background(), requestMap("/ask", "x-cluster", "control"), true)
		})
		synctest.Wait()
		if len(step) != 0 {
			t.Fatal("the step returned before the answer")
		}
		close(gate)
		if o := <-step; o.err != nil || firstHeader(o.result.Headers, "x-status") != "200" {
			t.Errorf("the step returned %+v", o)
		}
		done(t, s)
	})
}

func TestCalloutTimeoutDoesNotWaitForTheCluster(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stop := make(chan struct{})
		deaf := clusterFunc(func(context.Context, *CalloutRequest) (*CalloutResponse, error) { <-stop; return nil, nil })
		w := newWorker(t, WorkerOptions{Clusters: map[string]Cluster{"control": deaf}}, Plugin{Filter: guest(t, "callouts")})
		s := newStream(t, w, StreamOptions{})
		began := time.Now()
		r, err := s.RequestHeaders(t.Context(), requestMap("/ask", "x-cluster", "control", "x-timeout", "1500"), true)
		if err != nil || firstHeader(r.Headers, "x-status") != "504" || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("after %v: %+v, %v", time.Since(began), r, err)
		}
		done(t, s)
		close(stop)
	})
}

// Of several paused streams each is answered by its own callout.
func TestManyStreamsAtOnce(t *testing.T) {
	t.Parallel()
	var logged sync.Map
	w := newWorker(t, WorkerOptions{
		Clusters: map[string]Cluster{"control": control},
		Log:      func(_ string, _ Level, m string) { logged.Store(m, true) },
	}, Plugin{Filter: guest(t, "callouts")}, Plugin{Filter: guest(t, "headers")})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 12 {
				name := fmt.Sprintf("%d-%d", i, j)
				s := newStream(t, w, StreamOptions{})
				r, err := s.RequestHeaders(t.Context(), requestMap("/ask", "x-cluster", "control", "x-send", name), true)
				if err != nil || firstHeader(r.Headers, "x-send") != name || firstHeader(r.Headers, "x-status") != "202" {
					t.Errorf("stream %s: %+v, %v", name, r, err)
				}
				want := fmt.Sprintf(`answer has headers true body "POST,/check,control,v,%d,true,,t,%s" true trailers [[x-sum 7]] true`, len(name), name)
				if _, ok := logged.Load(want); !ok {
					t.Errorf("stream %s was not given its own answer", name)
				}
				done(t, s)
			}
		})
	}
	all.Wait()
	if w.Streams() != 0 || w.Dead() != nil {
		t.Errorf("%d streams left, dead %v", w.Streams(), w.Dead())
	}
}

func TestAbandonedSteps(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gate := make(gated)
		w := newWorker(t, WorkerOptions{Clusters: map[string]Cluster{"control": gate}},
			Plugin{Filter: guest(t, "callouts")}, Plugin{Filter: guest(t, "lifecycle")})
		// Nothing is outstanding: the pause is for ever.
		s := newStream(t, w, StreamOptions{})
		if _, err := s.RequestHeaders(t.Context(), requestMap("/pause"), true); !errors.Is(err, ErrAbandoned) {
			t.Errorf("a step nobody resumes returned %v", err)
		}
		done(t, s)

		// A callout is outstanding, so somebody may; then it is not any more, and its stream has gone.
		ctx, cancel := context.WithCancel(t.Context())
		gone := newStream(t, w, StreamOptions{})
		stopped := aside(func() (StepResult, error) {
			return gone.RequestHeaders(ctx, requestMap("/ask", "x-cluster", "control"), true)
		})
		synctest.Wait()
		cancel()
		if o := <-stopped; !errors.Is(o.err, context.Canceled) {
			t.Errorf("the step whose context ended returned %v", o.err)
		}
		done(t, gone)
		waiting := newStream(t, w, StreamOptions{})
		abandoned := aside(func() (StepResult, error) {
			return waiting.RequestHeaders(context.Background(), requestMap("/pause"), true)
		})
		synctest.Wait()
		if len(abandoned) != 0 {
			t.Error("abandoned although a callout is outstanding")
		}
		close(gate)
		if o := <-abandoned; !errors.Is(o.err, ErrAbandoned) {
			t.Errorf("the stream nobody resumes got %v", o.err)
		}
		done(t, waiting)
	})
}

func TestDoneEndsAWaitingStep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gate := make(gated)
		w := newWorker(t, WorkerOptions{Clusters: map[string]Cluster{"control": gate}}, Plugin{Filter: guest(t, "callouts")})
		s := newStream(t, w, StreamOptions{})
		paused := aside(func() (StepResult, error) {
			return s.RequestHeaders(context.Background(), requestMap("/ask", "x-cluster", "control"), true)
		})
		synctest.Wait()
		done(t, s)
		if o := <-paused; !errors.Is(o.err, ErrStreamClosed) {
			t.Errorf("the paused step returned %v", o.err)
		}
		close(gate)
		synctest.Wait()
		if err := w.Dead(); err != nil {
			t.Errorf("the late callback killed the VM: %v", err)
		}
		next := newStream(t, w, StreamOptions{})
		if _, err := next.RequestHeaders(t.Context(), requestMap("/"), true); err != nil {
			t.Errorf("the next stream: %v", err)
		}
		done(t, next)
	})
}

// Filter state is the caller's copy.
func TestFilterStateOfAStream(t *testing.T) {
	t.Parallel()
	w := newWorker(t, WorkerOptions{}, Plugin{Filter: guest(t, "properties")})
	s := newStream(t, w, StreamOptions{})
	if _, err := s.RequestHeaders(t.Context(), requestMap("/", "x-at", "request", "x-set", "a=1"), true); err != nil {
		t.Fatal(err)
	}
	state := s.FilterState()
	state["wasm.a"][0] = 'x'
	if diff := cmp.Diff(map[string][]byte{"wasm.a": []byte("1")}, s.FilterState()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	done(t, s)
}

func BenchmarkStream(b *testing.B) {
	w := newWorker(b, WorkerOptions{}, Plugin{Filter: guest(b, "telemetry")})
	headers := Request{}.withDefaults().headers()
	answer := []Header{{":status", "200"}, {"content-type", "text/plain"}}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		s, err := w.NewStream(ctx, StreamOptions{})
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
