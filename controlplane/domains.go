package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/domain"
	"github.com/tollgate/tollgate/controlplane/internal/server"
)

// domainFlags say how domains are verified. There is none that relaxes what may be connected to.
type domainFlags struct {
	DNSResolver   []string      `name:"dns-resolver" env:"TOLLGATE_DNS_RESOLVER" placeholder:"IP[:PORT]" help:"A resolver to ask when domains are verified; may be repeated or separated by commas. With two or more, two have to agree. By default the system's, the first that answers."`
	DomainRecheck time.Duration `env:"TOLLGATE_DOMAIN_RECHECK" default:"720h" placeholder:"TIME" help:"How often the proof of a verified domain is looked at again, 1h to 8760h (${default})."`
}

// Validate is called by kong.
func (f *domainFlags) Validate() error {
	_, err := f.verifier()
	if f.DomainRecheck < time.Hour || f.DomainRecheck > 365*24*time.Hour {
		err = errors.Join(err, errors.New("--domain-recheck: expected 1h to 8760h"))
	}
	return err
}

func (f *domainFlags) verifier() (*domain.Verifier, error) {
	var o domain.Options
	for _, text := range f.DNSResolver {
		at, err := netip.ParseAddrPort(text)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(text); err != nil {
				return nil, fmt.Errorf("--dns-resolver: expected an IP address, with or without a port, got %q", text)
			}
			at = netip.AddrPortFrom(ip, 53)
		}
		o.Resolvers = append(o.Resolvers, at)
	}
	v, err := domain.New(o)
	if err != nil {
		return nil, fmt.Errorf("--dns-resolver: %w", err)
	}
	return v, nil
}

func (f *domainFlags) schedule() domain.Schedule { return domain.Schedule{Interval: f.DomainRecheck} }

// recheckEvery is how often proofs that are due are looked for; most times there are none.
const recheckEvery = time.Minute

// startRechecks has srv look at the proofs of domains that are due, now and every minute, until the function that it
// returns is called or ctx ends.
func startRechecks(ctx context.Context, srv *server.Server, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(recheckEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			n, err := srv.RecheckDomains(ctx)
			switch {
			case err != nil && ctx.Err() == nil:
				log.Error("re-check domains", "error", err)
			case n > 0:
				// There may be more.
				continue
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}
