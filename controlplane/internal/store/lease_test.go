package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// leaseWorld is a store with one account of 1,000 credits and its genrex key "secret".
type leaseWorld struct {
	*world
	account Account
	key     Key
}

func newLeaseWorld(t testing.TB, terms LeaseOptions) *leaseWorld {
	t.Helper()
	w := &leaseWorld{world: newWorldOf(t, terms)}
	w.account = w.mustAccount(AccountActive)
	w.key = w.mustKey(w.account.ID, "secret")
	w.mustTopUp(w.account.ID, 1000)
	return w
}

func leaseOf(boot, op, secret string, cost, want int64) *api.AcquireRequest {
	return &api.AcquireRequest{
		Gate: "gate-1", Boot: boot, OpID: boot + "-" + op, Scheme: "genrex", Digests: []string{apikey.DigestOf(secret).Hex()},
		Cost: cost, Want: want, Mode: api.ModeLease,
	}
}

// lease has a VM acquire for the key "secret".
func (w *leaseWorld) lease(boot, op string, cost, want int64) api.AcquireReply {
	w.Helper()
	return w.mustAcquire(leaseOf(boot, op, "secret", cost, want))
}

// report has a VM sync, and returns the answers to its reports by lease.
func (w *leaseWorld) report(boot string, reports ...api.LeaseReport) map[string]api.LeaseAck {
	w.Helper()
	reply, err := w.Sync(context.Background(), &api.SyncRequest{Gate: "gate-1", Boot: boot, Leases: reports})
	if err != nil {
		w.Fatal(err)
	}
	acks := map[string]api.LeaseAck{}
	for _, ack := range reply.Leases {
		if _, twice := acks[ack.Lease]; twice {
			w.Fatalf("two answers for %s", ack.Lease)
		}
		acks[ack.Lease] = ack
	}
	return acks
}

// mustReport expects the answer to one report.
func (w *leaseWorld) mustReport(boot string, l *api.Lease, used int64, final bool, counted int64, action api.LeaseAction) {
	w.Helper()
	got := w.report(boot, api.LeaseReport{Lease: l.ID, Used: used, Final: final})[l.ID]
	if want := (api.LeaseAck{Lease: l.ID, Used: counted, Action: action}); got != want {
		w.Fatalf("report of %d, final %v: %+v, want %+v", used, final, got, want)
	}
}

// expire moves the clock beyond every lease's close and closes them.
func (w *leaseWorld) expire(want int) {
	w.Helper()
	w.clock.Advance(time.Hour)
	if n, err := w.CloseExpired(context.Background(), 100); err != nil || n != want {
		w.Fatalf("closed %d, %v; want %d", n, err, want)
	}
}

// mustHave expects the wallet's balances.
func (w *leaseWorld) mustHave(available, reserved, spent, writtenOff int64) {
	w.Helper()
	want := Wallet{
		AccountID: w.account.ID, Granted: available + reserved + spent, Available: available, Reserved: reserved,
		Spent: spent, WrittenOff: writtenOff,
	}
	if got := w.mustWallet(w.account.ID); got != want {
		w.Fatalf("wallet %+v, want %+v", got, want)
	}
	w.verify()
}

func TestLeaseIsGranted(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	got := w.lease("vm", "1", 2, 50)
	want := api.AcquireReply{
		OpID: "vm-1", Verdict: api.Granted, Cursor: 1, Epoch: 1,
		Lease: &api.Lease{Credits: 50, TTLMillis: 10_000, Available: 950, Account: w.account.ID, Key: w.key.ID},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(api.Lease{}, "ID")); diff != "" || !strings.HasPrefix(got.Lease.ID, "lease_") {
		t.Errorf("id %q (-want +got):\n%s", got.Lease.ID, diff)
	}
	w.mustHave(950, 50, 0, 0)
	entries, _, err := w.Entries(t.Context(), w.account.ID, Page{Limit: 2})
	of := func(bucket string, delta int64) Entry {
		return Entry{
			AccountID: w.account.ID, Kind: "reserve", Bucket: bucket, Delta: delta, KeyID: w.key.ID, OpID: "vm-1",
			LeaseID: got.Lease.ID, CreatedAt: w.clock.Now(),
		}
	}
	if diff := cmp.Diff([]Entry{of("reserved", 50), of("available", -50)}, entries, cmpopts.IgnoreFields(Entry{}, "ID", "TransactionID")); diff != "" || err != nil {
		t.Errorf("entries, %v (-want +got):\n%s", err, diff)
	}
}

