package store

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"pgregory.net/rapid"
)

// mixed is what a run has made, and what it was told.
type mixed struct {
	*twins
	rt       *rapid.T
	run      string
	n        int
	accounts []twinID
	sites    []twinID
	keys     []twinID
	// secrets are all that any key ever had, and some that no key has.
	secrets []string
	asked   []*api.AcquireRequest
	leases  []*mixedLease
	used    map[string]*mixedUsage
	// granted is what people have added to accounts and not taken away, by place.
	granted []int64
	backups *twinID
	// restored: what was told before may not have happened any more.
	restored bool
}

type mixedLease struct {
	ids  twinID
	boot string
}

// mixedUsage is what was reported by one boot.
type mixedUsage struct {
	seq  int64
	last []mixedRow
}

type mixedRow struct {
	key int
	row api.UsageRow
}

var mixedBoots = []string{"a", "b", "c"}

func (m *mixed) draw(label string, n int) int { return rapid.IntRange(0, n-1).Draw(m.rt, label) }

func (m *mixed) pick(label string, of []twinID) twinID {
	if len(of) == 0 {
		return twinID{"absent", "absent"}
	}
	return of[m.draw(label, len(of))]
}

func (m *mixed) secret() string {
	m.n++
	m.secrets = append(m.secrets, fmt.Sprintf("secret %s-%d", m.run, m.n))
	return m.secrets[len(m.secrets)-1]
}

func (m *mixed) boot() string { return m.run + rapid.SampledFrom(mixedBoots).Draw(m.rt, "boot") }

func (m *mixed) amount() int64 {
	return rapid.OneOf(rapid.Int64Range(1, 60), rapid.SampledFrom([]int64{1, 1000, api.MaxCredits})).Draw(m.rt, "amount")
}

// known notes what both stores have made, of an earlier call too.
func (m *mixed) known(all *[]twinID, made *twinID) func() {
	return func() {
		if made[0] != "" && made[1] != "" && !slices.Contains(*all, *made) {
			*all = append(*all, *made)
		}
	}
}

