package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"pgregory.net/rapid"
)

// leaseModel is what the ledger makes, in memory, of what the store is told.
type leaseModel struct {
	*leaseWorld
	balances ledger.Balances
	leases   []*modelLease
	ops      int
}

type modelLease struct {
	op      string
	boot    string
	granted *api.Lease
	req     *api.AcquireRequest
	ledger.Lease
	voided bool
}

func (m *leaseModel) apply(t *rapid.T, moves ...ledger.Transaction) {
	for _, move := range moves {
		next, err := m.balances.Apply(move)
		if err != nil {
			t.Fatal(err)
		}
		m.balances = next
	}
}

func (m *leaseModel) acquire(t *rapid.T) {
	m.ops++
	boot := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "boot")
	cost := rapid.Int64Range(0, 40).Draw(t, "cost")
	req := leaseOf(boot, fmt.Sprintf("%s-%d", m.account.ID, m.ops), "secret of "+m.account.ID, cost, cost+rapid.Int64Range(0, 300).Draw(t, "more"))
	reply := m.mustAcquire(req)
	switch l := reply.Lease; {
	case reply.Verdict == api.InsufficientCredits:
		if cost <= int64(m.balances.Available) {
			t.Fatalf("denied %d of %d", cost, m.balances.Available)
		}
	case l.Credits == 0:
		if cost > 0 {
			t.Fatalf("a request at %d was let through", cost)
		}
	default:
		move, err := ledger.Reserve(ledger.Credits(l.Credits))
		if err != nil {
			t.Fatal(err)
		}
		m.apply(t, move)
		m.leases = append(m.leases, &modelLease{op: req.OpID, boot: boot, granted: l, req: req, Lease: ledger.NewLease(ledger.Credits(l.Credits))})
	}
}

func (m *leaseModel) settle(t *rapid.T, l *modelLease, used ledger.Credits, final bool) {
	next, moves, err := l.Report(used, final, m.balances)
	if err != nil {
		t.Fatal(err)
	}
	m.apply(t, moves...)
	l.Lease = next
}

func (m *leaseModel) reportOf(t *rapid.T, l *modelLease) {
	used, final := rapid.Int64Range(0, 400).Draw(t, "used"), rapid.Bool().Draw(t, "final")
	wasOver := l.Final
	m.settle(t, l, ledger.Credits(used), final)
	ack := m.report(l.boot, api.LeaseReport{Lease: l.granted.ID, Used: used, Final: final})[l.granted.ID]
	if ack.Used != int64(l.Used) || (ack.Action == api.LeaseDrop) != l.Final || wasOver && ack.Action != api.LeaseDrop {
		t.Fatalf("answer %+v to a report of %d for %+v", ack, used, l.Lease)
	}
}

func (m *leaseModel) void(t *rapid.T, l *modelLease) {
	if !l.voided {
		m.settle(t, l, l.Used, true)
	}
	l.voided = true
	req := api.SyncRequest{Gate: "gate-1", Boot: l.boot, Void: []string{l.op}}
	if _, err := m.Sync(context.Background(), &req); err != nil {
		t.Fatal(err)
	}
}

func (m *leaseModel) replay(t *rapid.T, l *modelLease) {
	reply := m.mustAcquire(l.req)
	if l.voided != (reply.Verdict == api.Voided) || !l.voided && *reply.Lease != *l.granted {
		t.Fatalf("replay %+v of %+v", reply, l)
	}
}

func (m *leaseModel) expireAll(t *rapid.T) {
	m.clock.Advance(time.Hour)
	want := 0
	for _, l := range m.leases {
		if l.State != ledger.LeaseOpen {
			continue
		}
		next, moves, err := l.Close(m.terms.Unreported)
		if err != nil {
			t.Fatal(err)
		}
		m.apply(t, moves...)
		l.Lease = next
		want++
	}
	if n, err := m.CloseExpired(context.Background(), 1000); err != nil || n != want {
		t.Fatalf("closed %d, %v; want %d", n, err, want)
	}
}

