package store

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// ErrIdempotencyMismatch means that an idempotency key was used before for another request.
var ErrIdempotencyMismatch = errors.New("idempotency key was used for another request")

// Idempotency makes a call repeatable: the first call under (Caller, Key) takes effect and is recorded in the
// same transaction; a later one with the same RequestHash gets the first outcome and changes nothing, and with
// another RequestHash ErrIdempotencyMismatch. RequestHash must cover the operation, its target and its body.
type Idempotency struct {
	// Caller scopes Key; both are 1 to MaxNameLen bytes.
	Caller      string
	Key         string
	RequestHash [32]byte
}

// check accepts nil: no idempotency asked for.
func (i *Idempotency) check() error {
	if i == nil {
		return nil
	}
	return errors.Join(checkText("idempotency caller", i.Caller, 1, MaxNameLen),
		checkText("idempotency key", i.Key, 1, MaxNameLen))
}

// outcome is what a call under an idempotency key did, now or earlier.
type outcome[T any] struct {
	result   T
	replayed bool
}

// once returns the earlier outcome recorded under idem, read back by its id, or else runs do and records the id
// it returns in the same transaction. A failed do leaves no record.
func once[T any](
	tx *writeTx, idem *Idempotency, kind string, replay func(id string) (T, error), do func() (T, string, error),
) (outcome[T], error) {
	if idem == nil {
		result, _, err := do()
		return outcome[T]{result: result}, err
	}
	row, err := tx.Queries.Idempotency(tx.ctx, queries.IdempotencyParams{Caller: idem.Caller, IdemKey: idem.Key})
	switch {
	case err == nil && (row.Kind != kind || [32]byte(row.RequestHash) != idem.RequestHash):
		return outcome[T]{}, ErrIdempotencyMismatch
	case err == nil:
		result, err := replay(row.ResultID)
		return outcome[T]{result: result, replayed: true}, err
	case !errors.Is(err, sql.ErrNoRows):
		return outcome[T]{}, fmt.Errorf("read idempotency key: %w", err)
	}
	result, id, err := do()
	if err != nil {
		return outcome[T]{}, err
	}
	err = tx.InsertIdempotency(tx.ctx, queries.InsertIdempotencyParams{
		Caller: idem.Caller, IdemKey: idem.Key, RequestHash: idem.RequestHash[:], Kind: kind, ResultID: id,
		CreatedUs: tx.now,
	})
	if err != nil {
		return outcome[T]{}, fmt.Errorf("record idempotency key: %w", err)
	}
	return outcome[T]{result: result}, nil
}
