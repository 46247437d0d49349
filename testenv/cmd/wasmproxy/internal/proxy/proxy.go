// Package proxy is wasmproxy's data plane: an HTTP/1.1 reverse proxy that runs wasm filters through
// testenv, in workers that are what worker threads are to Envoy: each has its own VMs and runs every
// filter, and requests go to them in turn.
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
	// Monotonic is the clock that paces ticks and restarts of VMs; nil is the real one.
	Monotonic func() time.Duration
}

// Proxy serves one listener's configuration. Make it with New and release it with Close.
type Proxy struct {
	cfg      *bootstrap.Config
	log      *slog.Logger
	clusters map[string]*cluster
	workers  []*testenv.Worker
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
	for _, w := range p.workers {
		p.ticks.Go(func() { runTicks(tickCtx, w) })
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

// nextWorker is the worker whose turn it is.
func (p *Proxy) nextWorker() *testenv.Worker {
	return p.workers[(p.next.Add(1)-1)%uint64(len(p.workers))]
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
	if err := p.server.Serve(&listener{Listener: l}); !errors.Is(err, http.ErrServerClosed) {
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
	for _, w := range p.workers {
		errs = append(errs, w.Close(ctx))
	}
	for _, c := range p.clusters {
		c.close()
	}
	for _, f := range p.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
