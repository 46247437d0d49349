package strictjson

import (
	"bytes"
	"strconv"
	"strings"
)

// maxBytes and maxDepth bound a document. A configuration needs six levels.
const (
	maxBytes = 1 << 20
	maxDepth = 16
)

// Scanner reads one JSON document (RFC 8259) front to back and keeps nothing of it. It refuses what Parse refuses.
//
// Text, Integer, Bool, Null, Skip and Value take the value that comes next. Objects and arrays are gone through with
//
//	for s.Object(); s.Member(); {    // and s.Name()
//	for s.Array(); s.Item(); {
//
// where the body takes one value each time and does not leave the loop. After the first fault no loop goes on and what is
// taken is zero, so that it is enough to ask End for it.
type Scanner struct {
	data []byte
	// at is the next byte.
	at int
	// depth counts the objects and arrays around the next value, and path says where in them it is.
	depth int
	path  [maxDepth + 1]level
	// names are those seen so far in the objects of path, one object after the other.
	names   [][]byte
	problem *Problem
}

// level is one object or array on the way to a value.
type level struct {
	// name is that of the current member, nil in arrays; index is the current item's.
	name  []byte
	index int
	// begun: the first name or item is there.
	begun bool
	// base is where the object's names begin in Scanner.names. An object of many has them in many instead.
	base int
	many map[string]bool
}

// fewNames is up to how many names of an object are looked through one by one.
const fewNames = 16

// NewScanner starts to read data, which has to stay as it is until End.
func NewScanner(data []byte) *Scanner {
	s := &Scanner{data: data}
	if len(data) > maxBytes {
		s.fault(Root, "at most 1 MiB")
	}
	return s
}

// End expects the document to end here. It returns the first fault of all, a *Problem, or nil.
func (s *Scanner) End() error {
	s.space()
	if s.at < len(s.data) || s.depth > 0 {
		s.malformed(s.at)
	}
	if s.problem != nil {
		return s.problem
	}
	return nil
}

// Object enters an object.
func (s *Scanner) Object() { s.enter('{', "an object") }

// Array enters an array.
func (s *Scanner) Array() { s.enter('[', "an array") }

// Member goes to the next member of the object and reports whether there is one. If not, it leaves the object.
func (s *Scanner) Member() bool { return s.next('}') && s.member() }

// Name is that of the member that Member went to. It is good until Member is called again for the same object.
func (s *Scanner) Name() []byte { return s.path[s.depth-1].name }

// Item goes to the next item of the array and reports whether there is one. If not, it leaves the array.
func (s *Scanner) Item() bool {
	if !s.next(']') {
		return false
	}
	s.path[s.depth-1].index++
	return true
}

// Text takes a string. Half of a surrogate pair in it reads as U+FFFD.
func (s *Scanner) Text() string {
	if !s.expect('"', "a string") {
		return ""
	}
	raw, escaped := s.quoted()
	if escaped {
		raw = unescape(raw)
	}
	return string(raw)
}

// Integer takes a number that is written as a whole one, without fraction and exponent, and fits an int64.
func (s *Scanner) Integer() int64 {
	c, ok := s.begin()
	if !ok {
		return 0
	}
	if isNumber(c) {
		n, err := strconv.ParseInt(string(s.number()), 10, 64)
		if err == nil {
			return n
		}
	}
	s.unexpected(c, "an integer")
	return 0
}

// Bool takes true or false.
func (s *Scanner) Bool() bool {
	c, ok := s.begin()
	if !ok {
		return false
	}
	if c != 't' && c != 'f' {
		s.unexpected(c, "true or false")
		return false
	}
	s.scalar(c)
	return c == 't' && s.problem == nil
}

// Null takes a null if one comes next, and reports whether it did.
func (s *Scanner) Null() bool {
	c, ok := s.begin()
	return ok && c == 'n' && s.literal("null")
}

// Skip takes a value of any kind.
func (s *Scanner) Skip() {
	c, ok := s.begin()
	switch {
	case !ok:
	case c == '{':
		for s.Object(); s.Member(); {
			s.Skip()
		}
	case c == '[':
		for s.Array(); s.Item(); {
			s.Skip()
		}
	case c == '"':
		s.quoted()
	default:
		s.scalar(c)
	}
}

