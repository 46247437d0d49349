package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// closedBy is longer than any lease of a test stays open without its gate.
const closedBy = time.Hour

func closing(balance ClosingBalance) Closing { return Closing{balance, "contract ended", "token_1"} }

func TestCloseAccount(t *testing.T) {
	for _, status := range []AccountStatus{AccountPending, AccountActive, AccountDisabled} {
		t.Run(string(status), func(t *testing.T) {
			w := newWorld(t)
			account := w.mustAccount(status)
			w.mustTopUp(account.ID, 10)
			w.clock.Advance(time.Minute)
			if _, _, err := w.CloseAccount(t.Context(), account.ID, closing(RefuseBalance), nil); !errors.Is(err, ErrBalanceLeft) {
				t.Errorf("with credits: got %v, want ErrBalanceLeft", err)
			}
			idem := &Idempotency{Caller: "token_1", Key: "k"}
			got, replayed, err := w.CloseAccount(t.Context(), account.ID, closing(WriteOffBalance), idem)
			want := account
			want.Status, want.UpdatedAt, want.ClosedAt, want.CloseReason = AccountClosed, w.clock.Now(), w.clock.Now(), "contract ended"
			if err != nil || replayed || got != want {
				t.Errorf("got %+v, replayed %v, %v; want %+v", got, replayed, err, want)
			}
			if again, replayed, err := w.CloseAccount(t.Context(), account.ID, closing(WriteOffBalance), idem); err != nil || !replayed || again != want {
				t.Errorf("again: got %+v, replayed %v, %v; want %+v", again, replayed, err, want)
			}
			if read, err := w.Account(t.Context(), account.ID); err != nil || read != want {
				t.Errorf("read %+v, %v; want %+v", read, err, want)
			}
			if got := w.mustWallet(account.ID); got != (Wallet{AccountID: account.ID}) {
				t.Errorf("wallet %+v, want nothing", got)
			}
			entries, _, err := w.Entries(t.Context(), account.ID, Page{Limit: 1})
			if err != nil || entries[0].Kind != "adjustment" || entries[0].Reason != "contract ended" || entries[0].Actor != "token_1" {
				t.Errorf("entries %+v, %v", entries, err)
			}
			w.verify()
		})
	}
}

