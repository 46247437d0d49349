// Command wasmproxy runs the wasm filter of an Envoy bootstrap file in front of its upstream,
// without Envoy.
//
//	wasmproxy --config envoy.yaml [--vms N] [--drain-timeout 10s] [--stats-listen ADDR]
//
// It reads the file that Envoy reads and refuses to start on anything in it that it would not
// honour. The access log goes to standard output, everything else to standard error. On SIGTERM or
// SIGINT it stops accepting, lets requests in flight finish and exits 0.
//
// It exits 2 on a wrong command line and 1 on a configuration that it cannot run. It speaks plain
// HTTP/1.1 alone: it is for development, tests and small installations, Envoy is for the rest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/proxy"
)

const (
	exitConfig = 1
	exitUsage  = 2
	maxVMs     = 1024
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// settings are the command line.
type settings struct {
	config       string
	vms          int
	drainTimeout time.Duration
	statsListen  string
}

// run serves until ctx ends and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "wasmproxy:", err)
		fmt.Fprintln(stderr, "wasmproxy: --help lists the flags")
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if err := serve(ctx, s, log, stdout); err != nil {
		fmt.Fprintln(stderr, "wasmproxy:", err)
		return exitConfig
	}
	return 0
}

// parseFlags reads the command line. Help, when asked for, goes to out.
func parseFlags(args []string, out io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("wasmproxy", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller reports errors, once
	flags.Usage = func() {}
	flags.StringVar(&s.config, "config", "envoy.yaml", "Envoy bootstrap `file`, YAML or JSON")
	flags.IntVar(&s.vms, "vms", runtime.GOMAXPROCS(0), "`number` of VMs of each filter, as Envoy's --concurrency")
	flags.DurationVar(&s.drainTimeout, "drain-timeout", 10*time.Second, "how `long` requests in flight may take after a signal")
	flags.StringVar(&s.statsListen, "stats-listen", "", "`address` to serve the filter's metrics on, in Prometheus' format; empty for none")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(out, "usage: wasmproxy [flags]")
		flags.SetOutput(out)
		flags.PrintDefaults()
	}
	if err != nil {
		return s, err
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.vms < 1 || s.vms > maxVMs:
		return s, fmt.Errorf("--vms is %d, expected 1 to %d", s.vms, maxVMs)
	case s.drainTimeout < 0:
		return s, fmt.Errorf("--drain-timeout is %s, expected 0 or more", s.drainTimeout)
	}
	return s, nil
}

func serve(ctx context.Context, s settings, log *slog.Logger, stdout io.Writer) (err error) {
	cfg, err := bootstrap.Load(s.config, bootstrap.OS())
	if err != nil {
		return err
	}
	// Before the VMs, which take seconds to compile: a port in use should not take as long.
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("open listener: %w", err)
	}
	defer listener.Close()
	p, err := proxy.New(ctx, proxy.Options{Config: cfg, VMs: s.vms, Log: log, AccessLog: stdout})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close(context.WithoutCancel(ctx))) }()
	if s.statsListen != "" {
		stop, err := serveStats(s.statsListen, p.StatsHandler(), log)
		if err != nil {
			return err
		}
		defer stop()
	}
	return serveUntil(ctx, p, listener, s.drainTimeout, log)
}

// serveUntil serves until ctx ends, and then drains for at most limit.
func serveUntil(ctx context.Context, p *proxy.Proxy, l net.Listener, limit time.Duration, log *slog.Logger) error {
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	log.Info("listening", "address", l.Addr().String())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	log.Info("draining", "limit", limit)
	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := p.Drain(drainCtx); err != nil {
		// Cutting what takes too long is what the operator asked for with the limit.
		log.Warn("drained", "error", err)
	}
	return <-served
}

// serveStats serves h on addr until stop is called.
func serveStats(addr string, h http.Handler, log *slog.Logger) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open stats listener: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("stats listener ended", "error", err)
		}
	}()
	log.Info("serving stats", "address", l.Addr().String())
	return func() { server.Close() }, nil
}
