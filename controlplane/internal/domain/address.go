package domain

import "net/netip"

// globalUnicast6 is all of IPv6 that is routed on the internet. What is outside, among it loopback, unique local,
// link-local and multicast addresses and those that stand for an IPv4 address (mapped, compatible, NAT64), is never
// connected to.
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

// withheld are the blocks in which there is no web server of the public internet: IANA's registries of special-purpose
// addresses (RFC 6890), multicast, and the tunnels in which an IPv4 address hides.
var withheld = prefixes(
	"0.0.0.0/8",         // this network
	"10.0.0.0/8",        // private
	"100.64.0.0/10",     // carriers' NAT
	"127.0.0.0/8",       // loopback
	"169.254.0.0/16",    // link-local, clouds' metadata
	"172.16.0.0/12",     // private
	"192.0.0.0/24",      // protocol assignments
	"192.0.2.0/24",      // documentation
	"192.31.196.0/24",   // AS112
	"192.52.193.0/24",   // AMT
	"192.88.99.0/24",    // 6to4 relays
	"192.168.0.0/16",    // private
	"192.175.48.0/24",   // AS112
	"198.18.0.0/15",     // benchmarks
	"198.51.100.0/24",   // documentation
	"203.0.113.0/24",    // documentation
	"224.0.0.0/4",       // multicast
	"240.0.0.0/4",       // reserved, broadcast
	"2001::/23",         // protocol assignments: Teredo, benchmarks, ORCHID
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// public reports whether ip may be connected to: a unicast address of the public internet, in its own form.
func public(ip netip.Addr) bool {
	if !ip.IsValid() || ip.Zone() != "" || ip.Is6() && !globalUnicast6.Contains(ip) {
		return false
	}
	for _, p := range withheld {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
