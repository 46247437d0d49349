package testenv_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tollgate/tollgate/testenv"
)

// A filter test: what is asked, and what has to come of it.
func ExampleHost_Run() {
	test := func(t *testing.T) {
		h := testenv.New(t, testenv.Options{Workers: 4, Seed: 7}, testenv.Plugin{
			Name: "gate", Filter: testenv.Build(t, "./filter"), Configuration: []byte(`{"key": "let me in"}`),
		})
		h.Run(t,
			testenv.Scenario{
				Name:    "no key",
				Request: testenv.Request{Path: "/orders"},
				Want:    testenv.Want{Decision: testenv.Answered, Status: 401, Metrics: map[string]int64{"gate.refused": 1}},
			},
			testenv.Scenario{
				Name:    "the key does not reach the upstream",
				Request: testenv.Request{Headers: []testenv.Header{{"x-api-key", "let me in"}}},
				Want:    testenv.Want{Decision: testenv.Forwarded, Upstream: map[string]string{"x-api-key": ""}},
			},
		)
	}
	_ = test // go test would run it
}

// Requests that wait for the same thing: none of them ends before the callout does, and the client that left is no longer
// there.
func ExampleHost_Start() {
	test := func(t *testing.T) {
		slow := &testenv.Script{
			Cluster: testenv.HandlerCluster(http.NotFoundHandler()),
			Plan:    testenv.Every(testenv.Play{Delay: 300 * time.Millisecond}),
		}
		h := testenv.New(t, testenv.Options{Clusters: map[string]testenv.Cluster{"control": slow}},
			testenv.Plugin{Filter: testenv.Build(t, "./filter")})
		waiting, gone := h.Start(testenv.Request{}), h.Start(testenv.Request{})
		h.Advance(100 * time.Millisecond)
		gone.Reset()
		if r := waiting.Wait(t); r.Took != 300*time.Millisecond {
			t.Errorf("took %v", r.Took)
		}
	}
	_ = test // go test would run it
}

// A network that loses one answer in ten and delays the others by up to 80 ms, the same ones in each run.
func ExampleScript() {
	flaky := &testenv.Script{
		Cluster: testenv.HandlerCluster(http.NotFoundHandler()),
		Plan: testenv.Jittered(40*time.Millisecond, testenv.Mix(
			testenv.Weighted{Weight: 9},
			testenv.Weighted{Weight: 1, Play: testenv.Play{Lose: testenv.LoseReply}},
		)),
	}
	fmt.Println(flaky.Plan != nil)
	// Output: true
}

// The wall clock and the monotonic clock part where a machine's would.
func ExampleClock() {
	c := testenv.NewClock(time.Date(2026, time.March, 29, 0, 59, 0, 0, time.UTC))
	wall, mono := c.Now(), c.Monotonic()
	c.Advance(time.Minute)
	c.StepWall(-10 * time.Second) // NTP
	c.Suspend(8 * time.Hour)      // the lid was closed
	fmt.Println(c.Now().Sub(wall), c.Monotonic()-mono)
	// Output: 8h0m50s 1m0s
}

func ExampleProfileByName() {
	p, err := testenv.ProfileByName("envoy-1.33")
	fmt.Println(p.OffersWASI("fd_readdir"), err)
	p, err = testenv.ProfileByName("envoy-1.40")
	fmt.Println(p.OffersWASI("fd_readdir"), err)
	// Output:
	// false <nil>
	// true <nil>
}

// What a filter reads with proxy_get_property: a number is eight bytes, as Envoy serialises it.
func ExamplePropertyBytes() {
	b, err := testenv.PropertyBytes(int64(443))
	fmt.Println(b, err)
	// Output: [187 1 0 0 0 0 0 0] <nil>
}

// A program that holds a worker waits for each step, in real time.
func ExampleWorker() {
	run := func(ctx context.Context, wasm []byte) error {
		f, err := testenv.Compile(ctx, wasm)
		if err != nil {
			return err
		}
		w, err := testenv.NewWorker(ctx, testenv.WorkerOptions{}, testenv.Plugin{Filter: f})
		if err != nil {
			return err
		}
		defer func() { _ = w.Close(ctx) }()
		s, err := w.NewStream(ctx, testenv.StreamOptions{})
		if err != nil {
			return err
		}
		request := []testenv.Header{{":method", "GET"}, {":path", "/"}, {":authority", "a.test"}, {":scheme", "http"}}
		step, err := s.RequestHeaders(ctx, request, true)
		if err != nil {
			return err
		}
		if step.Local != nil {
			fmt.Println("the filter answered", step.Local.Status)
		}
		return s.Done(ctx)
	}
	_ = run
}