// calls are what may be in one batch. Each is drawn before any of it is done; after is for when all is.
func (m *mixed) calls() map[string]func() (c call, after func()) {
	ctx := context.Background()
	nothing := func() {}
	move := func(name string, sign int64, do func(w *world, id string, amount int64, idem *Idempotency) (bool, error)) func() (call, func()) {
		return func() (call, func()) {
			at, amount := m.draw("account", len(m.accounts)), sign*m.amount()
			account, idem := m.accounts[at], m.idempotency(name, at, amount)
			moved := false
			c := call{do: func(side int, w *world) string {
				replayed, err := do(w, account[side], amount, idem)
				if side == 0 {
					moved = err == nil && !replayed
				}
				return fmt.Sprint(kindOf(err), replayed)
			}}
			return c, func() {
				if moved && name != "refund" {
					m.granted[at] += amount
				}
			}
		}
	}
	topUp := func(w *world, id string, amount int64, idem *Idempotency) (bool, error) {
		_, replayed, err := w.Store.TopUp(ctx, TopUp{id, amount, "", "tester"}, idem)
		return replayed, err
	}
	adjust := func(w *world, id string, amount int64, idem *Idempotency) (bool, error) {
		_, replayed, err := w.Adjust(ctx, Adjustment{id, amount, "correction", "tester"}, idem)
		return replayed, err
	}
	refund := func(w *world, id string, amount int64, idem *Idempotency) (bool, error) {
		_, replayed, err := w.RefundCredits(ctx, Refund{id, amount, "", "goodwill", "tester"}, idem)
		return replayed, err
	}
	onKey := func(do func(w *world, id string) error) func() (call, func()) {
		return func() (call, func()) {
			key := m.pick("key", m.keys)
			return call{do: func(side int, w *world) string { return kindOf(do(w, key[side])) }}, nothing
		}
	}
	return map[string]func() (call, func()){
		"top up": move("top up", 1, topUp), "grant": move("grant", 1, adjust), "take back": move("take back", -1, adjust),
		"refund": move("refund", 1, refund), "refund of an entry": m.refundOfEntry,
		"strict": m.acquire(api.ModeStrict), "lease": m.acquire(api.ModeLease), "replay": m.replay, "sync": m.sync,
		"status": func() (call, func()) {
			account := m.accounts[m.draw("account", len(m.accounts))]
			status := rapid.SampledFrom([]AccountStatus{AccountActive, AccountActive, AccountDisabled}).Draw(m.rt, "status")
			return call{do: func(side int, w *world) string {
				return kindOf(sole(w.UpdateAccount(ctx, account[side], AccountUpdate{Status: &status})))
			}}, nothing
		},
		"close": func() (call, func()) {
			account := m.accounts[m.draw("account", len(m.accounts))]
			in := closing(rapid.SampledFrom([]ClosingBalance{WriteOffBalance, RefuseBalance}).Draw(m.rt, "balance"))
			if m.draw("luck", 8) > 0 {
				return m.sync()
			}
			return call{do: func(side int, w *world) string { return kindOf(first(w.CloseAccount(ctx, account[side], in, nil))) }}, nothing
		},
		"new key": func() (call, func()) {
			account, secret, made := m.accounts[m.draw("account", len(m.accounts))], m.secret(), &twinID{}
			return call{do: func(side int, w *world) string {
				k, _, err := w.CreateKey(ctx, newKey(account[side], secret), nil)
				made[side] = k.ID
				return kindOf(err)
			}}, m.known(&m.keys, made)
		},
		"import": func() (call, func()) {
			account, made := m.accounts[m.draw("account", len(m.accounts))], &twinID{}
			// One that somebody may have, and one that nobody has.
			texts := []string{m.secrets[m.draw("secret", len(m.secrets))], m.secret()}
			return call{do: func(side int, w *world) string {
				out, _, err := w.ImportKeys(ctx, []ImportKey{importKey(account[side], texts[0]), importKey(account[side], texts[1])}, nil)
				if err == nil {
					made[side] = out[1].ID
				}
				return kindOf(err)
			}}, m.known(&m.keys, made)
		},
		"rotate": func() (call, func()) {
			key, secret := m.pick("key", m.keys), m.secret()
			overlap := time.Duration(m.draw("overlap", 2)) * time.Minute
			return call{do: func(side int, w *world) string {
				return kindOf(first(w.RotateKey(ctx, key[side], Rotation{Secret: newSecret(secret), Overlap: overlap}, nil)))
			}}, nothing
		},
		"replace": func() (call, func()) {
			key, secret, made := m.pick("key", m.keys), m.secret(), &twinID{}
			return call{do: func(side int, w *world) string {
				k, _, err := w.ReplaceKey(ctx, key[side], Replacement{Secret: newSecret(secret)}, nil)
				made[side] = k.ID
				return kindOf(err)
			}}, m.known(&m.keys, made)
		},
		"revoke": onKey(func(w *world, id string) error { return sole(w.RevokeKey(ctx, id)) }),
		"disable": onKey(func(w *world, id string) error {
			return sole(w.UpdateKey(ctx, id, KeyUpdate{Status: ptr(KeyInactive)}))
		}),
		"enable": onKey(func(w *world, id string) error {
			return sole(w.UpdateKey(ctx, id, KeyUpdate{Status: ptr(KeyActive), NeverExpires: true, Routes: &[]api.RouteRule{}}))
		}),
		"restrict": onKey(func(w *world, id string) error {
			return sole(w.UpdateKey(ctx, id, KeyUpdate{Routes: &[]api.RouteRule{{Path: "/b"}}}))
		}),
		"expire": onKey(func(w *world, id string) error {
			return sole(w.UpdateKey(ctx, id, KeyUpdate{ExpiresAt: ptr(w.clock.Now().Add(3 * time.Second))}))
		}),
		"attest": func() (call, func()) {
			site := m.pick("site", m.sites)
			return call{do: func(side int, w *world) string {
				return kindOf(sole(w.AttestDomain(ctx, site[side], "seen", "tester")))
			}}, nothing
		},
		"lapse": func() (call, func()) {
			site := m.pick("site", m.sites)
			return call{do: func(side int, w *world) string { return kindOf(sole(w.LapseDomain(ctx, site[side], "gone", "tester"))) }}, nothing
		},
	}
}

// idempotency is one of a few keys, or none.
func (m *mixed) idempotency(name string, at int, amount int64) *Idempotency {
	if m.draw("keyed", 3) > 0 {
		return nil
	}
	i := &Idempotency{Caller: "tester", Key: fmt.Sprintf("%s-%s-%d", m.run, name, m.draw("key", 3))}
	i.RequestHash[0], i.RequestHash[1] = byte(amount), byte(amount>>8)
	i.RequestHash[2] = byte(at)
	return i
}

