package access

import "strings"

// routePath returns the path of target without its query, with escapes of unreserved characters decoded
// (RFC 3986 §6.2.2.2), and whether it reads the same to every normaliser. Empty and dot segments, escaped or
// backward slashes, NUL, fragments and broken escapes do not: an upstream could see another path than the one that was
// priced.
func routePath(target string) (string, bool) {
	path, _, _ := strings.Cut(target, "?")
	if path == "" || path[0] != '/' || strings.IndexByte(target, '#') >= 0 {
		return "", false
	}
	if strings.IndexByte(path, '%') >= 0 {
		decoded, ok := decodeUnreserved(path)
		if !ok {
			return "", false
		}
		path = decoded
	}
	start := 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) {
			if c := path[i]; c == '\\' || c == 0 {
				return "", false
			} else if c != '/' {
				continue
			}
		}
		switch segment := path[start:i]; {
		case segment == "." || segment == "..":
			return "", false
		case segment == "" && i < len(path):
			return "", false
		}
		start = i + 1
	}
	return path, true
}

// decodeUnreserved decodes %XX of unreserved characters and leaves other escapes as they are. It refuses what
// is no escape, and escapes of "/", "\" and NUL.
func decodeUnreserved(path string) (string, bool) {
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
		if hi < 0 || lo < 0 {
			return "", false
		}
		switch c := byte(hi<<4 | lo); {
		case c == '/' || c == '\\' || c == 0:
			return "", false
		case unreserved(c):
			b.WriteByte(c)
		default:
			b.WriteString(path[i : i+3])
		}
		i += 2
	}
	return b.String(), true
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
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
