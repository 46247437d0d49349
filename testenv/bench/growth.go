package main

import (
	"fmt"
	"runtime"
	"strings"
)

const (
	earlyStreams = 30_000
	lateStreams  = 100_000
	// openStreams is how many are open at once.
	openStreams = 100
)

// held is a kind of thing that a process could hold more of with every stream.
type held struct {
	name, unit string
	one        float64 // of unit
	// most is the growth per stream that counts as none: one that leaked anything would leak a pointer's 8 bytes or one
	// object.
	most float64
	size func(*load, *runtime.MemStats) float64
}

var holdings = []held{
	{"Go heap", " KiB", 1 << 10, 1, func(_ *load, m *runtime.MemStats) float64 { return float64(m.HeapAlloc) }},
	{"Go objects", "", 1, 0.01, func(_ *load, m *runtime.MemStats) float64 { return float64(m.HeapObjects) }},
	{"goroutines", "", 1, 0.001, func(*load, *runtime.MemStats) float64 { return float64(runtime.NumGoroutine()) }},
	{"linear memory of the VMs", " KiB", 1 << 10, 1, func(l *load, _ *runtime.MemStats) float64 { return float64(l.host.MemoryBytes()) }},
}

// measureGrowth has the empty filter too, to tell the host's growth from that of a filter: linear memory is the filter's own,
// comes in pages of 64 KiB and is never given back.
func measureGrowth(b *bench) string {
	return fmt.Sprintf("%d streams open at once, records dropped (`Host.DropRecords`), after a collection; %d keys in turn.\n\n", openStreams, requestKeys) +
		growth("empty filter", b.emptyLoad(seeded(vmCount))) + "\n" +
		growth("tollgate with a callout each", b.tollgateLoad(seeded(vmCount)))
}

func growth(filter string, l *load) string {
	early := l.holdings(earlyStreams)
	late := l.holdings(lateStreams - earlyStreams)
	var text strings.Builder
	fmt.Fprintf(&text, "| %s | after 30,000 | after 100,000 | per stream | goal |\n|---|---|---|---|---|\n", filter)
	for i, h := range holdings {
		perStream := (late[i] - early[i]) / (lateStreams - earlyStreams)
		fmt.Fprintf(&text, "| %s | %.0f%s | %.0f%s | %.4f | %s |\n",
			h.name, early[i]/h.one, h.unit, late[i]/h.one, h.unit, perStream, h.verdict(perStream))
	}
	return text.String()
}

func (h held) verdict(perStream float64) string {
	if perStream > h.most {
		return fmt.Sprintf("≤ %v: **goal missed**", h.most)
	}
	return fmt.Sprintf("≤ %v: met", h.most)
}

// holdings sends more streams and then looks. Two collections: what the first one finalizes goes with the second.
func (l *load) holdings(streams int) []float64 {
	for range streams / openStreams {
		l.send(openStreams, true)
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var sizes []float64
	for _, h := range holdings {
		sizes = append(sizes, h.size(l, &m))
	}
	return sizes
}
