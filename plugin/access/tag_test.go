package access

import (
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// The reference code's vectors (veorq/SipHash, vectors.h, vectors_sip128): key 00 01 … 0f, message 00 01 … of a length.
func TestSipHashVectors(t *testing.T) {
	t.Parallel()
	var seed [16]byte
	for i := range seed {
		seed[i] = byte(i)
	}
	for length, want := range map[int]string{
		0:  "a3817f04ba25a8e66df67214c7550293",
		1:  "da87c1d86b99af44347659119b22fc45",
		7:  "a1f1ebbed8dbc153c0b84aa61ff08239",
		8:  "3b62a9ba6258f5610f83e264f31497b4",
		15: "5493e99933b0a8117e08ec0f97cfc3d9",
		16: "6ee2a4ca67b054bbfd3315bf85230577",
		63: "5150d1772f50834a503e069a973fbd7c",
	} {
		message := make([]byte, length)
		for i := range message {
			message[i] = byte(i)
		}
		s := newSipKey(seed).start()
		for len(message) >= 8 {
			s.text(string(message[:8]))
			message = message[8:]
		}
		last := uint64(length) << 56
		for i, c := range message {
			last |= uint64(c) << (8 * i)
		}
		tag := s.sum(last)
		var got []byte
		for _, w := range []uint64{tag.lo, tag.hi} {
			for i := range 8 {
				got = append(got, byte(w>>(8*i)))
			}
		}
		if hex.EncodeToString(got) != want {
			t.Errorf("length %d: got %x, want %s", length, got, want)
		}
	}
}

// No two of these are the same credential, however their bytes are split, padded or ordered.
func TestTagsDiffer(t *testing.T) {
	t.Parallel()
	l := NewLeases(Limits{Keys: 1, Flights: 1, Holds: 1, Denials: 1}, [16]byte{7})
	seen := map[Tag][3]any{}
	for scheme := range 3 {
		for _, parts := range [][2]string{{"", ""}, {"a", ""}, {"", "a"}, {"ab", ""}, {"a", "b"}, {"b", "a"}, {"a\x00", ""},
			{"a", "\x00"}, {"12345678", ""}, {"1234567", "8"}, {"12345678", "\x00"}, {"123456781234567", ""},
			{"1234567812345678", ""}, {"1234567812345678\x00", ""}} {
			tag := l.Tag(scheme, parts[0], parts[1])
			if was, ok := seen[tag]; ok {
				t.Errorf("scheme %d %q has the tag of %q", scheme, parts, was)
			}
			seen[tag] = [3]any{scheme, parts[0], parts[1]}
			if tag != l.Tag(scheme, parts[0], parts[1]) {
				t.Errorf("scheme %d %q: the tag changes", scheme, parts)
			}
		}
	}
	other := NewLeases(Limits{Keys: 1, Flights: 1, Holds: 1, Denials: 1}, [16]byte{8})
	if l.Tag(0, "a", "") == other.Tag(0, "a", "") {
		t.Error("the tag does not depend on the seed")
	}
}

func TestTagIndexAgainstMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		const room = 20
		x, want, free := newTagIndex(), map[Tag]int32{}, newFreeList(room)
		for range 3_000 {
			// Few values of lo, so that runs are long and wrap around.
			tag := Tag{lo: rng.Uint64N(4) * 21, hi: rng.Uint64N(12)}
			if element, known := want[tag]; rng.IntN(2) == 0 {
				x.remove(tag)
				if known {
					free.give(element)
				}
				delete(want, tag)
			} else if !known && len(want) < room {
				element := free.take()
				x.put(tag, element)
				want[tag] = element
			}
			for lo := range uint64(4) {
				for hi := range uint64(12) {
					tag := Tag{lo * 21, hi}
					element, ok := want[tag]
					if !ok {
						element = -1
					}
					if got := x.find(tag); got != element {
						t.Fatalf("seed %d: find %v: got %d, want %d", seed, tag, got, element)
					}
				}
			}
		}
	}
}
