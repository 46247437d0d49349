//go:build !wasip1

package main

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// slow is a control plane that takes a good part of a callout's timeout for each answer.
var slow = testenv.Every(testenv.Play{Return: 300 * time.Millisecond})

// queue starts n requests for the gate's document at the same time, waits for all of them, and returns them and how
// many got each status.
func (g *gate) queue(t *testing.T, n int) (answers []testenv.Response, statuses map[int]int) {
	t.Helper()
	var sent []*testenv.Exchange
	for range n {
		sent = append(sent, g.Start(g.document()))
		g.Settle() // in this order
	}
	statuses = map[int]int{}
	for _, x := range sent {
		got := x.Wait(t)
		statuses[got.Status]++
		answers = append(answers, got)
	}
	return answers, statuses
}

// Who waits for a slow control plane is served in turn, however many were served before, and refused for want of
// credits alone. Each lease is of one request here, so that the last of the queue waits for 60 answers.
func TestAQueueIsServedInTurn(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newLeaseGate(t, controlplanetest.Options{LeaseMaxCredits: 3}, o, slow, 180)
		answers, statuses := g.queue(t, 80)
		if statuses[200] != 60 || statuses[402] != 20 {
			t.Errorf("statuses %v, want 200 for the 60 that were paid, and 402 for 20", statuses)
		}
		if !slices.IsSortedFunc(answers, func(a, b testenv.Response) int { return cmp.Compare(a.Took, b.Took) }) {
			t.Error("somebody was served before another who came earlier")
		}
		g.closeBooks(t, 180)
	})
}

// Eight VMs with long queues, a slow control plane and little left: the last credits are found, and nobody is told that
// the service is unavailable.
func TestQueuesAtTheLastCredit(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		o := testenv.Options{Workers: 8, Seed: seed, Profile: testenv.Strict}
		g := newLeaseGate(t, controlplanetest.Options{Unreported: "charge"}, o,
			testenv.Jittered(20*time.Millisecond, slow), 600, `"cost": 3`, `"cost": 1`)
		served := int64(0)
		for wave := 0; served < 600; wave++ {
			_, statuses := g.queue(t, 1_000)
			served += int64(statuses[200])
			if wave > 20 || statuses[200]+statuses[402] != 1_000 {
				t.Fatalf("wave %d: statuses %v after %d were served; want 200 and 402", wave, statuses, served)
			}
			g.Advance(3 * time.Second)
		}
		g.closeBooks(t, 600)
	}
}

// A queue asks for what all of it costs: two answers serve it, the one to who came first, and the one for all others.
func TestAQueueAsksForAllOfIt(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newLeaseGate(t, controlplanetest.Options{}, o, slow, 10_000)
		answers, statuses := g.queue(t, 100)
		if statuses[200] != 100 {
			t.Errorf("statuses %v, want 200", statuses)
		}
		// The callout ends with the stream that was served first, and is sent again by the tick.
		if took := answers[99].Took; took > 700*time.Millisecond {
			t.Errorf("the last was served after %s, want two answers' time and a tick", took)
		}
		if asked := g.acquires(t); asked[1].Want != 90*3 {
			t.Errorf("acquires %+v, want the second for the 90 requests that the first leaves", asked)
		}
		g.closeBooks(t, 300)
	})
}
