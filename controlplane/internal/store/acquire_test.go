package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

func TestAcquireVerdicts(t *testing.T) {
	t.Parallel()
	type key struct {
		account AccountStatus
		status  KeyStatus
		balance int64
	}
	good := key{AccountActive, KeyActive, 10}
	tests := []struct {
		name   string
		key    key
		change func(*api.AcquireRequest)
		want   api.Verdict
	}{
		{"granted", good, nil, api.Granted},
		{"granted all", key{AccountActive, KeyActive, 3}, nil, api.Granted},
		{"granted at no cost", good, func(r *api.AcquireRequest) { r.Cost, r.Want = 0, 0 }, api.Granted},
		{"no balance at no cost", key{AccountActive, KeyActive, 0}, func(r *api.AcquireRequest) { r.Cost, r.Want = 0, 0 }, api.Granted},
		{"short of credits", key{AccountActive, KeyActive, 2}, nil, api.InsufficientCredits},
		{"no credits", key{AccountActive, KeyActive, 0}, nil, api.InsufficientCredits},
		{"unknown digest", good, func(r *api.AcquireRequest) { r.Digests[0] = apikey.DigestOf("other").Hex() }, api.UnknownKey},
		{"stored digest", good, func(r *api.AcquireRequest) { r.Digests[0] = apikey.DigestOf("secret").Stored().Hex() }, api.UnknownKey},
		{"another scheme", good, func(r *api.AcquireRequest) { r.Scheme = "vexrail" }, api.UnknownKey},
		{"pair of digests", good, func(r *api.AcquireRequest) { r.Digests = append(r.Digests, r.Digests[0]) }, api.UnknownKey},
		{"inactive key", key{AccountActive, KeyInactive, 10}, nil, api.InactiveKey},
		{"revoked key", key{AccountActive, KeyRevoked, 10}, nil, api.InactiveKey},
		{"key before account", key{AccountDisabled, KeyInactive, 0}, nil, api.InactiveKey},
		{"pending account", key{AccountPending, KeyActive, 10}, nil, api.AccountNotActive},
		{"disabled account", key{AccountDisabled, KeyActive, 10}, nil, api.AccountNotActive},
		{"account before credit", key{AccountDisabled, KeyActive, 0}, nil, api.AccountNotActive},
		{
			"account even at no cost", key{AccountDisabled, KeyActive, 0},
			func(r *api.AcquireRequest) { r.Cost, r.Want = 0, 0 }, api.AccountNotActive,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			account := w.mustAccount(tt.key.account)
			key := w.mustKey(account.ID, "secret")
			w.setKey(key.ID, tt.key.status)
			if tt.key.balance > 0 {
				w.mustTopUp(account.ID, tt.key.balance)
			}
			req := acquireOf("secret", "op-1", 3)
			if tt.change != nil {
				tt.change(req)
			}
			want := api.AcquireReply{OpID: "op-1", Verdict: tt.want}
			left := tt.key.balance
			if tt.want == api.Granted {
				left -= req.Cost
				want.Lease = &api.Lease{Credits: req.Cost, Available: left, Account: account.ID, Key: key.ID}
			}
			if diff := cmp.Diff(want, w.mustAcquire(req)); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
			wallet := Wallet{AccountID: account.ID, Granted: tt.key.balance, Available: left, Spent: tt.key.balance - left}
			if got := w.mustWallet(account.ID); got != wallet {
				t.Errorf("wallet %+v, want %+v", got, wallet)
			}
			w.verify()
		})
	}
}

func (w *world) setKey(id string, status KeyStatus) {
	w.Helper()
	var err error
	if status == KeyRevoked {
		_, err = w.RevokeKey(context.Background(), id)
	} else {
		_, err = w.UpdateKey(context.Background(), id, KeyUpdate{Status: &status})
	}
	if err != nil {
		w.Fatal(err)
	}
}

