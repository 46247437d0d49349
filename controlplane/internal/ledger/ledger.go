// Package ledger owns the rules by which credits move: what a transaction is, when it balances, and which
// balances may follow which. It is pure: it reads no clock, keeps no state and refuses any movement that would
// break an invariant. Whoever stores balances applies its transactions and records the postings as entries.
//
// An account has four buckets. Funding mirrors, as a negative balance, all that was ever granted and not taken back, so that
// the four always sum to zero; what is left of a grant is available, reserved or spent. Written off is a memo beside
// them, in no sum: credits used that nobody paid for. It only grows.
//
// Credits are reserved by leases alone: what a [Lease] of a gate holds and has not reported as used. What a report or
// the end of a lease moves follows from the lease, and so do the transactions.
package ledger

import (
	"errors"
	"fmt"
)

// Credits is an amount or a balance, in credits.
type Credits int64

// MaxCredits is the largest amount and the largest balance, 2^53−1: every JSON implementation keeps it exact.
const MaxCredits Credits = 1<<53 - 1

// Errors of this package; test for them with errors.Is.
var (
	// ErrAmount means that an amount is not between 1 and MaxCredits.
	ErrAmount = errors.New("amount out of range")
	// ErrOverflow means that a sum lies beyond ±MaxCredits.
	ErrOverflow = errors.New("credits overflow")
	// ErrInsufficientCredits means that a bucket holds less than a transaction takes from it.
	ErrInsufficientCredits = errors.New("insufficient credits")
	// ErrBalanceLimit means that a transaction would bring a bucket beyond MaxCredits.
	ErrBalanceLimit = errors.New("balance limit exceeded")
	// ErrUnbalanced means that a transaction's postings do not sum to zero or are not postings at all. If it is
	// returned, its maker has a bug.
	ErrUnbalanced = errors.New("unbalanced transaction")
	// ErrBroken means that balances break an invariant before anything was applied to them: the record they
	// come from is damaged and must not be built upon.
	ErrBroken = errors.New("balances break a ledger invariant")
)

// Add returns c + d, or ErrOverflow if the sum lies beyond ±MaxCredits. Neither operand need be in range.
func (c Credits) Add(d Credits) (Credits, error) {
	sum := c + d
	wrapped := (d > 0 && sum < c) || (d < 0 && sum > c)
	if wrapped || sum > MaxCredits || sum < -MaxCredits {
		return 0, fmt.Errorf("add %d to %d: %w", d, c, ErrOverflow)
	}
	return sum, nil
}

// Bucket names one of an account's balances.
type Bucket string

// The four buckets, and the memo.
const (
	Funding    Bucket = "funding"
	Available  Bucket = "available"
	Reserved   Bucket = "reserved"
	Spent      Bucket = "spent"
	WrittenOff Bucket = "written_off"
)

// Posting is one leg of a transaction: Delta credits into Bucket, or out of it if negative. It is never zero, and
// positive for the memo.
type Posting struct {
	Bucket Bucket
	Delta  Credits
}

// Kind says why a transaction moves credits.
type Kind string

// The kinds of transaction.
const (
	KindTopUp  Kind = "top_up"
	KindDebit  Kind = "debit"
	KindVoid   Kind = "void"
	KindUnpaid Kind = "unpaid"
)

// The other kinds of transaction that people make.
const (
	KindAdjustment Kind = "adjustment"
	KindRefund     Kind = "refund"
)

// The kinds of a lease's transactions. The late ones come of reports that arrive after the lease was closed.
const (
	KindReserve      Kind = "reserve"
	KindUse          Kind = "use"
	KindRelease      Kind = "release"
	KindForfeit      Kind = "forfeit"
	KindLateUse      Kind = "late_use"
	KindLateWriteOff Kind = "late_write_off"
	KindLateRefund   Kind = "late_refund"
)

// Kinds are all kinds of transaction.
func Kinds() []Kind {
	return []Kind{
		KindTopUp, KindDebit, KindVoid, KindUnpaid, KindReserve, KindUse, KindRelease, KindForfeit, KindLateUse,
		KindLateWriteOff, KindLateRefund, KindAdjustment, KindRefund,
	}
}

// ByPeople reports whether transactions of kind k are made by people and not by gates.
func (k Kind) ByPeople() bool { return k == KindTopUp || k == KindAdjustment || k == KindRefund }

// Transaction moves Amount credits within one account. Its postings touch each bucket once, and those to the four
// buckets sum to zero.
type Transaction struct {
	Kind     Kind
	Amount   Credits
	Postings []Posting
}

// TopUp grants amount credits, 1 to MaxCredits; otherwise ErrAmount.
func TopUp(amount Credits) (Transaction, error) {
	return move(KindTopUp, Funding, Available, amount)
}

