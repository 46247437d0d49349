// Command demo runs a whole Tollgate on this machine: control plane, an upstream that shows what it was sent,
// and a proxy with the filter in front of it. It makes demo accounts and keys through the admin REST, prints
// curl lines to try with the status each has to bring, and stops everything on Ctrl-C.
//
// It owns no part of Tollgate: it starts the built programs and talks to them as anybody would. Everything it
// writes lies in a temporary folder that is removed when it stops.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// options are the command's flags. The addresses' defaults are those of envoy.yaml and of tollgate serve.
type options struct {
	tollgate, wasmproxy, config    string
	admin, gate, ops, upstream, to string
	// upstreamAlone leaves out everything but the upstream.
	upstreamAlone bool
}

func main() {
	var o options
	flag.StringVar(&o.tollgate, "tollgate", "build/tollgate", "the control plane's binary")
	flag.StringVar(&o.wasmproxy, "wasmproxy", "build/wasmproxy", "the proxy to use when there is no Envoy 1.33 or newer on PATH")
	flag.StringVar(&o.config, "config", "envoy.yaml", "the proxy's bootstrap file")
	flag.StringVar(&o.admin, "admin", "127.0.0.1:8090", "address of the admin REST")
	flag.StringVar(&o.gate, "gate", "127.0.0.1:8092", "address of the gate listener; the cluster tollgate of -config points to it")
	flag.StringVar(&o.ops, "ops", "127.0.0.1:8091", "address of health checks and metrics")
	flag.StringVar(&o.upstream, "upstream", "127.0.0.1:8080", "address of the demo upstream; the cluster upstream of -config points to it")
	flag.StringVar(&o.to, "proxy", "127.0.0.1:10000", "address of the proxy's listener, as -config has it")
	flag.BoolVar(&o.upstreamAlone, "upstream-alone", false, "serve the demo upstream and nothing else")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run starts everything, prints the lines to try to out, and returns nil after ctx has ended and everything
// is stopped. It returns an error when a part does not start or ends by itself.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "tollgate-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	var parts stack
	defer func() { err = errors.Join(err, parts.stop()) }()

	if o.upstreamAlone {
		if err := parts.serve(o.upstream, upstream()); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
	r, err := parts.launch(ctx, o, dir)
	if err != nil {
		return err
	}
	tries, err := prepare(ctx, o, r)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "control plane  http://%s (admin)  http://%s (metrics)  pid %d\nproxy          http://%s  %s\nlogs           %s\n",
		o.admin, o.ops, r.controlPlane.pid(), o.to, r.proxy.name, dir)
	for _, t := range tries {
		_, _ = fmt.Fprintf(out, "\nexpect %s: %s\n  %s\n", t.expect, t.why, t.command)
	}
	_, _ = fmt.Fprintln(out, "\nready; Ctrl-C stops everything")
	return parts.wait(ctx)
}

// running is a launched Tollgate.
type running struct {
	controlPlane, proxy *process
	// operator is a token for the admin REST.
	operator string
}

// launch starts every part, each once the one before it is ready.
func (s *stack) launch(ctx context.Context, o options, dir string) (r running, err error) {
	tokens, err := createTokens(ctx, o, dir)
	if err != nil {
		return r, err
	}
	r.operator = tokens.operator
	r.controlPlane, err = s.start(filepath.Join(dir, "control-plane.log"), nil, o.tollgate, "serve",
		"--db", database(dir), "--listen", o.admin, "--gate-listen", o.gate, "--ops-listen", o.ops)
	if err != nil {
		return r, err
	}
	if err := r.controlPlane.await(ctx, "http://"+o.ops+"/readyz"); err != nil {
		return r, err
	}
	if err := s.serve(o.upstream, upstream()); err != nil {
		return r, err
	}
	name, args := proxyCommand(ctx, o)
	r.proxy, err = s.start(filepath.Join(dir, "proxy.log"), []string{"TOLLGATE_GATE_TOKEN=" + tokens.gate}, name, args...)
	if err != nil {
		return r, err
	}
	return r, r.proxy.await(ctx, "http://"+o.to+"/healthz")
}

// serve starts an HTTP server of this process.
func (s *stack) serve(address string, h http.Handler) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for the demo upstream: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	s.onStop(server.Close)
	return nil
}
