//go:build !wasip1

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// liar changes what the filter and the control plane say to each other. Nil leaves it as it is.
type liar struct {
	gate    http.Handler
	acquire func(*api.AcquireRequest)
	sync    func(*api.SyncRequest)
	told    func(*api.SyncReply)
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // kept in memory: it cannot fail
	body = change(change(body, l.acquire, r.URL.Path == api.AcquirePath), l.sync, r.URL.Path == api.SyncPath)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	answer := httptest.NewRecorder()
	l.gate.ServeHTTP(answer, r)
	w.WriteHeader(answer.Code)
	_, _ = w.Write(change(answer.Body.Bytes(), l.told, r.URL.Path == api.SyncPath && answer.Code == http.StatusOK))
}

// change has lie change the message that body is, if that is meant.
func change[T any](body []byte, lie func(*T), meant bool) []byte {
	var message T
	if lie == nil || !meant || json.Unmarshal(body, &message) != nil {
		return body
	}
	lie(&message)
	body, _ = json.Marshal(message)
	return body
}

// A gate that reports more than it was granted, less than before, or leases of another gate and of nobody, and that
// sends operation ids again with another body, its own and another gate's: it can neither take what was not granted to it
// nor have others pay. Their accounts stay exact, and its own pays for no more than it was granted.
func TestAGateThatLies(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		random := rand.New(rand.NewPCG(seed, 7))
		g := newLeaseGate(t, controlplanetest.Options{}, strict, nil, 100_000)
		account := g.cp.MustAccount(t, "active", 100_000)
		lying := &gate{cp: g.cp, account: account, key: g.cp.MustKey(t, account)}
		var ops []string
		lie := &liar{gate: g.cp.GateHandler()}
		lie.acquire = func(r *api.AcquireRequest) {
			ops = append(ops, r.OpID)
			switch honest := g.acquires(t); random.IntN(6) {
			case 0:
				r.OpID, r.Cost, r.Want = ops[random.IntN(len(ops))], r.Cost+1, r.Want+1
			case 1:
				r.OpID = honest[random.IntN(len(honest))].OpID
			}
		}
		lie.sync = func(r *api.SyncRequest) {
			for i := range r.Leases {
				switch l := &r.Leases[i]; random.IntN(6) {
				case 0:
					l.Used = api.MaxCredits
				case 1:
					l.Used /= 2
				case 2:
					l.Lease, l.Used, l.Final = g.lastLease(t), api.MaxCredits, true
				case 3:
					l.Lease = "lease_of_nobody"
				}
			}
		}
		another := strict
		another.Seed = 100 + seed // random numbers of its own, and so another boot
		lying.Host = hostBehind(t, g.cp, lie, another, nil, leasing...)
		served := int64(0)
		for range 300 {
			g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
			served += 3
			if got := lying.Do(t, lying.document()); got.Status != 200 && got.Status != 503 {
				t.Fatalf("seed %d: status %d", seed, got.Status)
			}
			g.Advance(25 * time.Millisecond)
			lying.Advance(25 * time.Millisecond)
		}
		lying.Advance(booksClose)
		g.closeBooks(t, served)
		w := g.cp.MustWallet(t, account)
		if w.Reserved != 0 || w.Available+w.Spent != w.Granted || w.Spent == 0 {
			t.Errorf("seed %d: the wallet of the gate that lies is %+v", seed, w)
		}
	}
}

// lastLease is the one that the gate reported last.
func (g *gate) lastLease(t testing.TB) string {
	t.Helper()
	last := "lease_of_nobody"
	for _, r := range g.syncs(t) {
		for _, l := range r.Leases {
			last = l.Lease
		}
	}
	return last
}

// A control plane whose every answer is out of date when it comes decides nothing: who waits is told so in the end, after
// four timeouts, and pays nothing.
func TestAnswersThatAreAlwaysOutdated(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		cp := controlplanetest.New(t)
		account := cp.MustAccount(t, "active", 1_000)
		g := &gate{cp: cp, account: account, key: cp.MustKey(t, account)}
		// Every sync tells of an epoch that no acquire knows of.
		lie := &liar{gate: cp.GateHandler(), told: func(r *api.SyncReply) { r.Epoch += 1_000 }}
		plan := testenv.Every(testenv.Play{Return: 100 * time.Millisecond})
		g.Host = hostBehind(t, cp, lie, o, plan, leasing...)
		g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
		g.Advance(2 * time.Second)
		answers, statuses := g.queue(t, 5)
		if statuses[503] != 5 || answers[4].Took < 2*time.Second || answers[4].Took > 2500*time.Millisecond {
			t.Errorf("statuses %v, the last after %s; want 503 after four timeouts of 500 ms", statuses, answers[4].Took)
		}
		lie.told = nil
		g.Advance(booksClose)
		g.closeBooks(t, 3)
	})
}