// refundOfEntry refunds some of what one of an account's newest entries may have spent.
func (m *mixed) refundOfEntry() (call, func()) {
	account, amount, back := m.accounts[m.draw("account", len(m.accounts))], m.amount(), m.draw("back", 12)
	var entries twinID
	for side, w := range m.twins {
		found, _, err := w.Entries(context.Background(), account[side], Page{Limit: 12})
		if err == nil && back < len(found) {
			entries[side] = found[back].ID
		}
	}
	return call{do: func(side int, w *world) string { return kindOf(w.refund(account[side], amount, entries[side])) }}, func() {}
}

func (m *mixed) acquire(mode api.Mode) func() (call, func()) {
	return func() (call, func()) {
		m.n++
		boot := m.boot()
		cost := rapid.Int64Range(0, 40).Draw(m.rt, "cost")
		req := &api.AcquireRequest{
			Gate: "gate-1", Boot: boot, OpID: fmt.Sprintf("%s-%d", boot, m.n), Scheme: "genrex", Mode: mode, Cost: cost, Want: cost,
			Digests: digestsOf(m.secrets[m.draw("secret", len(m.secrets))]),
		}
		if m.draw("pair", 5) == 0 {
			req.Scheme, req.Digests = "vexrail", digestsOf("pk_"+m.run, "sk_"+m.run)
		}
		if mode == api.ModeLease {
			req.Want += rapid.Int64Range(0, 60).Draw(m.rt, "more")
			req.Judges = int64(m.draw("judges", 3))
		} else {
			req.Method, req.Path = "GET", rapid.SampledFrom([]string{"/a", "/b"}).Draw(m.rt, "path")
		}
		m.asked = append(m.asked, req)
		return m.asking(req)
	}
}

func (m *mixed) replay() (call, func()) {
	if len(m.asked) == 0 {
		return m.acquire(api.ModeLease)()
	}
	req := *m.asked[m.draw("asked", len(m.asked))]
	if m.draw("other", 8) == 0 {
		req.Want++
		req.Cost += int64(len(req.Mode) - len(api.ModeLease))
		req.Cost = min(req.Cost, req.Want)
		if req.Mode == api.ModeStrict {
			req.Cost = req.Want
		}
	}
	return m.asking(&req)
}

func (m *mixed) asking(req *api.AcquireRequest) (call, func()) {
	lease := &mixedLease{boot: req.Boot}
	need := charged
	if req.Scheme == "vexrail" {
		need = verified
	}
	c := call{ops: []string{req.OpID}, do: func(side int, w *world) string {
		reply, err := w.Acquire(context.Background(), req, need)
		if err != nil {
			return kindOf(err)
		}
		if err := reply.Validate(req); err != nil {
			return "not valid: " + err.Error()
		}
		text := string(reply.Verdict)
		if l := reply.Lease; l != nil {
			lease.ids[side] = l.ID
			text += fmt.Sprint(" ", l.Credits, l.Available, l.TTLMillis)
		}
		return text
	}}
	return c, func() {
		if lease.ids[0] != "" && lease.ids[1] != "" {
			m.leases = append(m.leases, lease)
		}
	}
}

// sync reports for some leases, operations and usage, some of them of other VMs or that nobody knows.
func (m *mixed) sync() (call, func()) {
	boot := m.boot()
	reqs := [2]api.SyncRequest{{Gate: "gate-1", Boot: boot}, {Gate: "gate-1", Boot: boot}}
	c := call{}
	reported := map[string]bool{}
	for range m.draw("leases", 4) {
		if len(m.leases) == 0 {
			break
		}
		l := m.leases[m.draw("lease", len(m.leases))]
		if l.boot != boot && m.draw("another's", 8) > 0 || reported[l.ids[0]] {
			continue
		}
		reported[l.ids[0]] = true
		used := rapid.OneOf(rapid.Int64Range(0, 120), rapid.Just(int64(api.MaxCredits))).Draw(m.rt, "used")
		final := rapid.Bool().Draw(m.rt, "final")
		for side := range reqs {
			reqs[side].Leases = append(reqs[side].Leases, api.LeaseReport{Lease: l.ids[side], Used: used, Final: final})
		}
	}
	m.settlements(&reqs, &c)
	m.usage(&reqs, boot)
	c.do = func(side int, w *world) string {
		reply, err := w.Sync(context.Background(), &reqs[side])
		if err != nil {
			return kindOf(err)
		}
		text := fmt.Sprint(reply.Acked, reply.UsageSeq)
		for _, ack := range reply.Leases[:len(reqs[side].Leases)] {
			text += fmt.Sprint(" ", ack.Used, ack.Action)
		}
		return text
	}
	return c, func() {}
}

