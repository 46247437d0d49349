package access

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
)

var one = Tally{Requests: 1, Credits: 2}

func TestUsageBatches(t *testing.T) {
	t.Parallel()
	u := NewUsage([]string{"/v1/", "/v2/"}, [16]byte{1})
	if b := u.Batch(1 << 20); b != nil {
		t.Fatalf("batch %+v of nothing", b)
	}
	u.Count(0, "key_a", "", one)
	u.Count(0, "key_a", "", Tally{Requests: 1, Refused: 1})
	u.Count(1, "key_a", "", one)
	u.Count(0, "key_a", "c", one)
	u.Count(0, "key_b", "", one)
	first := &api.UsageBatch{Seq: 1, Rows: []api.UsageRow{
		{Key: "key_a", Route: "/v1/", Requests: 2, Credits: 2, Refused: 1},
		{Key: "key_a", Route: "/v2/", Requests: 1, Credits: 2},
		{Key: "key_a", Route: "/v1/", Conversation: "c", Requests: 1, Credits: 2},
		{Key: "key_b", Route: "/v1/", Requests: 1, Credits: 2},
	}}
	if diff := cmp.Diff(first, u.Batch(1<<20)); diff != "" {
		t.Fatalf("first batch (-want +got):\n%s", diff)
	}
	u.Count(0, "key_a", "", one)
	u.Acked(0)
	u.Acked(2)
	if diff := cmp.Diff(first, u.Batch(1<<20)); diff != "" {
		t.Fatalf("the batch changed before it was acknowledged (-want +got):\n%s", diff)
	}
	if n := u.Pending(); n != 5 {
		t.Errorf("%d rows pending, want 5", n)
	}
	u.Acked(1)
	u.Acked(1)
	want := &api.UsageBatch{Seq: 2, Rows: []api.UsageRow{{Key: "key_a", Route: "/v1/", Requests: 1, Credits: 2}}}
	if diff := cmp.Diff(want, u.Batch(1<<20)); diff != "" {
		t.Errorf("second batch (-want +got):\n%s", diff)
	}
}

// What has no row is summed, and what cannot be in one.
func TestUsageOverflow(t *testing.T) {
	t.Parallel()
	u := NewUsage([]string{"/v1/"}, [16]byte{1})
	for i := range maxUsageRows + 10 {
		u.Count(0, fmt.Sprint("key_", i), "", one)
	}
	u.Count(0, "key_0", "", one)
	u.Count(1, "key_0", "", one)
	u.Count(-1, "key_0", "", one)
	u.Count(0, "", "", one)
	u.Count(0, strings.Repeat("k", api.MaxIDLen+1), "", one)
	u.Count(0, "key_0", strings.Repeat("x", maxConversationLen+1), one)
	b := u.Batch(1 << 20)
	if diff := cmp.Diff(api.UsageRow{Route: api.OtherRows, Requests: 15, Credits: 30}, b.Rows[0]); diff != "" {
		t.Errorf("others (-want +got):\n%s", diff)
	}
	if len(b.Rows) != api.MaxUsageRows || b.Rows[1].Key != "key_0" || b.Rows[1].Requests != 2 {
		t.Errorf("%d rows, second %+v", len(b.Rows), b.Rows[1])
	}
	for range 3 {
		u.Count(0, "key_x", "", Tally{Requests: -1, Credits: api.MaxCredits * 2})
	}
	u.Acked(1)
	for b = u.Batch(1 << 20); ; b = u.Batch(1 << 20) {
		u.Acked(b.Seq)
		if last := b.Rows[len(b.Rows)-1]; last.Key == "key_x" {
			if last.Credits != api.MaxCredits || last.Requests != 0 {
				t.Errorf("sum %+v, want it to stop at the most there can be", last)
			}
			break
		}
	}
}