func TestClosedAccountDoesNotChange(t *testing.T) {
	w := newWorld(t)
	site := w.mustSite()
	account := site.AccountID
	key, pair := w.mustKey(account, "secret"), w.mustPair(site.ID, "1")
	proven, asked := w.mustProject(account), w.mustProject(account)
	w.mustProve(proven.ID, tokenA)
	w.mustChallenge(asked.ID, tokenB)
	if _, _, err := w.CloseAccount(t.Context(), account, closing(RefuseBalance), nil); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for name, do := range map[string]func() error{
		"closed again": func() error { return first(w.CloseAccount(ctx, account, closing(WriteOffBalance), nil)) },
		"opened":       func() error { return sole(w.UpdateAccount(ctx, account, AccountUpdate{Status: ptr(AccountActive)})) },
		"renamed":      func() error { return sole(w.UpdateAccount(ctx, account, AccountUpdate{Name: ptr("n")})) },
		"top-up":       func() error { return first(w.Store.TopUp(ctx, TopUp{account, 1, "", "x"}, nil)) },
		"adjustment":   func() error { return w.adjust(account, 1) },
		"refund":       func() error { return w.refund(account, 1, "") },
		"project": func() error {
			return first(w.CreateProject(ctx, NewProject{AccountID: account, Name: "n", Domain: "a.example"}, nil))
		},
		"project renamed": func() error { return sole(w.UpdateProject(ctx, site.ID, ProjectUpdate{Name: ptr("n")})) },
		"domain":          func() error { return sole(w.UpdateProject(ctx, site.ID, ProjectUpdate{Domain: ptr("b.example")})) },
		"attestation":     func() error { return sole(w.AttestDomain(ctx, asked.ID, "r", "x")) },
		"challenge": func() error {
			return sole(w.StartChallenge(ctx, site.ID, NewChallenge{Method: "dns", Token: tokenA, Life: week}))
		},
		"look": func() error { return sole(w.MissChallenge(ctx, asked.ID, tokenB, "no_record")) },
		"answer": func() error {
			return sole(w.ProveDomain(ctx, asked.ID, Answered{Token: tokenB, By: "dns", Outcome: "verified"}))
		},
		"re-check": func() error {
			return sole(w.RecordRecheck(ctx, proven.ID, Recheck{Token: tokenA, Outcome: "verified"}))
		},
		"token": func() error {
			return first(w.CreateToken(ctx, NewToken{Name: "n", Role: RoleAccount, AccountID: account, Digest: apikey.DigestOf("t")}, nil))
		},
		"key renamed": func() error { return sole(w.UpdateKey(ctx, key.ID, KeyUpdate{Name: ptr("n")})) },
		"key":         func() error { return first(w.CreateKey(ctx, newKey(account, "x"), nil)) },
		"pair":        func() error { return first(w.CreateKey(ctx, newPair(site.ID, "x"), nil)) },
		"rotation":    func() error { return first(w.RotateKey(ctx, key.ID, Rotation{Secret: newSecret("y")}, nil)) },
		"replacement": func() error {
			return first(w.ReplaceKey(ctx, pair.ID, Replacement{newSecret("y"), newPublishable("z")}, nil))
		},
	} {
		if err := do(); !errors.Is(err, ErrAccountClosed) {
			t.Errorf("%s: got %v, want ErrAccountClosed", name, err)
		}
	}
	// What is taken away can be taken away.
	for name, err := range map[string]error{
		"revoke": sole(w.RevokeKey(ctx, key.ID)), "lapse": sole(w.LapseDomain(ctx, site.ID, "r", "x")),
		"proof gone": sole(w.RecordRecheck(ctx, proven.ID, Recheck{Token: tokenA, Outcome: "nxdomain", Lapse: "gone"})),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, in := range map[string]Closing{
		"no reason": {WriteOffBalance, "", "x"}, "nobody": {WriteOffBalance, "r", ""}, "unknown choice": {"keep", "r", "x"},
	} {
		if _, _, err := w.CloseAccount(ctx, w.mustAccount(AccountActive).ID, in, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if _, _, err := w.CloseAccount(ctx, "acct_absent", closing(WriteOffBalance), nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: got %v, want ErrNotFound", err)
	}
}

// What gates have used of a closed account's leases is paid from what those hold, and whatever they give back, early or
// late, under either policy, is taken back at once.
func TestCloseAccountWithLeases(t *testing.T) {
	for _, policy := range []ledger.Policy{ledger.Refund, ledger.Charge} {
		t.Run(string(policy), func(t *testing.T) {
			w := newLeaseWorld(t, LeaseOptions{Unreported: policy})
			inTime, late, lost := w.lease("a", "1", 1, 100).Lease, w.lease("b", "1", 1, 100).Lease, w.lease("c", "1", 1, 100).Lease
			w.mustAcquire(acquireOf("secret", "a-strict", 7))
			cursor := w.syncOf("a", 0).Cursor
			if _, _, err := w.CloseAccount(t.Context(), w.account.ID, closing(RefuseBalance), nil); !errors.Is(err, ErrBalanceLeft) {
				t.Errorf("with leases: got %v, want ErrBalanceLeft", err)
			}
			if _, _, err := w.CloseAccount(t.Context(), w.account.ID, closing(WriteOffBalance), nil); err != nil {
				t.Fatal(err)
			}
			w.mustHave(0, 300, 7, 0)
			if got := w.verdict("genrex", charged, "secret"); got != api.AccountNotActive {
				t.Errorf("a request of the account: %s", got)
			}
			reply := w.syncOf("a", cursor)
			if len(reply.Leases) != 1 || reply.Leases[0].Action != api.LeaseDrain || len(reply.Changes) != 1 ||
				reply.Changes[0].Kind != api.ChangeAccount || reply.Changes[0].ID != w.account.ID {
				t.Errorf("told %+v", reply)
			}
			w.mustReport("a", inTime, 40, true, 40, api.LeaseDrop)
			w.mustHave(0, 200, 47, 0)
			req := api.SyncRequest{Gate: "gate-1", Boot: "a", Void: []string{"a-strict"}}
			if _, err := w.Sync(t.Context(), &req); err != nil {
				t.Fatal(err)
			}
			w.mustHave(0, 200, 40, 0)
			w.verify()

			w.clock.Advance(closedBy)
			if n, err := w.CloseExpired(t.Context(), 10); n != 2 || err != nil {
				t.Fatalf("closed %d, %v", n, err)
			}
			w.mustReport("b", late, 30, true, 30, api.LeaseDrop)
			if policy == ledger.Refund {
				// There is nothing left to pay it from.
				w.mustHave(0, 0, 40, 30)
			} else {
				w.mustHave(0, 0, 40+30+100, 0)
			}
			w.mustReport("c", lost, 0, true, 0, api.LeaseDrop)
			if policy == ledger.Charge {
				w.mustHave(0, 0, 70, 0)
			}
			w.verify()
		})
	}
}

func (w *leaseWorld) syncOf(boot string, cursor int64) api.SyncReply {
	w.Helper()
	reply, err := w.Sync(context.Background(), &api.SyncRequest{Gate: "gate-1", Boot: boot, Cursor: cursor})
	if err != nil {
		w.Fatal(err)
	}
	return reply
}