// What one VM after another gets of 1,000 credits, with slabs of at most 300.
func TestLeaseSizes(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{MaxCredits: 300})
	for i, tt := range []struct {
		boot       string
		cost, want int64
		size       int64
	}{
		{"a", 1, 1000, 300}, {"a", 1, 1000, 300}, {"b", 1, 1000, 100}, {"c", 1, 1000, 50}, {"a", 1, 1000, 41},
		{"a", 200, 900, 200}, {"d", 3, 1000, 3}, {"d", 6, 6, 6}, {"d", 1, 1, 0},
	} {
		got := w.lease(tt.boot, fmt.Sprint(i), tt.cost, tt.want)
		if got.Lease.Credits != tt.size || (got.Verdict == api.Granted) != (tt.size > 0) {
			t.Errorf("%d: %+v %+v, want %d credits", i, got, got.Lease, tt.size)
		}
	}
	w.mustHave(0, 1000, 0, 0)
}

// Who has no credits is told who he is, and nothing is recorded but the denial.
func TestLeaseDenials(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	disabled := w.mustAccount(AccountDisabled)
	w.mustKey(disabled.ID, "disabled")
	w.setKey(w.mustKey(w.account.ID, "inactive").ID, KeyInactive)
	for _, tt := range []struct {
		secret     string
		cost, want int64
		verdict    api.Verdict
		retry      int64
		identity   bool
	}{
		{"secret", 1001, 2000, api.InsufficientCredits, 1000, true},
		{"secret", 0, 0, api.Granted, 0, true},
		{"absent", 1, 10, api.UnknownKey, 5000, false},
		{"inactive", 1, 10, api.InactiveKey, 1000, false},
		{"disabled", 0, 10, api.AccountNotActive, 1000, false},
	} {
		req := leaseOf("vm", tt.secret+fmt.Sprint(tt.cost), tt.secret, tt.cost, tt.want)
		got := w.mustAcquire(req)
		want := api.AcquireReply{OpID: req.OpID, Verdict: tt.verdict, RetryMillis: tt.retry, Cursor: 2, Epoch: 1}
		if tt.identity {
			want.Lease = &api.Lease{TTLMillis: 10_000, Available: 1000, Account: w.account.ID, Key: w.key.ID}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s at %d (-want +got):\n%s", tt.secret, tt.cost, diff)
		}
		if diff := cmp.Diff(got, w.mustAcquire(req)); diff != "" {
			t.Errorf("%s at %d again (-first +again):\n%s", tt.secret, tt.cost, diff)
		}
	}
	w.mustHave(1000, 0, 0, 0)
}

