package testenv

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"
	"time"
)

// busy is a run with everything in it that chance decides: workers, latencies, faults, ticks, queues, retries, random
// bytes, the death of VMs and a change of configuration. It returns its transcript.
func busy(t *testing.T, seed uint64) []byte {
	t.Helper()
	var transcript bytes.Buffer
	control := &Script{Cluster: answering(200, "ok"), Plan: Jittered(50*time.Millisecond, Mix(
		Weighted{4, Play{}}, Weighted{1, Play{Lose: LoseReply}}, Weighted{1, Play{Reset: ResetAfter}}, Weighted{1, Play{Delay: time.Second}},
	))}
	counter, gate, crasher, watch := named(t, "counter", "c"), named(t, "gate", "g"), named(t, "crasher", "x"), named(t, "watch", "w")
	counter.Configuration, watch.Configuration = []byte("start tick queue"), []byte("70")
	crasher.FailurePolicy = FailReload
	h := New(t, Options{
		Profile: Envoy140, Workers: 2, MainThread: true, Seed: seed, Transcript: &transcript,
		Clusters: map[string]Cluster{"control": control},
	}, counter, watch, gate, crasher)
	h.Expect(ErrTrap)
	kinds := []Request{
		with("x-do", "add"), with("x-do", "enqueue", "x-value", "v"), with("x-calls", "3", "x-timeout", "100"),
		with("x-settle", "1", "x-calls", "0"), with("x-crash", "callout", "x-calls", "0"), with("x-crash", "wait", "x-calls", "0"),
	}
	var open []*Exchange
	for i := range 30 {
		r := kinds[i%len(kinds)]
		r.Body, r.ChunkSize, r.ChunkGap = []byte("abcdef"), 2, time.Duration(i)*time.Millisecond
		open = append(open, h.Start(r))
		if i%10 == 0 {
			h.Advance(200 * time.Millisecond)
		}
	}
	h.Kill(2)
	h.Advance(2 * time.Second)
	h.Do(t, Request{Worker: 2})
	h.Replace(counter)
	for _, x := range open {
		x.Reset()
	}
	h.Do(t, Request{})
	return transcript.Bytes()
}

func TestTheSameSeedIsTheSameTranscript(t *testing.T) {
	t.Parallel()
	seen := map[string]uint64{}
	for seed := range uint64(3) {
		first := busy(t, seed)
		for range 2 {
			if again := busy(t, seed); !bytes.Equal(again, first) {
				t.Fatalf("seed %d: two runs differ at\n%s", seed, difference(first, again))
			}
		}
		if other, ok := seen[string(first)]; ok {
			t.Errorf("seeds %d and %d are the same run", seed, other)
		}
		seen[string(first)] = seed
	}
}

// A death cancels callouts whose timeouts have come at that very moment, among others that have. What is left of the
// moment must not depend on an order that nobody chose.
func TestTheSameSeedIsTheSameDeath(t *testing.T) {
	t.Parallel()
	gate, crasher := named(t, "gate", "g"), named(t, "crasher", "x")
	run := func(seed uint64) []byte {
		var transcript bytes.Buffer
		h := New(t, Options{Profile: Envoy140, Seed: seed, Transcript: &transcript, Clusters: scripted(Every(Play{Lose: LoseReply}))}, crasher, gate)
		h.Expect(ErrTrap)
		open := []*Exchange{h.Start(with("x-calls", "12", "x-timeout", "60000"))}
		for range 12 {
			open = append(open, h.Start(with("x-crash", "callout")))
		}
		h.Advance(time.Minute)
		for _, x := range open {
			x.Reset()
		}
		return transcript.Bytes()
	}
	for seed := range uint64(3) {
		first := run(seed)
		for range 4 {
			if again := run(seed); !bytes.Equal(again, first) {
				t.Fatalf("seed %d: two runs differ at\n%s", seed, difference(first, again))
			}
		}
	}
}

// difference is the first line in which two texts differ, of each.
func difference(a, b []byte) string {
	as, bs := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(as), len(bs)) {
		if !bytes.Equal(as[i], bs[i]) {
			return fmt.Sprintf("line %d\n%s\n%s", i+1, as[i], bs[i])
		}
	}
	return fmt.Sprintf("the end: %d and %d lines", len(as), len(bs))
}

// count lets streams on all workers count under a key at the same time, and returns the count afterwards.
func count(t *testing.T, h *Host, do, key string) int {
	t.Helper()
	var open []*Exchange
	for range 12 {
		open = append(open, h.Start(with("x-do", do, "x-value", key)))
	}
	for _, x := range open {
		Want{Status: 200}.Check(t, x.Wait(t))
	}
	value, _ := h.SharedData().Value("c", key)
	n, err := strconv.Atoi(value)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Races between workers happen, a correct filter never loses an update by them, and an incorrect one is found out.
func TestWorkersRaceInSharedData(t *testing.T) {
	t.Parallel()
	counter := named(t, "counter", "c")
	for seed := range uint64(3) {
		h := New(t, Options{Workers: 3, Seed: seed}, counter)
		for round := range 8 {
			if n := count(t, h, "add", "n"); n != 12*(round+1) {
				t.Errorf("seed %d: counted to %d in round %d of 12", seed, n, round)
			}
		}
		if h.Metric("counter.retries") == 0 {
			t.Errorf("seed %d: nobody raced", seed)
		}
		if n := count(t, h, "lossy", "n"); n >= 9*12 {
			t.Errorf("seed %d: no update was lost without a cas", seed)
		}
		created := 0
		for round := range 8 {
			if count(t, h, "create", fmt.Sprint("fresh", round)) < 12 {
				created++
			}
		}
		if created == 0 {
			t.Errorf("seed %d: no first write was lost, which no cas guards", seed)
		}
	}
	h := New(t, Options{}, counter)
	if n := count(t, h, "lossy", "n"); n != 12 {
		t.Errorf("one worker alone counted to %d of 12", n)
	}
}

// The main thread's ticks fall between the hostcalls of a single worker too.
func TestMainThreadRacesWithAWorker(t *testing.T) {
	t.Parallel()
	plugin := named(t, "counter", "c")
	plugin.Configuration = []byte("tick")
	var retries int64
	for seed := range uint64(2) {
		h := New(t, Options{Workers: 1, MainThread: true, Seed: seed}, plugin)
		h.Advance(5 * time.Second)
		if ticks, _ := h.SharedData().Value("c", "ticks"); ticks != "100" {
			t.Errorf("seed %d: %s ticks, want 100", seed, ticks)
		}
		retries += h.Metric("counter.retries")
	}
	if retries == 0 {
		t.Error("nobody raced")
	}
}

func TestRandomBytesAreTheSeeds(t *testing.T) {
	t.Parallel()
	watch := named(t, "watch", "w")
	draw := func(seed uint64) (list [3]string) {
		h := New(t, Options{Workers: 2, Seed: seed}, watch)
		for i, worker := range []int{1, 2, 1} {
			list[i] = h.Do(t, Request{Worker: worker}).Upstream.Header("x-random")
		}
		return list
	}
	first := draw(1)
	if again := draw(1); again != first {
		t.Errorf("seed 1 gave %q and %q", first, again)
	}
	all := map[string]bool{}
	for _, list := range [][3]string{first, draw(2)} {
		for _, random := range list {
			if len(random) != 32 || all[random] {
				t.Errorf("random bytes %q of %d, not new", random, len(random))
			}
			all[random] = true
		}
	}
}
