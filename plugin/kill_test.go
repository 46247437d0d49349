//go:build !wasip1

package main

import (
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// The kill test's size: how many clients run while the control plane is killed how often, and the seed of the
// moments at which it is.
const (
	killClients = 64
	killRounds  = 20
	killSeed    = 3
)

// killConfig charges one credit. The timeout is far below what a restart takes, so that kills leave debits whose
// answers nobody waits for any more. Each way to pay is there with an acquire for each request and with leases.
const killConfig = `{
  "control_plane": {"cluster": "tollgate", "timeout_ms": 300},
  "schemes": {"genrex": {"preset": "genrex"}, "vexrail": {"preset": "vexrail"}},
  "routes": [
    {"path": "/v1/chat/completions", "mode": "strict", "scheme": "vexrail", "cost": 1},
    {"path": "/v1/document/create", "mode": "strict", "scheme": "genrex", "cost": 1},
    {"path": "/v1/document/trusted", "mode": "strict", "scheme": "genrex", "cost": 1, "failure_mode": "allow"},
    {"path": "/v1/chat/completions/leased", "scheme": "vexrail", "cost": 1},
    {"path": "/v1/document/create/leased", "scheme": "genrex", "cost": 1},
    {"path": "/v1/document/trusted/leased", "scheme": "genrex", "cost": 1, "failure_mode": "allow"},
    {"path": "/healthz", "auth": "none"}
  ]
}`

// customer is a client of the kill test with an account of its own.
type customer struct {
	account, path string
	headers       http.Header
	// trusted: the client's route serves it while nobody can decide, and charges or writes off afterwards.
	trusted bool
	// leased: the client's route is served from leases, most of the time without a word to the control plane.
	leased bool
	// answers counts statuses. It belongs to the client's goroutine until that has ended.
	answers map[int]int64
}

// A control plane that is killed at any moment, again and again, loses no debit that a client was served for,
// makes none twice, and in the end charges nobody for a request that was not served. What was served undecided is
// either paid or written off, never both and never neither.
//
// It does not run beside others: it takes every core, and their callouts would time out.
func TestKilledControlPlaneKeepsTheBooks(t *testing.T) {
	c := newKillable(t)
	upstream := newRecorder(t)
	proxy := startProxy(t, proxyOptions{
		gateAddress: c.gate, upstreamAddress: hostPort(upstream.URL), gateToken: c.gateToken, filter: []byte(killConfig),
	})
	customers := make([]*customer, killClients)
	for i := range customers {
		customers[i] = c.customer(t, i)
	}

	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for _, one := range customers {
		clients.Go(func() { one.run(ctx, t, "http://"+proxy.address) })
	}
	c.killAgainAndAgain(t, rand.New(rand.NewPCG(killSeed, killSeed)))
	stop()
	clients.Wait()
	c.awaitSettled(t, customers)
	proxy.stop(t)
	c.program.stop(t)

	c.checkServed(t, customers, upstream)
	checkBooks(t, c.database, customers)
	c.verify(t)
}

// run sends requests one after another until ctx ends, which no request under way notices: what is asked for is
// answered, so that every debit has a client who knows what became of it.
func (c *customer) run(ctx context.Context, t *testing.T, proxy string) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: wireTimeout}
	defer client.CloseIdleConnections()
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for ctx.Err() == nil {
		request, err := http.NewRequest(http.MethodPost, proxy+c.path, strings.NewReader("[]"))
		if err != nil {
			t.Error(err)
			return
		}
		request.Header = c.headers
		response, err := client.Do(request)
		if err != nil {
			t.Errorf("a client got no answer: %v", err)
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		c.answers[response.StatusCode]++
		if response.StatusCode != http.StatusOK || c.trusted || c.leased {
			<-pause.C
		}
	}
}

// killAgainAndAgain kills and restarts c. A round's control plane lives for up to a few hundred milliseconds, so that
// some die before they are ready.
func (c *killable) killAgainAndAgain(t *testing.T, random *rand.Rand) {
	t.Helper()
	for range killRounds {
		life := time.NewTimer(time.Duration(random.IntN(600)) * time.Millisecond)
		select {
		case <-life.C:
		case <-c.program.done:
			t.Fatalf("the control plane ended by itself:\n%s", c.program.output(t))
		}
		c.program.kill()
		c.launch(t)
	}
	c.awaitReady(t)
}

// awaitSettled returns once nothing is reserved, and no wallet has changed for as long as the filter takes for several
// reports.
func (c *killable) awaitSettled(t *testing.T, customers []*customer) {
	t.Helper()
	const quiet, limit = 3 * time.Second, 60 * time.Second
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	started := time.Now()
	changed, last := started, map[string]int64{}
	for now := started; now.Sub(changed) < quiet; now = <-poll.C {
		spent, held := map[string]int64{}, int64(0)
		for _, one := range customers {
			settled, reserved := c.settled(t, one.account)
			spent[one.account] = settled
			held += reserved
		}
		if held > 0 || !maps.Equal(spent, last) {
			changed, last = time.Now(), spent
		}
		if now.Sub(started) > limit {
			t.Fatalf("wallets still change %s after the last request", limit)
		}
	}
	t.Logf("settled after %s", changed.Sub(started).Round(time.Millisecond))
}

// checkServed holds that clients got nothing but service and, where they are not trusted, 503, and that the upstream
// served exactly what was acknowledged.
func (c *killable) checkServed(t *testing.T, customers []*customer, upstream *recorder) {
	t.Helper()
	total := map[int]int64{}
	for _, one := range customers {
		for status, n := range one.answers {
			total[status] += n
			if status != http.StatusOK && (status != http.StatusServiceUnavailable || one.trusted) {
				t.Errorf("%s: %d answers with status %d", one.account, n, status)
			}
		}
		served := upstream.of(one.account)
		if int64(len(served)) != one.answers[http.StatusOK] {
			t.Errorf("%s: the upstream served %d requests, the client got %d", one.account, len(served), one.answers[http.StatusOK])
		}
		for _, r := range served {
			if got := r.Header.Get("X-Tollgate-Account-Id"); got != one.account && (got != "" || !one.trusted) {
				t.Errorf("%s: the upstream was told of account %q", one.account, got)
			}
		}
	}
	if total[http.StatusOK] < killClients || total[http.StatusServiceUnavailable] < killRounds {
		t.Errorf("answers %v: the control plane was hardly up or hardly down", total)
	}
	t.Logf("answers: %v", total)
}
