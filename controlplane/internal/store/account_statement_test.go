package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"pgregory.net/rapid"
)

// booked is what an account's balances were after something was done to it.
type booked struct {
	at       time.Time
	balances ledger.Balances
}

func (w *world) booked(accountID string) booked {
	w.Helper()
	b := w.mustWallet(accountID)
	return booked{w.clock.Now(), ledger.Balances{
		Funding: ledger.Credits(-b.Granted), Available: ledger.Credits(b.Available), Reserved: ledger.Credits(b.Reserved),
		Spent: ledger.Credits(b.Spent), WrittenOff: ledger.Credits(b.WrittenOff),
	}}
}

// before is the newest of the books before a time.
func before(books []booked, at *time.Time) ledger.Balances {
	for i := len(books) - 1; i >= 0; i-- {
		if at == nil || books[i].at.Before(*at) {
			return books[i].balances
		}
	}
	return ledger.Balances{}
}

// Opening balances and movements add up to closing balances, which are the wallet's at that time, on every page and over all
// of them, whatever the clock did and whatever is moved meanwhile.
func TestStatementsAddUp(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{Unreported: ledger.Charge})
	rapid.Check(t, func(rt *rapid.T) {
		account := w.mustAccount(AccountActive).ID
		w.mustKey(account, "secret of "+account)
		var books []booked
		ops := 0
		do := func() {
			ops++
			op := fmt.Sprintf("%s-%d", account, ops)
			amount := rapid.Int64Range(1, 50).Draw(rt, "amount")
			switch rapid.SampledFrom([]string{"top up", "adjust", "refund", "debit", "void", "lease", "unpaid", "close"}).Draw(rt, "what") {
			case "top up":
				w.mustTopUp(account, amount)
			case "adjust":
				_ = w.adjust(account, -amount)
			case "refund":
				_ = w.refund(account, amount, "")
			case "debit":
				w.mustAcquire(acquireOf("secret of "+account, "boot-1-"+op, amount))
			case "void":
				w.mustSync(void(fmt.Sprintf("boot-1-%s-%d", account, ops-1)))
			case "lease":
				w.mustAcquire(leaseOf("vm", op, "secret of "+account, 1, amount))
			case "unpaid":
				w.mustSync(unpaid("boot-1-"+op, amount, "genrex", "secret of "+account))
			case "close":
				w.clock.Advance(closedBy)
				if _, err := w.CloseExpired(t.Context(), 100); err != nil {
					rt.Fatal(err)
				}
			}
			if b := w.booked(account); b.balances != before(books, nil) {
				books = append(books, b)
			}
		}
		for range rapid.IntRange(0, 15).Draw(rt, "operations") {
			w.clock.Advance(time.Duration(rapid.SampledFrom([]int{0, 1, 60, -90}).Draw(rt, "seconds")) * time.Second)
			do()
		}
		q := StatementQuery{AccountID: account}
		for _, at := range []**time.Time{&q.From, &q.To} {
			if rapid.Bool().Draw(rt, "bounded") {
				*at = ptr(w.clock.Now().Add(time.Duration(rapid.IntRange(-300, 90).Draw(rt, "at")) * time.Second))
			}
		}
		if q.From != nil && q.To != nil && q.To.Before(*q.From) {
			q.From, q.To = q.To, q.From
		}
		want := [2]ledger.Balances{{}, before(books, q.To)}
		if q.From != nil {
			want[0] = before(books, q.From)
		}
		q.Limit = rapid.SampledFrom([]int{1, 2, 3, 100}).Draw(rt, "limit")
		var got [2]ledger.Balances
		for pages := 0; ; pages++ {
			s, err := w.Statement(t.Context(), q)
			if err != nil {
				rt.Fatal(err)
			}
			if pages == 0 {
				got[1] = s.Closing
			} else if s.Closing != got[0] {
				rt.Fatalf("page %d closes with %+v, the one before opened with %+v", pages, s.Closing, got[0])
			}
			balance := s.Closing
			for _, m := range s.Movements {
				if m.Balances != balance {
					rt.Fatalf("%+v, want balances %+v", m, balance)
				}
				balance = minus(balance, m.Deltas)
			}
			if got[0] = s.Opening; got[0] != balance || len(s.Movements) > q.Limit {
				rt.Fatalf("page %d of %d movements opens with %+v, its movements with %+v", pages, len(s.Movements), got[0], balance)
			}
			if s.Next == nil {
				break
			}
			q.After = s.Next
			do()
		}
		if got != want {
			rt.Fatalf("%v to %v: got %+v, want %+v of %+v", q.From, q.To, got, want, books)
		}
	})
	w.verify()
}

