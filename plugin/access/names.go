package access

import "strings"

// nameID is the name of a header that requests are judged by; 0 is any other name. A configuration numbers its own.
type nameID uint16

const (
	otherName nameID = iota
	hostName
	originName
	requestMethodName
	requestHeadersName
	// identityName is every name that only Tollgate may set.
	identityName
	configuredNames
)

// names are the header names that requests are judged by, in canonical form, for one look at each header of a request.
type names struct {
	// glance has for each length of a name a bit for each last letter, by its lowest five bits, which are the same for both
	// cases: most headers of most requests are none of ours, and this tells so of nearly all of them.
	glance [maxNameLen + 1]uint32
	byLen  [maxNameLen + 1][]knownName
	count  nameID
}

// maxNameLen is the length of the longest name that a scheme may take something from.
const maxNameLen = 64

type knownName struct {
	text string
	id   nameID
	// private: the header must not reach the upstream of a route with a scheme.
	private bool
}

// mark is a header of a request that has a known name.
type mark struct {
	// header is its index in the request's list.
	header int
	name   nameID
	// exact: it is spelt in canonical form; twin: "_" stands for "-" in it.
	exact, twin bool
	// private: it must not reach the upstream of a route with a scheme.
	private bool
}

func newNames() *names {
	n := &names{count: configuredNames}
	for id, text := range []string{hostName: "host", originName: origin, requestMethodName: requestMethod, requestHeadersName: requestHeaders} {
		if text != "" {
			n.set(knownName{text: text, id: nameID(id)})
		}
	}
	return n
}

func (n *names) set(k knownName) {
	size := len(k.text)
	n.byLen[size] = append(n.byLen[size], k)
	last := k.text[size-1]
	n.glance[size] |= 1 << (last & 31)
	if last == '-' {
		n.glance[size] |= 1 << ('_' & 31)
	}
}

// add makes a canonical name known and returns its number; that of no name is otherName. A name that is private once is
// private.
func (n *names) add(text string, private bool) nameID {
	if text == "" {
		return otherName
	}
	for i := range n.byLen[len(text)] {
		if k := &n.byLen[len(text)][i]; k.text == text {
			k.private = k.private || private
			return k.id
		}
	}
	id := n.count
	n.count++
	n.set(knownName{text: text, id: id, private: private})
	return id
}

// look appends a mark for each header that has a known name, in the order of headers, and notes in t what the pseudo-headers
// say, which have one spelling.
func (n *names) look(t *target, marks []mark, headers [][2]string) []mark {
	for i := range headers {
		name := headers[i][0]
		size := len(name)
		if size == 0 {
			continue
		}
		switch first := name[0]; {
		case first == ':':
			t.note(name, headers[i][1])
			continue
		case first|0x20 == 'x' && size >= len(identityPrefix) && name[2]|0x20 == 't' && identity(name):
			marks = append(marks, mark{header: i, name: identityName, private: true})
			continue
		}
		if size > maxNameLen || n.glance[size]>>(name[size-1]&31)&1 == 0 {
			continue
		}
		if m, ok := n.find(name); ok {
			m.header = i
			marks = append(marks, m)
		}
	}
	return marks
}

// find returns the mark of a name of at most maxNameLen characters, but for the header's index.
func (n *names) find(name string) (mark, bool) {
	known := n.byLen[len(name)]
	for i := range known {
		k := &known[i]
		if name == k.text {
			return mark{name: k.id, exact: true, private: k.private}, true
		}
		if folds(name, k.text) {
			return mark{name: k.id, twin: strings.IndexByte(name, '_') >= 0, private: k.private}, true
		}
	}
	return mark{}, false
}

// identity reports whether only Tollgate may set a header of that name.
func identity(name string) bool {
	return len(name) >= len(identityPrefix) && folds(name[:len(identityPrefix)], identityPrefix)
}

// folds reports whether canonical, of the same length as name, is its canonical form: ASCII in lower case, and "_" read as
// "-", the way CGI-style upstreams fold names. Only ASCII is folded: Unicode's rules would make a Kelvin sign the k of a
// header that no upstream takes it for.
func folds(name, canonical string) bool {
	if len(name) != len(canonical) {
		return false
	}
	for i := 0; i < len(name); i++ {
		if letter[name[i]] != canonical[i] {
			return false
		}
	}
	return true
}

// letter is the canonical form of each byte of a header's name.
var letter = func() (table [256]byte) {
	for c := range table {
		table[c] = byte(c)
	}
	for c := byte('A'); c <= 'Z'; c++ {
		table[c] = c + 'a' - 'A'
	}
	table['_'] = '-'
	return table
}()
