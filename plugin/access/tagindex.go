package access

import "math/bits"

// tagIndex finds elements of a preallocated array by tag: open addressing with linear probing, at most half full, so
// that it never grows. It holds no pointers: the collector does not scan it.
type tagIndex struct {
	slots []tagSlot
	mask  uint64
}

// tagSlot is empty if ref is 0; otherwise ref is one more than the element.
type tagSlot struct {
	tag Tag
	ref int32
}

// newTagIndex returns an index with room for n elements.
func newTagIndex(n int) tagIndex {
	size := 1 << bits.Len(uint(max(2*n-1, 1)))
	return tagIndex{slots: make([]tagSlot, size), mask: uint64(size - 1)}
}

// find returns the element of t, or -1.
func (x *tagIndex) find(t Tag) int32 {
	for i := t.lo & x.mask; ; i = (i + 1) & x.mask {
		s := &x.slots[i]
		if s.ref == 0 {
			return -1
		}
		if s.tag == t {
			return s.ref - 1
		}
	}
}

// put makes element the one of t.
func (x *tagIndex) put(t Tag, element int32) {
	i := t.lo & x.mask
	for x.slots[i].ref != 0 && x.slots[i].tag != t {
		i = (i + 1) & x.mask
	}
	x.slots[i] = tagSlot{t, element + 1}
}

// remove forgets t, if it is known. Later elements of the same run move up, so that none is lost behind a gap.
func (x *tagIndex) remove(t Tag) {
	i := t.lo & x.mask
	for x.slots[i].tag != t || x.slots[i].ref == 0 {
		if x.slots[i].ref == 0 {
			return
		}
		i = (i + 1) & x.mask
	}
	for j := (i + 1) & x.mask; x.slots[j].ref != 0; j = (j + 1) & x.mask {
		home := x.slots[j].tag.lo & x.mask
		if (j-home)&x.mask >= (j-i)&x.mask {
			x.slots[i] = x.slots[j]
			i = j
		}
	}
	x.slots[i] = tagSlot{}
}

// clear forgets everything.
func (x *tagIndex) clear() { clear(x.slots) }

// freeList hands out the elements of a preallocated array, the lowest first as long as none came back.
type freeList struct {
	// next holds for each free element the one after it, and head the first; both one more than the element, 0 for none.
	next []int32
	head int32
	free int
}

func newFreeList(n int) freeList {
	f := freeList{next: make([]int32, n), head: 1, free: n}
	for i := range n - 1 {
		f.next[i] = int32(i + 2)
	}
	return f
}

// take returns a free element, or -1.
func (f *freeList) take() int32 {
	if f.free == 0 {
		return -1
	}
	i := f.head - 1
	f.head = f.next[i]
	f.free--
	return i
}

// give returns an element that was taken.
func (f *freeList) give(i int32) {
	f.next[i] = f.head
	f.head = i + 1
	f.free++
}
