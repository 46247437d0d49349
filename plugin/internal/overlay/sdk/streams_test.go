package sdk

import (
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// Whatever is put and removed, the table and a map tell the same.
func TestStreamsAreAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s streams[*int]
		model := map[uint32]*int{}
		// Few ids, far apart and close together, so that runs form, wrap around and have gaps.
		id := rapid.OneOf(rapid.Uint32Range(1, 40), rapid.Uint32Range(64, 80), rapid.SampledFrom([]uint32{127, 255, 1<<32 - 1}))
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				if k := id.Draw(t, "id"); model[k] == nil {
					model[k] = new(int)
					s.put(k, k^7, model[k])
				}
			},
			"remove": func(t *rapid.T) {
				k := id.Draw(t, "id")
				if s.remove(k) != (model[k] != nil) {
					t.Fatalf("remove %d: the table and the map differ", k)
				}
				delete(model, k)
			},
			"": func(t *rapid.T) {
				k := id.Draw(t, "id")
				got, ok := s.find(k)
				root, also := s.root(k)
				if got != model[k] || ok != (got != nil) || also != ok || ok && root != k^7 || s.n != len(model) {
					t.Fatalf("id %d: %p %v, root %d %v, %d streams; want %p of %d", k, got, ok, root, also, s.n, model[k], len(model))
				}
			},
		})
	})
	var none streams[*int]
	if _, ok := none.find(0); ok || none.remove(0) {
		t.Error("an empty table has a stream 0")
	}
}

// No two pieces of memory share a byte, until what was lent is taken back.
func TestAllocate(t *testing.T) {
	sizes := []uint32{0, 1, 7, 8, 9, 1700, blockSize / 4, blockSize/4 + 1, blockSize, 3, 3000, 3000, 3000, 3000, 3000}
	var pieces [][]byte
	fill := func(sizes []uint32) {
		for _, size := range sizes {
			piece := unsafe.Slice(allocate(size), max(1, size))
			for i := range piece {
				piece[i] = byte(len(pieces) + 1)
			}
			pieces = append(pieces, piece)
		}
	}
	check := func(what string) {
		t.Helper()
		for i, piece := range pieces {
			for _, b := range piece {
				if b != byte(i+1) {
					t.Fatalf("%s: piece %d has a byte of piece %d", what, i+1, b)
				}
			}
		}
	}
	for range 3 {
		fill(sizes)
	}
	check("lent")
	for n := range len(sizes) {
		kept := len(pieces)
		since := lending()
		fill(sizes[:n])
		takeBack(since)
		pieces = pieces[:kept]
		fill(sizes[:1])
		check("taken back")
	}
	since := lending()
	allocations := testing.AllocsPerRun(1000, func() {
		allocate(1700)
		allocate(100)
		takeBack(since)
		since = lending()
	})
	if allocations > 0 {
		t.Errorf("%v allocations for what is taken back each time", allocations)
	}
}