// Value takes a value of any kind and returns all of it.
func (s *Scanner) Value() Value {
	c, ok := s.begin()
	switch {
	case !ok:
		return nil
	case c == '{':
		members := []Member{}
		for s.Object(); s.Member(); {
			members = append(members, Member{string(s.Name()), s.Value()})
		}
		return members
	case c == '[':
		items := []Value{}
		for s.Array(); s.Item(); {
			items = append(items, s.Value())
		}
		return items
	case c == '"':
		return s.Text()
	}
	raw := s.scalar(c)
	switch c {
	case 'n':
		return nil
	case 't', 'f':
		return c == 't'
	}
	return Number(raw)
}

// scalar takes null, true, false or a number, which begins with c, and returns how it is written.
func (s *Scanner) scalar(c byte) []byte {
	first := s.at
	switch {
	case c == 'n':
		s.literal("null")
	case c == 't':
		s.literal("true")
	case c == 'f':
		s.literal("false")
	case isNumber(c):
		return s.number()
	default:
		s.malformed(s.at)
	}
	return s.data[first:s.at]
}

// fault records the first problem.
func (s *Scanner) fault(field, want string) {
	if s.problem == nil {
		s.problem = &Problem{Field: field, Want: want}
	}
}

// malformed records that byte i cannot follow those before it, or, if it is behind the last, that they are not all.
func (s *Scanner) malformed(i int) {
	after := min(i+1, len(s.data))
	s.fault(Root, "one JSON object; it is malformed after byte "+strconv.Itoa(after))
}

// unexpected records that a value beginning with c is of another kind than wanted.
func (s *Scanner) unexpected(c byte, want string) {
	if !isNumber(c) && strings.IndexByte(`{["tfn`, c) < 0 {
		s.malformed(s.at)
		return
	}
	s.fault(s.field(), want)
}

// field is the path of the next value.
func (s *Scanner) field() string {
	field := Root
	for i := range s.path[:s.depth] {
		if l := &s.path[i]; l.name != nil {
			field = Join(field, string(l.name))
		} else {
			field = Index(field, l.index)
		}
	}
	return field
}

// begin goes to the first byte of the next value and returns it.
func (s *Scanner) begin() (byte, bool) {
	if s.problem == nil && s.depth > maxDepth {
		s.fault(s.field(), "at most 16 levels of nesting")
	}
	s.space()
	if s.problem == nil && s.at == len(s.data) {
		s.malformed(s.at)
	}
	if s.problem != nil {
		return 0, false
	}
	return s.data[s.at], true
}

// expect reports whether the next value begins with first.
func (s *Scanner) expect(first byte, want string) bool {
	c, ok := s.begin()
	if ok && c != first {
		s.unexpected(c, want)
	}
	return ok && c == first
}

func (s *Scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// take takes the byte c if it comes next.
func (s *Scanner) take(c byte) bool {
	s.space()
	if s.at == len(s.data) || s.data[s.at] != c {
		return false
	}
	s.at++
	return true
}

// enter takes the first bracket of an object or array.
func (s *Scanner) enter(bracket byte, want string) {
	if s.expect(bracket, want) {
		s.at++
		s.path[s.depth] = level{index: -1, base: len(s.names)}
		s.depth++
	}
}

// next takes what is before the next member or item of the innermost object or array, or its last bracket.
func (s *Scanner) next(bracket byte) bool {
	if s.problem != nil || s.depth == 0 {
		return false
	}
	l := &s.path[s.depth-1]
	switch {
	case s.take(bracket):
		s.depth--
		s.names = s.names[:l.base]
		return false
	case l.begun && !s.take(','):
		s.malformed(s.at)
		return false
	}
	l.begun = true
	return true
}

// member takes a member's name and the colon behind it.
func (s *Scanner) member() bool {
	s.space()
	if s.at == len(s.data) || s.data[s.at] != '"' {
		s.malformed(s.at)
		return false
	}
	name, escaped := s.quoted()
	if escaped {
		name = unescape(name)
	}
	if !s.take(':') {
		s.malformed(s.at)
	}
	if s.problem != nil {
		return false
	}
	object := &s.path[s.depth-1]
	object.name = name
	if s.repeated(object) {
		s.fault(s.field(), "the field once; it is repeated")
		return false
	}
	return true
}

// repeated notes the current name of object, the innermost, and reports whether it was there before.
func (s *Scanner) repeated(object *level) bool {
	few := s.names[object.base:]
	if object.many == nil && len(few) < fewNames {
		for _, name := range few {
			if bytes.Equal(name, object.name) {
				return true
			}
		}
		s.names = append(s.names, object.name)
		return false
	}
	if object.many == nil {
		object.many = map[string]bool{}
		for _, name := range few {
			object.many[string(name)] = true
		}
	}
	if object.many[string(object.name)] {
		return true
	}
	object.many[string(object.name)] = true
	return false
}
