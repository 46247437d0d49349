package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tollgate/tollgate/controlplane/api"
)

// told is what a gate is told that has seen everything up to cursor.
func (w *world) told(cursor int64) api.SyncReply {
	w.Helper()
	reply, err := w.Sync(w.Context(), &api.SyncRequest{Gate: "gate-1", Boot: "boot-1", Cursor: cursor})
	if err != nil {
		w.Fatal(err)
	}
	return reply
}

// Every mutation that changes what a gate may know of a key tells so; no other does.
func TestMutationsTellGates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	site := w.mustSite()
	pair, lone := w.mustPair(site.ID, "1"), w.mustKey(site.AccountID, "lone")
	idem := &Idempotency{Caller: "x", Key: "k"}
	later := w.clock.Now().Add(time.Hour)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	account := func(u AccountUpdate) func() {
		return func() { _, err := w.UpdateAccount(t.Context(), site.AccountID, u); must(err) }
	}
	key := func(u KeyUpdate) func() {
		return func() { _, err := w.UpdateKey(t.Context(), lone.ID, u); must(err) }
	}
	project := func(u ProjectUpdate) func() {
		return func() { _, err := w.UpdateProject(t.Context(), site.ID, u); must(err) }
	}
	topUp := func() {
		_, _, err := w.Store.TopUp(t.Context(), TopUp{AccountID: site.AccountID, Amount: 5, Actor: "x"}, idem)
		must(err)
	}
	none := api.Change{}
	ofKey := func(k Key) api.Change { return api.Change{Kind: api.ChangeKey, ID: k.ID} }
	ofAccount := api.Change{Kind: api.ChangeAccount, ID: site.AccountID}
	ofProject := api.Change{Kind: api.ChangeProject, ID: site.ID}
	cursor := w.told(0).Cursor
	for _, tt := range []struct {
		name string
		do   func()
		want api.Change
	}{
		{"top-up", topUp, api.Change{Kind: api.ChangeCredits, ID: site.AccountID}},
		{"top-up again", topUp, none},
		{"account's name", account(AccountUpdate{Name: ptr("Eve")}), none},
		{"account disabled", account(AccountUpdate{Status: ptr(AccountDisabled)}), ofAccount},
		{"account disabled again", account(AccountUpdate{Status: ptr(AccountDisabled)}), none},
		{"account active", account(AccountUpdate{Status: ptr(AccountActive)}), ofAccount},
		{"project's name", project(ProjectUpdate{Name: ptr("x")}), none},
		{"another domain", project(ProjectUpdate{Domain: ptr("x.example")}), ofProject},
		{"the same domain", project(ProjectUpdate{Domain: ptr("x.example")}), none},
		{"domain attested", func() { _, err := w.AttestDomain(t.Context(), site.ID, "r", "x"); must(err) }, ofProject},
		{"domain lapsed", func() { _, err := w.LapseDomain(t.Context(), site.ID, "r", "x"); must(err) }, ofProject},
		{"key's name", key(KeyUpdate{Name: ptr("x"), Environment: ptr(EnvironmentStaging)}), none},
		{"key inactive", key(KeyUpdate{Status: ptr(KeyInactive)}), ofKey(lone)},
		{"key active", key(KeyUpdate{Status: ptr(KeyActive)}), ofKey(lone)},
		{"key's expiry", key(KeyUpdate{ExpiresAt: &later}), ofKey(lone)},
		{"the same expiry", key(KeyUpdate{ExpiresAt: &later}), none},
		{"no expiry", key(KeyUpdate{NeverExpires: true}), ofKey(lone)},
		{"rotated", func() { w.mustRotate(pair.ID, Rotation{Secret: newSecret("sk_2")}) }, ofKey(pair)},
		{"replaced", func() {
			_, _, err := w.ReplaceKey(t.Context(), lone.ID, Replacement{Secret: newSecret("lone 2")}, nil)
			must(err)
		}, ofKey(lone)},
		{"revoked", func() { w.setKey(pair.ID, KeyRevoked) }, ofKey(pair)},
		{"revoked again", func() { w.setKey(pair.ID, KeyRevoked) }, none},
		{"a refusal", func() {
			if _, err := w.LapseDomain(t.Context(), site.ID, "r", "x"); err == nil {
				t.Error("lapsed twice")
			}
		}, none},
	} {
		tt.do()
		reply := w.told(cursor)
		var want []api.Change
		if tt.want != none {
			want = []api.Change{tt.want}
		}
		if diff := cmp.Diff(want, reply.Changes, cmpopts.IgnoreFields(api.Change{}, "Seq")); diff != "" || reply.More || reply.Epoch != 1 {
			t.Errorf("%s: %+v (-want +got):\n%s", tt.name, reply, diff)
		}
		if len(want) > 0 && (reply.Cursor <= cursor || reply.Changes[0].Seq != reply.Cursor) {
			t.Errorf("%s: cursor %d after %d, change %d", tt.name, reply.Cursor, cursor, reply.Changes[0].Seq)
		}
		cursor = reply.Cursor
	}
}