// A batch fits in the bytes it is given, whatever its texts, and is one that the control plane takes.
func TestUsageFits(t *testing.T) {
	t.Parallel()
	route, conversation := strings.Repeat(`<"\&>`, 60), strings.Repeat(`&"`, maxConversationLen/2)
	u := NewUsage([]string{route, "", "other", "/a b\xff"}, [16]byte{1})
	for i := range 600 {
		u.Count(i%4, fmt.Sprint("key_", i), conversation, Tally{api.MaxCredits, api.MaxCredits, api.MaxCredits})
	}
	rows := 0
	for u.Pending() > 0 {
		b := u.Batch(20_000)
		data, err := json.Marshal(b)
		if err != nil || len(data) > 20_000+30 {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		req := api.SyncRequest{Gate: "g", Boot: "b", Usage: b}
		if err := req.Validate(); err != nil {
			t.Fatal(err)
		}
		rows += len(b.Rows)
		u.Acked(b.Seq)
	}
	if rows != 600 {
		t.Errorf("%d rows, want 600", rows)
	}
	u.Count(0, "key", "", one)
	if b := u.Batch(1); len(b.Rows) != 1 {
		t.Errorf("batch %+v: at least one row has to go", b)
	}
}

// Every request is in exactly one acknowledged batch.
func TestUsageAgainstMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		u := NewUsage([]string{"/0", "/1"}, [16]byte{byte(seed)})
		want, got := map[string]int64{}, map[string]int64{}
		name := func(route, key, talk string) string { return route + " " + key + " " + talk }
		take := func(b *api.UsageBatch) {
			for _, r := range b.Rows {
				got[name(r.Route, r.Key, r.Conversation)] += r.Requests
			}
			u.Acked(b.Seq)
		}
		for range 20_000 {
			route, key, talk := rng.IntN(2), fmt.Sprint("k", rng.IntN(60)), fmt.Sprint("c", rng.IntN(30))
			n := rng.Int64N(5)
			u.Count(route, key, talk, Tally{Requests: n})
			want[name(fmt.Sprint("/", route), key, talk)] += n
			if b := u.Batch(2_000 + rng.IntN(60_000)); b != nil && rng.IntN(50) == 0 {
				take(b)
			}
		}
		for b := u.Batch(1 << 20); b != nil; b = u.Batch(1 << 20) {
			take(b)
		}
		for _, m := range []map[string]int64{want, got} {
			for k, n := range m {
				if n == 0 {
					delete(m, k)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}

// Counting by lease is counting by the key of the lease, whatever is reported and forgotten in between.
func TestCountLeaseIsCount(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Limits{Keys: 64})
	rng := rand.New(rand.NewPCG(3, 4))
	routes := []string{"/0", "/1"}
	byLease, byKey := NewUsage(routes, [16]byte{1}), NewUsage(routes, [16]byte{1})
	refs := []LeaseRef{{}, {place: 1 << 30, gen: 1}}
	for i := range 20 {
		name := fmt.Sprint("k", i)
		d.lease(name, 1_000, 600_000, at(0))
		refs = append(refs, d.admit(name, 1, at(1), Admitted).Lease)
	}
	for i := range 30_000 {
		if i == 15_000 {
			d.change(1, api.ChangeKey, "key_k3")
		}
		ref, route, talk := refs[rng.IntN(len(refs))], rng.IntN(2), []string{"", "", "", "c"}[rng.IntN(4)]
		byLease.CountLease(d.Leases, ref, route, talk, one)
		if who, ok := d.Identity(ref); ok {
			byKey.Count(route, who.Key, talk, one)
		}
		if rng.IntN(100) == 0 {
			size := 200 + rng.IntN(5_000)
			got, want := byLease.Batch(size), byKey.Batch(size)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("after %d (-by key +by lease):\n%s", i, diff)
			}
			if got != nil {
				byLease.Acked(got.Seq)
				byKey.Acked(got.Seq)
			}
		}
	}
}
