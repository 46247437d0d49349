package access

// blockBits: a block is of 1<<blockBits elements.
const blockBits = 8

// blocks are an array that grows by whole blocks: what is there never moves, and a table costs what it was ever filled
// with, not what it may come to hold. T has no pointers, so that the collector looks at one for each block.
type blocks[T any] struct{ all []*[1 << blockBits]T }

// at is element i, for which there is room.
func (b *blocks[T]) at(i int32) *T { return &b.all[i>>blockBits][i&(1<<blockBits-1)] }

// reserve makes room for element i.
func (b *blocks[T]) reserve(i int32) {
	for int(i>>blockBits) >= len(b.all) {
		b.all = append(b.all, new([1 << blockBits]T))
	}
}

// freeList hands out the elements of an array, those that came back first, and then the lowest.
type freeList struct {
	// next holds for each free element that came back the one after it, and head the first; both one more than the
	// element, 0 for none. It is as long as the array was ever filled.
	next []int32
	head int32
	free int
}

func newFreeList(n int) freeList { return freeList{free: n} }

// take returns a free element, or -1.
func (f *freeList) take() int32 {
	if f.free == 0 {
		return -1
	}
	f.free--
	if f.head == 0 {
		f.next = append(f.next, 0)
		return int32(len(f.next) - 1)
	}
	i := f.head - 1
	f.head = f.next[i]
	return i
}

// give returns an element that was taken.
func (f *freeList) give(i int32) {
	f.next[i] = f.head
	f.head = i + 1
	f.free++
}
