package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// introduction is RESULTS.md without sections.
const introduction = `# Benchmarks

Written by ` + "`make bench`" + `; ` + "`go run ./testenv/bench -only SECTION`" + ` measures one section anew. The rounds of a table run its
ways in turn, in a random order, after a garbage collection each. Shown are the median over the rounds and, in brackets, the
middle half (25th to 75th percentile). Ratios are of the same round, and are what carries over to other machines.
`

// withSection puts a section's text in the place of its old text, or at the end.
func withSection(results, name, text string) string {
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
	block := begin + strings.TrimRight(text, "\n") + "\n" + end
	if before, rest, ok := strings.Cut(results, begin); ok {
		if _, after, ok := strings.Cut(rest, end); ok {
			return before + block + after
		}
	}
	return strings.TrimRight(results, "\n") + "\n\n" + block
}

// describeEnvironment says where and when the figures are taken, and what else the machine was doing.
func describeEnvironment() string {
	return fmt.Sprintf("%s, %d cores, %s/%s, %s, %s UTC, load average before: %s", processor(), runtime.NumCPU(),
		runtime.GOOS, runtime.GOARCH, runtime.Version(), time.Now().UTC().Format("2006-01-02 15:04"), loadAverage())
}

// processor is the name of the CPU where Linux tells it.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unnamed CPU"
}

// loadAverage is that of the last minute where Linux tells it.
func loadAverage() string {
	load, _ := os.ReadFile("/proc/loadavg")
	if minute, _, ok := strings.Cut(string(load), " "); ok {
		return minute
	}
	return "unknown"
}
