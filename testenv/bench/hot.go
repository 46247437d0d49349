package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/testenv"
)

const (
	hotKeys   = 100
	manyKeys  = 10_000
	hotRounds = 31
	hotBatch  = 2000
)

// hotDominates is from perf with wazero's map of compiled functions (build tag perfmap), 2026-11-27.
const hotDominates = "the host, 58 % of the time: lists of headers made, copied and collected, and entering the guest; of the guest's 42 % a " +
	"third goes into reading the 20 headers (parsePairs, names.look, authenticate, Matcher.Match, readTarget, Check), a sixth into leases, usage " +
	"and the hash of the key, the rest into many functions of less than 2 % each"

// measureHot compares the whole lifecycle of a request that a live lease pays for.
func measureHot(b *bench) string {
	few, many := credentialsOf(hotKeys), credentialsOf(manyKeys)
	naive, hostcalls := b.guest("naive"), b.ownGuest("hostcalls")
	round := func(v *vm, warm int, credentials []string) func() time.Duration {
		v.warm(warm, credentials)
		return func() time.Duration {
			v.tick()
			return v.send(hotBatch, credentials) / hotBatch
		}
	}
	tollgate, tollgateMany := b.vm(b.tollgate, "tollgate", tokenEnv), b.vm(b.tollgate, "tollgate", tokenEnv)
	empty, same := b.vm(b.guest("empty"), "empty", nil), b.vm(hostcalls, "hostcalls", nil)
	const nothing, calls, function = "the SDK's empty filter", "the same hostcalls and nothing else, on the filter's copy of the SDK", "naive filter on the SDK, all headers looked at"
	const leased = "tollgate, live lease, 100 keys"
	t := table{
		title: "a hot request, 20 headers", unit: unit{"µs", time.Microsecond}, rounds: b.rounds(hotRounds), baseline: nothing,
		more: []column{
			{calls, map[string]*goal{leased: atMost(1.2).but(hotDominates)}},
			{function, map[string]*goal{leased: atMost(0.6).but(hotDominates)}},
		},
		ways: []way{
			{nothing, round(empty, 20, few), nil},
			{"an empty filter on the filter's copy of the SDK", round(b.vm(b.ownGuest("empty"), "own", nil), 20, few), nil},
			{"the same hostcalls and nothing else, on the SDK as it is", round(b.vm(b.guest("hostcalls"), "hostcalls", nil), 20, few), nil},
			{calls, round(same, 20, few), nil},
			{"naive filter on the SDK, three headers looked at", round(b.vm(naive, "naive", map[string]string{"NAIVE": "three"}), 20, few), nil},
			{function, round(b.vm(naive, "naive", nil), 20, few), nil},
			{leased, round(tollgate, 300, few), atMost(2.8).but(hotDominates)},
			{"tollgate, live lease, 10,000 keys", round(tollgateMany, 15, many), nil},
		},
	}
	before := tollgate.plane.acquires.Load()
	text := t.measure()
	asked, idle := tollgate.plane.acquires.Load()-before, empty.readings()
	return fmt.Sprintf("CPU time of the thread. With 100 keys %d leases were renewed while these %d requests were measured.\n\n%s\n%s",
		asked, hotBatch*(t.rounds+1), text, b.compareHostcalls(hostcalls, tollgate.readings()-idle, same.readings()-idle))
}

// compareHostcalls says which hostcalls a hot request makes, and whether the guest that is to make the same does. Both are
// given with how often they read a clock.
func (b *bench) compareHostcalls(guest string, readings, guestReadings float64) string {
	calls, others := b.hostcalls(b.tollgate, "tollgate", tokenEnv), b.hostcalls(guest, "hostcalls", nil)
	text := fmt.Sprintf("The hostcalls of a hot request, as traced: `%s`; and %.2f readings of clocks.\n", strings.Join(calls, "`, `"), readings)
	if slices.Equal(calls, others) {
		return text + fmt.Sprintf("The guest that is to make the same makes exactly these, and %.2f readings.\n", guestReadings)
	}
	return text + fmt.Sprintf("**The guest that is to make the same makes others**: `%s`; and %.2f readings.\n",
		strings.Join(others, "`, `"), guestReadings)
}

// readings is how often a clock is read in a hot request, by the host for itself too.
func (v *vm) readings() float64 {
	const requests = 1000
	v.tick()
	before := v.clocks.Load()
	v.send(requests, credentialsOf(hotKeys))
	return float64(v.clocks.Load()-before) / requests
}

// hostcallPattern finds a hostcall in a line of a transcript, whose metrics have numbers of each VM's own.
var hostcallPattern = regexp.MustCompile(`(?m)#\d+   (increment_metric|.+)(?:\(\d+, (\d+)\))? = Ok$`)

// hostcalls lists the hostcalls of a request that comes after some of the same key. Those of WASI are not among them.
func (b *bench) hostcalls(wasm, name string, env map[string]string) []string {
	var transcript strings.Builder
	host := testenv.New(b, testenv.Options{
		Upstream: upstream, Clusters: map[string]testenv.Cluster{"tollgate": testenv.HandlerCluster(&leasing{})},
		Node: testenv.Node{ID: "edge-1"}, Transcript: &transcript,
	}, b.plugin(wasm, name, env))
	r := testenv.Request{Method: "POST", Path: "/v1/document/create", Host: "api.test", Headers: []testenv.Header{
		{"authorization", credentialsOf(1)[0]},
	}}
	for range 10 {
		host.Do(b, r)
		host.Advance(time.Second)
	}
	transcript.Reset()
	host.Do(b, r)
	var calls []string
	for _, found := range hostcallPattern.FindAllStringSubmatch(transcript.String(), -1) {
		calls = append(calls, found[1])
	}
	return calls
}
