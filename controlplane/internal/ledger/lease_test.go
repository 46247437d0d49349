package ledger

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestLeaseSize(t *testing.T) {
	tests := []struct {
		name                           string
		want, cost, available, slabMax Credits
		vms                            int64
		size                           Credits
	}{
		{"all that is wanted", 50, 1, 1000, 1000, 1, 50},
		{"no more than a slab", 500, 1, 10_000, 100, 1, 100},
		{"half of what there is", 500, 1, 100, 1000, 1, 50},
		{"a share of the half", 500, 1, 100, 1000, 5, 10},
		{"one request near the end", 500, 3, 10, 1000, 8, 3},
		{"the last credits", 500, 3, 3, 1000, 1, 3},
		{"not enough", 500, 3, 2, 1000, 1, 0},
		{"nothing there", 1, 1, 0, 1000, 1, 0},
		{"a cost above the slab", 500, 200, 1000, 100, 1, 200},
		{"no cost and nothing wanted", 0, 0, 1000, 1000, 1, 0},
		{"no cost", 10, 0, 1000, 1000, 1, 10},
		{"no VM counted", 500, 1, 100, 1000, 0, 50},
		{"the most there can be", MaxCredits, 1, MaxCredits, MaxCredits, 1, MaxCredits / 2},
		{"a VM for every credit", MaxCredits, 1, MaxCredits, MaxCredits, 1 << 62, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := LeaseSize(tt.want, tt.cost, tt.available, tt.slabMax, tt.vms); got != tt.size {
				t.Errorf("got %d, want %d", got, tt.size)
			}
		})
	}
}

// step is one thing that happens to a lease, at a balance.
type step struct {
	close     Policy
	used      Credits
	final     bool
	available Credits
	written   Credits
	// spent is what of the account's credits is still spent, all of them if nil.
	spent *Credits
}

func report(used Credits) step { return step{used: used} }

func final(used Credits) step { return step{used: used, final: true} }

func (s step) with(available Credits) step { s.available = available; return s }

// leaving has people refund credits until so many are spent.
func (s step) leaving(spent Credits) step { s.spent = &spent; return s }

// apply returns the lease after s and the kinds and amounts of what moved.
func (s step) apply(l Lease) (Lease, []string, []Credits, error) {
	var moves []Transaction
	var err error
	if s.close != "" {
		l, moves, err = l.Close(s.close)
	} else {
		b := Balances{Available: s.available, Spent: MaxCredits, WrittenOff: s.written}
		if s.spent != nil {
			b.Spent = *s.spent
		}
		l, moves, err = l.Report(s.used, s.final, b)
	}
	var kinds []string
	var amounts []Credits
	for _, m := range moves {
		kinds, amounts = append(kinds, string(m.Kind)), append(amounts, m.Amount)
	}
	return l, kinds, amounts, err
}

