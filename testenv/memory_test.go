package testenv

import "testing"

// The whole limit is reserved when the VM starts: growth neither moves the memory nor copies it, and ends at the limit.
func TestMemoryGrowsInPlace(t *testing.T) {
	t.Parallel()
	for limit, o := range map[uint32]Options{DefaultMemoryLimitPages: {}, 300: {MemoryLimitPages: 300}} {
		h := New(t, o, named(t, "tag", "a"))
		memory := h.workers[1].slots[0].vm.memory()
		pages, _ := memory.Grow(0)
		if pages >= limit {
			t.Fatalf("starts with %d of %d pages", pages, limit)
		}
		before, _ := memory.Read(0, 1)
		if _, ok := memory.Grow(limit - pages); !ok {
			t.Errorf("no growth from %d to %d pages", pages, limit)
		}
		after, _ := memory.Read(0, 1)
		if &before[0] != &after[0] {
			t.Errorf("growth from %d to %d pages moved the memory", pages, limit)
		}
		if _, ok := memory.Grow(1); ok || memory.Size() != limit<<16 {
			t.Errorf("%d bytes, want an end at %d pages", memory.Size(), limit)
		}
		h.Check(t, Request{}, Want{Status: 200})
	}
}