// A recorded answer is given again whatever has changed since, and moves nothing.
func TestReplay(t *testing.T) {
	changes := map[string]func(w *world, account Account, key Key){
		"nothing changed": func(*world, Account, Key) {},
		"key revoked":     func(w *world, _ Account, k Key) { w.setKey(k.ID, KeyRevoked) },
		"account disabled": func(w *world, a Account, _ Key) {
			if _, err := w.UpdateAccount(context.Background(), a.ID, AccountUpdate{Status: ptr(AccountDisabled)}); err != nil {
				w.Fatal(err)
			}
		},
		"topped up": func(w *world, a Account, _ Key) { w.mustTopUp(a.ID, 1000) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			account := w.mustAccount(AccountActive)
			key := w.mustKey(account.ID, "secret")
			w.mustTopUp(account.ID, 5)
			granted := w.mustAcquire(acquireOf("secret", "op-1", 5))
			denied := w.mustAcquire(acquireOf("secret", "op-2", 5))
			if granted.Verdict != api.Granted || denied.Verdict != api.InsufficientCredits {
				t.Fatalf("first answers: %s, %s", granted.Verdict, denied.Verdict)
			}
			change(w, account, key)
			before := w.mustWallet(account.ID)
			if diff := cmp.Diff(granted, w.mustAcquire(acquireOf("secret", "op-1", 5))); diff != "" {
				t.Errorf("grant (-first +again):\n%s", diff)
			}
			if diff := cmp.Diff(denied, w.mustAcquire(acquireOf("secret", "op-2", 5))); diff != "" {
				t.Errorf("denial (-first +again):\n%s", diff)
			}
			if after := w.mustWallet(account.ID); after != before {
				t.Errorf("wallet %+v, want %+v", after, before)
			}
			w.verify()
		})
	}
}

func TestOpIDReused(t *testing.T) {
	changes := map[string]func(*api.AcquireRequest){
		"gate":          func(r *api.AcquireRequest) { r.Gate = "gate-2" },
		"boot":          func(r *api.AcquireRequest) { r.Boot = "boot-2" },
		"scheme":        func(r *api.AcquireRequest) { r.Scheme = "other" },
		"digest":        func(r *api.AcquireRequest) { r.Digests[0] = apikey.DigestOf("second").Hex() },
		"unknown key":   func(r *api.AcquireRequest) { r.Digests[0] = apikey.DigestOf("absent").Hex() },
		"more digests":  func(r *api.AcquireRequest) { r.Digests = append(r.Digests, r.Digests[0]) },
		"cost":          func(r *api.AcquireRequest) { r.Cost = 2 },
		"no cost":       func(r *api.AcquireRequest) { r.Cost, r.Want = 0, 0 },
		"too high cost": func(r *api.AcquireRequest) { r.Cost, r.Want = 1000, 1000 },
		"want":          func(r *api.AcquireRequest) { r.Want = 9 },
		"mode":          func(r *api.AcquireRequest) { r.Mode = "lease" },
	}
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustKey(account.ID, "second")
	w.mustTopUp(account.ID, 10)
	w.mustAcquire(acquireOf("secret", "op-1", 1))
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			req := acquireOf("secret", "op-1", 1)
			change(req)
			if reply, err := w.Acquire(t.Context(), req, charged); !errors.Is(err, ErrOpIDReused) {
				t.Errorf("got %+v, %v; want ErrOpIDReused", reply, err)
			}
		})
	}
	if got := w.mustWallet(account.ID).Available; got != 9 {
		t.Errorf("available %d, want 9", got)
	}
	w.verify()
}

// Fields that run into each other must not hash alike.
func TestRequestHashSeparatesFields(t *testing.T) {
	a, b := acquireOf("s", "op", 1), acquireOf("s", "op", 1)
	a.Gate, a.Boot = "ab", "c"
	b.Gate, b.Boot = "a", "bc"
	if hashRequest(a) == hashRequest(b) {
		t.Error("two requests share a hash")
	}
}

