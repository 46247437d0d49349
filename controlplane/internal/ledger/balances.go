package ledger

import "fmt"

// Balances are the buckets of one account after some transaction. The zero value is a new account's.
type Balances struct {
	// Funding is minus what was granted in all; Available, Reserved and Spent are 0 to MaxCredits.
	Funding   Credits
	Available Credits
	Reserved  Credits
	Spent     Credits
	// WrittenOff is the memo, 0 to MaxCredits, that is in no sum.
	WrittenOff Credits
}

// Granted is all that was ever topped up, with all adjustments: Available + Reserved + Spent.
func (b Balances) Granted() Credits { return -b.Funding }

// Check returns ErrBroken unless every bucket is within its range and all four sum to zero.
func (b Balances) Check() error {
	inRange := func(c Credits) bool { return c >= 0 && c <= MaxCredits }
	for _, c := range []Credits{-b.Funding, b.Available, b.Reserved, b.Spent, b.WrittenOff} {
		if !inRange(c) {
			return fmt.Errorf("balances %+v: %w: a bucket is out of range", b, ErrBroken)
		}
	}
	// Four values of at most 2^53 cannot overflow an int64.
	if b.Funding+b.Available+b.Reserved+b.Spent != 0 {
		return fmt.Errorf("balances %+v: %w: the buckets do not sum to zero", b, ErrBroken)
	}
	return nil
}

// Apply returns the balances after t. On any error nothing is to be changed: ErrBroken and ErrUnbalanced for
// input that breaks the rules, ErrInsufficientCredits if a bucket cannot give what t takes, ErrBalanceLimit if
// one would grow beyond MaxCredits.
func (b Balances) Apply(t Transaction) (Balances, error) {
	if err := b.Check(); err != nil {
		return Balances{}, err
	}
	if err := t.Check(); err != nil {
		return Balances{}, err
	}
	next := b
	for _, p := range t.Postings {
		if err := next.post(p); err != nil {
			return Balances{}, fmt.Errorf("%s of %d credits: %w", t.Kind, t.Amount, err)
		}
	}
	return next, nil
}

// post adds one posting to its bucket. Transactions touch a bucket once, so a bucket's own range can be judged
// here; their sum is judged by the transaction's.
func (b *Balances) post(p Posting) error {
	balance := b.bucket(p.Bucket)
	sum, err := balance.Add(p.Delta)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Bucket, ErrBalanceLimit)
	}
	owed := sum
	if p.Bucket == Funding {
		owed = -sum
	}
	if owed < 0 {
		return fmt.Errorf("%s: %w", p.Bucket, ErrInsufficientCredits)
	}
	*balance = sum
	return nil
}

// With returns b with a posting added to it, unchecked: for sums of what was moved, which are no balances.
func (b Balances) With(p Posting) Balances {
	*b.bucket(p.Bucket) += p.Delta
	return b
}

// Of returns the balance of one bucket, one of the constants.
func (b Balances) Of(bucket Bucket) Credits { return *b.bucket(bucket) }

func (b *Balances) bucket(name Bucket) *Credits {
	switch name {
	case Funding:
		return &b.Funding
	case Available:
		return &b.Available
	case Reserved:
		return &b.Reserved
	case WrittenOff:
		return &b.WrittenOff
	}
	return &b.Spent
}
