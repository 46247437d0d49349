package testenv

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Header is one name and value of a header or trailer map. Names are lower case, pseudo headers
// (":path") included; maps keep their order and may repeat a name.
type Header = [2]string

// Limits of a serialised map that a filter passes in; proxy-wasm-cpp-host's limits.h.
const (
	maxPairsBytes = 1 << 20
	maxPairsCount = 1024
)

// headerMap is an ordered multimap with the operations of Envoy's HeaderMap that filters reach.
type headerMap struct {
	pairs  []Header
	inline []string
}

func newHeaderMap(headers []Header, inline []string) *headerMap {
	m := &headerMap{pairs: make([]Header, 0, len(headers)+4), inline: inline}
	for _, h := range headers {
		m.add(h[0], h[1])
	}
	return m
}

func (m *headerMap) add(name, value string) {
	name = lower(name)
	if slices.Contains(m.inline, name) {
		if i := m.index(name); i >= 0 {
			m.pairs[i][1] += "," + value
			return
		}
	}
	m.pairs = append(m.pairs, Header{name, value})
}

// get returns the first value of name, which is to be lower case.
func (m *headerMap) get(name string) (string, bool) {
	i := m.index(name)
	if i < 0 && name == "host" { // an alias in Envoy's request maps
		i = m.index(":authority")
	}
	if i < 0 {
		return "", false
	}
	return m.pairs[i][1], true
}

func (m *headerMap) index(name string) int {
	return slices.IndexFunc(m.pairs, func(h Header) bool { return h[0] == name })
}

func (m *headerMap) remove(name string) {
	name = lower(name)
	m.pairs = slices.DeleteFunc(m.pairs, func(h Header) bool { return h[0] == name })
}

// replace removes every value of name and appends the one given.
func (m *headerMap) replace(name, value string) {
	m.remove(name)
	m.add(name, value)
}

// setAll replaces the whole map.
func (m *headerMap) setAll(headers []Header) {
	m.pairs = m.pairs[:0]
	for _, h := range headers {
		m.add(h[0], h[1])
	}
}

func (m *headerMap) byteSize() uint32 {
	size := 0
	for _, h := range m.pairs {
		size += len(h[0]) + len(h[1])
	}
	return uint32(size)
}

// pairsSize is the length of the serialised form of headers.
func pairsSize(headers []Header) int {
	size := 4
	for _, h := range headers {
		size += 8 + len(h[0]) + 1 + len(h[1]) + 1
	}
	return size
}

// putPairs serialises headers into buf, which must be pairsSize long: the count, then the sizes
// of every name and value, then the NUL-terminated strings, little-endian.
func putPairs(buf []byte, headers []Header) {
	le := binary.LittleEndian
	le.PutUint32(buf, uint32(len(headers)))
	at := 4
	for _, h := range headers {
		le.PutUint32(buf[at:], uint32(len(h[0])))
		le.PutUint32(buf[at+4:], uint32(len(h[1])))
		at += 8
	}
	for _, h := range headers {
		for _, s := range h {
			at += copy(buf[at:], s)
			buf[at] = 0
			at++
		}
	}
}

// parsePairs reads a serialised map. Like Envoy it takes anything malformed or over the limits
// as an empty map instead of refusing it.
func parsePairs(buf []byte) []Header {
	if len(buf) < 4 || len(buf) > maxPairsBytes {
		return nil
	}
	le := binary.LittleEndian
	count := int(le.Uint32(buf))
	if count > maxPairsCount || 4+8*count > len(buf) {
		return nil
	}
	headers := make([]Header, count)
	at := 4 + 8*count
	for i := range headers {
		for j := range headers[i] {
			size := int(le.Uint32(buf[4+8*i+4*j:]))
			if at+size+1 > len(buf) || buf[at+size] != 0 {
				return nil
			}
			headers[i][j] = string(buf[at : at+size])
			at += size + 1
		}
	}
	if at != len(buf) {
		return nil
	}
	return headers
}

// lower folds a header name as Envoy's LowerCaseString does: ASCII letters alone. Unicode's rules would turn names
// that no upstream reads alike into one.
func lower(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return name // most names, and without a copy
	}
	folded := []byte(name)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return string(folded)
}
