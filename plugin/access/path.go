package access

import "strings"

// routePath returns the path of target without its query and with every escape decoded, for matching, and whether
// it reads the same to every normaliser. Empty and dot segments (with path parameters too: "..;x"), escaped or
// backward slashes, NUL, fragments and broken escapes do not: an upstream could see another path than the one that
// was priced. Decoding everything makes all spellings of one path one price; it is unambiguous because what would
// change the structure of the path is refused.
func routePath(target string) (string, bool) {
	if end, ok := plainPath(target); ok {
		return target[:end], true
	}
	return oddPath(target)
}

// plainPath returns where the path of target ends if, at one glance, it is one that every normaliser leaves alone: one
// without escapes and odd characters, whose segments are not empty and begin with no dot. Nearly all are.
func plainPath(target string) (end int, ok bool) {
	if target == "" || target[0] != '/' {
		return 0, false
	}
	after := byte('/')
	for i := 1; i < len(target); i++ {
		c := target[i]
		switch pathByte[c] {
		case plainByte:
		case queryByte:
			return i, strings.IndexByte(target, '#') < 0
		case segmentByte:
			if after == '/' {
				return 0, false
			}
		default:
			return 0, false
		}
		after = c
	}
	return len(target), true
}

// What a byte may be in a path that is plain: segmentByte is a slash or a dot or a semicolon, and none of these may follow a slash.
const (
	oddByte uint8 = iota
	plainByte
	segmentByte
	queryByte
)

var pathByte = func() (table [256]uint8) {
	for c := range table {
		table[c] = plainByte
	}
	for _, c := range []byte("%#\\\x00") {
		table[c] = oddByte
	}
	for _, c := range []byte("/.;") {
		table[c] = segmentByte
	}
	table['?'] = queryByte
	return table
}()

// oddPath is routePath for any target.
func oddPath(target string) (string, bool) {
	path, _, _ := strings.Cut(target, "?")
	if path == "" || path[0] != '/' || strings.IndexByte(target, '#') >= 0 {
		return "", false
	}
	if strings.IndexByte(path, '%') >= 0 {
		decoded, ok := decode(path)
		if !ok {
			return "", false
		}
		path = decoded
	}
	if strings.IndexByte(path, '\\') >= 0 || strings.IndexByte(path, 0) >= 0 {
		return "", false
	}
	for rest := path[1:]; ; {
		segment, after, more := strings.Cut(rest, "/")
		if segment == "" && more || dots(segment) {
			return "", false
		}
		if !more {
			return path, true
		}
		rest = after
	}
}

// dots reports whether a segment is "." or "..", once its path parameters are cut off as some servers do before
// they resolve dots.
func dots(segment string) bool {
	name, _, _ := strings.Cut(segment, ";")
	return name == "." || name == ".." || name == "" && segment != ""
}

// decode decodes every %XX. It refuses what is no escape, and escapes of "/", "\" and NUL.
func decode(path string) (string, bool) {
	var b strings.Builder
	b.Grow(len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			b.WriteByte(path[i])
			continue
		}
		if i+2 >= len(path) {
			return "", false
		}
		hi, lo := unhex(path[i+1]), unhex(path[i+2])
		c := byte(hi<<4 | lo)
		if hi < 0 || lo < 0 || c == '/' || c == '\\' || c == 0 {
			return "", false
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String(), true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
