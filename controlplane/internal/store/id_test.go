package store

import (
	"strings"
	"sync"
	"testing"
	"time"
)

var testIDs = struct {
	sync.Mutex
	ids
}{ids: ids{now: time.Now}}

// newID makes an id as a writer does.
func newID(prefix string) (string, error) {
	testIDs.Lock()
	defer testIDs.Unlock()
	return testIDs.make(prefix)
}

// Ids are UUIDv7, and ascend however the clock goes: it stands, steps back, and a millisecond overflows.
func TestIDsAscendByAnyClock(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	g := ids{now: func() time.Time { return at }}
	last := ""
	for i := range 3 * idSteps {
		switch i {
		case idSteps:
			at = at.Add(-time.Hour)
		case 2 * idSteps:
			at = at.Add(2 * time.Hour)
		}
		id, err := g.make("x_")
		if err != nil {
			t.Fatal(err)
		}
		if id <= last {
			t.Fatalf("%s was made after %s", id, last)
		}
		last = id
	}
	b, err := idEncoding.DecodeString(strings.TrimPrefix(last, "x_"))
	if err != nil || len(b) != 16 || b[6]>>4 != 7 || b[8]>>6 != 2 {
		t.Errorf("not a UUIDv7: %x, %v", b, err)
	}
	ms := int64(0)
	for _, c := range b[:6] {
		ms = ms<<8 | int64(c)
	}
	if got := time.UnixMilli(ms); got.Sub(at) > time.Second || got.Before(at) {
		t.Errorf("made at %s, want %s", got, at)
	}
}

// Ids order the books and the pages of lists: those made after a restart come after those before it, although the clock
// was set back meanwhile, or the process was killed.
func TestIDsAscendAcrossRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.mustAccount(AccountActive)
	w.mustKey(a.ID, "secret")
	w.mustTopUp(a.ID, 100)
	want := []int64{100}
	for i := range 4 {
		if i != 1 { // with a killed process, nothing is done at the end
			must(t, w.Close())
		}
		w.clock.Advance(-time.Hour)
		w.reopen()
		w.mustTopUp(a.ID, int64(i+1))
		want = append([]int64{int64(i + 1)}, want...)
		w.verify()
	}
	entries, _, err := w.Entries(t.Context(), a.ID, Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, e := range entries {
		if e.Bucket == "available" {
			got = append(got, int64(e.Delta))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("top-ups, newest first: %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("top-ups, newest first: %v, want %v", got, want)
		}
	}
}

// The promise is written once a second, not with every commit.
func TestIDsArePromisedRarely(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.mustAccount(AccountActive)
	promised := func() int64 {
		until, err := w.queries.Meta(t.Context(), metaIDs)
		must(t, err)
		return until
	}
	first := promised()
	w.clock.Advance(900 * time.Millisecond)
	w.mustTopUp(a.ID, 1)
	if promised() != first {
		t.Error("written again within the second")
	}
	w.clock.Advance(200 * time.Millisecond)
	w.mustTopUp(a.ID, 1)
	if got := promised(); got <= first {
		t.Errorf("%d after %d: not written after a second", got, first)
	}
}
