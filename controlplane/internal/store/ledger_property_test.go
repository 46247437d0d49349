package store

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"pgregory.net/rapid"
)

// model is what accounts' balances should be and what became of every op_id.
type model struct {
	available, spent, writtenOff map[string]int64
	answers                      map[string]api.Verdict
}

func newModel() *model {
	return &model{
		available: map[string]int64{}, spent: map[string]int64{}, writtenOff: map[string]int64{},
		answers: map[string]api.Verdict{},
	}
}

// After any sequence of top-ups, adjustments, refunds, acquires, replays, voids, unpaid reports and restarts, balances are what a model says, and every sum of
// entries equals its balance.
func TestRandomOperationsKeepTheLedger(t *testing.T) {
	t.Parallel()
	// One file serves every run, which keeps to accounts of its own: opening a new one takes longer than a run.
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel()
		accounts := []string{w.mustAccount(AccountActive).ID, w.mustAccount(AccountActive).ID}
		for _, id := range accounts {
			w.mustKey(id, "secret of "+id)
		}
		amounts := rapid.OneOf(rapid.Int64Range(1, 9), rapid.Int64Range(1, api.MaxCredits))
		// Few enough that what is drawn is often an operation seen before.
		costs := rapid.SampledFrom([]int64{1, 2, 9, 1 << 40, api.MaxCredits})
		rt.Repeat(map[string]func(*rapid.T){
			"top up": func(rt *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(rt, "account")
				m.topUp(rt, w, accounts[i], amounts.Draw(rt, "amount"))
			},
			"adjust": func(rt *rapid.T) {
				i, sign := rapid.IntRange(0, 1).Draw(rt, "account"), rapid.SampledFrom([]int64{1, -1}).Draw(rt, "sign")
				m.adjust(rt, w, accounts[i], sign*amounts.Draw(rt, "amount"))
			},
			"refund": func(rt *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(rt, "account")
				m.refund(rt, w, accounts[i], amounts.Draw(rt, "amount"))
			},
			"acquire": func(rt *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(rt, "account")
				m.acquire(rt, w, accounts[i], rapid.IntRange(0, 5).Draw(rt, "op"), costs.Draw(rt, "cost"))
			},
			"void": func(rt *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(rt, "account")
				m.void(w, accounts[i], rapid.IntRange(0, 5).Draw(rt, "op"), costs.Draw(rt, "cost"))
			},
			"unpaid": func(rt *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(rt, "account")
				m.letThrough(w, accounts[i], rapid.IntRange(0, 5).Draw(rt, "op"), costs.Draw(rt, "cost"))
			},
			"restart": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "luck") > 0 {
					return
				}
				if err := w.Close(); err != nil {
					rt.Fatal(err)
				}
				w.reopen()
			},
			"": func(rt *rapid.T) {
				for _, id := range accounts {
					want := Wallet{id, m.available[id] + m.spent[id], m.available[id], 0, m.spent[id], m.writtenOff[id]}
					if got := w.mustWallet(id); got != want {
						rt.Fatalf("wallet %+v, want %+v", got, want)
					}
				}
			},
		})
	})
	// Entries are never taken back, so one look at the end finds what any run left behind.
	w.verify()
}

func (m *model) topUp(rt *rapid.T, w *world, id string, amount int64) {
	_, _, err := w.Store.TopUp(context.Background(), TopUp{id, amount, "", "x"}, nil)
	if m.available[id]+m.spent[id]+amount > api.MaxCredits {
		if !errors.Is(err, ledger.ErrBalanceLimit) {
			rt.Fatalf("top up of %d: got %v, want ErrBalanceLimit", amount, err)
		}
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	m.available[id] += amount
}

func (m *model) adjust(rt *rapid.T, w *world, id string, amount int64) {
	err := w.adjust(id, amount)
	switch {
	case m.available[id]+m.spent[id]+amount > api.MaxCredits:
		if !errors.Is(err, ledger.ErrBalanceLimit) {
			rt.Fatalf("adjustment by %d: got %v, want ErrBalanceLimit", amount, err)
		}
	case m.available[id]+amount < 0:
		if !errors.Is(err, ledger.ErrInsufficientCredits) {
			rt.Fatalf("adjustment by %d: got %v, want ErrInsufficientCredits", amount, err)
		}
	case err != nil:
		rt.Fatal(err)
	default:
		m.available[id] += amount
	}
}

func (m *model) refund(rt *rapid.T, w *world, id string, amount int64) {
	err := w.refund(id, amount, "")
	if amount > m.spent[id] {
		if !errors.Is(err, ledger.ErrInsufficientCredits) {
			rt.Fatalf("refund of %d: got %v, want ErrInsufficientCredits", amount, err)
		}
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	m.available[id] += amount
	m.spent[id] -= amount
}

func (m *model) acquire(rt *rapid.T, w *world, id string, op int, cost int64) {
	name := m.opID(id, op, cost)
	reply, err := w.Acquire(context.Background(), acquireOf("secret of "+id, name, cost), charged)
	if err != nil {
		rt.Fatal(err)
	}
	want, replay := m.answers[name]
	if !replay {
		want = api.InsufficientCredits
		if m.available[id] >= cost {
			want = api.Granted
			m.available[id] -= cost
			m.spent[id] += cost
		}
		m.answers[name] = want
	}
	if reply.Verdict != want {
		rt.Fatalf("acquire %s: %s, want %s (replay: %v)", name, reply.Verdict, want, replay)
	}
}

// opID names account and cost too, so that drawing it again is a replay and not a reuse.
func (m *model) opID(account string, op int, cost int64) string {
	return fmt.Sprintf("boot-1-%s-%d-%d", account, op, cost)
}

func (m *model) void(w *world, id string, op int, cost int64) {
	name := m.opID(id, op, cost)
	w.mustSync(void(name))
	switch m.answers[name] {
	case api.Granted:
		// Of what people have refunded no more is given back.
		back := min(cost, m.spent[id])
		m.available[id] += back
		m.spent[id] -= back
		m.answers[name] = api.Voided
	case "":
		m.answers[name] = api.Voided
	}
}

func (m *model) letThrough(w *world, id string, op int, cost int64) {
	name := m.opID(id, op, cost)
	w.mustSync(unpaid(name, cost, "genrex", "secret of "+id))
	switch m.answers[name] {
	case "", api.InsufficientCredits:
		m.writtenOff[id] = min(m.writtenOff[id]+cost, api.MaxCredits)
		m.answers[name] = api.Voided
	}
}
