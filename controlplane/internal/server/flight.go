package server

import (
	"context"
	"sync"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// flights are the requests under an idempotency key that are being answered. The store alone makes sure that a request is done
// once, also across a crash; flights tell a client that has sent it twice at once that the first is not answered yet, instead
// of an answer that lacks the secret which the first will bring.
type flights struct {
	mu sync.Mutex
	// hashes are those of the requests.
	hashes map[flightOf][32]byte
}

type flightOf struct{ caller, key string }

func newFlights() *flights { return &flights{hashes: map[flightOf][32]byte{}} }

// flight is one request, which may turn out to have an idempotency key.
type flight struct {
	all *flights
	of  flightOf
}

// follow returns the context of a request. The caller ends the flight once the request is answered.
func (f *flights) follow(ctx context.Context) (context.Context, *flight) {
	one := &flight{all: f}
	return context.WithValue(ctx, flightKey, one), one
}

// begin returns errInFlight if the request is being answered already, and store.ErrIdempotencyMismatch if another one under
// its key is.
func (f *flight) begin(i *store.Idempotency) error {
	of := flightOf{i.Caller, i.Key}
	f.all.mu.Lock()
	defer f.all.mu.Unlock()
	hash, busy := f.all.hashes[of]
	switch {
	case busy && hash != i.RequestHash:
		return store.ErrIdempotencyMismatch
	case busy:
		return errInFlight
	}
	f.of, f.all.hashes[of] = of, i.RequestHash
	return nil
}

// end is for every flight, begun or not.
func (f *flight) end() {
	if f.of == (flightOf{}) {
		return
	}
	f.all.mu.Lock()
	defer f.all.mu.Unlock()
	delete(f.all.hashes, f.of)
}