// No lease outlives its key or the half that was presented.
func TestLeaseEndsWithItsKey(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{TTL: time.Minute})
	site := w.mustSite()
	w.mustTopUp(site.AccountID, 1000)
	pair := w.mustPair(site.ID, "1")
	w.mustRotate(pair.ID, Rotation{Overlap: 30 * time.Second, Publishable: newPublishable("pk_2")})
	expiring := w.mustKey(w.account.ID, "expiring")
	if _, err := w.UpdateKey(t.Context(), expiring.ID, KeyUpdate{ExpiresAt: ptr(w.clock.Now().Add(40*time.Second + 999*time.Microsecond))}); err != nil {
		t.Fatal(err)
	}
	n := 0
	ttl := func(scheme string, halves ...string) (int64, api.Verdict) {
		n++
		req := leaseOf("vm", fmt.Sprint(n), "", 1, 10)
		req.Scheme, req.Digests = scheme, digestsOf(halves...)
		reply := w.mustAcquire(req)
		if reply.Lease == nil {
			return 0, reply.Verdict
		}
		return reply.Lease.TTLMillis, reply.Verdict
	}
	check := func(what string, want int64, scheme string, halves ...string) {
		t.Helper()
		if got, v := ttl(scheme, halves...); got != want || (v == api.Granted) != (want > 0) {
			t.Errorf("%s: ttl %d, %s; want %d", what, got, v, want)
		}
	}
	check("no expiry", 60_000, "genrex", "secret")
	check("key expires", 40_000, "genrex", "expiring")
	check("half expires", 30_000, "vexrail", "pk_1", "sk_1")
	check("newest halves", 60_000, "vexrail", "pk_2", "sk_1")
	w.clock.Advance(30*time.Second - time.Microsecond)
	check("half expires within the millisecond", 0, "vexrail", "pk_1", "sk_1")
	check("key expires soon", 10_001, "genrex", "expiring")
}

// A repeated acquire gets the first answer, whatever became of the lease since; its cursor tells how old it is.
func TestLeaseReplay(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *leaseWorld, l *api.Lease){
		"nothing": func(*leaseWorld, *api.Lease) {},
		"used":    func(w *leaseWorld, l *api.Lease) { w.mustReport("vm", l, 5, false, 5, api.LeaseKeep) },
		"final":   func(w *leaseWorld, l *api.Lease) { w.mustReport("vm", l, 5, true, 5, api.LeaseDrop) },
		"expired": func(w *leaseWorld, _ *api.Lease) { w.expire(1) },
		"revoked": func(w *leaseWorld, _ *api.Lease) { w.setKey(w.key.ID, KeyRevoked) },
		"restart": func(w *leaseWorld, _ *api.Lease) {
			if err := w.Close(); err != nil {
				w.Fatal(err)
			}
			w.reopen()
		},
	} {
		w := newLeaseWorld(t, LeaseOptions{})
		granted, denied := w.lease("vm", "1", 2, 50), w.lease("vm", "2", 5000, 5000)
		change(w, granted.Lease)
		w.mustTopUp(w.account.ID, 9000)
		before := w.mustWallet(w.account.ID)
		if diff := cmp.Diff(granted, w.lease("vm", "1", 2, 50)); diff != "" {
			t.Errorf("%s: grant (-first +again):\n%s", name, diff)
		}
		if diff := cmp.Diff(denied, w.lease("vm", "2", 5000, 5000)); diff != "" {
			t.Errorf("%s: denial (-first +again):\n%s", name, diff)
		}
		if after := w.mustWallet(w.account.ID); after != before {
			t.Errorf("%s: wallet %+v, want %+v", name, after, before)
		}
		if _, err := w.Acquire(t.Context(), leaseOf("vm", "1", "secret", 2, 51), charged); !errors.Is(err, ErrOpIDReused) {
			t.Errorf("%s: another body: %v", name, err)
		}
		w.verify()
	}
}

// Reports are cumulative: one that says nothing new moves nothing, and none moves more than was granted.
func TestLeaseReports(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	l := w.lease("vm", "1", 1, 50).Lease
	for _, tt := range []struct {
		used, counted int64
	}{{0, 0}, {7, 7}, {7, 7}, {3, 7}, {9, 9}, {api.MaxCredits, 50}, {8, 50}} {
		w.mustReport("vm", l, tt.used, false, tt.counted, api.LeaseKeep)
		w.mustHave(950, 50-tt.counted, tt.counted, 0)
	}
	w.mustReport("vm", l, 8, true, 50, api.LeaseDrop)
	w.mustReport("vm", l, 50, true, 50, api.LeaseDrop)
	m := w.lease("vm", "2", 1, 50).Lease
	w.mustReport("vm", m, 20, true, 20, api.LeaseDrop)
	w.mustReport("vm", m, 30, true, 20, api.LeaseDrop)
	w.mustHave(930, 0, 70, 0)
}

