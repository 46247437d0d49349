package ledger

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAdd(t *testing.T) {
	tests := []struct {
		name string
		a, b Credits
		want Credits
		err  error
	}{
		{"zero", 0, 0, 0, nil},
		{"up to the maximum", MaxCredits - 1, 1, MaxCredits, nil},
		{"beyond the maximum", MaxCredits, 1, 0, ErrOverflow},
		{"down to the minimum", -MaxCredits + 1, -1, -MaxCredits, nil},
		{"beyond the minimum", -MaxCredits, -1, 0, ErrOverflow},
		{"wraps upwards", math.MaxInt64, math.MaxInt64, 0, ErrOverflow},
		{"wraps downwards", math.MinInt64, math.MinInt64, 0, ErrOverflow},
		{"wraps to a value in range", math.MinInt64, math.MinInt64 + 5, 0, ErrOverflow},
		{"extremes cancel", math.MaxInt64, math.MinInt64, -1, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.a.Add(tt.b)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%d.Add(%d) = %d, %v; want %d, %v", tt.a, tt.b, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestAmounts(t *testing.T) {
	makers := map[string]func(Credits) (Transaction, error){
		"top-up": TopUp, "capture": Capture, "void": Void, "write-off": WriteOff, "refund": RefundSpent,
	}
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			for _, amount := range []Credits{0, -1, MaxCredits + 1, math.MinInt64, math.MaxInt64} {
				if txn, err := make(amount); !errors.Is(err, ErrAmount) || txn.Postings != nil {
					t.Errorf("%d: got %+v, %v; want ErrAmount", amount, txn, err)
				}
			}
			for _, amount := range []Credits{1, MaxCredits} {
				txn, err := make(amount)
				if err != nil || txn.Amount != amount || txn.Check() != nil {
					t.Errorf("%d: got %+v, %v; want a balanced transaction", amount, txn, err)
				}
			}
		})
	}
}

func TestAdjustmentAmounts(t *testing.T) {
	for _, amount := range []Credits{0, MaxCredits + 1, -MaxCredits - 1, math.MinInt64, math.MaxInt64} {
		if txn, err := Adjust(amount); !errors.Is(err, ErrAmount) || txn.Postings != nil {
			t.Errorf("%d: got %+v, %v; want ErrAmount", amount, txn, err)
		}
	}
	for _, amount := range []Credits{1, -1, MaxCredits, -MaxCredits} {
		txn, err := Adjust(amount)
		if err != nil || txn.Amount != max(amount, -amount) || txn.Check() != nil {
			t.Errorf("%d: got %+v, %v; want a balanced transaction", amount, txn, err)
		}
	}
}

func TestPostings(t *testing.T) {
	grant, _ := TopUp(7)
	debit, _ := Capture(3)
	reversal, _ := Void(3)
	memo, _ := WriteOff(5)
	more, _ := Adjust(2)
	less, _ := Adjust(-2)
	refund, _ := RefundSpent(3)
	want := []Transaction{
		{KindTopUp, 7, []Posting{{Funding, -7}, {Available, 7}}},
		{KindDebit, 3, []Posting{{Available, -3}, {Spent, 3}}},
		{KindVoid, 3, []Posting{{Spent, -3}, {Available, 3}}},
		{KindUnpaid, 5, []Posting{{WrittenOff, 5}}},
		{KindAdjustment, 2, []Posting{{Funding, -2}, {Available, 2}}},
		{KindAdjustment, 2, []Posting{{Available, -2}, {Funding, 2}}},
		{KindRefund, 3, []Posting{{Spent, -3}, {Available, 3}}},
	}
	if diff := cmp.Diff(want, []Transaction{grant, debit, reversal, memo, more, less, refund}); diff != "" {
		t.Errorf("transactions (-want +got):\n%s", diff)
	}
}

func TestTransactionCheck(t *testing.T) {
	tests := []struct {
		name     string
		postings []Posting
		err      error
	}{
		{"balanced pair", []Posting{{Available, -2}, {Spent, 2}}, nil},
		{"three legs", []Posting{{Reserved, -5}, {Spent, 2}, {Available, 3}}, nil},
		{"no postings", nil, ErrUnbalanced},
		{"sum above zero", []Posting{{Available, -2}, {Spent, 3}}, ErrUnbalanced},
		{"one leg", []Posting{{Available, 2}}, ErrUnbalanced},
		{"zero leg", []Posting{{Available, 0}, {Spent, 0}}, ErrUnbalanced},
		{"unknown bucket", []Posting{{"profit", -2}, {Spent, 2}}, ErrUnbalanced},
		{"bucket twice", []Posting{{Available, -2}, {Available, 2}}, ErrUnbalanced},
		{"memo alone", []Posting{{WrittenOff, 2}}, nil},
		{"memo beside a balanced pair", []Posting{{Available, -2}, {WrittenOff, 3}, {Spent, 2}}, nil},
		{"memo in a sum", []Posting{{Available, -2}, {WrittenOff, 2}}, ErrUnbalanced},
		{"memo that shrinks", []Posting{{WrittenOff, -2}}, ErrUnbalanced},
		{"memo twice", []Posting{{WrittenOff, 2}, {WrittenOff, 2}}, ErrUnbalanced},
		{"wrapping sum", []Posting{{Available, math.MaxInt64}, {Spent, math.MaxInt64}, {Reserved, 2}}, ErrUnbalanced},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			txn := Transaction{Kind: KindDebit, Amount: 2, Postings: tt.postings}
			if err := txn.Check(); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
		})
	}
}