// settlements adds voids and unpaid operations to a sync.
func (m *mixed) settlements(reqs *[2]api.SyncRequest, c *call) {
	for range m.draw("ops", 4) {
		op, cost := fmt.Sprintf("%s-new-%d", reqs[0].Boot, m.n), int64(m.draw("cost", 40))
		secret := m.secrets[m.draw("secret", len(m.secrets))]
		if m.n++; len(m.asked) > 0 && m.draw("known", 5) > 0 {
			op = m.asked[m.draw("asked", len(m.asked))].OpID
		}
		if slices.Contains(c.ops, op) {
			continue
		}
		c.ops = append(c.ops, op)
		void := rapid.Bool().Draw(m.rt, "void")
		for side := range reqs {
			if void {
				reqs[side].Void = append(reqs[side].Void, op)
			} else {
				reqs[side].Unpaid = append(reqs[side].Unpaid, api.Unpaid{OpID: op, Scheme: "genrex", Digests: digestsOf(secret), Cost: cost})
			}
		}
	}
}

// usage adds a batch to a sync, or the one before again.
func (m *mixed) usage(reqs *[2]api.SyncRequest, boot string) {
	if m.draw("usage", 2) == 0 {
		return
	}
	u := m.used[boot]
	if u == nil {
		u = &mixedUsage{}
		m.used[boot] = u
	}
	if u.seq == 0 || m.draw("again", 4) > 0 {
		u.seq++
		u.last = nil
		for i := range 1 + m.draw("rows", 3) {
			row := api.UsageRow{Route: fmt.Sprint("/", i), Conversation: rapid.SampledFrom([]string{"", "x"}).Draw(m.rt, "conversation"),
				Requests: int64(1 + m.draw("requests", 9)), Credits: int64(m.draw("credits", 50))}
			u.last = append(u.last, mixedRow{m.draw("key", len(m.keys)), row})
		}
	}
	for side := range reqs {
		batch := &api.UsageBatch{Seq: u.seq}
		for _, r := range u.last {
			r.row.Key = m.keys[r.key][side]
			batch.Rows = append(batch.Rows, r.row)
		}
		reqs[side].Usage = batch
	}
}

// alone are what is done while nothing else is.
func (m *mixed) alone() map[string]func() {
	ctx := context.Background()
	return map[string]func(){
		"time": func() {
			m.twins[0].clock.Advance(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute, 9 * time.Hour, 8 * 24 * time.Hour}).Draw(m.rt, "time"))
		},
		"janitor": func() {
			m.each(m.rt, "janitor", func(_ int, w *world) string {
				n, err := w.CloseExpired(ctx, 10_000)
				return fmt.Sprint(n, kindOf(err), w.Learning())
			})
		},
		"prune": func() {
			m.each(m.rt, "prune", func(_ int, w *world) string {
				more, err := w.FoldUsage(ctx, 24*time.Hour)
				return fmt.Sprint(kindOf(w.Prune(ctx)), more, kindOf(err), kindOf(w.NoteUses(ctx)))
			})
		},
		"restart": func() {
			policy := rapid.SampledFrom([]Policy{ledger.Refund, ledger.Charge}).Draw(m.rt, "policy")
			if m.draw("luck", 4) > 0 {
				return
			}
			for _, w := range m.twins {
				w.terms.Unreported = policy
				must(w, w.Close())
				w.reopen()
			}
		},
		"another process": func() {
			at, amount := m.draw("account", len(m.accounts)), rapid.Int64Range(1, 60).Draw(m.rt, "amount")
			if m.draw("luck", 4) > 0 {
				return
			}
			account := m.accounts[at]
			other, err := Open(ctx, Options{Path: m.twins[0].path, Now: m.twins[0].clock.Now, Actor: LocalActor})
			must(m.twins[0], err)
			_, _, err = other.TopUp(ctx, TopUp{account[0], amount, "", "tester"}, nil)
			must(m.twins[0], other.Close())
			if _, _, err2 := m.twins[1].Store.TopUp(ctx, TopUp{account[1], amount, "", "tester"}, nil); kindOf(err) != kindOf(err2) {
				m.rt.Fatalf("another process: %v, here %v", err, err2)
			}
			if err == nil {
				m.granted[at] += amount
			}
		},
		"backup": func() {
			if m.backups == nil && m.draw("luck", 6) == 0 {
				m.backups = &twinID{m.twins[0].backUp(), m.twins[1].backUp()}
			}
		},
		"restore": func() {
			if m.backups == nil || m.draw("luck", 3) > 0 {
				return
			}
			// What is replaced is kept under the time.
			m.twins[0].clock.Advance(time.Millisecond)
			for side, w := range m.twins {
				w.restore(m.backups[side])
			}
			m.restored = true
		},
	}
}

