package store

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// Whoever may read can ask for sums that take seconds, for as many at once as he likes: gates do not wait for them, nor does
// anybody to be known by a token.
func TestGatesDoNotWaitForLongReads(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	digest := apikey.DigestOf("token")
	_, _, err := w.CreateToken(WithActor(t.Context(), LocalActor), NewToken{Name: "n", Role: RoleGate, Digest: digest}, nil)
	must(t, err)
	for range runtime.GOMAXPROCS(0) {
		conn, err := w.readers.Conn(t.Context())
		must(t, err)
		defer func() { must(t, conn.Close()) }()
	}
	done := make(chan error, 1)
	go func() {
		ctx := context.Background()
		_, err := w.TokenByDigest(ctx, digest)
		if err == nil {
			_, err = w.Acquire(ctx, leaseOf("vm", "1", "secret", 1, 10), charged)
		}
		if err == nil {
			_, err = w.Sync(ctx, &api.SyncRequest{Gate: "gate-1", Boot: "vm", Epoch: w.epoch})
		}
		done <- err
	}()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("gates wait for readers")
	}
}
