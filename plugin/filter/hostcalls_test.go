package filter

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// encodePairs writes a list of pairs as the ABI has it.
func encodePairs(pairs [][2]string) []byte {
	raw := binary.LittleEndian.AppendUint32(nil, uint32(len(pairs)))
	for _, p := range pairs {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(len(p[0])))
		raw = binary.LittleEndian.AppendUint32(raw, uint32(len(p[1])))
	}
	for _, p := range pairs {
		raw = append(append(raw, p[0]...), 0)
		raw = append(append(raw, p[1]...), 0)
	}
	return raw
}

// It counts allocations, which nothing beside it may make.
func TestParsePairs(t *testing.T) {
	for _, pairs := range [][][2]string{nil, {{"", ""}}, {{":path", "/"}, {"a", ""}, {"", "b"}, {"a", "\x00\xff"}}} {
		got, ok := parsePairs(nil, string(encodePairs(pairs)))
		if diff := cmp.Diff(pairs, got); !ok || diff != "" {
			t.Errorf("ok %v, %s", ok, diff)
		}
	}
	scratch := make([][2]string, 0, 8)
	raw := string(encodePairs([][2]string{{":path", "/"}, {"a", "b"}}))
	if n := testing.AllocsPerRun(100, func() { scratch, _ = parsePairs(scratch[:0], raw) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever a host writes, no text lies outside of it, and nothing panics.
func TestParsePairsOfAnything(t *testing.T) {
	t.Parallel()
	good := encodePairs([][2]string{{":method", "POST"}, {":path", "/v1/x"}, {"authorization", "Bearer x"}})
	for n := range len(good) {
		if _, ok := parsePairs(nil, string(good[:n])); ok {
			t.Errorf("the first %d of %d bytes are a list", n, len(good))
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		raw := append([]byte(nil), good...)
		for range 1 + random.IntN(3) {
			raw[random.IntN(40)] = []byte{0, 1, 0x7f, 0x80, 0xff, byte(random.Uint32())}[random.IntN(6)]
		}
		pairs, _ := parsePairs(nil, string(raw))
		size := 0
		for _, p := range pairs {
			size += len(p[0]) + len(p[1])
		}
		if size > len(raw) {
			t.Fatalf("%d bytes of text in %d bytes: %q", size, len(raw), raw)
		}
	}
}
