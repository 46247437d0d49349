package access

import (
	"fmt"
	"reflect"
	"testing"
	"unsafe"

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
		"Count": func() { u.CountLease(d.Leases, d.Admit(tag, 1, now).Lease, 0, "", Tally{Requests: 1, Credits: 1}) },
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
	for _, v := range []any{entry{}, lease{}, leaseIDs{}, hold{}, flight{}, denial{}, tagSlot{}, change{}, usageRow{}, recentRow{}} {
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

// size is what b takes of the heap.
func (b *blocks[T]) size() int {
	var block [1 << blockBits]T
	return len(b.all) * int(unsafe.Sizeof(block))
}

func (x *tagIndex) size() int { return len(x.slots)*int(unsafe.Sizeof(tagSlot{})) + x.tags.size() }

// size is what l takes of the heap.
func (l *Leases) size() int {
	return int(unsafe.Sizeof(*l)) + l.entries.size() + l.leases.size() + l.ids.size() + l.holds.size() + l.byTag.size() + l.byID.size() +
		4*(cap(l.entryFree.next)+cap(l.leaseFree.next)+cap(l.holdFree.next)) +
		len(l.flights.all)*int(unsafe.Sizeof(flight{})) + l.flights.byTag.size() +
		cap(l.denials.all)*int(unsafe.Sizeof(denial{})) + l.denials.byTag.size()
}

// A VM pays for the keys that it has seen, not for those that it may come to see; and it may come to see 131,072.
func TestTableGrows(t *testing.T) {
	small, _ := filledTable(t, Limits{}, 1)
	if n := small.size(); n > 400<<10 {
		t.Errorf("a table of one lease takes %d bytes", n)
	}
	const keys = 131_072
	full, tags := filledTable(t, Limits{}, keys)
	each := (full.size() - small.size()) / keys
	t.Logf("one lease: %d bytes; %d leases: %d bytes, %d each", small.size(), keys, full.size(), each)
	if each > 480 {
		t.Errorf("%d bytes for each of %d leases", each, keys)
	}
	if c := full.Counts(); c.Evicted != 0 || c.Leases != keys {
		t.Errorf("counts %+v, want every lease there", c)
	}
	if n := testing.AllocsPerRun(1_000, func() { full.Admit(tags[keys-1], 1, at(1)) }); n != 0 {
		t.Errorf("%v allocations for a request in the full table", n)
	}
}

// filledTable has n live leases.
func filledTable(t testing.TB, m Limits, n int) (*Leases, []Tag) {
	t.Helper()
	m.UnknownBurst = n + 1
	l := NewLeases(m, [16]byte{3})
	tags := make([]Tag, n)
	for i := range tags {
		tags[i] = l.Tag(0, fmt.Sprint("credential", i), "")
		a := l.Ask(tags[i], api.MaxCredits/10, at(0))
		o := l.Install(a.Flight, &api.AcquireReply{OpID: "op", Verdict: api.Granted, Lease: &api.Lease{
			ID: fmt.Sprint("lease_", i), Credits: a.Want, TTLMillis: api.MaxTTLMillis,
			Account: fmt.Sprint("acct_", i), Key: fmt.Sprint("key_", i)}}, at(0))
		if o.Result != Installed {
			t.Fatalf("%+v: %+v", a, o)
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
			l, tags := filledTable(b, Limits{Keys: n}, n)
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
	l, tags := filledTable(b, Limits{Keys: 10_000}, 10_000)
	i := 0
	for b.Loop() {
		if i++; i == len(tags) {
			i = 0
		}
		l.Settle(l.AdmitHeld(tags[i], 5, at(1)).Hold, 3)
	}
}

func BenchmarkIdentity(b *testing.B) {
	l, tags := filledTable(b, Limits{Keys: 10_000}, 10_000)
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
	l, tags := filledTable(b, Limits{Keys: 100_000}, 100_000)
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
