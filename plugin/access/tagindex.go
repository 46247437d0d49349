package access

// tagIndex finds the elements of an array by tag: open addressing with linear probing, at most half full. It grows in
// put alone, and holds no pointers that the collector would follow for each element.
type tagIndex struct {
	slots []tagSlot
	mask  uint32
	n     int
	// tags are those of the elements.
	tags blocks[Tag]
}

// tagSlot is empty if ref is 0; otherwise ref is one more than the element, and check a part of its tag, from which its
// home follows too.
type tagSlot struct {
	check uint32
	ref   int32
}

// firstSlots is how many slots an index begins with.
const firstSlots = 16

func newTagIndex() tagIndex {
	return tagIndex{slots: make([]tagSlot, firstSlots), mask: firstSlots - 1}
}

// slot returns the slot of t, or the empty one where it is to be put.
func (x *tagIndex) slot(t Tag) *tagSlot {
	check := uint32(t.lo)
	for i := check & x.mask; ; i = (i + 1) & x.mask {
		s := &x.slots[i]
		if s.ref == 0 || s.check == check && *x.tags.at(s.ref - 1) == t {
			return s
		}
	}
}

// find returns the element of t, or -1.
func (x *tagIndex) find(t Tag) int32 { return x.slot(t).ref - 1 }

// tag is the tag of an element that was put.
func (x *tagIndex) tag(element int32) Tag { return *x.tags.at(element) }

// put makes element, which has no tag, the one of t, which has no element.
func (x *tagIndex) put(t Tag, element int32) {
	if x.n++; 2*x.n > len(x.slots) {
		x.grow()
	}
	x.tags.reserve(element)
	*x.tags.at(element) = t
	*x.slot(t) = tagSlot{uint32(t.lo), element + 1}
}

// grow doubles the slots.
func (x *tagIndex) grow() {
	old := x.slots
	x.slots = make([]tagSlot, 2*len(old))
	x.mask = uint32(len(x.slots) - 1)
	for _, s := range old {
		if s.ref == 0 {
			continue
		}
		i := s.check & x.mask
		for x.slots[i].ref != 0 {
			i = (i + 1) & x.mask
		}
		x.slots[i] = s
	}
}

// remove forgets t, if it is known. Later elements of the same run move up, so that none is lost behind a gap.
func (x *tagIndex) remove(t Tag) {
	i := uint32(t.lo) & x.mask
	for {
		s := x.slots[i]
		if s.ref == 0 {
			return
		}
		if s.check == uint32(t.lo) && x.tag(s.ref-1) == t {
			break
		}
		i = (i + 1) & x.mask
	}
	x.n--
	for j := (i + 1) & x.mask; x.slots[j].ref != 0; j = (j + 1) & x.mask {
		home := x.slots[j].check & x.mask
		if (j-home)&x.mask >= (j-i)&x.mask {
			x.slots[i] = x.slots[j]
			i = j
		}
	}
	x.slots[i] = tagSlot{}
}

// clear forgets everything.
func (x *tagIndex) clear() {
	clear(x.slots)
	x.n = 0
}
