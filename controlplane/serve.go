package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/server"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// drainTime is how long requests in flight may take to end after a signal; the rest of 10 s is for the store.
const drainTime = 8 * time.Second

type serveCommand struct {
	databaseFlag
	schemesFlag
	leaseFlags
	usageFlags
	domainFlags
	logFlags
	Migrate    bool   `env:"TOLLGATE_MIGRATE" default:"true" negatable:"" help:"Bring the database to this program's schema before serving, after a backup of it (${default})."`
	BackupDir  string `env:"TOLLGATE_BACKUP_DIR" placeholder:"DIR" help:"Where POST /v1/backups puts backups; without it there are none by REST."`
	Listen     string `env:"TOLLGATE_LISTEN" default:"127.0.0.1:8090" placeholder:"ADDR" help:"Where admins are served (${default})."`
	GateListen string `env:"TOLLGATE_GATE_LISTEN" default:"127.0.0.1:8092" placeholder:"ADDR" help:"Where gates are served (${default})."`
	OpsListen  string `env:"TOLLGATE_OPS_LISTEN" default:"127.0.0.1:8091" placeholder:"ADDR" help:"Where /healthz, /readyz and /metrics are, without authentication (${default})."`
}

// Help is shown by kong.
func (*serveCommand) Help() string {
	return `Addresses are HOST:PORT; with port 0 the log tells which one was taken. One database is served by one
process at a time. SIGTERM or SIGINT ends it once the requests in flight are answered, or after 8 s; a second one at once.

Under lease mode a gate holds credits and spends them by itself. --lease-ttl bounds how long, and so how long a revoked
key can outlive a gate's connection to here; as long is an outage of the control plane not noticed. What a gate has not
reported by the end of --lease-grace is refunded or charged, as --unreported says.

Whether somebody holds a domain is asked of --dns-resolver. The file that may prove it is fetched from public addresses
alone, whatever the flags: behind a firewall allow ports 53, 80 and 443 outwards, or use DNS alone.

A schemes file holds one JSON object, from the name of a scheme to its definition: the value of "schemes" in the
filter's configuration. A server does not start on a file with a fault, and names every fault.

Example:

	tollgate serve --db /var/lib/tollgate/tollgate.db --listen 127.0.0.1:8090`
}

// Validate is called by kong.
func (c *serveCommand) Validate() error {
	return errors.Join(c.databaseFlag.Validate(), c.leaseFlags.Validate(), c.usageFlags.Validate(), c.domainFlags.Validate(),
		checkAddress("--listen", c.Listen), checkAddress("--gate-listen", c.GateListen), checkAddress("--ops-listen", c.OpsListen))
}

func checkAddress(flag, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%s: expected HOST:PORT with a port from 0 to 65535, got %q", flag, addr)
	}
	return nil
}

// Run is called by kong. It returns once the server has stopped and the database is closed.
func (c *serveCommand) Run() (err error) {
	log := c.logger(os.Stderr)
	tuneCollector()
	// A limit on file sizes is to be met as an error of the write, like any other of the disk.
	signal.Ignore(syscall.SIGXFSZ)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	schemes, err := c.read()
	if err != nil {
		return err
	}
	if err := c.prepare(); err != nil {
		return err
	}
	if c.BackupDir != "" {
		if err := os.MkdirAll(c.BackupDir, 0o700); err != nil {
			return fmt.Errorf("make the directory of backups: %w", err)
		}
	}
	lock, err := lockDatabase(c.DB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := c.upgrade(ctx, log); err != nil {
		return err
	}
	st, err := c.open(ctx, store.Options{Leases: c.options(), Log: log, KeepSchema: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	defer startJanitor(ctx, st, c.keep(), log)()
	domains, err := c.verifier()
	if err != nil {
		return err
	}
	srv, err := server.New(server.Config{
		Store: st, Logger: log, Schemes: schemes, BackupDir: c.BackupDir, Domains: domains, Rechecks: c.schedule(),
	})
	if err != nil {
		return err
	}
	defer startRechecks(ctx, srv, log)()
	defer startRecorder(ctx, srv, log)()
	doors, err := c.listen(srv, log)
	if err != nil {
		return err
	}
	return serve(ctx, stop, srv, doors, st.Dead(), log)
}

// upgrade migrates the database, if it may.
func (c *serveCommand) upgrade(ctx context.Context, log *slog.Logger) error {
	if !c.Migrate {
		return nil
	}
	done, err := c.migrate(ctx, true)
	if err != nil {
		return err
	}
	if done.before.Version > 0 && len(done.before.Pending) > 0 {
		log.Info("migrated", "from", done.before.Version, "to", done.before.Newest, "backup", done.backup.Path)
	}
	return nil
}

// door is one listener and what answers there.
type door struct {
	name     string
	listener net.Listener
	server   *http.Server
}

// listen opens all three doors or none, the operators' last.
func (c *serveCommand) listen(srv *server.Server, log *slog.Logger) ([]door, error) {
	var doors []door
	for _, d := range []struct {
		name, addr string
		handler    http.Handler
		server     func(http.Handler, *slog.Logger) *http.Server
	}{
		{"admin", c.Listen, srv.Admin(), server.NewHTTPServer}, {"gate", c.GateListen, srv.Gate(), server.NewGateServer},
		{"ops", c.OpsListen, srv.Ops(), server.NewHTTPServer},
	} {
		l, err := net.Listen("tcp", d.addr)
		if err != nil {
			for _, open := range doors {
				_ = open.listener.Close()
			}
			return nil, fmt.Errorf("serve %s: %w", d.name, err)
		}
		doors = append(doors, door{name: d.name, listener: l, server: d.server(d.handler, log)})
	}
	return doors, nil
}

// serve answers at all doors until ctx ends, one of them breaks or the store is dead, then lets the requests in flight
// end, the operators' last: /readyz says meanwhile what is going on. From then on a second signal kills the process, because
// stop gives signals back their meaning.
func serve(ctx context.Context, stop func(), srv *server.Server, doors []door, dead <-chan struct{}, log *slog.Logger) error {
	broken := make(chan error, len(doors))
	for _, d := range doors {
		go func() { broken <- fmt.Errorf("serve %s: %w", d.name, d.server.Serve(d.listener)) }()
		log.Info("listening", "listener", d.name, "addr", d.listener.Addr().String())
	}
	log.Info("ready")
	var err error
	select {
	case <-ctx.Done():
		log.Info("draining")
	case err = <-broken:
	case <-dead:
		err = fmt.Errorf("serve: %w", store.ErrDead)
	}
	stop()
	srv.Drain()
	last := len(doors) - 1
	drain(doors[:last], log)
	drain(doors[last:], log)
	log.Info("stopped")
	return err
}

func drain(doors []door, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, d := range doors {
		wg.Go(func() {
			if err := d.server.Shutdown(ctx); err != nil {
				log.Warn("requests cut off", "listener", d.name, "error", err)
				_ = d.server.Close()
			}
		})
	}
	wg.Wait()
}
