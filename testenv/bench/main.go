// Command bench measures what Tollgate and testenv cost, and writes the figures to testenv/bench/RESULTS.md.
//
//	go run ./testenv/bench [-only SECTION] [-rounds N] [-wasm FILE] [-out FILE] [-cpuprofile FILE]
//
// It runs at the top of the repository. With -only it measures one section and leaves the others in the file as they
// are; a first look at one while changing the code is
//
//	make wasm && go run ./testenv/bench -only hot -rounds 7 -out /dev/null
//
// A goal that is missed stands in the tables and is no failure: it exits 1 only when something could not be measured.
//
// A section is a function that returns Markdown; one that compares ways of doing the same work returns a table, whose
// rounds interleave the ways, so that what disturbs the machine disturbs all of them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
)

// section is one part of RESULTS.md, measured by itself.
type section struct {
	name, title string
	measure     func(*bench) string
}

// sections are in the order of RESULTS.md.
var sections = []section{
	{"debits", "Durable debits", measureDebits},
	{"acquires", "Acquires over HTTP", measureAcquires},
	{"keys", "Acquires by number of keys", measureKeys},
	{"hot", "A hot request", measureHot},
	{"footprint", "What a request leaves behind", measureFootprint},
	{"proxy", "A reverse proxy", measureProxy},
	{"requests", "1,000 requests on 4 VMs", measureRequests},
	{"growth", "100,000 streams on 4 VMs", measureGrowth},
	{"host", "One request", measureHost},
	{"workers", "1,000 requests by number of workers", measureWorkers},
	{"vm", "Start of a VM", measureVM},
	{"compile", "Compilation", measureCompile},
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == compileCommand {
		exit(printCompileTime(os.Args[2]))
	}
	only := flag.String("only", "", "the one section to measure: "+strings.Join(names(), ", "))
	rounds := flag.Int("rounds", 0, "at most so many `rounds` of each table, for a first look; 0 for what each needs")
	wasm := flag.String("wasm", "build/tollgate.wasm", "the compiled `filter`")
	out := flag.String("out", "testenv/bench/RESULTS.md", "the `file` to write the figures to")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the measuring to `file`")
	flag.Parse()
	exit(run(*only, *wasm, *out, *profile, *rounds))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func names() []string {
	var list []string
	for _, s := range sections {
		list = append(list, s.name)
	}
	return list
}

func run(only, wasm, out, profile string, rounds int) (err error) {
	if only != "" && !slices.Contains(names(), only) {
		return fmt.Errorf("no section %q; there are %s", only, strings.Join(names(), ", "))
	}
	g, err := buildGuests(wasm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.remove()) }()
	if profile != "" {
		stop, perr := startProfile(profile)
		if perr != nil {
			return perr
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	old, err := os.ReadFile(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := measure(only, g, string(old), rounds)
	if err != nil {
		return err
	}
	return os.WriteFile(out, []byte(text), 0o644)
}

// measure returns the results with the chosen section measured anew, or with all of them.
func measure(only string, g guests, results string, rounds int) (string, error) {
	if only == "" || results == "" {
		results = introduction
	}
	for _, s := range sections {
		if only != "" && s.name != only {
			continue
		}
		environment := describeEnvironment()
		body, err := newBench(g, rounds).run(s)
		if err != nil {
			return "", fmt.Errorf("section %s: %w", s.name, err)
		}
		text := fmt.Sprintf("## %s\n\n%s.\n\n%s", s.title, environment, body)
		fmt.Printf("%s\n", text)
		results = withSection(results, s.name, text)
	}
	return results, nil
}

func startProfile(path string) (stop func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
