package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
)

// ErrStale means that what was to be changed is in another state than the caller has seen.
var ErrStale = errors.New("changed since it was read")

// Tag names a state of an account, a project, a key or a token: two states of one of them that differ have different tags.
// When it was last used is not part of its state: gates and callers change that all the time.
type Tag string

// Tag names the account's state.
func (a Account) Tag() Tag { return tagOf(a) }

// Tag names the project's state.
func (p Project) Tag() Tag { return tagOf(p) }

// Tag names the key's state.
func (k Key) Tag() Tag {
	k.LastUsedAt = nil
	return tagOf(k)
}

// Tag names the token's state.
func (t Token) Tag() Tag {
	t.LastUsedAt = nil
	return tagOf(t)
}

func tagOf(state any) Tag {
	// Every field is text, a time or made of those.
	text, _ := json.Marshal(state)
	sum := sha256.Sum256(text)
	return Tag(base64.RawURLEncoding.EncodeToString(sum[:16]))
}

type tagsKey struct{}

// IfTagged returns a context in which an account, project, key or token is changed only while its state is one of these;
// otherwise the change is ErrStale. An earlier outcome under an idempotency key is returned all the same: it was the caller's
// own change that made the state another.
func IfTagged(ctx context.Context, tags []Tag) context.Context {
	return context.WithValue(ctx, tagsKey{}, &tags)
}

// expect returns ErrStale if the present job may not change what is in this state. What one job has read no other changes
// before it has ended.
func (tx *writeTx) expect(state interface{ Tag() Tag }) error {
	if tx.tags == nil || slices.Contains(*tx.tags, state.Tag()) {
		return nil
	}
	return ErrStale
}