func TestStatementTellsWho(t *testing.T) {
	w, account, key := syncWorld(t)
	w.mustAcquire(acquireOf("secret", "boot-1-a", 6))
	idem := &Idempotency{Caller: "token_1", Key: "k 1"}
	if _, _, err := w.RefundCredits(t.Context(), Refund{account.ID, 4, w.spentBy(account.ID, "boot-1-a").ID, "it failed", "token_1"}, idem); err != nil {
		t.Fatal(err)
	}
	got, err := w.Statement(t.Context(), StatementQuery{AccountID: account.ID, Limit: 2})
	if err != nil || got.Next == nil {
		t.Fatalf("%+v, %v", got, err)
	}
	spent := ledger.Balances{Funding: -10, Available: 4, Spent: 6}
	want := Statement{
		Opening: ledger.Balances{Funding: -10, Available: 10}, Closing: ledger.Balances{Funding: -10, Available: 8, Spent: 2},
		Movements: []Movement{{
			Kind: "refund", Reason: "it failed", Actor: "token_1", IdempotencyKey: "k 1",
			RefundedEntry: w.spentBy(account.ID, "boot-1-a").ID, Deltas: ledger.Balances{Available: 4, Spent: -4},
			Balances: ledger.Balances{Funding: -10, Available: 8, Spent: 2}, CreatedAt: w.clock.Now(),
		}, {
			Kind: "debit", KeyID: key.ID, OpID: "boot-1-a", Deltas: ledger.Balances{Available: -6, Spent: 6}, Balances: spent,
			CreatedAt: w.clock.Now(),
		}},
		Next: got.Next,
	}
	for i := range want.Movements {
		want.Movements[i].TransactionID = got.Movements[i].TransactionID
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statement (-want +got):\n%s", diff)
	}
}

// A mark names a row by its number: whoever makes one up learns nothing of other accounts.
func TestBadStatements(t *testing.T) {
	w, account, _ := syncWorld(t)
	other := w.mustAccount(AccountActive)
	w.mustTopUp(other.ID, 10)
	whole, err := w.Statement(t.Context(), StatementQuery{AccountID: account.ID, Limit: 1})
	if err != nil || whole.Next != nil {
		t.Fatalf("%+v, %v", whole, err)
	}
	b := ledger.Balances{Funding: -10, Available: 10}
	for name, tt := range map[string]struct {
		q    StatementQuery
		want error
	}{
		"limit":             {StatementQuery{AccountID: account.ID}, ErrInvalid},
		"limit above":       {StatementQuery{AccountID: account.ID, Limit: MaxPageLimit + 1}, ErrInvalid},
		"unknown account":   {StatementQuery{AccountID: "acct_absent", Limit: 1}, ErrNotFound},
		"another's entry":   {StatementQuery{AccountID: account.ID, Limit: 1, After: &StatementMark{4, b}}, ErrInvalid},
		"no entry":          {StatementQuery{AccountID: account.ID, Limit: 1, After: &StatementMark{99, b}}, ErrInvalid},
		"other balances":    {StatementQuery{AccountID: account.ID, Limit: 1, After: &StatementMark{2, ledger.Balances{Funding: -9, Available: 9}}}, ErrInvalid},
		"no balances":       {StatementQuery{AccountID: account.ID, Limit: 1, After: &StatementMark{2, ledger.Balances{Available: 10}}}, ErrInvalid},
		"balances too high": {StatementQuery{AccountID: account.ID, Limit: 1, After: &StatementMark{2, ledger.Balances{Funding: -api.MaxCredits - 1, Available: api.MaxCredits + 1}}}, ErrInvalid},
	} {
		if got, err := w.Statement(t.Context(), tt.q); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %+v, %v, want %v", name, got, err, tt.want)
		}
	}
	empty, err := w.Statement(t.Context(), StatementQuery{AccountID: w.mustAccount(AccountPending).ID, Limit: 1, To: ptr(w.clock.Now())})
	if diff := cmp.Diff(Statement{}, empty); diff != "" || err != nil {
		t.Errorf("of nothing: %v (-want +got):\n%s", err, diff)
	}
}
