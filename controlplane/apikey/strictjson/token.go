package strictjson

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// literal takes word, of which the first byte is there.
func (s *Scanner) literal(word string) bool {
	for i := range len(word) {
		if s.at+i == len(s.data) || s.data[s.at+i] != word[i] {
			s.malformed(s.at + i)
			return false
		}
	}
	s.at += len(word)
	return true
}

// isNumber reports whether a number can begin with c.
func isNumber(c byte) bool { return c == '-' || isDigit(c) }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// number takes a number, of which the first byte is there, and returns how it is written.
func (s *Scanner) number() []byte {
	first := s.at
	s.accept("-")
	if !s.accept("0") {
		s.digits()
	}
	if s.accept(".") {
		s.digits()
	}
	if s.accept("eE") {
		s.accept("+-")
		s.digits()
	}
	return s.data[first:s.at]
}

// accept takes the next byte if it is one of set.
func (s *Scanner) accept(set string) bool {
	if s.at == len(s.data) || strings.IndexByte(set, s.data[s.at]) < 0 {
		return false
	}
	s.at++
	return true
}

// digits takes one digit or more.
func (s *Scanner) digits() {
	first := s.at
	for s.at < len(s.data) && isDigit(s.data[s.at]) {
		s.at++
	}
	if s.at == first {
		s.malformed(s.at)
	}
}

// quoted takes a string, of which the first quote is there. It returns what is between the quotes, as it stands there,
// and whether that has escapes. Bytes that are not UTF-8 are refused (RFC 8259 §8.1).
func (s *Scanner) quoted() (raw []byte, escaped bool) {
	first := s.at + 1
	for i := first; ; {
		switch {
		case i >= len(s.data) || s.data[i] < ' ':
			s.malformed(i)
			return nil, false
		case s.data[i] == '"':
			s.at = i + 1
			return s.data[first:i], escaped
		case s.data[i] == '\\':
			escaped = true
			n, ok := escape(s.data[i:])
			i += n
			if !ok {
				s.malformed(i)
				return nil, false
			}
		case s.data[i] < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(s.data[i:])
			if r == utf8.RuneError && n == 1 {
				s.malformed(i)
				return nil, false
			}
			i += n
		}
	}
}

// escapeLetters are those behind a backslash, but u, and escapeBytes what they stand for.
const (
	escapeLetters = `"\/bfnrt`
	escapeBytes   = "\"\\/\b\f\n\r\t"
)

// escapeLen is the length of \uXXXX.
const escapeLen = 6

// escape measures the escape that b begins with. If it is none, n is how many bytes of it are right.
func escape(b []byte) (n int, ok bool) {
	switch {
	case len(b) < 2 || b[1] != 'u' && strings.IndexByte(escapeLetters, b[1]) < 0:
		return 1, false
	case b[1] != 'u':
		return 2, true
	}
	for n = 2; n < escapeLen; n++ {
		if n == len(b) || hexDigit(b[n]) < 0 {
			return n, false
		}
	}
	return escapeLen, true
}

// hexDigit returns what c stands for, or -1.
func hexDigit(c byte) rune {
	switch {
	case isDigit(c):
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// unescape returns the text that raw, of a string that quoted took, stands for.
func unescape(raw []byte) []byte {
	text := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		if raw[0] != '\\' {
			text = append(text, raw[0])
			raw = raw[1:]
			continue
		}
		if i := strings.IndexByte(escapeLetters, raw[1]); i >= 0 {
			text = append(text, escapeBytes[i])
			raw = raw[2:]
			continue
		}
		r := codeUnit(raw)
		raw = raw[escapeLen:]
		if utf16.IsSurrogate(r) {
			if r = utf16.DecodeRune(r, codeUnit(raw)); r != utf8.RuneError {
				raw = raw[escapeLen:]
			}
		}
		text = utf8.AppendRune(text, r)
	}
	return text
}

// codeUnit returns the UTF-16 code unit of the \uXXXX that raw begins with, or -1.
func codeUnit(raw []byte) rune {
	if len(raw) < escapeLen || raw[0] != '\\' || raw[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range raw[2:escapeLen] {
		r = r<<4 | hexDigit(c)
	}
	return r
}