func (m *leaseModel) strict(t *rapid.T) {
	m.ops++
	cost := rapid.Int64Range(1, 100).Draw(t, "cost")
	op := fmt.Sprintf("a-%s-%d", m.account.ID, m.ops)
	reply := m.mustAcquire(acquireOf("secret of "+m.account.ID, op, cost))
	if granted := cost <= int64(m.balances.Available); granted != (reply.Verdict == api.Granted) {
		t.Fatalf("%s at %d of %d", reply.Verdict, cost, m.balances.Available)
	} else if granted {
		move, _ := ledger.Capture(ledger.Credits(cost))
		m.apply(t, move)
	}
}

func (m *leaseModel) refund(t *rapid.T) {
	amount := rapid.Int64Range(1, 100).Draw(t, "amount")
	err := m.leaseWorld.refund(m.account.ID, amount, "")
	if refused := amount > int64(m.balances.Spent); refused != (err != nil) {
		t.Fatalf("refund of %d of %d: %v", amount, m.balances.Spent, err)
	} else if !refused {
		move, _ := ledger.RefundSpent(ledger.Credits(amount))
		m.apply(t, move)
	}
}

func (m *leaseModel) adjust(t *rapid.T) {
	amount := rapid.Int64Range(-200, 200).Filter(func(n int64) bool { return n != 0 }).Draw(t, "amount")
	err := m.leaseWorld.adjust(m.account.ID, amount)
	if refused := -amount > int64(m.balances.Available); refused != (err != nil) {
		t.Fatalf("adjustment of %d of %d: %v", amount, m.balances.Available, err)
	} else if !refused {
		move, _ := ledger.Adjust(ledger.Credits(amount))
		m.apply(t, move)
	}
}

func (m *leaseModel) check(t *rapid.T) {
	got := m.mustWallet(m.account.ID)
	b := m.balances
	want := Wallet{m.account.ID, int64(b.Granted()), int64(b.Available), int64(b.Reserved), int64(b.Spent), int64(b.WrittenOff)}
	if got != want {
		t.Fatalf("wallet %+v, want %+v", got, want)
	}
}

// After any sequence of acquires, replays, adjustments, refunds, reports, voids, closes and late reports, under both policies, balances are
// what the ledger makes of them, and the books agree.
func TestRandomLeasesKeepTheLedger(t *testing.T) {
	t.Parallel()
	for _, policy := range []ledger.Policy{ledger.Refund, ledger.Charge} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			// One file serves every run, which keeps to an account of its own: opening a new one takes longer than a run.
			w := newLeaseWorld(t, LeaseOptions{Unreported: policy, MaxCredits: 200})
			rapid.Check(t, func(rt *rapid.T) {
				w.account = w.mustAccount(AccountActive)
				w.mustKey(w.account.ID, "secret of "+w.account.ID)
				credits := rapid.Int64Range(1, 2000).Draw(rt, "credits")
				w.mustTopUp(w.account.ID, credits)
				m := &leaseModel{leaseWorld: w, balances: ledger.Balances{Funding: -ledger.Credits(credits), Available: ledger.Credits(credits)}}
				some := func(f func(*rapid.T, *modelLease)) func(*rapid.T) {
					return func(rt *rapid.T) {
						if len(m.leases) > 0 {
							f(rt, m.leases[rapid.IntRange(0, len(m.leases)-1).Draw(rt, "lease")])
						}
					}
				}
				rt.Repeat(map[string]func(*rapid.T){
					"acquire": m.acquire, "acquire another": m.acquire, "strict": m.strict, "report": some(m.reportOf),
					"report again": some(m.reportOf), "void": some(m.void), "replay": some(m.replay),
					"expire": m.expireAll, "refund": m.refund, "adjust": m.adjust, "": m.check,
				})
				// What is left open would be closed by the next run.
				m.expireAll(rt)
			})
			w.verify()
		})
	}
}
