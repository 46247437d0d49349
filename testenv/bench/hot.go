package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/testenv"
)

// leasing is a control plane that grants every lease as large as it is wanted, and counts what it is asked. The fields
// are those of controlplane/api, which testenv does not import.
type leasing struct{ acquires atomic.Int64 }

func (l *leasing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/sync") {
		l.sync(w, r)
		return
	}
	var acquire struct {
		OpID string `json:"op_id"`
		Want int64  `json:"want"`
	}
	if err := json.NewDecoder(r.Body).Decode(&acquire); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	number := l.acquires.Add(1)
	_, _ = fmt.Fprintf(w, `{"op_id": %q, "verdict": "granted", "lease": {"id": "lease_%d", "credits": %d, "ttl_ms": 3600000, `+
		`"available": 1000, "account": "acct_1", "key": "key_1"}, "cursor": 1, "epoch": 1}`, acquire.OpID, number, acquire.Want)
}

// sync believes every report.
func (*leasing) sync(w http.ResponseWriter, r *http.Request) {
	type leaseAck struct {
		Lease  string `json:"lease"`
		Used   int64  `json:"used"`
		Action string `json:"action"`
	}
	var report struct {
		Void   []string `json:"void"`
		Leases []struct {
			Lease string `json:"lease"`
			Used  int64  `json:"used"`
			Final bool   `json:"final"`
		} `json:"leases"`
		Usage struct {
			Seq int64 `json:"seq"`
		} `json:"usage"`
	}
	if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply := struct {
		Acked    []string   `json:"acked"`
		Leases   []leaseAck `json:"leases"`
		UsageSeq int64      `json:"usage_seq"`
		Epoch    int64      `json:"epoch"`
	}{Acked: append([]string{}, report.Void...), UsageSeq: report.Usage.Seq, Epoch: 1}
	for _, l := range report.Leases {
		action := "keep"
		if l.Final {
			action = "drop"
		}
		reply.Leases = append(reply.Leases, leaseAck{l.Lease, l.Used, action})
	}
	_ = json.NewEncoder(w).Encode(reply) // kept in memory, like the other answer
}

const leaseConfiguration = `{
  "control_plane": {"cluster": "tollgate", "token_env": "TOLLGATE_GATE_TOKEN", "timeout_ms": 30000},
  "schemes": {"genrex": {"preset": "genrex"}},
  "routes": [{"prefix": "/v1/", "scheme": "genrex", "cost": 1, "mode": "lease"}]
}`

// guest compiles one of this folder's filters with the patched runtime, so that it can run for long.
func (b *bench) guest(name string) string {
	out := filepath.Join(b.dir, name+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-overlay",
		filepath.Join(filepath.Dir(b.tollgate), "overlay", "overlay.json"), "-o", out, "./testenv/bench/testdata/guests/"+name)
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
}

func (b *bench) vm(wasm, name string, env map[string]string) *vm {
	v := &vm{b: b, metrics: testenv.NewMetrics(), plane: &leasing{}}
	var err error
	v.worker, err = testenv.NewWorker(context.Background(), testenv.WorkerOptions{
		Clusters: map[string]testenv.Cluster{"tollgate": testenv.HandlerCluster(v.plane)}, Metrics: v.metrics,
		Node: testenv.Node{ID: "edge-1"},
	}, testenv.Plugin{
		Filter: testenv.Load(b, wasm), Name: name, RootID: name, VMID: name, Configuration: []byte(leaseConfiguration), Env: env,
	})
	b.check(err)
	b.Cleanup(func() { b.check(v.worker.Close(context.Background())) })
	return v
}

var tokenEnv = map[string]string{"TOLLGATE_GATE_TOKEN": "token"}

