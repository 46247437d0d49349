package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"
)

// ErrUnreachable means that no whole answer came: whether the request was done is not known, unless it was a read.
// ErrAnswer means that an answer came which is no control plane's.
var (
	ErrUnreachable = errors.New("the control plane could not be reached")
	ErrAnswer      = errors.New("the answer is not a control plane's")
)

// Between two attempts lies half to all of firstPause, twice that, and so on up to maxPause. A server that asks for more
// than maxWait is not waited for.
const (
	firstPause   = 200 * time.Millisecond
	maxPause     = 5 * time.Second
	maxDoublings = 10
	maxWait      = 30 * time.Second
)

// do sends the call until it has an answer that stands, and decodes that into out.
func (c *Client) do(ctx context.Context, call *call, out any) error {
	for try := 1; ; try++ {
		err := c.send(ctx, call, out)
		if err == nil {
			return nil
		}
		wait, again := pauseAfter(call, err, try)
		if ctx.Err() != nil || !again || call.begun || try >= c.tries {
			return c.explained(ctx, call, err)
		}
		if waited := c.pause(ctx, wait); waited != nil {
			return fmt.Errorf("%s: %w: %w", call.operation(), waited, c.explained(ctx, call, err))
		}
	}
}

// pauseAfter says whether a call that has failed may be sent again, and how long after.
func pauseAfter(call *call, err error, try int) (time.Duration, bool) {
	pause := min(maxPause, firstPause<<min(try-1, maxDoublings))
	pause = pause/2 + rand.N(pause/2)
	p, refused := errors.AsType[*Problem](err)
	switch {
	case errors.Is(err, ErrAnswer):
		return 0, false
	case !refused:
		return pause, call.safe() || neverSent(err)
	case !call.safe() || p.RetryAfter > maxWait:
		return 0, false
	}
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return max(pause, p.RetryAfter), true
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return pause, true
	case http.StatusConflict:
		return max(pause, p.RetryAfter), p.Code == codeInFlight
	}
	return 0, false
}

// codeInFlight is the code of a request whose Idempotency-Key is being worked on: an attempt of ours that was cut off.
const codeInFlight = "idempotency_key_in_flight"

// neverSent reports whether there was no connection: then nothing was done.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// explained says which operation has failed. Of an address it shows what the caller gave to New and no query, in which
// somebody may have put a secret.
func (c *Client) explained(ctx context.Context, call *call, err error) error {
	var refused *Problem
	if errors.As(err, &refused) || errors.Is(err, ErrAnswer) {
		return fmt.Errorf("%s: %w", call.operation(), err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", call.operation(), ctx.Err())
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("%s at %s: %w: %w", call.operation(), c.base, ErrUnreachable, err)
}
