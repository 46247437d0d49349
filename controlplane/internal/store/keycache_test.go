package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
)

// found returns an acquire of a key that readers know, as it is before the writer decides.
func (w *world) found(secret string) *acquire {
	w.Helper()
	w.ops++
	a, err := newAcquire(acquireOf(secret, fmt.Sprintf("boot-1-found-%d", w.ops), 1), charged)
	must(w, err)
	a.terms, a.epoch = w.Store.terms, w.epoch
	sub, _, err := w.find(context.Background(), a, w.clock.Now().UnixMicro())
	must(w, err)
	if a.found != sub || sub.keyID == "" {
		w.Fatalf("found %+v, want a key that is let through", sub)
	}
	return a
}

// What changes between a reader's look and the writer's decision counts, and what a reader remembers is dropped for it.
func TestKeyChangesAfterItWasFound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*world, Account, Key)
		want   api.Verdict
	}{
		{"nothing", func(*world, Account, Key) {}, api.Granted},
		{"other credits", func(w *world, a Account, _ Key) { w.mustTopUp(a.ID, 5) }, api.Granted},
		{"another key", func(w *world, a Account, _ Key) { w.mustKey(a.ID, "another secret") }, api.Granted},
		{"revoked", func(w *world, _ Account, k Key) {
			_, err := w.RevokeKey(context.Background(), k.ID)
			must(w, err)
		}, api.InactiveKey},
		{"account disabled", func(w *world, a Account, _ Key) {
			status := AccountDisabled
			_, err := w.UpdateAccount(context.Background(), a.ID, AccountUpdate{Status: &status})
			must(w, err)
		}, api.AccountNotActive},
		{"rotated without overlap", func(w *world, _ Account, k Key) {
			w.mustRotate(k.ID, Rotation{Secret: newSecret("a newer secret")})
		}, api.InactiveKey},
		{"rotated, and the overlap over", func(w *world, _ Account, k Key) {
			w.mustRotate(k.ID, Rotation{Secret: newSecret("a newer secret"), Overlap: time.Minute})
			w.clock.Advance(time.Minute)
		}, api.InactiveKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			account := w.mustAccount(AccountActive)
			w.mustTopUp(account.ID, 10)
			key := w.mustKey(account.ID, "secret")
			w.found("secret") // so that it is remembered
			a := w.found("secret")
			tt.change(w, account, key)
			reply, err := write(context.Background(), w.Store, a.decide)
			if err != nil || reply.Verdict != tt.want {
				t.Errorf("decided %s, %v, want %s", reply.Verdict, err, tt.want)
			}
			w.ops++
			again, err := w.Acquire(context.Background(), acquireOf("secret", fmt.Sprintf("boot-1-again-%d", w.ops), 1), charged)
			if err != nil || again.Verdict != tt.want {
				t.Errorf("acquired %s, %v, want %s", again.Verdict, err, tt.want)
			}
			w.verify()
		})
	}
}

// A key that expires is refused though it is remembered.
func TestRememberedKeyExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustTopUp(account.ID, 10)
	in := newKey(account.ID, "secret")
	expires := w.clock.Now().Add(time.Minute)
	in.ExpiresAt = &expires
	_, _, err := w.CreateKey(context.Background(), in, nil)
	must(t, err)
	a := w.found("secret")
	w.clock.Advance(time.Minute)
	if reply, err := write(context.Background(), w.Store, a.decide); err != nil || reply.Verdict != api.InactiveKey {
		t.Errorf("decided %s, %v, want %s", reply.Verdict, err, api.InactiveKey)
	}
	if reply, err := w.Acquire(context.Background(), acquireOf("secret", "boot-1-late", 1), charged); err != nil || reply.Verdict != api.InactiveKey {
		t.Errorf("acquired %s, %v, want %s", reply.Verdict, err, api.InactiveKey)
	}
}

// A revocation and an acquire in one batch: the later one knows of the earlier one, whatever a reader saw.
func TestKeyChangesWithinABatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustTopUp(account.ID, 10)
	key := w.mustKey(account.ID, "secret")
	a := w.found("secret")
	var reply api.AcquireReply
	_, err := write(context.Background(), w.Store, func(tx *writeTx) (struct{}, error) {
		if _, err := tx.tx.Exec(`UPDATE keys SET status = 'revoked', revoked_us = 1 WHERE id = ?`, key.ID); err != nil {
			return struct{}{}, err
		}
		err := tx.change(api.ChangeKey, key.ID)
		if err == nil {
			reply, err = a.decide(tx)
		}
		return struct{}{}, err
	})
	if err != nil || reply.Verdict != api.InactiveKey {
		t.Errorf("decided %s, %v, want %s", reply.Verdict, err, api.InactiveKey)
	}
}

func TestKeyCache(t *testing.T) {
	t.Parallel()
	var k keyCache
	k.put("old", 3, subject{keyID: "1"})
	k.put("late", 2, subject{keyID: "2"})
	if sub, ok := k.get("old", 3); !ok || sub.keyID != "1" {
		t.Errorf("got %+v, %v, want what was put", sub, ok)
	}
	if _, ok := k.get("late", 3); ok {
		t.Error("what was read before a change is remembered after it")
	}
	if _, ok := k.get("old", 4); ok {
		t.Error("an old key is found at a new version")
	}
	for i := range keyCacheSize + 1 {
		k.put(fmt.Sprint(i), 4, subject{})
	}
	if n := len(k.found); n > keyCacheSize {
		t.Errorf("%d keys are remembered, want at most %d", n, keyCacheSize)
	}
}
