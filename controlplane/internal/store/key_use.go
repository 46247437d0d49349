package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
)

// maxKeyUses bounds how many keys' uses wait to be written. What does not fit is as rough as the rest: the next use of
// the key counts.
const maxKeyUses = 1 << 16

// usesAtOnce is how many of them one transaction writes, so that no gate waits for long.
const usesAtOnce = 500

// keyUses remember when keys were used last, until that is written. A process that dies takes them with it.
type keyUses struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (u *keyUses) note(keyID string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = make(map[string]time.Time)
	}
	if _, known := u.last[keyID]; known || len(u.last) < maxKeyUses {
		u.last[keyID] = at
	}
}

// take returns what is remembered, and forgets it.
func (u *keyUses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.last
	u.last = nil
	return all
}

// used notes the keys of which some requests were let through. A gate may name any key; there need be no such.
func (s *Store) used(rows []api.UsageRow) {
	at := s.now()
	for i := range rows {
		if r := &rows[i]; r.Key != "" && r.Requests > r.Refused {
			s.uses.note(r.Key, at)
		}
	}
}

// NoteUses records when keys were used last, of what acquires and usage batches have told since it was called last. The
// janitor calls it once a minute, so that no request costs a write.
func (s *Store) NoteUses(ctx context.Context) error {
	if s.writer == nil {
		return ErrReadOnly
	}
	uses := s.uses.take()
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(uses)), usesAtOnce) {
		_, err := write(ctx, s, func(tx *writeTx) (struct{}, error) {
			for _, id := range ids {
				if _, err := tx.exec(stmtUsed, id, uses[id].Truncate(time.Second).UnixMicro()); err != nil {
					return struct{}{}, err
				}
			}
			return struct{}{}, nil
		})
		if err != nil {
			return fmt.Errorf("note uses of keys: %w", err)
		}
	}
	return nil
}

// noteLast is for the end: what it cannot write any more is rough anyway.
func (s *Store) noteLast() { _ = s.NoteUses(context.Background()) }
