package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tollgate/tollgate/testenv"
)

const (
	// requestCount is how many requests the goal of a second is for.
	requestCount = 1000
	requestGoal  = time.Second
	vmCount      = 4
	seed         = 1
)

// fixed is an upstream that costs next to nothing.
type fixed struct{ response testenv.CalloutResponse }

func (f fixed) Call(context.Context, *testenv.CalloutRequest) (*testenv.CalloutResponse, error) {
	r := f.response
	return &r, nil
}

var upstream = fixed{testenv.CalloutResponse{
	Headers: []testenv.Header{{":status", "200"}, {"content-length", "2"}, {"content-type", "text/plain"}},
	Body:    []byte("ok"),
}}

// grants is a control plane that lets every request pass and believes every report. The fields are those of controlplane/api, which testenv does not
// import.
var grants = testenv.HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/sync") {
		(*leasing)(nil).sync(w, r)
		return
	}
	var acquire struct {
		OpID string `json:"op_id"`
		Cost int64  `json:"cost"`
	}
	if err := json.NewDecoder(r.Body).Decode(&acquire); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintf(w, `{"op_id": %q, "verdict": "granted", "lease": {"credits": %d, "available": 1000, "account": "acct_1", "key": "key_1"}}`,
		acquire.OpID, acquire.Cost) // kept in memory
}))

func (b *bench) emptyPlugin() testenv.Plugin {
	return testenv.Plugin{Filter: testenv.Load(b, b.empty), Name: "empty"}
}

func (b *bench) sharingPlugin() testenv.Plugin {
	return testenv.Plugin{Filter: testenv.Load(b, b.sharing), Name: "sharing"}
}

func (b *bench) tollgatePlugin() testenv.Plugin {
	return testenv.Plugin{
		Filter: testenv.Load(b, b.tollgate), Name: "tollgate", RootID: "tollgate", VMID: "tollgate",
		Configuration: []byte(`{
  "control_plane": {"cluster": "tollgate", "token_env": "TOLLGATE_GATE_TOKEN", "timeout_ms": 30000},
  "schemes": {"genrex": {"preset": "genrex"}},
  "routes": [{"prefix": "/", "scheme": "genrex", "cost": 3, "mode": "strict"}]
}`),
		Env: map[string]string{"TOLLGATE_GATE_TOKEN": "token"},
	}
}

// seeded are the options of every Host here.
func seeded(workers int) testenv.Options {
	return testenv.Options{
		Workers: workers, Seed: seed, Upstream: upstream, Clusters: map[string]testenv.Cluster{"tollgate": grants},
		Node: testenv.Node{ID: "edge-1"},
	}
}

// requestKeys bounds the credentials of requests: a VM remembers those that it has seen, up to 131,072, and grows with them.
const requestKeys = 10_000

// request is one that a browser could send, with one of the credentials.
func request(number int) testenv.Request {
	return testenv.Request{Method: http.MethodPost, Path: "/v1/document/create", Host: "api.test", Headers: []testenv.Header{
		{"authorization", "Bearer " + secret(number%requestKeys)},
		{"accept", "application/json"}, {"accept-encoding", "gzip"}, {"user-agent", "bench/1.0"},
		{"x-request-id", "8a4d2c9e-0b7f-4f57-9d0c-1f2e3a4b5c6d"},
	}}
}

// load sends requests through a Host.
type load struct {
	b    *bench
	host *testenv.Host
	// callouts is how many each request must send.
	callouts int
	sent     int
	requests []testenv.Request
}

// send sends n requests, all of them before the first is answered or one after another, and returns the time it took.
func (l *load) send(n int, together bool) time.Duration {
	l.requests = l.requests[:0]
	for range n {
		l.sent++
		l.requests = append(l.requests, request(l.sent))
	}
	began := time.Now()
	var exchanges []*testenv.Exchange
	for _, r := range l.requests {
		if x := l.host.Start(r); together {
			exchanges = append(exchanges, x)
		} else {
			l.served(x.Wait(l.b))
		}
	}
	for _, x := range exchanges {
		l.served(x.Wait(l.b))
	}
	took := time.Since(began)
	l.host.DropRecords()
	return took
}

func (l *load) served(r testenv.Response) {
	if r.Err != nil || r.Status != http.StatusOK || r.Local || len(r.Callouts) != l.callouts {
		l.b.Fatalf("request %d: status %d, local %v, %d callouts, %v", l.sent, r.Status, r.Local, len(r.Callouts), r.Err)
	}
}

func (b *bench) emptyLoad(o testenv.Options) *load {
	return &load{b: b, host: b.host(o, b.emptyPlugin())}
}

func (b *bench) tollgateLoad(o testenv.Options) *load {
	return &load{b: b, host: b.host(o, b.tollgatePlugin()), callouts: 1}
}

func measureRequests(b *bench) string {
	empty, tollgate := b.emptyLoad(seeded(vmCount)), b.tollgateLoad(seeded(vmCount))
	round := func(l *load, together bool) func() time.Duration {
		return func() time.Duration { return l.send(requestCount, together) }
	}
	return table{
		title: "1,000 requests, seeded", unit: unit{"ms", time.Millisecond}, rounds: b.rounds(11), baseline: "empty filter, all open at once",
		ways: []way{
			{"empty filter, all open at once", round(empty, true), within(requestGoal)},
			{"empty filter, one after another", round(empty, false), within(requestGoal)},
			{"tollgate with a callout each, all open at once", round(tollgate, true), within(requestGoal)},
			{"tollgate with a callout each, one after another", round(tollgate, false), within(requestGoal)},
		},
	}.measure()
}

// measureWorkers shows what it costs that workers take turns: the empty filter's events are never interrupted, those of
// the sharing one are at each hostcall on shared data.
func measureWorkers(b *bench) string {
	var tables []string
	for _, p := range []testenv.Plugin{b.emptyPlugin(), b.sharingPlugin()} {
		t := table{
			title: p.Name + " filter, 1,000 requests open at once", unit: unit{"ms", time.Millisecond}, rounds: b.rounds(31), baseline: "1 worker",
		}
		for _, workers := range []int{1, 2, 4, 8} {
			l := &load{b: b, host: b.host(seeded(workers), p)}
			name := fmt.Sprintf("%d workers", workers)
			if workers == 1 {
				name = t.baseline
			}
			t.ways = append(t.ways, way{name: name, round: func() time.Duration { return l.send(requestCount, true) }})
		}
		tables = append(tables, t.measure())
	}
	return strings.Join(tables, "\n")
}
