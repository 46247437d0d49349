package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

func (w *world) adjust(accountID string, amount int64) error {
	w.Helper()
	_, _, err := w.Adjust(context.Background(), Adjustment{accountID, amount, "correction", "tester"}, nil)
	return err
}

func (w *world) refund(accountID string, amount int64, entryID string) error {
	w.Helper()
	_, _, err := w.RefundCredits(context.Background(), Refund{accountID, amount, entryID, "goodwill", "tester"}, nil)
	return err
}

// spentBy is the entry by which an operation spent credits.
func (w *world) spentBy(accountID, op string) Entry {
	w.Helper()
	entries, _, err := w.Entries(context.Background(), accountID, Page{Limit: MaxPageLimit})
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range entries {
		if e.OpID == op && e.Bucket == "spent" && e.Delta > 0 {
			return e
		}
	}
	w.Fatalf("%s spent nothing", op)
	return Entry{}
}

func TestAdjustAndRefund(t *testing.T) {
	w, account, _ := syncWorld(t)
	w.mustAcquire(acquireOf("secret", "boot-1-a", 6))
	idem := &Idempotency{Caller: "token_1", Key: "k 1", RequestHash: [32]byte{1}}
	entry := w.spentBy(account.ID, "boot-1-a")
	refund := Refund{account.ID, 4, entry.ID, "it failed", "token_1"}
	got, replayed, err := w.RefundCredits(t.Context(), refund, idem)
	want := Transaction{
		ID: got.ID, AccountID: account.ID, Kind: "refund", Amount: 4, Available: 8, Reason: "it failed", Actor: "token_1",
		IdempotencyKey: "k 1", RefundedEntry: entry.ID, CreatedAt: w.clock.Now(),
	}
	if err != nil || replayed || got != want {
		t.Errorf("refund: got %+v, replayed %v, %v; want %+v", got, replayed, err, want)
	}
	if err := w.adjust(account.ID, -8); err != nil {
		t.Error(err)
	}
	if err := w.adjust(account.ID, 3); err != nil {
		t.Error(err)
	}
	if again, replayed, err := w.RefundCredits(t.Context(), refund, idem); again != want || !replayed || err != nil {
		t.Errorf("again: got %+v, replayed %v, %v; want %+v", again, replayed, err, want)
	}
	down := &Idempotency{Caller: "token_1", Key: "down", RequestHash: [32]byte{2}}
	in := Adjustment{account.ID, -1, "r", "token_1"}
	first, _, err := w.Adjust(t.Context(), in, down)
	again, replayed, err2 := w.Adjust(t.Context(), in, down)
	if err := errors.Join(err, err2); err != nil || again != first || !replayed || first.Amount != -1 || first.Available != 2 {
		t.Errorf("adjustment %+v, again %+v, replayed %v, %v", first, again, replayed, err)
	}
	if got, want := w.mustWallet(account.ID), (Wallet{account.ID, 4, 2, 0, 2, 0}); got != want {
		t.Errorf("wallet %+v, want %+v", got, want)
	}
	entries, _, err := w.Entries(t.Context(), account.ID, Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Kind, Bucket, Reason, Actor, Key, Of string
		Delta                                int64
	}
	var rows []row
	for _, e := range entries[:len(entries)-4] {
		rows = append(rows, row{e.Kind, e.Bucket, e.Reason, e.Actor, e.IdempotencyKey, e.RefundedEntry, e.Delta})
	}
	wantRows := []row{
		{"adjustment", "funding", "r", "token_1", "down", "", 1}, {"adjustment", "available", "r", "token_1", "down", "", -1},
		{"adjustment", "available", "correction", "tester", "", "", 3}, {"adjustment", "funding", "correction", "tester", "", "", -3},
		{"adjustment", "funding", "correction", "tester", "", "", 8}, {"adjustment", "available", "correction", "tester", "", "", -8},
		{"refund", "available", "it failed", "token_1", "k 1", entry.ID, 4}, {"refund", "spent", "it failed", "token_1", "k 1", entry.ID, -4},
	}
	if diff := cmp.Diff(wantRows, rows); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	w.verify()
}

