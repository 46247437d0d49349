//go:build !wasip1

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/testenv"
)

// manyRequests is twice what killed every unpatched build that was tried (research/ecosystem.md §C).
const manyRequests = 30_000

// driven is what became of a drive: how many requests were served, and the bytes of linear memory after a tenth
// of them and after the last.
type driven struct {
	served      int
	early, late uint64
}

// grants answers every acquire, so that each request takes the longest way through the filter.
func grants(w http.ResponseWriter, r *http.Request) {
	var req api.AcquireRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	lease := &api.Lease{Credits: req.Want, Account: "acct_1", Key: "key_1"}
	if req.Mode == api.ModeLease {
		lease.ID, lease.TTLMillis = "lease_"+req.OpID[len(req.OpID)-8:], 10_000
	}
	_ = json.NewEncoder(w).Encode(api.AcquireReply{OpID: req.OpID, Verdict: api.Granted, Lease: lease})
}

// drive sends n requests through one VM whose collector runs as often as it can, on a host that answers and
// forbids as Envoy 1.33 does. It stops at the first request that is not served. The error is the VM's end, if it
// died, with what it logged.
func drive(t *testing.T, wasm string, n int, changes ...string) (r driven, err error) {
	t.Helper()
	p := tollgate(t, wasm, "token", append(changes, `"timeout_ms": 500`, `"timeout_ms": 30000`)...) // real time, on a machine that may stall
	p.Env["GOGC"] = "1"
	// A Go runtime that throws says why on standard error.
	var logged strings.Builder
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, logged.String())
		}
	}()
	w, err := testenv.NewWorker(t.Context(), testenv.WorkerOptions{
		Clusters: map[string]testenv.Cluster{"tollgate": testenv.HandlerCluster(http.HandlerFunc(grants))},
		Log:      func(_ string, _ testenv.Level, message string) { logged.WriteString(message + "\n") },
	}, p)
	if err != nil {
		return r, err
	}
	defer func() { _ = w.Close(t.Context()) }()
	headers := []testenv.Header{{":method", "POST"}, {":path", "/v1/document/create"}, {":authority", "api.test"}, bearer(anyKey)}
	for range 16 {
		headers = append(headers, testenv.Header{"x-padding", "some header that a browser would send as well"})
	}
	for ; r.served < n; r.served++ {
		if served, err := serveOne(t, w, headers); err != nil || !served {
			return r, err
		}
		if r.served == n/10 {
			r.early = w.MemoryBytes()
		}
	}
	r.late = w.MemoryBytes()
	return r, w.Dead()
}

// serveOne sends a request with these headers and says whether the filter let it pass.
func serveOne(t *testing.T, w *testenv.Worker, headers []testenv.Header) (bool, error) {
	t.Helper()
	s, err := w.NewStream(t.Context(), testenv.StreamOptions{})
	if err != nil {
		return false, errors.Join(err, w.Dead())
	}
	step, err := s.RequestHeaders(t.Context(), headers, true)
	if err == nil && step.Local == nil {
		_, err = s.ResponseHeaders(t.Context(), []testenv.Header{{":status", "200"}}, true)
	}
	return step.Local == nil, errors.Join(err, s.Done(t.Context()), w.Dead())
}

// With collections forced all the way, the filter serves every request and its memory stays where it was.
func TestSurvivesCollections(t *testing.T) {
	t.Parallel()
	for mode, changes := range map[string][]string{"strict": nil, "lease": leasing} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r, err := drive(t, wasmPath, manyRequests, changes...)
			if r.served != manyRequests || err != nil {
				t.Fatalf("served %d of %d requests, then: %v", r.served, manyRequests, err)
			}
			if r.late > r.early+r.early/2 {
				t.Errorf("memory grew from %d KiB after %d requests to %d KiB after %d", r.early>>10, manyRequests/10, r.late>>10, manyRequests)
			}
			t.Logf("memory: %d KiB after %d requests, %d KiB after %d", r.early>>10, manyRequests/10, r.late>>10, manyRequests)
		})
	}
}

// The same filter on Go's own runtime dies of the same treatment: this is what the overlay is for.
func TestUnpatchedRuntimeDies(t *testing.T) {
	t.Parallel()
	r, dead := drive(t, unpatchedPath, manyRequests)
	if dead == nil {
		t.Fatalf("served %d requests and lived: the overlay is no longer needed, or the host is too kind", r.served)
	}
	if !strings.Contains(dead.Error(), "poll_oneoff") && !strings.Contains(dead.Error(), "sched_yield") {
		t.Errorf("died of something else than the two imports: %v", dead)
	}
	t.Logf("died at request %d", r.served)
}
