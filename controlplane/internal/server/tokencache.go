package server

import (
	"context"
	"sync"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// A gate's token is believed for tokenCacheTTL without a look at the database: that long may a token still
// work after the database stops knowing it. At most tokenCacheSize tokens are remembered.
const (
	tokenCacheTTL  = time.Second
	tokenCacheSize = 256
)

type tokenLookup func(context.Context, apikey.Digest) (store.Token, error)

// tokenCache remembers the tokens that were found. Unknown ones are looked up each time, so that a new token
// works at once and strangers cannot push known ones out.
type tokenCache struct {
	lookup tokenLookup
	now    func() time.Time

	mu    sync.RWMutex
	known map[apikey.Digest]knownToken
}

type knownToken struct {
	token   store.Token
	expires time.Time
}

func newTokenCache(lookup tokenLookup, now func() time.Time) *tokenCache {
	return &tokenCache{lookup: lookup, now: now, known: map[apikey.Digest]knownToken{}}
}

// find is a tokenLookup.
func (c *tokenCache) find(ctx context.Context, d apikey.Digest) (store.Token, error) {
	asked := c.now()
	c.mu.RLock()
	k, ok := c.known[d]
	c.mu.RUnlock()
	if ok && asked.Before(k.expires) {
		return k.token, nil
	}
	token, err := c.lookup(ctx, d)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		delete(c.known, d)
		return store.Token{}, err
	}
	if len(c.known) >= tokenCacheSize {
		clear(c.known)
	}
	c.known[d] = knownToken{token: token, expires: asked.Add(tokenCacheTTL)}
	return token, nil
}