func TestAdjustAndRefundRefuse(t *testing.T) {
	w, account, _ := syncWorld(t)
	other := w.mustAccount(AccountActive)
	w.mustAcquire(acquireOf("secret", "boot-1-a", 3))
	w.mustAcquire(acquireOf("secret", "boot-1-b", 2))
	w.mustAcquire(leaseOf("boot-1", "c", "secret", 1, 2))
	w.mustSync(void("boot-1-b"))
	a, voided := w.spentBy(account.ID, "boot-1-a"), w.spentBy(account.ID, "boot-1-b")
	entries, _, _ := w.Entries(t.Context(), account.ID, Page{Limit: 100})
	before := w.mustWallet(account.ID)
	adjust := func(in Adjustment) func() error {
		return func() error { _, _, err := w.Adjust(t.Context(), in, nil); return err }
	}
	refund := func(in Refund) func() error {
		return func() error { _, _, err := w.RefundCredits(t.Context(), in, nil); return err }
	}
	for name, tt := range map[string]struct {
		do   func() error
		want error
	}{
		"adjusted by nothing":          {adjust(Adjustment{account.ID, 0, "r", "x"}), ErrInvalid},
		"adjusted beyond 2^53-1":       {adjust(Adjustment{account.ID, 1 << 53, "r", "x"}), ErrInvalid},
		"adjusted beyond -2^53+1":      {adjust(Adjustment{account.ID, -1 << 53, "r", "x"}), ErrInvalid},
		"adjusted above the limit":     {adjust(Adjustment{account.ID, api.MaxCredits, "r", "x"}), ledger.ErrBalanceLimit},
		"adjusted without reason":      {adjust(Adjustment{account.ID, 1, "", "x"}), ErrInvalid},
		"adjusted by nobody":           {adjust(Adjustment{account.ID, 1, "r", ""}), ErrInvalid},
		"taking more than available":   {adjust(Adjustment{account.ID, -before.Available - 1, "r", "x"}), ledger.ErrInsufficientCredits},
		"adjusted account unknown":     {adjust(Adjustment{"acct_absent", 1, "r", "x"}), ErrNotFound},
		"refund of nothing":            {refund(Refund{account.ID, 0, "", "r", "x"}), ErrInvalid},
		"refund without reason":        {refund(Refund{account.ID, 1, "", "", "x"}), ErrInvalid},
		"refund of a long name":        {refund(Refund{account.ID, 1, strings.Repeat("e", MaxNameLen+1), "r", "x"}), ErrInvalid},
		"refund of more than is spent": {refund(Refund{account.ID, before.Spent + 1, "", "r", "x"}), ledger.ErrInsufficientCredits},
		"refund of more than entry":    {refund(Refund{account.ID, 4, a.ID, "r", "x"}), ErrRefundExceeds},
		"refund of a voided debit":     {refund(Refund{account.ID, 1, voided.ID, "r", "x"}), ErrNotSpent},
		"refund of a top-up":           {refund(Refund{account.ID, 1, entries[len(entries)-1].ID, "r", "x"}), ErrNotSpent},
		"refund of an absent entry":    {refund(Refund{account.ID, 1, "entry_absent", "r", "x"}), ErrNotSpent},
		"refund of another account's":  {refund(Refund{other.ID, 1, a.ID, "r", "x"}), ErrNotSpent},
		"refunded account unknown":     {refund(Refund{"acct_absent", 1, "", "r", "x"}), ErrNotFound},
	} {
		if err := tt.do(); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
	if got := w.mustWallet(account.ID); got != before {
		t.Errorf("wallet %+v after refusals, want %+v", got, before)
	}
	// In parts an entry is refunded up to what it spent.
	for _, amount := range []int64{2, 1} {
		if err := w.refund(account.ID, amount, a.ID); err != nil {
			t.Error(err)
		}
	}
	w.mustAcquire(acquireOf("secret", "boot-1-d", 3))
	if err := w.refund(account.ID, 1, a.ID); !errors.Is(err, ErrRefundExceeds) {
		t.Errorf("refunded twice: got %v, want ErrRefundExceeds", err)
	}
	w.verify()
}

// People and a gate may give the same credits back; the gate's report is settled all the same, and nobody gets more than
// was spent.
func TestRefundedBeforeTheVoid(t *testing.T) {
	w, account, _ := syncWorld(t)
	w.mustAcquire(acquireOf("secret", "boot-1-a", 6))
	w.mustAcquire(acquireOf("secret", "boot-1-b", 2))
	if err := w.refund(account.ID, 5, ""); err != nil {
		t.Fatal(err)
	}
	w.mustSync(void("boot-1-a"))
	want := Wallet{AccountID: account.ID, Granted: 10, Available: 10}
	if got := w.mustWallet(account.ID); got != want {
		t.Errorf("wallet %+v, want %+v", got, want)
	}
	w.mustSync(void("boot-1-b", "boot-1-a"))
	if got := w.mustWallet(account.ID); got != want {
		t.Errorf("wallet %+v after a void of nothing, want %+v", got, want)
	}
	report, err := w.Verify(t.Context())
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %v, %v", report.Problems, err)
	}
}

