// Package proxy is wasmproxy's data plane: an HTTP/1.1 reverse proxy that runs wasm filters through
// testenv, one VM set per worker, as Envoy runs them one VM per worker thread.
//
// It owns what Envoy's HTTP connection manager and router do around the filters: path options,
// headers of one connection, routing, upstream connections, streaming in both directions, local
// replies, idle streams, the access log. It refuses what it does not do (upgrades, CONNECT, other
// versions than HTTP/1.1, absolute request targets) and what Envoy takes for an attack with a
// status instead of passing it on half understood. Requests that net/http refuses, or whose head
// never arrives, are answered but not in the access log.
//
// It reads no configuration file; package bootstrap does.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/accesslog"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

// Options are what a Proxy is made from.
type Options struct {
	Config *bootstrap.Config
	// VMs is the number of workers, at least 1. Each request is served by one of them in turn.
	VMs int
	Log *slog.Logger
	// AccessLog is where access logs without a path go.
	AccessLog io.Writer
	// Now is the clock that paces restarts of VMs; nil is the real one.
	Now func() time.Time
}

// Proxy serves one listener's configuration. Make it with New and release it with Close.
type Proxy struct {
	cfg      *bootstrap.Config
	log      *slog.Logger
	clusters map[string]*cluster
	workers  [][]*worker // by worker, then by filter
	next     atomic.Uint64
	sinks    []*accesslog.Sink
	files    []*os.File
	metrics  *testenv.Metrics
	server   *http.Server
	active   sync.WaitGroup // requests in their handler
	ticks    sync.WaitGroup
	stop     context.CancelFunc
}

