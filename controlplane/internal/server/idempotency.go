package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

const (
	idempotencyKeyHeader = "Idempotency-Key"
	idempotencyKeyForm   = "1 to 200 visible ASCII characters"
)

// IdempotencyInput is the header of the operations that may be repeated safely.
type IdempotencyInput struct {
	Key string `header:"Idempotency-Key" maxLength:"200" pattern:"^[!-~]+$" patternDescription:"visible ASCII characters" doc:"Repeating a request under the same key does it once and answers as the first time."`
}

// repeatable is the input of an operation that may be repeated safely.
type repeatable interface {
	idempotent(ctx context.Context, operation string, body any) (*store.Idempotency, error)
}

// idempotent binds the request to the caller's idempotency key, or returns nil without one. Two bodies that
// mean the same make the same request. While another request under the key is being answered it returns an error.
func (in *IdempotencyInput) idempotent(ctx context.Context, operation string, body any) (*store.Idempotency, error) {
	if in.Key == "" {
		return nil, nil
	}
	meaning, err := json.Marshal([]any{operation, body})
	if err != nil {
		return nil, fmt.Errorf("hash request: %w", err)
	}
	idem := &store.Idempotency{Caller: callerOf(ctx).ID, Key: in.Key, RequestHash: sha256.Sum256(meaning)}
	if f, ok := ctx.Value(flightKey).(*flight); ok {
		if err := f.begin(idem); err != nil {
			return nil, err
		}
	}
	return idem, nil
}

// replay is the value of the Idempotency-Replayed header, which is sent only when it is "true".
func replay(replayed bool) string {
	if replayed {
		return "true"
	}
	return ""
}