func TestRefundedBeforeTheLateReport(t *testing.T) {
	w := newLeaseWorld(t, LeaseOptions{Unreported: ledger.Charge})
	l := w.lease("vm", "1", 1, 50).Lease
	w.clock.Advance(closedBy)
	if n, err := w.CloseExpired(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("closed %d, %v", n, err)
	}
	if err := w.refund(w.account.ID, 30, ""); err != nil {
		t.Fatal(err)
	}
	w.mustReport("vm", l, 10, true, 10, api.LeaseDrop)
	w.mustHave(1000, 0, 0, 0)
	w.verify()
}

// What people have refunded of a debit by its entry the gate does not give back again, whatever else is spent; nor does it
// give back again what they have refunded of forfeited credits, nor they what it has.
func TestNothingIsGivenBackTwice(t *testing.T) {
	w := newLeaseWorld(t, LeaseOptions{Unreported: ledger.Charge})
	w.mustAcquire(acquireOf("secret", "boot-1-other", 100))
	w.mustAcquire(acquireOf("secret", "boot-1-a", 6))
	must(t, w.refund(w.account.ID, 4, w.spentBy(w.account.ID, "boot-1-a").ID))
	w.mustSync(void("boot-1-a"))
	w.mustHave(900, 0, 100, 0)

	early, late := w.lease("vm", "1", 1, 50).Lease, w.lease("vm", "2", 1, 50).Lease
	w.clock.Advance(closedBy)
	if n, err := w.CloseExpired(t.Context(), 10); n != 2 || err != nil {
		t.Fatalf("closed %d, %v", n, err)
	}
	must(t, w.refund(w.account.ID, 30, w.spentBy(w.account.ID, "vm-1").ID))
	w.mustReport("vm", early, 10, true, 10, api.LeaseDrop)
	w.mustHave(840, 0, 160, 0)
	forfeited := w.spentBy(w.account.ID, "vm-2").ID
	w.mustReport("vm", late, 10, true, 10, api.LeaseDrop)
	w.mustHave(880, 0, 120, 0)
	if err := w.refund(w.account.ID, 11, forfeited); !errors.Is(err, ErrRefundExceeds) {
		t.Errorf("refund of what was given back: %v", err)
	}
	must(t, w.refund(w.account.ID, 10, forfeited))
	w.mustHave(890, 0, 110, 0)
	w.verify()

	w.clock.Advance(8 * 24 * time.Hour)
	must(t, w.Prune(t.Context()))
	if err := w.refund(w.account.ID, 1, forfeited); !errors.Is(err, ErrNotSpent) {
		t.Errorf("refund of what nobody knows of: %v", err)
	}
}
