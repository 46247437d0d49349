package access

import (
	"math/bits"
	"unsafe"
)

// Tag names a credential inside one VM: SipHash-2-4-128 (Aumasson and Bernstein; the 128-bit variant of their
// reference code) of its scheme and its parts, under a random key that never leaves the VM. Whoever does not know the
// key can neither make two credentials share a tag nor learn anything of a credential from it, so that tables need to
// keep no secret and no digest.
type Tag struct{ lo, hi uint64 }

// sipKey is the key of a VM's hashes.
type sipKey struct{ lo, hi uint64 }

func newSipKey(seed [16]byte) sipKey {
	k := sipKey{}
	for i := range 8 {
		k.lo |= uint64(seed[i]) << (8 * i)
		k.hi |= uint64(seed[8+i]) << (8 * i)
	}
	return k
}

// The first word of what is hashed keeps hashes of different things apart. A credential's is its scheme's number, a usage
// row's hashUsage and its route's.
const (
	hashID    uint64 = 1 << 32
	hashUsage uint64 = 2 << 32
)

// credential hashes a credential: two texts of a scheme, the second empty where the scheme has but one.
func (k sipKey) credential(scheme int, first, second string) Tag {
	return k.hash(uint64(uint32(scheme)), first, second)
}

// id hashes an id that the control plane made.
func (k sipKey) id(id string) Tag { return k.hash(hashID, id, "") }

// hash is the SipHash-2-4-128 of the words head and the two lengths, and of each text filled up with zeros to whole
// words. Because the lengths are part of it, no two lists of arguments are the same message.
func (k sipKey) hash(head uint64, first, second string) Tag {
	s := k.start()
	s.two(head, uint64(len(first))<<32|uint64(uint32(len(second))))
	n := 16 + s.text(first)
	if second != "" {
		n += s.text(second)
	}
	return s.sum(uint64(n) << 56)
}

// sip is the state of one SipHash-2-4-128.
type sip struct{ v0, v1, v2, v3 uint64 }

func (k sipKey) start() sip {
	return sip{
		v0: k.lo ^ 0x736f6d6570736575,
		v1: k.hi ^ 0x646f72616e646f6d ^ 0xee,
		v2: k.lo ^ 0x6c7967656e657261,
		v3: k.hi ^ 0x7465646279746573,
	}
}

// two adds two words.
func (s *sip) two(first, second uint64) {
	v0, v1, v2, v3 := sipRound(s.v0, s.v1, s.v2, s.v3^first)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0^first, v1, v2, v3^second)
	v0, s.v1, s.v2, s.v3 = sipRound(v0, v1, v2, v3)
	s.v0 = v0 ^ second
}

// text adds t and returns how many bytes that were, zeros counted. It keeps the state in variables of its own, because
// every request hashes a credential.
func (s *sip) text(t string) int {
	v0, v1, v2, v3, n := s.v0, s.v1, s.v2, s.v3, 0
	for len(t) > 0 {
		m := uint64(0)
		if len(t) >= 8 {
			// Little-endian, as WebAssembly is; a machine that is not would have other tags, and no other behaviour.
			m = *(*uint64)(unsafe.Pointer(unsafe.StringData(t)))
			t = t[8:]
		} else {
			for i := range len(t) {
				m |= uint64(t[i]) << (8 * i)
			}
			t = ""
		}
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3^m)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
		n += 8
	}
	s.v0, s.v1, s.v2, s.v3 = v0, v1, v2, v3
	return n
}

// sum ends the hash. Last is the number of bytes modulo 256 in its highest byte, and below it the bytes of a last word
// that is not full.
func (s *sip) sum(last uint64) Tag {
	v0, v1, v2, v3 := sipRound(s.v0, s.v1, s.v2, s.v3^last)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v2 = v0^last, v2^0xee
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	lo := v0 ^ v1 ^ v2 ^ v3
	v1 ^= 0xdd
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return Tag{lo, v0 ^ v1 ^ v2 ^ v3}
}

// sipRound is small enough to be inlined.
func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	return v0, v1, bits.RotateLeft64(v2, 32), v3
}
