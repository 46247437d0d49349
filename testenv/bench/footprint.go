package main

import (
	"fmt"
	"strings"
)

const (
	leasedKeys      = 100_000
	countedRequests = 50_000
	// countedWarm is how often a key is used before, so that its lease lasts.
	countedWarm = 150_000
	longRun     = 1_000_000
)

// mallocs is how many objects a counting guest has allocated by its next tick.
func (v *vm) mallocs() int64 {
	before, _ := v.metrics.Value("ticks")
	for {
		if wait, ok := v.worker.UntilTick(); !ok {
			v.b.Fatalf("no tick is to come")
		} else {
			v.time.Add(int64(wait))
		}
		v.tick()
		if after, ok := v.metrics.Value("ticks"); ok && after > before {
			n, _ := v.metrics.Value("mallocs")
			return n
		}
	}
}

// allocations returns how many objects a request costs. What a tick allocates is divided by their number.
func (v *vm) allocations(credentials []string) float64 {
	before := v.mallocs()
	v.send(countedRequests, credentials)
	return float64(v.mallocs()-before) / countedRequests
}

// measureFootprint counts what requests leave behind in a VM, and what they ask of the control plane.
func measureFootprint(b *bench) string {
	keys := credentialsOf(1)
	wasm := b.ownGuest("counting")
	sdk := b.vm(wasm, "sdk", map[string]string{"COUNT": "sdk"})
	sdk.serve(hotBatch, keys)
	own := b.vm(wasm, "tollgate", tokenEnv)
	own.serve(countedWarm, keys)
	base := sdk.allocations(keys)
	asked := own.plane.acquires.Load()
	extra := own.allocations(keys) - base
	asked = own.plane.acquires.Load() - asked
	var text strings.Builder
	fmt.Fprintf(&text, "| of a request, 20 headers | | goal |\n|---|---|---|\n")
	fmt.Fprintf(&text, "| objects that the SDK allocates, the buffer of the headers | %.3f | |\n", base)
	fmt.Fprintf(&text, "| objects that tollgate allocates beside, live lease | %.3f | %s |\n", extra, none(extra, 0.01))
	fmt.Fprintf(&text, "| callouts, live lease | %.5f | %s |\n", float64(asked)/countedRequests, none(float64(asked)/countedRequests, 0.002))
	asks := b.vm(wasm, "tollgate", tokenEnv).malformed()
	fmt.Fprintf(&text, "| callouts, malformed key | %.5f | %s |\n", asks, none(asks, 0))
	text.WriteString("\nA lease is renewed before it is dry, by a callout for which no request waits: those are counted too, and as many objects " +
		"with them, and what a tick allocates.\n\n")
	return text.String() + b.longRun()
}

// malformed returns the callouts of a request whose key has a character too many.
func (v *vm) malformed() float64 {
	const requests = 1000
	v.status = 401
	defer func() { v.status = 0 }()
	before := v.plane.acquires.Load()
	v.send(requests, []string{"Bearer " + secret(1) + "0"})
	return float64(v.plane.acquires.Load()-before) / requests
}

func none(v, most float64) string { return held{most: most}.verdict(v) }

// longRun lets a VM hold leases of many keys and then serve a million requests.
func (b *bench) longRun() string {
	v := b.vm(b.tollgate, "tollgate", tokenEnv)
	all := credentialsOf(leasedKeys)
	v.serve(leasedKeys, all)
	hot := all[:1000]
	v.warm(300, hot)
	sizes, steps := []uint64{v.worker.MemoryBytes()}, 4
	for range steps {
		v.serve(longRun/steps, hot)
		sizes = append(sizes, v.worker.MemoryBytes())
	}
	text := fmt.Sprintf("| linear memory of a VM with %d leases, KiB | before | after 250,000 requests | 500,000 | 750,000 | 1,000,000 | goal |\n"+
		"|---|---|---|---|---|---|---|\n| tollgate |", leasedKeys)
	for _, size := range sizes {
		text += fmt.Sprintf(" %d |", size>>10)
	}
	grown := float64(sizes[steps]) - float64(sizes[0])
	return text + fmt.Sprintf(" %s |\n\nOf the keys 1,000 are used in turn, and every report is acknowledged.\n", none(grown, 0))
}
