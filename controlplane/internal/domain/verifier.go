package domain

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// checkTime bounds a check, all of its lookups and fetches together.
const checkTime = 5 * time.Second

// MaxResolvers bounds Options.Resolvers.
const MaxResolvers = 8

// Errors of New; test for them with errors.Is.
var (
	ErrResolvers = fmt.Errorf("expected up to %d resolvers, each once and with a port", MaxResolvers)
	ErrTestOnly  = errors.New("a test network is for tests alone")
)

// Options say how a Verifier looks for answers. The zero value asks the system's resolvers, the first that answers.
type Options struct {
	// Resolvers are asked each for itself, and a check under HTTP fetches once with each one's view. With two or more,
	// two have to agree on an answer.
	Resolvers []netip.AddrPort
	// Test relaxes the rules. New refuses it in every program but those that go test builds.
	Test *TestNetwork
}

// TestNetwork stands for the internet in tests.
type TestNetwork struct {
	// Allow may be connected to although they are not public.
	Allow []netip.AddrPort
	// HTTPPort and HTTPSPort are in the place of 80 and 443; 0 leaves the usual one.
	HTTPPort, HTTPSPort uint16
	// RootCAs are whom to trust; nil means the system's.
	RootCAs *x509.CertPool
	// Connect is told of every address that all rules have let pass and that is about to be connected to; its error
	// prevents that. Nil lets all pass.
	Connect func(netip.AddrPort) error
}

var usualPorts = map[string]uint16{"http": 80, "https": 443}

// Verifier checks challenges. It is safe for concurrent use.
type Verifier struct {
	resolvers []resolver
	test      *TestNetwork
}

// inTest is exchanged by the test of what New does elsewhere.
var inTest = testing.Testing

// New returns a Verifier, ErrTestOnly or ErrResolvers.
func New(o Options) (*Verifier, error) {
	if o.Test != nil && !inTest() {
		return nil, ErrTestOnly
	}
	v := &Verifier{test: o.Test}
	if len(o.Resolvers) > MaxResolvers {
		return nil, ErrResolvers
	}
	seen := map[netip.AddrPort]bool{}
	for _, r := range o.Resolvers {
		if !r.Addr().IsValid() || r.Port() == 0 || seen[r] {
			return nil, ErrResolvers
		}
		seen[r] = true
		v.resolvers = append(v.resolvers, resolver{r})
	}
	return v, nil
}

func (v *Verifier) port(scheme string) uint16 {
	if v.test != nil && scheme == "http" && v.test.HTTPPort != 0 {
		return v.test.HTTPPort
	}
	if v.test != nil && scheme == "https" && v.test.HTTPSPort != 0 {
		return v.test.HTTPSPort
	}
	return usualPorts[scheme]
}

func (v *Verifier) roots() *x509.CertPool {
	if v.test == nil {
		return nil
	}
	return v.test.RootCAs
}

// allows reports whether to may be connected to.
func (v *Verifier) allows(to netip.AddrPort) bool {
	if to.Port() != v.port("http") && to.Port() != v.port("https") {
		return false
	}
	return public(to.Addr()) || v.test != nil && slices.Contains(v.test.Allow, to)
}

// Challenge is what to look for.
type Challenge struct {
	// Domain is in the form that Normalize returns.
	Domain string
	Token  string
	Method Method
}

// View is what was found in one way with one resolver.
type View struct {
	Method Method
	// Resolver counts Options.Resolvers from 1; it is 0 for the system's.
	Resolver int
	Outcome  Outcome
	// Status is that of the last HTTP answer, 0 without one.
	Status int
}

// Result is what a check found.
type Result struct {
	Outcome Outcome
	// Method is the way in which the challenge was answered, or of which Outcome is.
	Method Method
	// Views are in the order of the methods, and of the resolvers within each.
	Views []View
}

// Check looks for the answer to c now, for checkTime at most. Nothing of what it reads but the outcome is returned.
func (v *Verifier) Check(ctx context.Context, c Challenge) Result {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	resolvers, first := v.resolvers, 1
	if len(resolvers) == 0 {
		resolvers, first = []resolver{systemResolver()}, 0
	}
	var wg sync.WaitGroup
	views := map[Method][]View{}
	for _, m := range []Method{DNS, HTTP} {
		if !c.Method.has(m) {
			continue
		}
		part := make([]View, len(resolvers))
		views[m] = part
		for i, r := range resolvers {
			wg.Go(func() {
				part[i] = View{Method: m, Resolver: first + i}
				if m == DNS {
					part[i].Outcome = checkRecord(ctx, r, c)
				} else {
					part[i].Outcome, part[i].Status = v.fetch(ctx, r, c)
				}
			})
		}
	}
	wg.Wait()
	return conclude(views)
}

// checkRecord looks for the TXT record that answers c.
func checkRecord(ctx context.Context, r resolver, c Challenge) Outcome {
	name, value := Record(c.Domain, c.Token)
	records, o := r.lookup(ctx, name, dnsmessage.TypeTXT)
	if o != "" {
		return o
	}
	for _, r := range records {
		if strings.TrimSpace(r.text) == value {
			return Verified
		}
	}
	return WrongValue
}

// conclude makes one outcome of all views: that of the way which answers the challenge, or else of the first way.
func conclude(views map[Method][]View) Result {
	var r Result
	for _, m := range []Method{DNS, HTTP} {
		if len(views[m]) == 0 {
			continue
		}
		r.Views = append(r.Views, views[m]...)
		if o := agree(views[m]); r.Method == "" || o == Verified && r.Outcome != Verified {
			r.Method, r.Outcome = m, o
		}
	}
	return r
}

// agree makes one outcome of the views that several resolvers give. Two of them have to find the answer, or the only
// one. If none does, the first that says something of the domain speaks for all.
func agree(views []View) Outcome {
	verified, outcome := 0, views[0].Outcome
	for _, v := range views {
		switch {
		case v.Outcome == Verified:
			verified++
		case v.Outcome.Conclusive() && !outcome.Conclusive():
			outcome = v.Outcome
		}
	}
	switch verified {
	case 0:
		return outcome
	case 1:
		if len(views) > 1 {
			return ResolversDisagree
		}
	}
	return Verified
}