// Adjust corrects what was granted: it grants amount more credits, or takes as many available ones back if amount is
// negative. Its size is 1 to MaxCredits; otherwise ErrAmount.
func Adjust(amount Credits) (Transaction, error) {
	if amount < 0 && amount >= -MaxCredits {
		return move(KindAdjustment, Available, Funding, -amount)
	}
	return move(KindAdjustment, Funding, Available, amount)
}

// RefundSpent gives amount spent credits back, 1 to MaxCredits; otherwise ErrAmount. What gates take back later of the same
// credits is bounded by what is still spent, and its caller takes off what people have refunded by name.
func RefundSpent(amount Credits) (Transaction, error) {
	return move(KindRefund, Spent, Available, amount)
}

// Capture spends cost available credits at once, with nothing reserved before: the strict debit. Cost is 1 to
// MaxCredits; otherwise ErrAmount.
func Capture(cost Credits) (Transaction, error) {
	return move(KindDebit, Available, Spent, cost)
}

// Void reverses a Capture of cost, 1 to MaxCredits; otherwise ErrAmount. That it is reversed once, and that no more is
// reversed than is still spent, is its caller's to see to.
func Void(cost Credits) (Transaction, error) {
	return move(KindVoid, Spent, Available, cost)
}

// WriteOff notes that cost credits were used and not paid for; it takes them from no bucket. Cost is 1 to
// MaxCredits; otherwise ErrAmount.
func WriteOff(cost Credits) (Transaction, error) {
	return memo(KindUnpaid, cost)
}

// Reserve sets amount available credits aside for a new lease. Amount is 1 to MaxCredits; otherwise ErrAmount. So it
// is for every transaction below.
func Reserve(amount Credits) (Transaction, error) {
	return move(KindReserve, Available, Reserved, amount)
}

// Use spends reserved credits that a lease has used.
func Use(amount Credits) (Transaction, error) { return move(KindUse, Reserved, Spent, amount) }

// Release gives back reserved credits that a lease has not used.
func Release(amount Credits) (Transaction, error) {
	return move(KindRelease, Reserved, Available, amount)
}

// Forfeit spends reserved credits of which nobody knows whether they were used.
func Forfeit(amount Credits) (Transaction, error) { return move(KindForfeit, Reserved, Spent, amount) }

// LateUse spends available credits for what a lease had used when its credits were given back.
func LateUse(amount Credits) (Transaction, error) {
	return move(KindLateUse, Available, Spent, amount)
}

// LateWriteOff notes what a LateUse could not take.
func LateWriteOff(amount Credits) (Transaction, error) { return memo(KindLateWriteOff, amount) }

// LateRefund gives back forfeited credits that turn out not to have been used.
func LateRefund(amount Credits) (Transaction, error) {
	return move(KindLateRefund, Spent, Available, amount)
}

func memo(kind Kind, amount Credits) (Transaction, error) {
	if err := checkAmount(kind, amount); err != nil {
		return Transaction{}, err
	}
	return Transaction{Kind: kind, Amount: amount, Postings: []Posting{{WrittenOff, amount}}}, nil
}

func move(kind Kind, from, to Bucket, amount Credits) (Transaction, error) {
	if err := checkAmount(kind, amount); err != nil {
		return Transaction{}, err
	}
	return Transaction{Kind: kind, Amount: amount, Postings: []Posting{{from, -amount}, {to, amount}}}, nil
}

func checkAmount(kind Kind, amount Credits) error {
	if amount < 1 || amount > MaxCredits {
		return fmt.Errorf("%s of %d credits: %w: expected 1 to %d", kind, amount, ErrAmount, MaxCredits)
	}
	return nil
}

// Check returns ErrUnbalanced unless t has postings, all nonzero, that touch each known bucket at most once, sum to
// zero over the four buckets and take nothing from the memo.
func (t *Transaction) Check() error {
	var sum Credits
	for i, p := range t.Postings {
		if p.Delta == 0 || !p.Bucket.known() {
			return fmt.Errorf("posting of %d to bucket %q: %w", p.Delta, p.Bucket, ErrUnbalanced)
		}
		for _, q := range t.Postings[:i] {
			if q.Bucket == p.Bucket {
				return fmt.Errorf("two postings to bucket %q: %w", p.Bucket, ErrUnbalanced)
			}
		}
		if p.Bucket == WrittenOff {
			if p.Delta < 0 {
				return fmt.Errorf("posting of %d to the memo: %w", p.Delta, ErrUnbalanced)
			}
			continue
		}
		var err error
		if sum, err = sum.Add(p.Delta); err != nil {
			return fmt.Errorf("%w: %w", ErrUnbalanced, err)
		}
	}
	if sum != 0 || len(t.Postings) == 0 {
		return fmt.Errorf("%d postings that sum to %d: %w", len(t.Postings), sum, ErrUnbalanced)
	}
	return nil
}

func (b Bucket) known() bool {
	switch b {
	case Funding, Available, Reserved, Spent, WrittenOff:
		return true
	}
	return false
}
