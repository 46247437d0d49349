// Package client asks a control plane for what its admin REST offers: one method for each operation of /openapi.json, with
// plain structs for what is sent and what comes back. It owns how a request is made, repeated and refused; what is
// allowed, the server says.
//
// A method that the server refuses returns a *Problem. Requests that are safe to repeat are repeated with pauses that grow:
// reads, and changes that carry an Idempotency-Key, which every method sends that has one, made up once per call.
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// Secret is a key or a token. No formatter prints more of it than its end; Reveal does.
type Secret = apikey.Secret

// Client asks one control plane with one token. It is safe for concurrent use.
type Client struct {
	base  string
	token Secret
	http  *http.Client
	tries int
	// timeout is of one attempt.
	timeout time.Duration
	pause   func(ctx context.Context, d time.Duration) error
	agent   string
}

// Options say what is not as usual about a client; the zero value is a usual one.
type Options struct {
	// Transport sends the requests; nil is http.DefaultTransport.
	Transport http.RoundTripper
	// Timeout bounds one attempt, its answer's body included; 0 is a minute.
	Timeout time.Duration
	// Tries is how often a request is sent at most; 0 is 5. With 1 nothing is repeated.
	Tries int
	// Pause waits between two attempts, until d is over or ctx ends; nil sleeps.
	Pause func(ctx context.Context, d time.Duration) error
	// UserAgent is sent with every request; "" is tollgate-client.
	UserAgent string
}

const (
	defaultTimeout = time.Minute
	defaultTries   = 5
	maxTokenLen    = 256
)

// ErrBadBase and ErrBadToken are what New refuses. The errors that wrap them repeat nothing of a token.
var (
	ErrBadBase  = errors.New("expected the root of a control plane's admin listener, such as http://127.0.0.1:8090")
	ErrBadToken = errors.New("expected a token: up to 256 visible ASCII characters")
)

// New returns a client of the control plane at base.
func New(base, token string, o Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("new client: base: %w", ErrBadBase)
	}
	if token == "" || len(token) > maxTokenLen || strings.ContainsFunc(token, func(r rune) bool { return r < '!' || r > '~' }) {
		return nil, fmt.Errorf("new client: token: %w", ErrBadToken)
	}
	c := &Client{
		base: strings.TrimSuffix(u.String(), "/"), token: Secret(token), tries: cmp.Or(o.Tries, defaultTries), pause: o.Pause,
		timeout: cmp.Or(o.Timeout, defaultTimeout), agent: cmp.Or(o.UserAgent, "tollgate-client"),
		http: &http.Client{
			Transport: o.Transport,
			// The token is for base alone, and the server sends nobody elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if c.pause == nil {
		c.pause = sleep
	}
	return c, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
