package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// syncWorld has one account with ten credits and the genrex key "secret".
func syncWorld(t *testing.T) (*world, Account, Key) {
	t.Helper()
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	key := w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, 10)
	return w, account, key
}

// The outcomes of one operation in every order of what can happen to it. An acquire costs 4 of 10 credits, and
// "big", at a cost of 40, is denied.
func TestSettlements(t *testing.T) {
	t.Parallel()
	type want struct {
		verdict api.Verdict
		Wallet
	}
	paid := Wallet{Granted: 10, Available: 6, Spent: 4}
	free := Wallet{Granted: 10, Available: 10}
	owed := Wallet{Granted: 10, Available: 10, WrittenOff: 4}
	tests := []struct {
		name  string
		steps []string
		want  want
	}{
		{"acquire", []string{"acquire"}, want{api.Granted, paid}},
		{"void after", []string{"acquire", "void"}, want{api.Voided, free}},
		{"void before", []string{"void", "acquire"}, want{api.Voided, free}},
		{"void twice after", []string{"acquire", "void", "void"}, want{api.Voided, free}},
		{"void twice before", []string{"void", "void", "acquire"}, want{api.Voided, free}},
		{"void before and after", []string{"void", "acquire", "void", "acquire"}, want{api.Voided, free}},
		{"void of a denial", []string{"big", "void"}, want{"", free}},
		{"unpaid after", []string{"acquire", "unpaid"}, want{api.Granted, paid}},
		{"unpaid before", []string{"unpaid", "acquire"}, want{api.Voided, owed}},
		{"unpaid twice", []string{"unpaid", "unpaid", "acquire"}, want{api.Voided, owed}},
		{"unpaid after a denial", []string{"big", "unpaid"}, want{"", owed}},
		{"unpaid twice after a denial", []string{"big", "unpaid", "unpaid"}, want{"", owed}},
		{"void, then unpaid", []string{"void", "unpaid", "acquire"}, want{api.Voided, free}},
		{"unpaid, then void", []string{"unpaid", "void", "acquire"}, want{api.Voided, owed}},
		{"paid, reported unpaid, then void", []string{"acquire", "unpaid", "void"}, want{api.Voided, free}},
		{"void, reported unpaid after", []string{"acquire", "void", "unpaid"}, want{api.Voided, free}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, account, _ := syncWorld(t)
			for _, step := range tt.steps {
				switch step {
				case "acquire":
					w.mustAcquire(acquireOf("secret", "boot-1-op", 4))
				case "big":
					w.mustAcquire(acquireOf("secret", "boot-1-op", 40))
				case "void":
					w.mustSync(void("boot-1-op"))
				case "unpaid":
					w.mustSync(unpaid("boot-1-op", 4, "genrex", "secret"))
				}
			}
			tt.want.AccountID = account.ID
			if got := w.mustWallet(account.ID); got != tt.want.Wallet {
				t.Errorf("wallet %+v, want %+v", got, tt.want.Wallet)
			}
			if tt.want.verdict != "" {
				if got := w.mustAcquire(acquireOf("secret", "boot-1-op", 4)).Verdict; got != tt.want.verdict {
					t.Errorf("late acquire: %s, want %s", got, tt.want.verdict)
				}
			}
			w.verify()
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			w.reopen()
			if got := w.mustWallet(account.ID); got != tt.want.Wallet {
				t.Errorf("wallet after a restart %+v, want %+v", got, tt.want.Wallet)
			}
		})
	}
}

func TestSettlementEntries(t *testing.T) {
	w, account, key := syncWorld(t)
	w.mustAcquire(acquireOf("secret", "boot-1-a", 4))
	w.mustSync(void("boot-1-a"))
	w.mustSync(unpaid("boot-1-b", 7, "genrex", "secret"))
	got, _, err := w.Entries(t.Context(), account.ID, Page{Limit: 3})
	of := func(kind, op, bucket string, delta int64) Entry {
		return Entry{AccountID: account.ID, Kind: kind, Bucket: bucket, Delta: delta, KeyID: key.ID, OpID: op, CreatedAt: w.clock.Now()}
	}
	want := []Entry{
		of("unpaid", "boot-1-b", "written_off", 7), of("void", "boot-1-a", "available", 4), of("void", "boot-1-a", "spent", -4),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Entry{}, "ID", "TransactionID")); diff != "" || err != nil {
		t.Errorf("entries, %v (-want +got):\n%s", err, diff)
	}
}

