package access

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// What every request does costs no garbage.
func TestHotPathAllocatesNothing(t *testing.T) {
	d := newDesk(t, Limits{})
	d.lease("a", 1_000_000, 3_600_000, at(0))
	u := NewUsage([]string{"/v1/"}, [16]byte{1})
	key := "genrex_sk_0123456789abcdef0123456789abcdef0123456789abcd"
	now, tag := at(1), d.tag("a")
	var sink Tag
	for name, f := range map[string]func(){
		"Tag":      func() { sink = d.Tag(0, key, "") },
		"Tag pair": func() { sink = d.Tag(1, key, key) },
		"Admit":    func() { d.Admit(tag, 1, now) },
		"NoLease":  func() { d.Admit(sink, 1, now) },
		"Held":     func() { d.Settle(d.AdmitHeld(tag, 3, now).Hold, 2) },
		"Identity": func() {
			id, _ := d.Identity(d.Admit(tag, 1, now).Lease)
			u.Count(0, id.Key, "conversation", Tally{Requests: 1, Credits: 1})
		},
		"Sweep": func() { d.Sweep(now) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// The collector scans arrays of types with pointers, however long they are.
func TestTablesHoldNoPointers(t *testing.T) {
	t.Parallel()
	for _, v := range []any{entry{}, lease{}, leaseIDs{}, hold{}, flight{}, denial{}, tagSlot{}, change{}, usageRow{}} {
		if at := pointerIn(reflect.TypeOf(v)); at != "" {
			t.Errorf("%T: %s", v, at)
		}
	}
}

// pointerIn names the first field of t that holds a pointer.
func pointerIn(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if at := pointerIn(t.Field(i).Type); at != "" {
				return t.Field(i).Name + " " + at
			}
		}
		return ""
	case reflect.Array:
		return pointerIn(t.Elem())
	case reflect.Bool, reflect.Uint8, reflect.Int32, reflect.Uint32, reflect.Int64, reflect.Uint64:
		return ""
	}
	return t.String()
}

// benchTable has n live leases.
func benchTable(b *testing.B, n int) (*Leases, []Tag) {
	l := NewLeases(Limits{Keys: n, UnknownBurst: n + 1}, [16]byte{3})
	tags := make([]Tag, n)
	for i := range tags {
		tags[i] = l.Tag(0, fmt.Sprint("credential", i), "")
		a := l.Ask(tags[i], api.MaxCredits/10, at(0))
		o := l.Install(a.Flight, &api.AcquireReply{OpID: "op", Verdict: api.Granted, Lease: &api.Lease{
			ID: fmt.Sprint("lease_", i), Credits: a.Want, TTLMillis: api.MaxTTLMillis,
			Account: fmt.Sprint("acct_", i), Key: fmt.Sprint("key_", i)}}, at(0))
		if o.Result != Installed {
			b.Fatalf("%+v: %+v", a, o)
		}
	}
	return l, tags
}

func BenchmarkTag(b *testing.B) {
	l := NewLeases(Limits{Keys: 1}, [16]byte{3})
	key := "genrex_sk_0123456789abcdef0123456789abcdef0123456789abc"
	for b.Loop() {
		l.Tag(0, key, "")
	}
}

// The digest that the tag saves, for comparison in the same run.
func BenchmarkDigest(b *testing.B) {
	key := "genrex_sk_0123456789abcdef0123456789abcdef0123456789abc"
	for b.Loop() {
		apikey.DigestOf(key)
	}
}

func BenchmarkAdmit(b *testing.B) {
	for _, n := range []int{1, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l, tags := benchTable(b, n)
			i := 0
			for b.Loop() {
				if i++; i == len(tags) {
					i = 0
				}
				if l.Admit(tags[i], 1, at(1)).Standing != Admitted {
					b.Fatal("not admitted")
				}
			}
		})
	}
}

func BenchmarkAdmitHeldAndSettle(b *testing.B) {
	l, tags := benchTable(b, 10_000)
	i := 0
	for b.Loop() {
		if i++; i == len(tags) {
			i = 0
		}
		l.Settle(l.AdmitHeld(tags[i], 5, at(1)).Hold, 3)
	}
}

func BenchmarkIdentity(b *testing.B) {
	l, tags := benchTable(b, 10_000)
	ref := l.Admit(tags[0], 1, at(1)).Lease
	for b.Loop() {
		l.Identity(ref)
	}
}

func BenchmarkUsage(b *testing.B) {
	u := NewUsage([]string{"/v1/"}, [16]byte{1})
	key := "key_0123456789abcdef0123456789abcdef"
	for b.Loop() {
		u.Count(0, key, "conversation-1", Tally{Requests: 1, Credits: 1})
	}
}

// A sync with as much to say as fits, of 100,000 leases, and as many changes as a reply can bring.
func BenchmarkSync(b *testing.B) {
	l, tags := benchTable(b, 100_000)
	reply := &api.SyncReply{}
	for i := range api.MaxSyncChanges {
		reply.Changes = append(reply.Changes, api.Change{Kind: api.ChangeCredits, ID: fmt.Sprint("acct_x", i)})
	}
	var dst []api.LeaseReport
	seq := int64(0)
	for b.Loop() {
		for _, t := range tags[:api.MaxSyncLeases] {
			l.Admit(t, 1, at(1))
		}
		var r Round
		dst, r, _ = l.Reports(dst[:0], api.MaxSyncLeases, at(1))
		reply.Leases = reply.Leases[:0]
		for _, p := range dst {
			reply.Leases = append(reply.Leases, api.LeaseAck{Lease: p.Lease, Used: p.Used, Action: api.LeaseKeep})
		}
		for i := range reply.Changes {
			seq++
			reply.Changes[i].Seq = seq
		}
		l.Synced(r, reply)
	}
}