// What the last step of each sequence moves, and what the lease is then. Ten credits are granted.
func TestSettlement(t *testing.T) {
	closed := func(used, forfeited, unpaid Credits, final bool) Lease {
		return Lease{Granted: 10, Used: used, State: LeaseClosed, Final: final, Forfeited: forfeited, Unpaid: unpaid}
	}
	open := func(used Credits) Lease { return Lease{Granted: 10, Used: used, State: LeaseOpen} }
	refund, charge := step{close: Refund}, step{close: Charge}
	tests := []struct {
		name    string
		steps   []step
		kinds   []string
		amounts []Credits
		want    Lease
	}{
		{"first report", []step{report(3)}, []string{"use"}, []Credits{3}, open(3)},
		{"next report", []step{report(3), report(8)}, []string{"use"}, []Credits{5}, open(8)},
		{"repeated", []step{report(3), report(3)}, nil, nil, open(3)},
		{"overtaken", []step{report(8), report(3)}, nil, nil, open(8)},
		{"above granted", []step{report(3), report(MaxCredits)}, []string{"use"}, []Credits{7}, open(10)},
		{"negative", []step{report(3), report(-5)}, nil, nil, open(3)},
		{"far below zero", []step{report(3), report(math.MinInt64)}, nil, nil, open(3)},
		{"of nothing", []step{report(0)}, nil, nil, open(0)},
		{"final", []step{report(3), final(4)}, []string{"use", "release"}, []Credits{1, 6}, closed(4, 0, 0, true)},
		{"final of nothing new", []step{report(3), final(3)}, []string{"release"}, []Credits{7}, closed(3, 0, 0, true)},
		{"final backwards", []step{report(3), final(0)}, []string{"release"}, []Credits{7}, closed(3, 0, 0, true)},
		{"final of all", []step{final(10)}, []string{"use"}, []Credits{10}, closed(10, 0, 0, true)},
		{"after final", []step{final(4), report(9)}, nil, nil, closed(4, 0, 0, true)},
		{"final twice", []step{final(4), final(9)}, nil, nil, closed(4, 0, 0, true)},

		{"refund", []step{report(3), refund}, []string{"release"}, []Credits{7}, closed(3, 0, 0, false)},
		{"refund of nothing", []step{report(10), refund}, nil, nil, closed(10, 0, 0, false)},
		{"late", []step{report(3), refund, report(5).with(9)}, []string{"late_use"}, []Credits{2}, closed(5, 0, 0, false)},
		{"late, half of it there", []step{report(3), refund, report(8).with(2)}, []string{"late_use", "late_write_off"}, []Credits{2, 3}, closed(8, 0, 3, false)},
		{"late, nothing there", []step{report(3), refund, final(8)}, []string{"late_write_off"}, []Credits{5}, closed(8, 0, 5, true)},
		{"late with nothing new", []step{report(3), refund, final(3).with(5)}, nil, nil, closed(3, 0, 0, true)},
		{"late above granted", []step{refund, final(99).with(99)}, []string{"late_use"}, []Credits{10}, closed(10, 0, 0, true)},
		{"late repeated", []step{refund, report(4).with(9), report(4).with(9)}, nil, nil, closed(4, 0, 0, false)},
		{"late again", []step{refund, report(4).with(1), report(6).with(9)}, []string{"late_use"}, []Credits{2}, closed(6, 0, 3, false)},
		{"late after final", []step{refund, final(4).with(9), report(6).with(9)}, nil, nil, closed(4, 0, 0, true)},
		{"late at the memo's limit", []step{refund, {used: 6, written: MaxCredits - 4}}, []string{"late_write_off"}, []Credits{4}, closed(6, 0, 6, false)},

		{"charge", []step{report(3), charge}, []string{"forfeit"}, []Credits{7}, closed(3, 7, 0, false)},
		{"charge of nothing", []step{report(10), charge}, nil, nil, closed(10, 0, 0, false)},
		{"late and charged", []step{report(3), charge, report(5).with(9)}, nil, nil, closed(5, 5, 0, false)},
		{"late final and charged", []step{report(3), charge, final(5)}, []string{"late_refund"}, []Credits{5}, closed(5, 0, 0, true)},
		{"late, then final", []step{charge, report(4), final(5)}, []string{"late_refund"}, []Credits{5}, closed(5, 0, 0, true)},
		{"late final, half of it refunded by people", []step{charge, final(3).leaving(4)}, []string{"late_refund"}, []Credits{4}, closed(3, 0, 0, true)},
		{"late final, all of it refunded by people", []step{charge, final(3).leaving(0)}, nil, nil, closed(3, 0, 0, true)},
		{"late final of all", []step{charge, final(10)}, nil, nil, closed(10, 0, 0, true)},
		{"late final above granted", []step{charge, final(11).with(9)}, nil, nil, closed(10, 0, 0, true)},
		{"late final backwards", []step{report(3), charge, final(1)}, []string{"late_refund"}, []Credits{7}, closed(3, 0, 0, true)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLease(10)
			var kinds []string
			var amounts []Credits
			for _, s := range tt.steps {
				var err error
				if l, kinds, amounts, err = s.apply(l); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tt.kinds, kinds) + cmp.Diff(tt.amounts, amounts) + cmp.Diff(tt.want, l); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLeaseClosesOnce(t *testing.T) {
	for name, s := range map[string]step{"refund": {close: Refund}, "charge": {close: Charge}, "final": final(3)} {
		l, _, _, err := s.apply(NewLease(10))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []Policy{Refund, Charge} {
			if got, moves, err := l.Close(p); !errors.Is(err, ErrLeaseClosed) || got != l || moves != nil {
				t.Errorf("%s, then %s: %+v, %v, %v", name, p, got, moves, err)
			}
		}
	}
}

func TestBrokenLeases(t *testing.T) {
	good := Lease{Granted: 10, Used: 3, State: LeaseOpen}
	for name, damage := range map[string]func(*Lease){
		"nothing granted":      func(l *Lease) { l.Granted, l.Used = 0, 0 },
		"too much granted":     func(l *Lease) { l.Granted = MaxCredits + 1 },
		"more used":            func(l *Lease) { l.Used = 11 },
		"less than nothing":    func(l *Lease) { l.Used = -1 },
		"no state":             func(l *Lease) { l.State = "" },
		"open and final":       func(l *Lease) { l.Final = true },
		"open and forfeited":   func(l *Lease) { l.Forfeited = 1 },
		"open and unpaid":      func(l *Lease) { l.Unpaid = 1 },
		"forfeited too much":   func(l *Lease) { l.State, l.Forfeited = LeaseClosed, 8 },
		"negative forfeit":     func(l *Lease) { l.State, l.Forfeited = LeaseClosed, -1 },
		"unpaid too much":      func(l *Lease) { l.State, l.Unpaid = LeaseClosed, 4 },
		"negative unpaid":      func(l *Lease) { l.State, l.Unpaid = LeaseClosed, -1 },
		"final with a forfeit": func(l *Lease) { l.State, l.Final, l.Forfeited = LeaseClosed, true, 1 },
	} {
		l := good
		damage(&l)
		_, _, reported := l.Report(5, true, Balances{})
		_, _, closed := l.Close(Refund)
		if !errors.Is(l.Check(), ErrLeaseBroken) || !errors.Is(reported, ErrBroken) || !errors.Is(closed, ErrBroken) {
			t.Errorf("%s: %v, %v, %v", name, l.Check(), reported, closed)
		}
	}
}

func TestFollows(t *testing.T) {
	open := Lease{Granted: 10, Used: 3, State: LeaseOpen}
	closed := Lease{Granted: 10, Used: 3, State: LeaseClosed, Forfeited: 7}
	final := Lease{Granted: 10, Used: 3, State: LeaseClosed, Final: true}
	for name, tt := range map[string]struct {
		old, next Lease
		ok        bool
	}{
		"same":            {open, open, true},
		"closed":          {open, closed, true},
		"final":           {closed, final, true},
		"more granted":    {open, Lease{Granted: 11, Used: 3, State: LeaseOpen}, false},
		"less used":       {open, Lease{Granted: 10, Used: 2, State: LeaseOpen}, false},
		"opened again":    {closed, open, false},
		"not final again": {final, closed, false},
		"final and used":  {final, Lease{Granted: 10, Used: 4, State: LeaseClosed, Final: true}, false},
		"broken":          {open, Lease{Granted: 10, Used: 11, State: LeaseOpen}, false},
	} {
		if err := tt.next.Follows(tt.old); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// leased is an account with leases, and what its gates have really used of each.
type leased struct {
	balances Balances
	leases   []Lease
	policies []Policy
	truth    []Credits
	// honest: no gate of this run lies.
	honest bool
	// back is what people refunded of the credits that the leases were charged.
	back Credits
}

// apply posts moves to the account, and the lease after them.
func (a *leased) apply(t *rapid.T, i int, next Lease, moves []Transaction) {
	for _, m := range moves {
		b, err := a.balances.Apply(m)
		if err != nil {
			t.Fatalf("%s of %d on %+v: %v", m.Kind, m.Amount, a.balances, err)
		}
		a.balances = b
	}
	a.leases[i] = next
}

func (a *leased) open(t *rapid.T) {
	cost := Credits(rapid.Int64Range(1, 20).Draw(t, "cost"))
	want := cost + Credits(rapid.Int64Range(0, 300).Draw(t, "more"))
	size := LeaseSize(want, cost, a.balances.Available, 100, int64(len(a.leases)+1))
	if size == 0 {
		return
	}
	if size < cost || size > want || size > a.balances.Available {
		t.Fatalf("size %d of cost %d, want %d, available %d", size, cost, want, a.balances.Available)
	}
	a.leases = append(a.leases, NewLease(size))
	a.truth = append(a.truth, 0)
	a.policies = append(a.policies, "")
	move, err := Reserve(size)
	if err != nil {
		t.Fatal(err)
	}
	a.apply(t, len(a.leases)-1, NewLease(size), []Transaction{move})
}

// use spends more of a lease, unless it was said that no more will be.
func (a *leased) use(t *rapid.T, i int) {
	if a.leases[i].Final {
		return
	}
	a.truth[i] = min(a.leases[i].Granted, a.truth[i]+Credits(rapid.Int64Range(0, 30).Draw(t, "used")))
}

// report tells the truth, or an old truth, or, in a run that is not honest, anything at all.
func (a *leased) report(t *rapid.T, i int) {
	used, last := a.truth[i], rapid.Bool().Draw(t, "final")
	if rapid.Bool().Draw(t, "overtaken") && used > 0 {
		used, last = Credits(rapid.Int64Range(0, int64(used)).Draw(t, "older")), false
	}
	if !a.honest {
		used = Credits(rapid.Int64().Draw(t, "lie"))
	}
	old := a.leases[i]
	next, moves, err := old.Report(used, last, a.balances)
	if err != nil {
		t.Fatal(err)
	}
	spent := a.balances.Spent
	a.apply(t, i, next, moves)
	// What people have refunded is not refunded again, and all else is.
	twice := (old.Charged() - next.Charged()) - (spent - a.balances.Spent)
	if twice < 0 || twice > 0 && a.balances.Spent > 0 {
		t.Fatalf("%d of %d spent credits were not given back: %+v after %+v", twice, spent, next, old)
	}
	a.back -= twice
	if again, more, err := next.Report(used, last, a.balances); err != nil || again != next || more != nil {
		t.Fatalf("the same report again moves %v: %+v after %+v, %v", more, again, next, err)
	}
}

func (a *leased) close(t *rapid.T, i int) {
	policy := rapid.SampledFrom([]Policy{Refund, Charge}).Draw(t, "policy")
	next, moves, err := a.leases[i].Close(policy)
	if a.leases[i].State == LeaseClosed {
		if !errors.Is(err, ErrLeaseClosed) {
			t.Fatalf("closed twice: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	a.policies[i] = policy
	a.apply(t, i, next, moves)
}

// adjust grants credits or takes some back, never more than there are.
func (a *leased) adjust(t *rapid.T) {
	amount := Credits(rapid.Int64Range(-300, 300).Filter(func(n int64) bool { return n != 0 }).Draw(t, "amount"))
	a.people(t, Adjust, amount, -amount > a.balances.Available)
}

// refund gives spent credits back, never more than there are.
func (a *leased) refund(t *rapid.T) {
	amount := Credits(rapid.Int64Range(1, 60).Draw(t, "amount"))
	if a.people(t, RefundSpent, amount, amount > a.balances.Spent) {
		a.back += amount
	}
}

func (a *leased) people(t *rapid.T, make func(Credits) (Transaction, error), amount Credits, refused bool) bool {
	move, err := make(amount)
	if err != nil {
		t.Fatal(err)
	}
	next, err := a.balances.Apply(move)
	if refused != errors.Is(err, ErrInsufficientCredits) || !refused && err != nil {
		t.Fatalf("%s of %d on %+v: %v", move.Kind, amount, a.balances, err)
	}
	if !refused {
		a.balances = next
	}
	return !refused
}

// check holds I2 to I5, and both policies to their word.
func (a *leased) check(t *rapid.T) {
	if err := a.balances.Check(); err != nil {
		t.Fatal(err)
	}
	var held, charged, unpaid Credits
	for i, l := range a.leases {
		if err := l.Check(); err != nil {
			t.Fatal(err)
		}
		held, charged, unpaid = held+l.Held(), charged+l.Charged(), unpaid+l.Unpaid
		if l.Charged() > l.Granted {
			t.Fatalf("charged %d for %+v", l.Charged(), l)
		}
		if !a.honest {
			continue
		}
		switch paid := l.Charged(); {
		case a.policies[i] != Charge && paid > a.truth[i]:
			t.Fatalf("refund charged %d for %d used: %+v", paid, a.truth[i], l)
		case a.policies[i] == Charge && paid < a.truth[i]:
			t.Fatalf("charge let %d be used for %d: %+v", a.truth[i], paid, l)
		case l.Final && paid+l.Unpaid != a.truth[i]:
			t.Fatalf("final: %d paid and %d unpaid of %d used: %+v", paid, l.Unpaid, a.truth[i], l)
		}
	}
	if held != a.balances.Reserved || charged != a.balances.Spent+a.back || a.back < 0 || unpaid != a.balances.WrittenOff {
		t.Fatalf("%+v with leases that hold %d, charged %d (%d refunded), left %d unpaid", a.balances, held, charged, a.back, unpaid)
	}
}

// Whatever gates report, in whatever order and however late, nothing is lost, doubled or overspent.
func TestLeasesKeepInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := &leased{honest: rapid.Bool().Draw(t, "honest")}
		grant, err := TopUp(Credits(rapid.Int64Range(1, 2000).Draw(t, "top-up")))
		if err != nil {
			t.Fatal(err)
		}
		if a.balances, err = a.balances.Apply(grant); err != nil {
			t.Fatal(err)
		}
		some := func(f func(*rapid.T, int)) func(*rapid.T) {
			return func(t *rapid.T) {
				if len(a.leases) > 0 {
					f(t, rapid.IntRange(0, len(a.leases)-1).Draw(t, "lease"))
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"open":   a.open,
			"use":    some(a.use),
			"report": some(a.report),
			"close":  some(a.close),
			"adjust": a.adjust,
			"refund": a.refund,
			"":       a.check,
		})
	})
}
