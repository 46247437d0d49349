package server

import (
	"context"
	"sync"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// useEvery is how much later than the last recorded use of a token another one has to be to be worth a write.
const useEvery = time.Minute

// tokenUses gathers when tokens were used, so that a request costs no write.
type tokenUses struct {
	mu sync.RWMutex
	// recorded is the newest use of a token that is in the database or in waiting, by id.
	recorded map[string]time.Time
	waiting  map[string]time.Time
}

func newTokenUses() *tokenUses {
	return &tokenUses{recorded: map[string]time.Time{}, waiting: map[string]time.Time{}}
}

// note keeps in mind that t was used. It is called with tokens of the database alone, whose number bounds the maps.
func (u *tokenUses) note(t *store.Token, at time.Time) {
	u.mu.RLock()
	last, ok := u.recorded[t.ID]
	u.mu.RUnlock()
	if !ok && t.LastUsedAt != nil {
		last, ok = *t.LastUsedAt, true
	}
	if ok && at.Sub(last) < useEvery {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.recorded[t.ID], u.waiting[t.ID] = at, at
}

// take returns what is waiting, nil for nothing, and waits for more.
func (u *tokenUses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.waiting) == 0 {
		return nil
	}
	taken := u.waiting
	u.waiting = map[string]time.Time{}
	return taken
}

// RecordTokenUses writes down when tokens were last used, in one transaction and only if there is something new. It is
// to be called every minute or so: what was gathered and not recorded is lost with the process.
func (s *Server) RecordTokenUses(ctx context.Context) error {
	used := s.uses.take()
	if used == nil {
		return nil
	}
	return s.store.UseTokens(ctx, used)
}
