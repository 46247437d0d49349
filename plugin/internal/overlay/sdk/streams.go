// Package sdk is laid over the SDK's package proxywasm/internal in the build of the filter: a table of streams in place of
// its maps, and memory for the host in blocks. Here it is tested; nothing imports it.
//
// # Why not the SDK's own?
//
// A stream costs it two insertions into maps, two deletions and a look-up for each callback, and each list of headers an
// allocation. Together that is more than all that the filter does for a request with a live lease
// (testenv/bench/RESULTS.md, "A hot request").
package sdk

// streams holds the contexts of streams by id, with the id of the plugin's context that each belongs to. Ids are the host's,
// which counts them up from 1, so that they need no hashing: open addressing with linear probing, at most half full.
type streams[C any] struct {
	slots []slot[C]
	n     int
}

// slot is empty if id is 0.
type slot[C any] struct {
	id, root uint32
	context  C
}

// at returns the place of id, or that where it would have to be put. There is at least one empty slot.
func (s *streams[C]) at(id uint32) int {
	mask := len(s.slots) - 1
	i := int(id) & mask
	for s.slots[i].id != id && s.slots[i].id != 0 {
		i = (i + 1) & mask
	}
	return i
}

// find returns the context of a stream.
func (s *streams[C]) find(id uint32) (context C, ok bool) {
	if s.n == 0 || id == 0 {
		return context, false
	}
	found := &s.slots[s.at(id)]
	return found.context, found.id == id
}

// root returns the id of the plugin's context that a stream belongs to.
func (s *streams[C]) root(id uint32) (root uint32, ok bool) {
	if s.n == 0 || id == 0 {
		return 0, false
	}
	found := &s.slots[s.at(id)]
	return found.root, found.id == id
}

// put adds a stream that is not there.
func (s *streams[C]) put(id, root uint32, context C) {
	if 2*(s.n+1) > len(s.slots) {
		s.grow()
	}
	s.slots[s.at(id)] = slot[C]{id, root, context}
	s.n++
}

func (s *streams[C]) grow() {
	old := s.slots
	s.slots = make([]slot[C], max(64, 2*len(old)))
	for i := range old {
		if old[i].id != 0 {
			s.slots[s.at(old[i].id)] = old[i]
		}
	}
}

// remove forgets a stream, and reports whether it was there. Later ones of the same run move up, so that none is lost behind
// a gap.
func (s *streams[C]) remove(id uint32) bool {
	if s.n == 0 || id == 0 {
		return false
	}
	i := s.at(id)
	if s.slots[i].id != id {
		return false
	}
	mask := len(s.slots) - 1
	for j := (i + 1) & mask; s.slots[j].id != 0; j = (j + 1) & mask {
		if home := int(s.slots[j].id) & mask; (j-home)&mask >= (j-i)&mask {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = slot[C]{}
	s.n--
	return true
}

// blockSize is how much memory is taken for the host at a time, in bytes: a size that Go's allocator has in stock. What is
// kept of a block keeps all of it.
const blockSize = 16 << 10

// lent is the newest block: used bytes of it have been given to the host. Number counts the blocks.
var lent struct {
	block        []byte
	used, number uint32
}

// allocate returns size bytes for the host to write to, which are nobody else's.
func allocate(size uint32) *byte {
	if size > blockSize/4 {
		large := make([]byte, size)
		return &large[0]
	}
	// Eight bytes at least: memory of size 0 has an address of its own, too.
	size = max(8, (size+7)&^7)
	if uint32(len(lent.block)) < lent.used+size {
		lent.block, lent.used = make([]byte, blockSize), 0
		lent.number++
	}
	p := &lent.block[lent.used]
	lent.used += size
	return p
}

// loan is how much was lent at some time.
type loan struct{ used, number uint32 }

func lending() loan { return loan{lent.used, lent.number} }

// takeBack makes what was lent since then free to be lent again. Whoever calls it has made sure that nobody looks at it any
// more: the filter keeps nothing of what the host told it in a callback for headers, once that lets the stream go on, but
// copies. That way a request leaves no garbage.
func takeBack(since loan) {
	if lent.number != since.number {
		since.used = 0
	}
	lent.used = since.used
}