// A gate can report nothing of what is not its own.
func TestForeignReports(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	l := w.lease("vm", "1", 1, 50).Lease
	for name, req := range map[string]api.SyncRequest{
		"another VM":      {Gate: "gate-1", Boot: "vm2", Leases: []api.LeaseReport{{Lease: l.ID, Used: 40, Final: true}}},
		"another gate":    {Gate: "gate-2", Boot: "vm", Leases: []api.LeaseReport{{Lease: l.ID, Used: 40, Final: true}}},
		"no lease at all": {Gate: "gate-1", Boot: "vm", Leases: []api.LeaseReport{{Lease: "lease_absent", Used: 40, Final: true}}},
	} {
		reply, err := w.Sync(t.Context(), &req)
		want := []api.LeaseAck{{Lease: req.Leases[0].Lease, Action: api.LeaseDrop}}
		if diff := cmp.Diff(want, reply.Leases); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if got := w.Stats().Dropped; got != 3 {
		t.Errorf("%d reports dropped, want 3", got)
	}
	w.mustHave(950, 50, 0, 0)
}

// A wallet that lost what its leases hold: nothing is built on it.
func TestDamagedWalletIsRefused(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	l := w.lease("vm", "1", 1, 50).Lease
	exec := func(statement string) {
		t.Helper()
		if _, err := w.writer.db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec("UPDATE wallets SET reserved = 3, spent = 47")
	if _, err := w.Sync(t.Context(), &api.SyncRequest{Gate: "gate-1", Boot: "vm", Leases: []api.LeaseReport{{Lease: l.ID, Used: 9}}}); err == nil {
		t.Error("settled more than is reserved")
	}
	exec("UPDATE wallets SET reserved = 50, spent = 0")
	w.mustReport("vm", l, 9, false, 9, api.LeaseKeep)
	w.mustHave(950, 41, 9, 0)
}

// A job that reserves without a lease, or leaves one without its credits, is undone.
func TestReservedWithoutALease(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	l := w.lease("vm", "1", 1, 50).Lease
	reserve, err := ledger.Reserve(5)
	if err != nil {
		t.Fatal(err)
	}
	for name, job := range map[string]func(tx *writeTx) error{
		"reserved alone": func(tx *writeTx) error {
			return tx.charge(&posting{accountID: w.account.ID, move: reserve, keyID: w.key.ID, opID: "vm-x", leaseID: l.ID})
		},
		"leased alone": func(tx *writeTx) error {
			return tx.openLease(&lease{id: "lease_x", accountID: w.account.ID, keyID: w.key.ID, gate: "g", boot: "b", opID: "vm-x", Lease: ledger.NewLease(5)}, time.Second)
		},
	} {
		_, err := write(t.Context(), w.Store, func(tx *writeTx) (int, error) { return 0, job(tx) })
		if !errors.Is(err, ledger.ErrBroken) {
			t.Errorf("%s: %v, want ErrBroken", name, err)
		}
	}
	if got := w.Stats().Breaches; got != 2 {
		t.Errorf("%d breaches counted, want 2", got)
	}
	w.mustHave(950, 50, 0, 0)
}

func TestLeaseOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]LeaseOptions{
		"negative ttl":     {TTL: -1},
		"ttl too short":    {TTL: time.Microsecond},
		"ttl too long":     {TTL: 2 * time.Hour},
		"grace too short":  {TTL: time.Minute, Grace: time.Second},
		"grace too long":   {Grace: 25 * time.Hour},
		"no such policy":   {Unreported: "burn"},
		"negative credits": {MaxCredits: -1},
		"too many credits": {MaxCredits: api.MaxCredits + 1},
	} {
		if s, err := Open(t.Context(), Options{Path: t.TempDir() + "/x.db", Leases: o}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, %v; want ErrInvalid", name, s, err)
		}
	}
	got, err := LeaseOptions{TTL: time.Minute}.withDefaults()
	if want := (LeaseOptions{time.Minute, 2 * time.Minute, ledger.Refund, 1000}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}
