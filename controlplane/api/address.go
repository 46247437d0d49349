package api

import "strings"

// Addresses are read by hand, because net/netip would bring goroutines of package unique into the filter.

// address is one of IPv6, or one of IPv4 as ::ffff:a.b.c.d.
type address struct {
	hi, lo uint64
	v4     bool
}

// network holds the addresses of one family that share its first bits.
type network struct {
	address
	bits int
}

const mapped = 0xffff << 32 // of lo, where hi is 0

func v4(n uint32) address { return address{lo: mapped | uint64(n), v4: true} }

func (n *network) holds(a address) bool {
	if n.v4 != a.v4 || n.bits < 0 {
		return false
	}
	hi, lo := masks(n.bits)
	return a.hi&hi == n.hi && a.lo&lo == n.lo
}

// masks have the first bits of 128 set.
func masks(bits int) (hi, lo uint64) {
	return ^uint64(0) << (64 - min(bits, 64)), ^uint64(0) << (128 - max(bits, 64))
}

// parseNetwork reads an address with or without "/" and the length of its prefix, beyond which no bit may be set. What it
// refuses it returns as a network that holds nobody.
func parseNetwork(text string) (network, bool) {
	nobody := network{bits: -1}
	host, length, hasLength := strings.Cut(text, "/")
	a, ok := parseAddress(host)
	if !ok {
		return nobody, false
	}
	bits := 128
	if hasLength {
		n, rest, ok := decimal(length, 128)
		if !ok || rest != "" {
			return nobody, false
		}
		if bits = n; strings.IndexByte(host, ':') < 0 {
			bits += 96
		}
	}
	hi, lo := masks(min(bits, 128))
	if bits > 128 || a.hi&^hi != 0 || a.lo&^lo != 0 {
		return nobody, false
	}
	return network{a, bits}, true
}

// hostOf returns what stands before the port, if there is one, without brackets and zone.
func hostOf(text string) string {
	if rest, ok := strings.CutPrefix(text, "["); ok {
		text, _, _ = strings.Cut(rest, "]")
	} else if strings.Count(text, ":") == 1 {
		text, _, _ = strings.Cut(text, ":")
	}
	text, _, _ = strings.Cut(text, "%")
	return text
}

// parseAddress reads one in the usual notations of either family (RFC 4291 §2.2), without zone.
func parseAddress(text string) (address, bool) {
	if strings.IndexByte(text, ':') < 0 {
		n, ok := parseV4(text)
		return v4(n), ok
	}
	return parseV6(text)
}

// parseV4 reads four decimal numbers, without leading zeros: some take those for octal.
func parseV4(text string) (n uint32, ok bool) {
	for i := range 4 {
		part, rest, ok := decimal(text, 255)
		if !ok || i < 3 && (rest == "" || rest[0] != '.') || i == 3 && rest != "" {
			return 0, false
		}
		n = n<<8 | uint32(part)
		if i < 3 {
			text = rest[1:]
		}
	}
	return n, true
}

// decimal reads the number that text begins with, 0 to limit, and returns what follows.
func decimal(text string, limit int) (n int, rest string, ok bool) {
	i := 0
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9' && n <= limit; i++ {
		n = n*10 + int(text[i]-'0')
	}
	return n, text[i:], i > 0 && n <= limit && (text[0] != '0' || i == 1)
}

// parseV6 reads up to eight groups of which one run may be left out as "::", and the last two may be an address of IPv4.
func parseV6(text string) (address, bool) {
	var groups [8]uint16
	n, gap := 0, -1
	if rest, ok := strings.CutPrefix(text, "::"); ok {
		gap, text = 0, rest
	}
	for text != "" {
		if head, _, _ := strings.Cut(text, ":"); strings.IndexByte(head, '.') >= 0 {
			v4, ok := parseV4(text)
			if !ok || n > 6 {
				return address{}, false
			}
			groups[n], groups[n+1] = uint16(v4>>16), uint16(v4)
			n += 2
			break
		}
		group, rest, ok := hexGroup(text)
		if !ok || n == 8 {
			return address{}, false
		}
		groups[n] = group
		n++
		if rest == "" {
			break
		}
		if rest[0] != ':' || len(rest) == 1 {
			return address{}, false
		}
		if text = rest[1:]; text[0] != ':' {
			continue
		}
		if gap >= 0 {
			return address{}, false
		}
		gap, text = n, text[1:]
	}
	// A gap stands for one group at least.
	if gap < 0 && n != 8 || gap >= 0 && n == 8 {
		return address{}, false
	}
	if gap >= 0 {
		tail := n - gap
		copy(groups[8-tail:], groups[gap:n])
		clear(groups[gap : 8-tail])
	}
	var a address
	for i, g := range groups {
		if i < 4 {
			a.hi = a.hi<<16 | uint64(g)
		} else {
			a.lo = a.lo<<16 | uint64(g)
		}
	}
	a.v4 = a.hi == 0 && a.lo&^0xffffffff == mapped
	return a, true
}

func hexGroup(text string) (group uint16, rest string, ok bool) {
	i := 0
	for ; i < len(text) && i < 4; i++ {
		c := text[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return group, text[i:], i > 0
		}
		group = group<<4 | uint16(c)
	}
	return group, text[i:], i > 0
}