func TestAcquireBadInput(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 10)
	for name, change := range map[string]func(*api.AcquireRequest){
		"negative cost":    func(r *api.AcquireRequest) { r.Cost = -1 },
		"cost beyond 2^53": func(r *api.AcquireRequest) { r.Cost = 1 << 60 },
		"digest not hex":   func(r *api.AcquireRequest) { r.Digests[0] = "no" },
	} {
		req := acquireOf("secret", "op-1", 1)
		change(req)
		if reply, err := w.Acquire(t.Context(), req, charged); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %+v, %v; want ErrInvalid", name, reply, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Acquire(ctx, acquireOf("secret", "op-1", 1), charged); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	if got := w.mustWallet(account.ID).Available; got != 10 {
		t.Errorf("available %d, want 10", got)
	}
}

func TestConcurrentAcquirersGetExactlyTheBalance(t *testing.T) {
	t.Parallel()
	const callers, credits, attempts = 64, 1000, 1280
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, credits)
	var next, granted, denied atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= attempts; i = next.Add(1) {
				reply, err := w.Acquire(context.Background(), acquireOf("secret", opID(int(i)), 1), charged)
				switch {
				case err != nil:
					t.Error(err)
				case reply.Verdict == api.Granted:
					granted.Add(1)
				case reply.Verdict == api.InsufficientCredits:
					denied.Add(1)
				default:
					t.Errorf("verdict %s", reply.Verdict)
				}
			}
		})
	}
	wg.Wait()
	if granted.Load() != credits || denied.Load() != attempts-credits {
		t.Errorf("%d granted, %d denied; want %d, %d", granted.Load(), denied.Load(), credits, attempts-credits)
	}
	want := Wallet{AccountID: account.ID, Granted: credits, Spent: credits}
	if got := w.mustWallet(account.ID); got != want {
		t.Errorf("wallet %+v, want %+v", got, want)
	}
	w.verify()
}

// Many send the same operations at once: each is debited once and everybody gets the same answer.
func TestConcurrentReplays(t *testing.T) {
	const callers, operations = 32, 20
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 15)
	replies := make([][operations]api.AcquireReply, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range operations {
				reply, err := w.Acquire(context.Background(), acquireOf("secret", opID(i), 1), charged)
				if err != nil {
					t.Error(err)
				}
				replies[c][i] = reply
			}
		})
	}
	wg.Wait()
	for c := range callers {
		if diff := cmp.Diff(replies[0], replies[c]); diff != "" {
			t.Fatalf("caller %d (-first caller +this):\n%s", c, diff)
		}
	}
	if got := w.mustWallet(account.ID); got.Available != 0 || got.Spent != 15 {
		t.Errorf("wallet %+v, want 15 spent", got)
	}
	w.verify()
}

// The same operation twice in one batch: the second finds the first's record before it is committed.
func TestReplayWithinOneBatch(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 5)
	a, err := newAcquire(acquireOf("secret", "op-1", 2), charged)
	if err != nil {
		t.Fatal(err)
	}
	decide := func() *job {
		return &job{ctx: context.Background(), done: make(chan struct{}), run: func(tx *writeTx) error {
			_, err := a.decide(tx)
			return err
		}}
	}
	first, second := decide(), decide()
	w.writer.commit([]*job{first, second})
	if first.err != nil || !errors.Is(second.err, errRecorded) {
		t.Errorf("got %v, %v; want nil, errRecorded", first.err, second.err)
	}
	if got := w.mustWallet(account.ID).Available; got != 3 {
		t.Errorf("available %d, want 3", got)
	}
	w.verify()
}

// What needs no debit does not wait for the writer, so a flood of unknown keys cannot hold up the ledger.
func TestAnswersWithoutTheWriter(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	release, held := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = write(context.Background(), w.Store, func(*writeTx) (int, error) {
			close(held)
			<-release
			return 0, nil
		})
	}()
	<-held
	defer close(release)
	for i := range 50 {
		if reply := w.mustAcquire(acquireOf("absent", opID(i), 1)); reply.Verdict != api.UnknownKey {
			t.Errorf("unknown key: %s", reply.Verdict)
		}
		if reply := w.mustAcquire(acquireOf("secret", opID(i), 0)); reply.Verdict != api.Granted {
			t.Errorf("no cost: %s", reply.Verdict)
		}
	}
}
