package api

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// FuzzAddress: an address reads as net/netip reads it, but for zones, which neither a rule nor a network has.
func FuzzAddress(f *testing.F) {
	for _, text := range []string{"1.2.3.4", "01.2.3.4", "1.2.3", "256.1.1.1", "::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::",
		"::2:3:4:5:6:7:8", "1::2:3:4:5:6:7:8", "::ffff:1.2.3.4", "::ffff:102:304", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3.4:5",
		":1", "1:", "1:::2", "1::2::3", ":::", "12345::", "g::", "", ":", "2001:DB8::a", "fe80::1%eth0", "1.2.3.4.", ".1.2.3.4", "1..2.3", "::1.2.3"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseAddress(text)
		want, err := netip.ParseAddr(text)
		if wanted := err == nil && want.Zone() == ""; ok != wanted {
			t.Fatalf("%q: read %v, netip %v", text, ok, err)
		}
		if b := want.As16(); ok && (got.hi != binary.BigEndian.Uint64(b[:8]) || got.lo != binary.BigEndian.Uint64(b[8:]) || got.v4 != want.Unmap().Is4()) {
			t.Fatalf("%q reads as %+v, netip %v", text, got, want)
		}
	})
}

// A network holds the addresses that net/netip says it contains.
func TestNetworkHolds(t *testing.T) {
	t.Parallel()
	addresses := rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 4, 4), func(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b)) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		base := addresses.Draw(t, "base").Unmap()
		prefix := netip.PrefixFrom(base, rapid.IntRange(0, base.BitLen()).Draw(t, "bits")).Masked()
		n, ok := parseNetwork(prefix.String())
		if !ok {
			t.Fatalf("%s is refused", prefix)
		}
		// One that shares some bits with the base is held more often.
		b := addresses.Draw(t, "address").AsSlice()
		shared := base.AsSlice()
		if len(shared) == len(b) {
			copy(b, shared[:rapid.IntRange(0, len(b)).Draw(t, "shared")])
		}
		a, _ := netip.AddrFromSlice(b)
		read, ok := parseAddress(a.String())
		if !ok || n.holds(read) != prefix.Contains(a.Unmap()) {
			t.Fatalf("%s holds %s: %v", prefix, a, n.holds(read))
		}
	})
}

func TestRestrictionValidate(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("a", MaxRulePathLen)
	tests := []struct {
		name  string
		r     Restriction
		field string
	}{
		{"nothing", Restriction{}, ""},
		{"all forms", Restriction{Routes: []RouteRule{{Path: "/v1/é a"}, {Prefix: "/"}, {Prefix: "/v1/", Methods: []string{"GET", "POST"}}, {Path: long[:MaxRulePathLen]}},
			AllowedIPs: []string{"192.0.2.7", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "::ffff:10.0.0.0/104"}}, ""},
		{"neither", Restriction{Routes: []RouteRule{{Methods: []string{"GET"}}}}, "routes[0]:"},
		{"both", Restriction{Routes: []RouteRule{{Path: "/"}, {Path: "/", Prefix: "/"}}}, "routes[1]:"},
		{"long path", Restriction{Routes: []RouteRule{{Path: long}}}, "routes[0].path:"},
		{"relative", Restriction{Routes: []RouteRule{{Prefix: "v1/"}}}, "routes[0].prefix:"},
		{"query", Restriction{Routes: []RouteRule{{Path: "/a?b"}}}, "routes[0].path:"},
		{"escape", Restriction{Routes: []RouteRule{{Path: "/%41"}}}, "routes[0].path:"},
		{"dots", Restriction{Routes: []RouteRule{{Prefix: "/a/../"}}}, "routes[0].prefix:"},
		{"empty segment", Restriction{Routes: []RouteRule{{Prefix: "/a//"}}}, "routes[0].prefix:"},
		{"no UTF-8", Restriction{Routes: []RouteRule{{Path: "/\xff"}}}, "routes[0].path:"},
		{"replaced character", Restriction{Routes: []RouteRule{{Path: "/\ufffd"}}}, "routes[0].path:"},
		{"lower-case method", Restriction{Routes: []RouteRule{{Path: "/", Methods: []string{"GET", "post"}}}}, "routes[0].methods[1]:"},
		{"too many methods", Restriction{Routes: []RouteRule{{Path: "/", Methods: make([]string, MaxRuleMethods+1)}}}, "routes[0].methods:"},
		{"too many routes", Restriction{Routes: make([]RouteRule, MaxRouteRules+1)}, "routes:"},
		{"too many addresses", Restriction{AllowedIPs: make([]string, MaxAllowedIPs+1)}, "allowed_ips:"},
		{"bits beyond the prefix", Restriction{AllowedIPs: []string{"10.0.0.0/8", "10.0.0.1/8"}}, "allowed_ips[1]:"},
		{"long prefix", Restriction{AllowedIPs: []string{"10.0.0.0/33"}}, "allowed_ips[0]:"},
		{"octal prefix", Restriction{AllowedIPs: []string{"10.0.0.0/08"}}, "allowed_ips[0]:"},
		{"no prefix length", Restriction{AllowedIPs: []string{"10.0.0.0/"}}, "allowed_ips[0]:"},
		{"zone", Restriction{AllowedIPs: []string{"fe80::1%eth0"}}, "allowed_ips[0]:"},
		{"a port", Restriction{AllowedIPs: []string{"10.0.0.1:80"}}, "allowed_ips[0]:"},
		{"mapped beyond IPv4", Restriction{AllowedIPs: []string{"::ffff:0:0/95"}}, "allowed_ips[0]:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.r.Validate()
			if (err == nil) != (tt.field == "") || err != nil && !strings.Contains(err.Error(), ": "+tt.field) {
				t.Errorf("Validate = %v, want an error naming %q", err, tt.field)
			}
		})
	}
}

