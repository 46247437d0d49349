package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/testenv"
)

const leaseConfiguration = `{
  "control_plane": {"cluster": "tollgate", "token_env": "TOLLGATE_GATE_TOKEN", "timeout_ms": 30000},
  "schemes": {"genrex": {"preset": "genrex"}},
  "routes": [{"prefix": "/v1/", "scheme": "genrex", "cost": 1, "mode": "lease"}]
}`

// guest compiles one of this folder's filters on the SDK as it is, with the patched runtime, so that it can run for long.
func (b *bench) guest(name string) string { return b.buildGuest(name, name+".wasm") }

// ownGuest compiles one on the copy of the SDK that Tollgate's filter is built with.
func (b *bench) ownGuest(name string) string {
	return b.buildGuest(name, name+"-own.wasm", "-modfile", filepath.Join(filepath.Dir(b.tollgate), "overlay", "go.mod"))
}

func (b *bench) buildGuest(name, file string, flags ...string) string {
	out := filepath.Join(b.dir, file)
	args := append([]string{"build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-overlay",
		filepath.Join(filepath.Dir(b.tollgate), "overlay", "overlay.json"), "-o", out}, flags...)
	cmd := exec.Command("go", append(args, "./testenv/bench/testdata/guests/"+name)...)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build guest %s: %w\n%s", name, err, text)
	}
	return out
}

// vm is one VM with a filter that is given requests of 20 headers, one after another.
type vm struct {
	b       *bench
	worker  *testenv.Worker
	metrics *testenv.Metrics
	plane   *leasing
	sent    int
	// status is what requests have to be answered with by the filter; 0 if they have to pass.
	status int
	// time is that of the guest's clocks. It moves by requestTime with each request, so that ticks, renewals and reports come
	// as often as they would in a proxy and not as rarely as they seem to where nothing but the filter runs.
	time atomic.Int64
	// clocks is how often the guest has read a clock.
	clocks atomic.Int64
}

const requestTime = 200 * time.Microsecond

func (b *bench) vm(wasm, name string, env map[string]string) *vm {
	v := &vm{b: b, metrics: testenv.NewMetrics(), plane: &leasing{}}
	began := time.Now()
	var err error
	v.worker, err = testenv.NewWorker(context.Background(), testenv.WorkerOptions{
		Clusters: map[string]testenv.Cluster{"tollgate": testenv.HandlerCluster(v.plane)}, Metrics: v.metrics,
		Node: testenv.Node{ID: "edge-1"},
		Now:  func() time.Time { return began.Add(v.read()) }, Monotonic: v.read,
	}, b.plugin(wasm, name, env))
	b.check(err)
	b.Cleanup(func() { b.check(v.worker.Close(context.Background())) })
	return v
}

// read reads a clock for the guest.
func (v *vm) read() time.Duration {
	v.clocks.Add(1)
	return time.Duration(v.time.Load()) + 1 // Go guests do not start at 0
}

func (b *bench) plugin(wasm, name string, env map[string]string) testenv.Plugin {
	return testenv.Plugin{
		Filter: testenv.Load(b, wasm), Name: name, RootID: name, VMID: name, Configuration: []byte(leaseConfiguration), Env: env,
	}
}

var tokenEnv = map[string]string{"TOLLGATE_GATE_TOKEN": "token"}

// hotHeaders are the 20 headers of a request, of which authorizationAt has still to get its value.
func hotHeaders() []testenv.Header {
	return []testenv.Header{
		{":authority", "api.test"}, {":path", "/v1/document/create"}, {":method", "POST"}, {":scheme", "https"},
		authorizationAt: {"authorization", ""}, {"accept", "application/json"}, {"accept-encoding", "gzip, deflate, br"},
		{"accept-language", "en-GB,en;q=0.9"}, {"user-agent", "bench/1.0 (linux; amd64)"}, {"content-type", "application/json"},
		{"content-length", "2"}, {"x-request-id", "8a4d2c9e-0b7f-4f57-9d0c-1f2e3a4b5c6d"}, {"x-forwarded-for", "192.0.2.1"},
		{"x-forwarded-proto", "https"}, {"origin", "https://app.example"}, {"referer", "https://app.example/documents"},
		{"sec-fetch-mode", "cors"}, {"sec-fetch-site", "same-site"}, {"cache-control", "no-cache"}, {"pragma", "no-cache"},
	}
}

const authorizationAt = 4

// send takes n requests with the credentials in turn through the filter, from their headers to the end of their log. It
// returns the time that this thread was running, so that what else the machine does counts for little.
func (v *vm) send(n int, credentials []string) time.Duration {
	ctx, headers := context.Background(), hotHeaders()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadTime()
	for range n {
		v.sent++
		v.time.Add(int64(requestTime))
		headers[authorizationAt][1] = credentials[v.sent%len(credentials)]
		s, err := v.worker.NewStream(ctx, testenv.StreamOptions{})
		v.b.check(err)
		step, err := s.RequestHeaders(ctx, headers, true)
		v.b.check(err)
		if (step.Local == nil) != (v.status == 0) {
			v.b.Fatalf("request %d of %d keys: answered by the filter: %+v", v.sent, len(credentials), step.Local)
		}
		if step.Local == nil {
			_, err = s.ResponseHeaders(ctx, upstream.response.Headers, true)
			v.b.check(err)
		}
		v.b.check(s.Done(ctx))
	}
	return threadTime() - began
}

// credentialsOf returns the values of authorization for the first n keys.
func credentialsOf(n int) []string {
	credentials := make([]string, n)
	for i := range credentials {
		credentials[i] = "Bearer " + secret(i)
	}
	return credentials
}

// warm takes each key so often that its lease has grown far beyond what will be measured.
func (v *vm) warm(each int, credentials []string) { v.serve(each*len(credentials), credentials) }

// serve sends n requests and lets the filter tick in between, so that it reports what it has used.
func (v *vm) serve(n int, credentials []string) {
	const between = 500
	for ; n > 0; n -= between {
		v.send(min(n, between), credentials)
		v.tick()
	}
}

// tick ticks, if it is time to, and leaves the control plane a moment to answer what the tick has sent.
func (v *vm) tick() {
	v.b.check(v.worker.Tick(context.Background()))
	time.Sleep(time.Millisecond)
}