// newMixed makes two accounts with a key each, and a site with a pair.
func newMixed(rt *rapid.T, tw *twins, run int) *mixed {
	m := &mixed{twins: tw, rt: rt, run: fmt.Sprintf("r%06d", run), used: map[string]*mixedUsage{}, secrets: []string{"nobody's"}}
	m.accounts, m.keys, m.sites = make([]twinID, 3), make([]twinID, 3), make([]twinID, 1)
	for i := range m.accounts {
		secret := m.secret()
		for side, w := range tw {
			m.accounts[i][side] = w.mustAccount(AccountActive).ID
			m.keys[i][side] = w.mustKey(m.accounts[i][side], secret).ID
		}
	}
	for side, w := range tw {
		m.sites[0][side] = w.mustProject(m.accounts[0][side]).ID
		_, err := w.AttestDomain(context.Background(), m.sites[0][side], "seen", "tester")
		must(w, err)
		pair := newPair(m.sites[0][side], m.run)
		pair.Publishable, pair.PublishableDigest = "pk_"+m.run, apikey.DigestOf("pk_"+m.run)
		_, _, err = w.CreateKey(context.Background(), pair, nil)
		must(w, err)
	}
	m.granted = make([]int64, len(m.accounts))
	for i := range m.accounts {
		m.granted[i] = rapid.Int64Range(1, 300).Draw(rt, "credits")
		for side, w := range tw {
			w.mustTopUp(m.accounts[i][side], m.granted[i])
		}
	}
	return m
}

func (m *mixed) batch() {
	possible := m.calls()
	// What gates ask comes as often as all that people do.
	names := slices.Sorted(maps.Keys(possible))
	for range 3 {
		names = append(names, "strict", "lease", "lease", "replay", "sync", "sync", "sync")
	}
	var calls []call
	var after []func()
	for range 1 + m.draw("size", 8) {
		name := rapid.SampledFrom(names).Draw(m.rt, "call")
		c, then := possible[name]()
		c.name = name
		calls, after = append(calls, c), append(after, then)
	}
	m.together(m.rt, calls)
	for _, then := range after {
		then()
	}
}

// check holds both stores against each other, and the first against what people were told.
func (m *mixed) check() {
	for i, account := range m.accounts {
		m.agree(m.rt, account, m.run)
		if m.restored {
			continue
		}
		w := m.twins[0]
		var swept int64
		must(w, w.readers.QueryRow(`SELECT coalesce(sum(delta), 0) FROM entries WHERE account_id = ? AND bucket = 'available' AND reason = 'contract ended'`,
			account[0]).Scan(&swept))
		if got := w.mustWallet(account[0]); got.Granted != m.granted[i]+swept {
			m.rt.Fatalf("granted %d, want %d, of which %d were taken back", got.Granted, m.granted[i]+swept, -swept)
		}
	}
}

// After whatever mixture of changes by people, gates, the janitor and other processes, restarts and restores, what was done
// in batches is what would have been done one by one, and the books agree.
func TestAllThatMixesKeepsTheLedger(t *testing.T) {
	// Not parallel: a quarter of the runs that others make is enough of these long ones.
	runs := flag.Lookup("rapid.checks").Value.(flag.Getter).Get().(int)
	must(t, flag.Set("rapid.checks", fmt.Sprint(max(1, runs/4))))
	defer flag.Set("rapid.checks", fmt.Sprint(runs))
	tw := newTwins(t, LeaseOptions{MaxCredits: 50})
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := newMixed(rt, tw, run)
		actions := map[string]func(*rapid.T){"": func(rt *rapid.T) { m.rt = rt; m.check() }}
		for _, name := range []string{"batch", "batch too"} {
			actions[name] = func(rt *rapid.T) { m.rt = rt; m.batch() }
		}
		alone := m.alone()
		actions["alone"] = func(rt *rapid.T) {
			m.rt = rt
			alone[rapid.SampledFrom(slices.Sorted(maps.Keys(alone))).Draw(rt, "what")]()
		}
		rt.Repeat(actions)
		if run%50 == 0 {
			tw[0].verify()
		}
	})
	tw[0].verify()
	tw[1].verify()
}