// A tombstone knows no body, so it answers any; a voided grant knows its own and refuses others.
func TestLateAcquireOfAnotherBody(t *testing.T) {
	w, account, _ := syncWorld(t)
	w.mustAcquire(acquireOf("secret", "boot-1-granted", 4))
	w.mustSync(void("boot-1-granted", "boot-1-unseen"))
	w.mustSync(unpaid("boot-1-unpaid", 1, "genrex", "secret"))
	for _, op := range []string{"boot-1-unseen", "boot-1-unpaid"} {
		for name, req := range map[string]*api.AcquireRequest{
			"another cost": acquireOf("secret", op, 9), "no cost": acquireOf("secret", op, 0),
			"unknown key": acquireOf("absent", op, 4), "too much": acquireOf("secret", op, 1000),
		} {
			if got := w.mustAcquire(req).Verdict; got != api.Voided {
				t.Errorf("%s, %s: %s, want voided", op, name, got)
			}
		}
	}
	if reply, err := w.Acquire(t.Context(), acquireOf("secret", "boot-1-granted", 9), charged); !errors.Is(err, ErrOpIDReused) {
		t.Errorf("another body of a voided grant: %+v, %v; want ErrOpIDReused", reply, err)
	}
	if got := w.mustWallet(account.ID); got.Available != 10 || got.WrittenOff != 1 {
		t.Errorf("wallet %+v, want 10 available, 1 written off", got)
	}
	w.verify()
}

// Who is written off: whoever's key it is, whatever its state; nobody for what is no key.
func TestUnpaidOfWhom(t *testing.T) {
	w := newWorld(t)
	site, other := w.mustSite(), w.mustSite()
	w.setKey(w.mustPair(site.ID, "revoked").ID, KeyRevoked)
	rotated := w.mustPair(site.ID, "1")
	w.mustRotate(rotated.ID, Rotation{Secret: newSecret("sk_2")})
	w.mustPair(other.ID, "other")
	tests := []struct {
		name   string
		cost   int64
		halves []string
		want   int64
	}{
		{"pair", 5, []string{"pk_1", "sk_2"}, 5},
		{"revoked pair", 7, []string{"pk_revoked", "sk_revoked"}, 7},
		{"rotated-out half", 11, []string{"pk_1", "sk_1"}, 11},
		{"no cost", 0, []string{"pk_1", "sk_2"}, 0},
		{"halves of one account's pairs", 3, []string{"pk_1", "sk_revoked"}, 0},
		{"halves of two accounts' pairs", 3, []string{"pk_1", "sk_other"}, 0},
		{"unknown half", 3, []string{"pk_absent", "sk_2"}, 0},
		{"one half", 3, []string{"sk_2"}, 0},
		{"no digest", 3, nil, 0},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := w.mustWallet(site.AccountID).WrittenOff
			op := fmt.Sprintf("boot-1-%d", i)
			w.mustSync(unpaid(op, tt.cost, "vexrail", tt.halves...))
			if got := w.mustWallet(site.AccountID).WrittenOff - before; got != tt.want {
				t.Errorf("%d written off, want %d", got, tt.want)
			}
			req := acquireOf("", op, 0)
			req.Scheme, req.Digests = "vexrail", digestsOf("pk_1", "sk_2")
			if got := w.mustAcquire(req).Verdict; got != api.Voided {
				t.Errorf("late acquire: %s, want voided", got)
			}
		})
	}
	if got := w.mustWallet(other.AccountID).WrittenOff; got != 0 {
		t.Errorf("%d written off for the other account, want 0", got)
	}
	w.verify()
}

// A memo at its limit must not hold up what the gate reports with it.
func TestUnpaidAtTheLimit(t *testing.T) {
	w, account, _ := syncWorld(t)
	for i, cost := range []int64{api.MaxCredits - 3, 5, 5} {
		w.mustSync(unpaid(fmt.Sprintf("boot-1-%d", i), cost, "genrex", "secret"))
	}
	if got := w.mustWallet(account.ID).WrittenOff; got != int64(ledger.MaxCredits) {
		t.Errorf("%d written off, want the limit", got)
	}
	w.verify()
}

