package store

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
)

// What another process does to a wallet is seen in the next batch, although the writer remembers the wallet.
func TestWalletsThatOthersMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 5)
	other, err := Open(t.Context(), Options{Path: w.path, Now: w.clock.Now, Actor: tester, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	acquire := func(s *Store, op string, cost, available int64, want api.Verdict) {
		t.Helper()
		reply, err := s.Acquire(t.Context(), acquireOf("secret", op, cost), charged)
		if err != nil || reply.Verdict != want || want == api.Granted && reply.Lease.Available != available {
			t.Errorf("%s: %+v, %v; want %s and %d available", op, reply, err, want, available)
		}
	}
	acquire(w.Store, "boot-1-a", 4, 1, api.Granted)
	acquire(w.Store, "boot-1-b", 4, 0, api.InsufficientCredits)
	if _, _, err := other.TopUp(t.Context(), TopUp{AccountID: account.ID, Amount: 9, Actor: "tester"}, nil); err != nil {
		t.Fatal(err)
	}
	acquire(w.Store, "boot-1-c", 4, 6, api.Granted)
	acquire(other, "boot-1-d", 6, 0, api.Granted)
	acquire(w.Store, "boot-1-e", 1, 0, api.InsufficientCredits)
	w.verify()
}

// A remembered wallet that is not what its row is moves nothing: the batch is run again from the rows.
func TestRememberedWalletsProveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 50)
	w.mustAcquire(acquireOf("secret", "boot-1-a", 4))
	remembered := w.writer.wallets.known[account.ID]
	if remembered.recorded.Available != 46 {
		t.Fatalf("remembered %+v", remembered)
	}
	for i, change := range []func(*wallet){
		func(r *wallet) { r.recorded.Available, r.recorded.Spent = 50, 0 },
		func(r *wallet) { r.recordedEntry = 1 },
	} {
		wrong := remembered
		change(&wrong)
		w.writer.wallets.known[account.ID] = wrong
		if got := w.mustAcquire(acquireOf("secret", fmt.Sprintf("boot-1-b%d", i), 1)).Lease.Available; got != 45-int64(i) {
			t.Errorf("available %d, want %d", got, 45-i)
		}
		// One more, so that it is remembered again.
		w.mustTopUp(account.ID, 1)
		w.mustAcquire(acquireOf("secret", fmt.Sprintf("boot-1-c%d", i), 1))
		remembered = w.writer.wallets.known[account.ID]
	}
	w.verify()
}

func TestWalletCacheIsBounded(t *testing.T) {
	var c walletCache
	c.at(1)
	for i := range walletCacheSize {
		c.keep(map[string]*wallet{fmt.Sprint(i): {}})
	}
	if c.at(1); len(c.known) != 0 {
		t.Errorf("%d wallets are remembered", len(c.known))
	}
}
