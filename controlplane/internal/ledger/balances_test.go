package ledger

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestApply(t *testing.T) {
	ten := Balances{Funding: -10, Available: 10}
	must := func(txn Transaction, err error) Transaction {
		if err != nil {
			t.Fatal(err)
		}
		return txn
	}
	raw := func(p ...Posting) Transaction { return Transaction{Kind: KindDebit, Amount: 1, Postings: p} }
	tests := []struct {
		name string
		from Balances
		txn  Transaction
		want Balances
		err  error
	}{
		{"first top-up", Balances{}, must(TopUp(10)), ten, nil},
		{"debit", ten, must(Capture(4)), Balances{Funding: -10, Available: 6, Spent: 4}, nil},
		{"debit of all", ten, must(Capture(10)), Balances{Funding: -10, Spent: 10}, nil},
		{"debit beyond all", ten, must(Capture(11)), Balances{}, ErrInsufficientCredits},
		{"debit of an empty account", Balances{}, must(Capture(1)), Balances{}, ErrInsufficientCredits},
		{"largest debit", ten, must(Capture(MaxCredits)), Balances{}, ErrInsufficientCredits},
		{"top-up to the limit", Balances{}, must(TopUp(MaxCredits)), Balances{Funding: -MaxCredits, Available: MaxCredits}, nil},
		{"top-up beyond the limit", ten, must(TopUp(MaxCredits - 9)), Balances{}, ErrBalanceLimit},
		{
			"granted counts what is spent", Balances{Funding: -MaxCredits, Spent: MaxCredits},
			must(TopUp(1)), Balances{}, ErrBalanceLimit,
		},
		{"taking back more than granted", ten, raw(Posting{Available, -11}, Posting{Funding, 11}), Balances{}, ErrInsufficientCredits},
		{"more than was reserved", ten, raw(Posting{Reserved, -1}, Posting{Spent, 1}), Balances{}, ErrInsufficientCredits},
		{"void", Balances{Funding: -10, Available: 6, Spent: 4}, must(Void(4)), ten, nil},
		{"void of more than was spent", Balances{Funding: -10, Available: 6, Spent: 4}, must(Void(5)), Balances{}, ErrInsufficientCredits},
		{"write-off of an empty account", Balances{}, must(WriteOff(4)), Balances{WrittenOff: 4}, nil},
		{"write-off moves no credits", ten, must(WriteOff(4)), Balances{Funding: -10, Available: 10, WrittenOff: 4}, nil},
		{"write-off to the limit", Balances{WrittenOff: 1}, must(WriteOff(MaxCredits - 1)), Balances{WrittenOff: MaxCredits}, nil},
		{"write-off beyond the limit", Balances{WrittenOff: 2}, must(WriteOff(MaxCredits - 1)), Balances{}, ErrBalanceLimit},
		{"refund", Balances{Funding: -10, Available: 6, Spent: 4}, must(RefundSpent(4)), ten, nil},
		{"refund of more than was spent", Balances{Funding: -10, Available: 6, Spent: 4}, must(RefundSpent(5)), Balances{}, ErrInsufficientCredits},
		{"adjustment upwards", ten, must(Adjust(5)), Balances{Funding: -15, Available: 15}, nil},
		{"adjustment beyond the limit", ten, must(Adjust(MaxCredits - 9)), Balances{}, ErrBalanceLimit},
		{"adjustment to nothing", ten, must(Adjust(-10)), Balances{}, nil},
		{"adjustment below nothing", ten, must(Adjust(-11)), Balances{}, ErrInsufficientCredits},
		{"adjustment of what is reserved", Balances{Funding: -10, Available: 3, Reserved: 7}, must(Adjust(-4)), Balances{}, ErrInsufficientCredits},
		{"unbalanced", ten, raw(Posting{Available, -1}, Posting{Spent, 2}), Balances{}, ErrUnbalanced},
		{"memo is kept", Balances{WrittenOff: 3}, must(TopUp(1)), Balances{Funding: -1, Available: 1, WrittenOff: 3}, nil},
		{"broken sum", Balances{Available: 10}, must(Capture(1)), Balances{}, ErrBroken},
		{"negative bucket", Balances{Funding: -1, Available: 2, Spent: -1}, must(Capture(1)), Balances{}, ErrBroken},
		{"bucket beyond the limit", Balances{Funding: -MaxCredits - 1, Available: MaxCredits + 1}, must(Capture(1)), Balances{}, ErrBroken},
		{"negative memo", Balances{WrittenOff: -1}, must(TopUp(1)), Balances{}, ErrBroken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.from.Apply(tt.txn)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestOf(t *testing.T) {
	b := Balances{Funding: -6, Available: 1, Reserved: 2, Spent: 3, WrittenOff: 4}
	for bucket, want := range map[Bucket]Credits{Funding: -6, Available: 1, Reserved: 2, Spent: 3, WrittenOff: 4} {
		if got := b.Of(bucket); got != want {
			t.Errorf("%s: got %d, want %d", bucket, got, want)
		}
	}
}

// Whatever is applied in whatever order, the invariants hold, a balance is the sum of its postings, and a
// refusal is the one the amounts call for.
func TestApplyKeepsInvariants(t *testing.T) {
	kinds := []struct {
		make    func(Credits) (Transaction, error)
		refusal error
		room    func(Balances) Credits
	}{
		{TopUp, ErrBalanceLimit, func(b Balances) Credits { return MaxCredits - b.Granted() }},
		{Capture, ErrInsufficientCredits, func(b Balances) Credits { return b.Available }},
		{Void, ErrInsufficientCredits, func(b Balances) Credits { return b.Spent }},
		{WriteOff, ErrBalanceLimit, func(b Balances) Credits { return MaxCredits - b.WrittenOff }},
		{RefundSpent, ErrInsufficientCredits, func(b Balances) Credits { return b.Spent }},
		{Adjust, ErrBalanceLimit, func(b Balances) Credits { return MaxCredits - b.Granted() }},
		{func(c Credits) (Transaction, error) { return Adjust(-c) }, ErrInsufficientCredits, func(b Balances) Credits { return b.Available }},
	}
	rapid.Check(t, func(t *rapid.T) {
		var b Balances
		sums := map[Bucket]Credits{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			amount := Credits(rapid.OneOf(
				rapid.Int64Range(1, 20), rapid.Int64Range(1, int64(MaxCredits)),
			).Draw(t, "amount"))
			kind := rapid.SampledFrom(kinds).Draw(t, "kind")
			make, refusal, refused := kind.make, kind.refusal, amount > kind.room(b)
			txn, err := make(amount)
			if err != nil {
				t.Fatal(err)
			}
			next, err := b.Apply(txn)
			if refused {
				if !errors.Is(err, refusal) {
					t.Fatalf("%s of %d on %+v: got %v, want %v", txn.Kind, amount, b, err, refusal)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s of %d on %+v: %v", txn.Kind, amount, b, err)
			}
			b = next
			for _, p := range txn.Postings {
				sums[p.Bucket] += p.Delta
			}
			if err := b.Check(); err != nil {
				t.Fatal(err)
			}
			if b.Granted() != b.Available+b.Reserved+b.Spent {
				t.Fatalf("granted %d of %+v", b.Granted(), b)
			}
			for _, bucket := range []Bucket{Funding, Available, Reserved, Spent, WrittenOff} {
				if b.Of(bucket) != sums[bucket] {
					t.Fatalf("%s of %+v: postings sum to %d", bucket, b, sums[bucket])
				}
			}
		}
	})
}