// One bad report undoes the whole sync, and it names no digest.
func TestSyncIsAllOrNothing(t *testing.T) {
	w, account, _ := syncWorld(t)
	w.mustAcquire(acquireOf("secret", "boot-1-op", 4))
	good := unpaid("boot-1-other", 1, "genrex", "secret").Unpaid[0]
	for name, change := range map[string]func(*api.Unpaid){
		"negative cost":    func(u *api.Unpaid) { u.Cost = -1 },
		"cost beyond 2^53": func(u *api.Unpaid) { u.Cost = 1 << 53 },
		"digest not hex":   func(u *api.Unpaid) { u.Digests = []string{"no"} },
	} {
		bad := good
		bad.OpID = "boot-1-bad"
		change(&bad)
		reply, err := w.Sync(t.Context(), &api.SyncRequest{Void: []string{"boot-1-op"}, Unpaid: []api.Unpaid{good, bad}})
		if !errors.Is(err, ErrInvalid) || reply.Acked != nil {
			t.Errorf("%s: got %+v, %v; want ErrInvalid", name, reply, err)
		}
	}
	// A wallet that lost what was spent: the void is refused, and the write-off with it.
	if _, err := w.writer.db.ExecContext(t.Context(), "UPDATE wallets SET spent = 0, available = 10"); err != nil {
		t.Fatal(err)
	}
	if reply, err := w.Sync(t.Context(), &api.SyncRequest{Unpaid: []api.Unpaid{good}, Void: []string{"boot-1-op"}}); err == nil {
		t.Errorf("void of credits that are gone: %+v", reply)
	}
	if got := w.mustWallet(account.ID); got.WrittenOff != 0 || got.Available != 10 {
		t.Errorf("wallet %+v after refused syncs", got)
	}
	if _, err := w.writer.db.ExecContext(t.Context(), "UPDATE wallets SET spent = 4, available = 6"); err != nil {
		t.Fatal(err)
	}
	w.verify()
}

// One sync is one commit, however many operations it settles.
func TestLargestSync(t *testing.T) {
	w, account, _ := syncWorld(t)
	w.mustTopUp(account.ID, api.MaxSyncOps)
	req := &api.SyncRequest{}
	for i := range api.MaxSyncOps {
		op := fmt.Sprintf("boot-1-%d", i)
		if i%5 == 0 {
			w.mustAcquire(acquireOf("secret", op, 1))
		}
		if i%2 == 0 {
			req.Void = append(req.Void, op)
		} else {
			req.Unpaid = append(req.Unpaid, unpaid(op, 1, "genrex", "secret").Unpaid...)
		}
	}
	w.mustSync(req)
	w.mustSync(req)
	// Of every ten operations the first is voided after its grant, the sixth paid, and four go unpaid.
	want := Wallet{AccountID: account.ID, Granted: 510, Available: 460, Spent: 50, WrittenOff: 200}
	if got := w.mustWallet(account.ID); got != want {
		t.Errorf("wallet %+v, want %+v", got, want)
	}
	w.verify()
}

func TestEmptySync(t *testing.T) {
	w := newWorld(t)
	reply, err := w.Sync(t.Context(), &api.SyncRequest{Gate: "g", Boot: "b"})
	if err != nil || reply.Acked == nil || len(reply.Acked) != 0 {
		t.Errorf("got %#v, %v; want an empty list", reply, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Sync(ctx, void("boot-1-op")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// Acquires, voids and unpaid reports of the same operations race. However each ends, it is debited, or voided, or
// written off, and never two of them; an acquire that comes last is told which.
func TestConcurrentSettlements(t *testing.T) {
	t.Parallel()
	const operations = 300
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustKey(account.ID, "secret")
	w.mustTopUp(account.ID, operations)
	name := func(i int) string { return fmt.Sprintf("boot-1-%d", i) }
	tasks := []func(i int) error{
		func(i int) error {
			_, err := w.Acquire(context.Background(), acquireOf("secret", name(i), 1), charged)
			return err
		},
		func(i int) error { _, err := w.Sync(context.Background(), void(name(i))); return err },
		func(i int) error {
			_, err := w.Sync(context.Background(), unpaid(name(i), 1, "genrex", "secret"))
			return err
		},
	}
	// Which of the reports an operation gets: neither, a void, an unpaid report, or both.
	var wg sync.WaitGroup
	for worker := range 3 * len(tasks) {
		wg.Go(func() {
			order := rand.New(rand.NewPCG(1, uint64(worker))).Perm(operations)
			kind := worker % len(tasks)
			for _, i := range order {
				if kind > 0 && i&kind == 0 {
					continue
				}
				if err := tasks[kind](i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var spent, writtenOff int64
	for i := range operations {
		verdict := w.mustAcquire(acquireOf("secret", name(i), 1)).Verdict
		switch {
		case verdict == api.Granted && i&1 == 0:
			spent++
		case verdict == api.Voided && i&3 != 0:
		default:
			t.Errorf("operation %d: %s", i, verdict)
		}
	}
	row := w.readers.QueryRowContext(t.Context(), "SELECT count(*) FROM operations WHERE verdict = 'unpaid'")
	if err := row.Scan(&writtenOff); err != nil {
		t.Fatal(err)
	}
	want := Wallet{AccountID: account.ID, Granted: operations, Available: operations - spent, Spent: spent, WrittenOff: writtenOff}
	if got := w.mustWallet(account.ID); got != want {
		t.Errorf("wallet %+v, want %+v", got, want)
	}
	w.verify()
}