func TestRulesAllow(t *testing.T) {
	r := Restriction{
		Routes:     []RouteRule{{Path: "/v1/chat", Methods: []string{"POST"}}, {Prefix: "/v1/doc/"}, {Prefix: "/é", Methods: []string{"GET", "HEAD"}}},
		AllowedIPs: []string{"192.0.2.0/24", "198.51.100.7", "2001:db8::/32"},
	}
	rules := r.Rules()
	for request, want := range map[string]bool{
		"POST /v1/chat": true, "GET /v1/chat": false, "POST /v1/chat/": false, "POST /V1/chat": false, "DELETE /v1/doc/": true, "GET /v1/doc/a/b": true,
		"GET /v1/doc": false, "HEAD /éa": true, "POST /é": false, "GET /": false, " /v1/doc/x": true, "GET ": false,
	} {
		method, path, _ := strings.Cut(request, " ")
		if got := rules.AllowsRoute(method, path); got != want {
			t.Errorf("%s: allowed %v", request, got)
		}
	}
	for address, want := range map[string]bool{
		"192.0.2.255:1": true, "192.0.2.1": true, "192.0.3.1:1": false, "198.51.100.7:65535": true, "198.51.100.6:1": false,
		"[::ffff:192.0.2.9]:1": true, "[::ffff:c000:209]:80": true, "[::192.0.2.9]:1": false, "[2001:db8::1]:443": true, "[2001:db8:1::%eth0]:443": true,
		"[2001:db9::1]:443": false, "2001:db8::1": true, "": false, "@socket": false, "/run/envoy.sock": false, "192.0.2.1.example": false, "192.0.2": false,
	} {
		if got := rules.AllowsAddress(address); got != want {
			t.Errorf("%s: allowed %v", address, got)
		}
	}
	anywhere := (&Restriction{}).Rules()
	if !anywhere.AllowsRoute("X", "") || !anywhere.AllowsAddress("") || anywhere.AsksAddress() || !rules.AsksAddress() {
		t.Error("no restriction is one")
	}
	if six := (&Restriction{AllowedIPs: []string{"::/0"}}).Rules(); six.AllowsAddress("192.0.2.1:1") || six.AllowsAddress("[::ffff:192.0.2.1]:1") || !six.AllowsAddress("[::1]:1") {
		t.Error("a network of IPv6 holds for an address of IPv4, or not for its own")
	}
	if n := testing.AllocsPerRun(100, func() { rules.AllowsRoute("GET", "/v1/doc/x"); rules.AllowsAddress("[2001:db8::1]:443") }); n != 0 {
		t.Errorf("judging allocates %v times", n)
	}
}