// A lease's cursor counts every change before it, so that what comes after it is told.
func TestCursorOfALease(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	other := w.mustKey(w.account.ID, "other")
	for i := range 2 {
		reply := w.lease("vm", string(rune('a'+i)), 1, 10)
		free := w.lease("vm", string(rune('p'+i)), 0, 0)
		absent := w.mustAcquire(leaseOf("vm", string(rune('x'+i)), "absent", 1, 10))
		if free.Cursor != reply.Cursor || absent.Cursor != reply.Cursor {
			t.Errorf("cursors %d, %d, %d", reply.Cursor, free.Cursor, absent.Cursor)
		}
		w.mustTopUp(w.account.ID, 1)
		w.setKey(other.ID, KeyRevoked)
		if got := len(w.told(reply.Cursor).Changes); got != 2-i {
			t.Errorf("round %d: told of %d changes", i, got)
		}
	}
}

func TestChangesInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	const many = api.MaxSyncChanges + 3
	for range many {
		w.mustTopUp(account.ID, 1)
	}
	first := w.told(0)
	if len(first.Changes) != api.MaxSyncChanges || !first.More || first.Cursor != api.MaxSyncChanges {
		t.Errorf("first: %d changes, more %v, cursor %d", len(first.Changes), first.More, first.Cursor)
	}
	second := w.told(first.Cursor)
	if len(second.Changes) != 3 || second.More || second.Cursor != many {
		t.Errorf("second: %d changes, more %v, cursor %d", len(second.Changes), second.More, second.Cursor)
	}
	if third := w.told(second.Cursor); third.Changes != nil || third.More || third.Cursor != many {
		t.Errorf("third: %+v", third)
	}
}

// Whoever has seen less than what was deleted, or more than there is, is told that everything changed.
func TestCursorOutOfReach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	all := func(seq int64) []api.Change { return []api.Change{{Seq: seq, Kind: api.ChangeAll}} }
	if diff := cmp.Diff(all(0), w.told(7).Changes); diff != "" {
		t.Errorf("of a database without changes (-want +got):\n%s", diff)
	}
	for range 5 {
		w.mustTopUp(account.ID, 1)
	}
	w.clock.Advance(changesKept + time.Second)
	prune := func() {
		t.Helper()
		if err := w.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	prune()
	for cursor, want := range map[int64][]api.Change{
		0: all(5), 3: all(5), 6: all(5), 5: nil, 4: {{Seq: 5, Kind: api.ChangeCredits, ID: account.ID}},
	} {
		reply := w.told(cursor)
		if diff := cmp.Diff(want, reply.Changes); diff != "" || reply.Cursor != 5 {
			t.Errorf("cursor %d, then %d (-want +got):\n%s", cursor, reply.Cursor, diff)
		}
	}
	w.mustTopUp(account.ID, 1)
	prune()
	if reply := w.told(4); len(reply.Changes) != 1 || reply.Changes[0].Kind != api.ChangeAll || reply.Cursor != 6 {
		t.Errorf("after another: %+v", reply)
	}
	if reply := w.told(5); len(reply.Changes) != 1 || reply.Changes[0].Kind != api.ChangeCredits {
		t.Errorf("after another, in reach: %+v", reply)
	}
}
