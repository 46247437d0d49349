package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/tollgate/tollgate/testenv"
)

// batch is how many requests one round of measureHost sends; its times are for one.
const batch = 500

func measureHost(b *bench) string {
	worker, err := testenv.NewWorker(context.Background(), testenv.WorkerOptions{}, b.emptyPlugin())
	b.check(err)
	b.Cleanup(func() { b.check(worker.Close(context.Background())) })
	transcript := seeded(1)
	transcript.Transcript = io.Discard
	silent, written := b.emptyLoad(seeded(1)), b.emptyLoad(transcript)
	return table{
		title: "one request, empty filter", unit: unit{"µs", time.Microsecond}, rounds: b.rounds(21), baseline: "Worker and Stream, real time",
		ways: []way{
			{"Worker and Stream, real time", func() time.Duration { return b.steps(worker) / batch }, nil},
			{"Host.Do", func() time.Duration { return silent.send(batch, false) / batch }, nil},
			{"Host.Do with a transcript", func() time.Duration { return written.send(batch, false) / batch }, nil},
		},
	}.measure()
}

// steps takes requests and responses through a worker, step by step.
func (b *bench) steps(w *testenv.Worker) time.Duration {
	ctx := context.Background()
	r := request(1)
	headers := append([]testenv.Header{{":authority", r.Host}, {":path", r.Path}, {":method", r.Method}, {":scheme", "http"}}, r.Headers...)
	began := time.Now()
	for range batch {
		s, err := w.NewStream(ctx, testenv.StreamOptions{})
		b.check(err)
		_, err = s.RequestHeaders(ctx, headers, true)
		b.check(err)
		_, err = s.ResponseHeaders(ctx, upstream.response.Headers, false)
		b.check(err)
		_, err = s.ResponseBody(ctx, upstream.response.Body, true)
		b.check(err)
		b.check(s.Done(ctx))
	}
	return time.Since(began)
}

func measureVM(b *bench) string {
	start := func(p testenv.Plugin) func() time.Duration {
		return func() time.Duration {
			ctx := context.Background()
			began := time.Now()
			w, err := testenv.NewWorker(ctx, testenv.WorkerOptions{Clusters: map[string]testenv.Cluster{"tollgate": grants}}, p)
			took := time.Since(began)
			b.check(err)
			b.check(w.Close(ctx))
			return took
		}
	}
	return table{
		title: "NewWorker with one plugin, compiled already", unit: unit{"ms", time.Millisecond}, rounds: b.rounds(15), baseline: "empty filter",
		ways: []way{
			{"empty filter", start(b.emptyPlugin()), nil},
			{"tollgate", start(b.tollgatePlugin()), nil},
		},
	}.measure()
}

// measureCompile compiles in processes of their own: one process compiles a module once. Cold ones find an empty cache
// directory, warm ones what a cold one left.
func measureCompile(b *bench) string {
	var tables []string
	for _, filter := range []struct{ name, path string }{{"empty", b.empty}, {"tollgate", b.tollgate}} {
		cache := b.cacheDir()
		t := table{
			title: filter.name + " filter", unit: unit{"ms", time.Millisecond}, rounds: b.rounds(3), baseline: "cold",
			ways: []way{
				{"cold", func() time.Duration { return b.compile(filter.path, b.cacheDir()) }, nil},
				{"warm, from the disk", func() time.Duration { return b.compile(filter.path, cache) }, nil},
			},
		}
		b.compile(filter.path, cache)
		tables = append(tables, t.measure())
	}
	return strings.Join(tables, "\n")
}