// hotHeaders are the 20 headers of a request with a credential.
func hotHeaders(credential string) []testenv.Header {
	headers := []testenv.Header{
		{":authority", "api.test"}, {":path", "/v1/document/create"}, {":method", "POST"}, {":scheme", "https"},
		{"authorization", "Bearer " + credential}, {"accept", "application/json"}, {"accept-encoding", "gzip, deflate, br"},
		{"accept-language", "en-GB,en;q=0.9"}, {"user-agent", "bench/1.0 (linux; amd64)"}, {"content-type", "application/json"},
		{"content-length", "2"}, {"x-request-id", "8a4d2c9e-0b7f-4f57-9d0c-1f2e3a4b5c6d"}, {"x-forwarded-for", "192.0.2.1"},
		{"x-forwarded-proto", "https"}, {"origin", "https://app.example"}, {"referer", "https://app.example/documents"},
		{"sec-fetch-mode", "cors"}, {"sec-fetch-site", "same-site"}, {"cache-control", "no-cache"}, {"pragma", "no-cache"},
	}
	return headers
}

// send takes n requests with the keys in turn through the filter, from their headers to the end of their log.
func (v *vm) send(n int, keys [][]testenv.Header) time.Duration {
	ctx := context.Background()
	began := time.Now()
	for range n {
		v.sent++
		s, err := v.worker.NewStream(ctx, testenv.StreamOptions{})
		v.b.check(err)
		step, err := s.RequestHeaders(ctx, keys[v.sent%len(keys)], true)
		v.b.check(err)
		if (step.Local == nil) != (v.status == 0) {
			v.b.Fatalf("request %d of %d keys: answered by the filter: %+v", v.sent, len(keys), step.Local)
		}
		if step.Local == nil {
			_, err = s.ResponseHeaders(ctx, upstream.response.Headers, true)
			v.b.check(err)
		}
		v.b.check(s.Done(ctx))
	}
	return time.Since(began)
}

// keysOf returns the headers of requests with the keys from first on.
func keysOf(first, n int) [][]testenv.Header {
	keys := make([][]testenv.Header, n)
	for i := range keys {
		keys[i] = hotHeaders(secret(first + i))
	}
	return keys
}

const (
	hotKeys  = 100
	hotBatch = 2000
)

// warm takes so many requests that leases have grown far beyond what will be measured.
func (v *vm) warm(keys [][]testenv.Header) { v.serve(300*len(keys), keys) }

// serve sends n requests and lets the filter tick in between, so that it reports what it has used.
func (v *vm) serve(n int, keys [][]testenv.Header) {
	const between = 500
	for ; n > 0; n -= between {
		v.send(min(n, between), keys)
		v.tick()
	}
}

func (v *vm) tick() { v.b.check(v.worker.Tick(context.Background())) }

// hotDominates is from perf with wazero's map of compiled functions (build tag perfmap), 2026-11-22.
const hotDominates = "the look at each of the 20 headers (authenticate, parsePairs, canonicalName, credentials.add, readTarget), then the " +
	"text for the access log, the table of leases and the SDK's maps of contexts"

// measureHot compares the whole lifecycle of a request that a live lease pays for.
func measureHot(b *bench) string {
	keys := keysOf(0, hotKeys)
	tollgate := b.vm(b.tollgate, "tollgate", tokenEnv)
	others := map[string]*vm{}
	for _, name := range []string{"empty", "naive", "hostcalls"} {
		others[name] = b.vm(b.guest(name), name, nil)
		others[name].warm(keys)
	}
	tollgate.warm(keys)
	round := func(v *vm) func() time.Duration {
		return func() time.Duration {
			v.tick()
			return v.send(hotBatch, keys) / hotBatch
		}
	}
	t := table{title: "a hot request, 20 headers", unit: unit{"µs", time.Microsecond}, rounds: 31, ways: []way{
		{"the SDK's empty filter", round(others["empty"]), nil},
		{"the same hostcalls and nothing else", round(others["hostcalls"]), nil},
		{"naive filter on the SDK", round(others["naive"]), nil},
		{"tollgate, live lease", round(tollgate), nil},
	}}
	before := tollgate.plane.acquires.Load()
	times := t.times()
	asked := tollgate.plane.acquires.Load() - before
	text := ""
	for i, g := range []*goal{atMost(2.8), atMost(1.2), atMost(0.6)} {
		t.baseline, t.ways[3].goal = t.ways[i].name, g.but(hotDominates)
		text += t.markdown(times) + "\n"
	}
	return text + fmt.Sprintf("Renewals while these %d requests were measured: %d. Keys: %d.\n", hotBatch*(t.rounds+1), asked, hotKeys)
}