// New compiles the filters, starts every VM and opens the access logs. A filter that refuses its
// configuration is an error, as at Envoy's start.
func New(ctx context.Context, o Options) (*Proxy, error) {
	p := &Proxy{cfg: o.Config, log: o.Log, clusters: map[string]*cluster{}, metrics: testenv.NewMetrics(), stop: func() {}}
	for _, c := range o.Config.Clusters {
		p.clusters[c.Name] = newCluster(c)
	}
	p.server = &http.Server{
		Handler:                      p,
		ReadHeaderTimeout:            o.Config.HTTP.HeaderReadTimeout,
		IdleTimeout:                  o.Config.HTTP.IdleTimeout,
		MaxHeaderBytes:               o.Config.HTTP.MaxHeaderBytes,
		DisableGeneralOptionsHandler: true,
		ConnContext:                  withConn,
		ErrorLog:                     slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	if err := errors.Join(p.openAccessLogs(o.AccessLog), p.startWorkers(ctx, o)); err != nil {
		return nil, errors.Join(err, p.Close(ctx))
	}
	tickCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	for _, filters := range p.workers {
		for _, w := range filters {
			p.ticks.Go(func() { w.runTicks(tickCtx) })
		}
	}
	return p, nil
}

func (p *Proxy) openAccessLogs(stdout io.Writer) error {
	for _, l := range p.cfg.AccessLogs {
		w := stdout
		if l.Path != "" {
			f, err := os.OpenFile(l.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err != nil {
				return fmt.Errorf("open access log: %w", err)
			}
			p.files = append(p.files, f)
			w = f
		}
		p.sinks = append(p.sinks, accesslog.NewSink(w, l.Format))
	}
	return nil
}

func (p *Proxy) startWorkers(ctx context.Context, o Options) error {
	callouts := make(map[string]testenv.Cluster, len(p.clusters))
	for name, c := range p.clusters {
		callouts[name] = c
	}
	shared := testenv.NewSharedData()
	p.workers = make([][]*worker, o.VMs)
	for _, f := range p.cfg.Filters {
		compiled, err := testenv.Compile(ctx, f.Code)
		if err != nil {
			return fmt.Errorf("load filter %s from %s: %w", f.Name, f.Source, err)
		}
		for i := range p.workers {
			w := newWorker(compiled, f, o, i)
			w.options.NodeID, w.options.Clusters = p.cfg.NodeID, callouts
			w.options.Metrics, w.options.SharedData = p.metrics, shared
			if err := w.start(ctx); err != nil {
				return err
			}
			p.workers[i] = append(p.workers[i], w)
		}
	}
	return nil
}

func newWorker(compiled *testenv.Filter, f bootstrap.WasmFilter, o Options, i int) *worker {
	log := o.Log.With("filter", f.Name, "vm", i)
	now := o.Now
	if now == nil {
		now = time.Now
	}
	return &worker{
		filter: compiled, policy: f.FailurePolicy, backoff: f.ReloadBackoff, now: now, log: log,
		options: testenv.Options{
			PluginName: f.Name, RootID: f.RootID, VMID: f.VMID,
			VMConfiguration: f.VMConfiguration, PluginConfiguration: f.PluginConfiguration,
			Env:             f.Env,
			MaxCalloutBytes: maxCalloutBody,
			Log:             func(l testenv.Level, msg string) { log.Log(context.Background(), slogLevel(l), msg) },
			OnFault:         func(err error) { log.Error("filter fault", "error", err) },
		},
	}
}

func slogLevel(l testenv.Level) slog.Level {
	switch l {
	case testenv.LevelTrace, testenv.LevelDebug:
		return slog.LevelDebug
	case testenv.LevelInfo:
		return slog.LevelInfo
	case testenv.LevelWarn:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// nextWorkers are the filters of the worker whose turn it is.
func (p *Proxy) nextWorkers() []*worker {
	return p.workers[(p.next.Add(1)-1)%uint64(len(p.workers))]
}

// openChain makes a request's streams. The error is errFailed where a filter is
// down and fails closed.
func openChain(workers []*worker, props map[string][]byte) (chain, error) {
	streams := make(chain, 0, len(workers))
	for _, w := range workers {
		vm, err := w.current(context.Background())
		if err != nil && w.policy == bootstrap.FailOpen {
			continue
		}
		var s *testenv.Stream
		if err == nil {
			s, err = vm.NewStream(context.Background(), testenv.StreamOptions{Properties: props})
		}
		if err != nil {
			streams.done()
			return nil, err
		}
		streams = append(streams, s)
	}
	return streams, nil
}

// match returns the route of a request, nil if there is none.
func (p *Proxy) match(headers []testenv.Header) *bootstrap.Route {
	if !p.serves(value(headers, ":authority")) {
		return nil
	}
	path, _, _ := strings.Cut(value(headers, ":path"), "?")
	for i := range p.cfg.Routes {
		r := &p.cfg.Routes[i]
		if r.Path == path && r.Path != "" || r.Prefix != "" && strings.HasPrefix(path, r.Prefix) {
			return r
		}
	}
	return nil
}

func (p *Proxy) serves(authority string) bool {
	for _, d := range p.cfg.Domains {
		if d == "*" || strings.EqualFold(d, authority) {
			return true
		}
	}
	return false
}

func (p *Proxy) writeRecord(r *accesslog.Record) {
	for _, s := range p.sinks {
		if err := s.Write(r); err != nil {
			p.log.Error("access log line lost", "error", err)
		}
	}
}

// Metrics are what the filters count, all VMs together.
func (p *Proxy) Metrics() *testenv.Metrics { return p.metrics }

// Serve accepts connections until Drain. It owns l.
func (p *Proxy) Serve(l net.Listener) error {
	if err := p.server.Serve(listener{l}); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// Drain stops accepting and waits for the requests in flight. When ctx ends first they are cut,
// and the error says so.
func (p *Proxy) Drain(ctx context.Context) error {
	err := p.server.Shutdown(ctx)
	if err == nil {
		return nil
	}
	if closeErr := p.server.Close(); closeErr != nil {
		err = errors.Join(err, closeErr)
	}
	return fmt.Errorf("drain: requests in flight were cut: %w", err)
}

// Close waits for handlers that Drain has cut, ends the VMs and closes the access logs. No request
// may arrive any more.
func (p *Proxy) Close(ctx context.Context) error {
	p.active.Wait()
	p.stop()
	p.ticks.Wait()
	var errs []error
	for _, filters := range p.workers {
		for _, w := range filters {
			errs = append(errs, w.close(ctx))
		}
	}
	for _, c := range p.clusters {
		c.close()
	}
	for _, f := range p.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
