package store

import "sync"

// keyCacheSize is how many keys are remembered. A subject with what it is found by takes some 400 bytes.
const keyCacheSize = 1 << 16

// keyCache remembers keys of acquires that were let through, without their balances, which are always read anew. Each
// commit makes SQLite's readers forget every page, so that to read a key costs them more than a debit costs the writer.
type keyCache struct {
	mu sync.Mutex
	// version is the writer's keys of all that is in found.
	version uint64
	found   map[string]subject
}

// get returns the key that was put under a credential's text at this version.
func (k *keyCache) get(presented string, version uint64) (subject, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.version != version {
		return subject{}, false
	}
	sub, ok := k.found[presented]
	return sub, ok
}

// put remembers a key that was read after version was loaded. A full cache starts again.
func (k *keyCache) put(presented string, version uint64, sub subject) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if version < k.version {
		return
	}
	if version > k.version || k.found == nil || len(k.found) >= keyCacheSize {
		k.version, k.found = version, make(map[string]subject)
	}
	k.found[presented] = sub
}
