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

// model is what accounts' balances should be and what was answered to every op_id.
type model struct {
	available, spent map[string]int64
	answers          map[string]api.Verdict
}

// After any sequence of top-ups, acquires, replays and restarts, balances are what a model says, and every sum of
// entries equals its balance.
func TestRandomOperationsKeepTheLedger(t *testing.T) {
	// One file serves every run, which keeps to accounts of its own: opening a new one takes longer than a run.
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := model{available: map[string]int64{}, spent: map[string]int64{}, answers: map[string]api.Verdict{}}
		accounts := []string{w.mustAccount(AccountActive).ID, w.mustAccount(AccountActive).ID}
		for _, id := range accounts {
			w.mustKey(id, "secret of "+id)
		}
		amounts := rapid.OneOf(rapid.Int64Range(1, 9), rapid.Int64Range(1, api.MaxCredits))
		rt.Repeat(map[string]func(*rapid.T){
			"top up": func(rt *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(rt, "account")
				m.topUp(rt, w, accounts[i], amounts.Draw(rt, "amount"))
			},
			"acquire": func(rt *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(rt, "account")
				m.acquire(rt, w, accounts[i], rapid.IntRange(0, 20).Draw(rt, "op"), amounts.Draw(rt, "cost"))
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
					want := Wallet{id, m.available[id] + m.spent[id], m.available[id], 0, m.spent[id], 0}
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

func (m *model) acquire(rt *rapid.T, w *world, id string, op int, cost int64) {
	// The op_id names account and cost too, so that drawing it again is a replay and not a reuse.
	name := fmt.Sprintf("%s-%d-%d", id, op, cost)
	reply, err := w.Acquire(context.Background(), acquireOf("secret of "+id, name, cost))
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
