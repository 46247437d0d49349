package domain_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tollgate/tollgate/controlplane/internal/domain"
	"github.com/tollgate/tollgate/controlplane/internal/domain/domaintest"
)

// hostileAddresses are those that a domain may point to and that nobody may be made to connect to: the edges of every
// block, and what hides an address of one in another form.
var hostileAddresses = []string{
	// This network, private, loopback, link-local and clouds' metadata.
	"0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.0", "10.0.0.1", "10.255.255.255", "172.16.0.0", "172.16.0.1", "172.31.255.255",
	"192.168.0.0", "192.168.1.1", "192.168.255.255", "127.0.0.2", "127.0.0.53", "127.1.2.3", "127.255.255.255",
	"169.254.0.1", "169.254.169.254", "169.254.170.2", "169.254.255.255", "100.64.0.0", "100.100.100.200", "100.127.255.255",
	// Protocols, documentation, benchmarks, relays, multicast, reserved, broadcast.
	"192.0.0.0", "192.0.0.8", "192.0.0.170", "192.0.0.192", "192.0.0.255", "192.0.2.0", "192.0.2.255", "198.51.100.1", "203.0.113.255",
	"198.18.0.0", "198.19.255.255", "192.88.99.1", "192.31.196.1", "192.52.193.1", "192.175.48.1",
	"224.0.0.1", "239.255.255.250", "239.255.255.255", "240.0.0.0", "254.1.2.3", "255.255.255.254", "255.255.255.255",
	// The same of IPv6.
	"::", "::1", "::2", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fdff::1", "ff02::1", "ff0e::1",
	"2001:db8::1", "2001:db8:ffff::1", "3fff::1", "3fff:fff::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1", "100::1", "5f00::1",
	"2620:4f:8000::1", "4000::1", "8000::1", "1fff::1",
	// IPv4 in other clothes: mapped, compatible, translated, NAT64 of both prefixes, 6to4, Teredo.
	"::ffff:127.0.0.2", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:192.168.1.1", "::ffff:8.8.8.8", "::ffff:0.0.0.0",
	"::127.0.0.2", "::10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:2", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808",
	"64:ff9b:1::7f00:2", "64:ff9b:1:ffff::a00:1", "2002:7f00:2::1", "2002:a9fe:a9fe::1", "2002:808:808::1",
	"2001::1", "2001:0:4136:e378:8000:63bf:80ff:fffd",
}

// hostileLocations are what a redirect may say. {v} is the port of the web server, {x} that of another one on this machine.
var hostileLocations = []string{
	// Addresses in every spelling that some program takes.
	"http://127.0.0.2/", "http://127.0.0.2:{v}/", "http://127.0.0.1:{v}/", "http://127.1:{v}/", "http://127.0.1:{v}/", "http://2130706434:{v}/",
	"http://0x7f000002:{v}/", "http://0x7f.0.0.2:{v}/", "http://0x7F.0x0.0x0.0x2:{v}/", "http://017700000002:{v}/", "http://0177.0.0.2:{v}/",
	"http://0177.0.0.02:{v}/", "http://00000177.0.0.2:{v}/", "http://127.0.0.2.:{v}/", "http://0:{v}/", "http://0.0.0.0:{v}/", "http://127.0.0.258:{v}/",
	"http://4294967297:{v}/", "http://169.254.169.254/latest/meta-data/", "http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/",
	"http://169.254.43518/", "http://[::1]:{v}/", "http://[::]:{v}/", "http://[0:0:0:0:0:0:0:1]:{v}/", "http://[::ffff:127.0.0.2]:{v}/",
	"http://[::ffff:7f00:2]:{v}/", "http://[0:0:0:0:0:ffff:127.0.0.2]:{v}/", "http://[::127.0.0.2]:{v}/", "http://[64:ff9b::7f00:2]/", "http://[fe80::1%25lo]:{v}/",
	"http://[::1%25lo]:{v}/", "http://[::1]/", "http://[fd00:ec2::254]/", "http://①②⑦.⓪.⓪.②:{v}/", "http://127。0。0。2:{v}/", "http://１２７.0.0.2:{v}/",
	"http://%31%32%37.0.0.2:{v}/", "http://127.0.0.2%00.example.com:{v}/", "http://127.0.0.2%2eexample.com:{v}/", "http://127%2e0%2e0%2e2:{v}/",
	// Users, and hosts that look like users.
	"http://shop.example.com@127.0.0.2:{v}/", "http://shop.example.com:80@127.0.0.2:{v}/", "http://user:pass@shop.example.com:{v}/", "http://@shop.example.com:{v}/",
	"http://127.0.0.2:{v}@shop.example.com:{v}/", "http://shop.example.com%40127.0.0.2:{v}/", "http://shop.example.com#@127.0.0.2:{v}/",
	`http://shop.example.com\@127.0.0.2:{v}/`, `http://127.0.0.2\@shop.example.com:{v}/`, "http://shop.example.com?@127.0.0.2:{v}/", "//user@127.0.0.2:{v}/",
	"http://shop.example.com:{v}:{x}/", "http://a@b@127.0.0.2:{v}/",
	// Other ports and schemes.
	"http://shop.example.com:{x}/", "http://shop.example.com:22/", "http://shop.example.com:6379/", "http://shop.example.com:0/", "http://shop.example.com:65536/",
	"http://shop.example.com:-1/", "http://shop.example.com:0{v}/", "http://shop.example.com:+{v}/", "http://shop.example.com:８０/", "https://shop.example.com:{x}/",
	"https://shop.example.com:{v}/", "ftp://shop.example.com/", "file:///etc/passwd", "file://shop.example.com/etc/passwd", "gopher://127.0.0.2:{v}/_x", "dict://127.0.0.2:{v}/",
	"ldap://127.0.0.2/", "unix:///run/docker.sock", "javascript:alert(1)", "data:text/plain,x", "ws://127.0.0.2:{v}/", "jar:http://127.0.0.2:{v}/!/", "tftp://127.0.0.2/", "netdoc:///etc/passwd",
	"http:127.0.0.2", "http:/127.0.0.2:{v}/x", "http:///127.0.0.2:{v}/", "http:////127.0.0.2:{v}/", "http:opaque", "view-source:http://127.0.0.2/",
	// Other names: of this machine, of others, and of neighbours.
	"//127.0.0.2:{v}/", "///127.0.0.2:{v}/", `\\127.0.0.2:{v}\x`, `/\127.0.0.2:{v}/`, `http:\\127.0.0.2:{v}\`, "//localhost:{v}/", "http://localhost:{v}/", "http://LOCALHOST.:{v}/", "http://localhost.localdomain:{v}/",
	"http://app.localhost:{v}/", "http://ip6-localhost:{v}/", "http://metadata.google.internal/", "http://metadata/", "http://kubernetes.default.svc/", "http://host.docker.internal/", "http://router.lan/", "http://printer.local/",
	"http://1.0.0.127.in-addr.arpa/", "http://127.0.0.2.nip.io:{v}/", "http://localtest.me:{v}/", "http://example.net:{v}/", "http://example.com.evil.net:{v}/", "http://shopexample.com:{v}/",
	"http://shop.example.com.:{v}:/", "http://com/", "http://.example.com:{v}/", "http://shop..example.com:{v}/", "http://*.example.com:{v}/", "http://shop.example.com%0d%0aX:{v}/",
	"http://shop.example.com%20.evil.net:{v}/", "http://shop.example.com%2fevil.net:{v}/", "http://shop.example.com／.evil.net:{v}/", "http://shop.example.com／@127.0.0.2:{v}/", "http://evil.net／.example.com:{v}/",
	"http://shop.exa\u00admple.com:{v}/", "http://:{v}/", "http://", "http://?", "http://[", "http://[::1", "http://]/", "://", ":", "%", "http://%/", "http://shop.example.com:{v}/%zz",
	"http://shop.example.com:{v}\t@127.0.0.2/", " http://127.0.0.2:{v}/", "http ://127.0.0.2:{v}/", "HTTP://127.0.0.2:{v}/", "hTtP://[::1]:{v}/",
}

// backToTheSite are those of hostileLocations that name the site itself, or only a path of it.
var backToTheSite = []string{
	"http://shop.example.com#@127.0.0.2:{v}/", "http://shop.example.com?@127.0.0.2:{v}/", "///127.0.0.2:{v}/", `/\127.0.0.2:{v}/`,
}

// deniedByOracle is the test's own list of what nobody may connect to, written apart from the one under test.
func deniedByOracle(ip netip.Addr) bool {
	if ip.Is4In6() || ip.IsUnspecified() || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.Zone() != "" {
		return true
	}
	b := ip.AsSlice()
	if ip.Is4() {
		switch {
		case b[0] == 0, b[0] >= 224, b[0] == 100 && b[1]&0xc0 == 64, b[0] == 198 && b[1]&0xfe == 18, b[0] == 192 && b[1] == 0 && (b[2] == 0 || b[2] == 2),
			b[0] == 198 && b[1] == 51 && b[2] == 100, b[0] == 203 && b[1] == 0 && b[2] == 113, b[0] == 192 && b[1] == 88 && b[2] == 99:
			return true
		}
		return false
	}
	return b[0]&0xe0 != 0x20 || b[0] == 0x20 && b[1] == 1 && b[2] < 2 || b[0] == 0x20 && b[1] == 1 && b[2] == 0xd && b[3] == 0xb8 || b[0] == 0x20 && b[1] == 2
}

// lure is a hostile domain's side: its names, its web server, and the neighbours that it wants to be connected to.
type lure struct {
	dns      *domaintest.DNS
	web      *domaintest.Web
	verifier *domain.Verifier
	// reached counts connections to the neighbours; other is the port of one of them.
	reached atomic.Int64
	other   netip.AddrPort
	mu      sync.Mutex
	// asked are the addresses that passed every rule.
	asked []netip.AddrPort
}

func newLure(t *testing.T) *lure {
	t.Helper()
	l := &lure{dns: domaintest.NewDNS(t), web: domaintest.NewWeb(t)}
	at := func(ip string, port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(ip), port) }
	l.other = l.neighbour(t, at("127.0.0.1", 0))
	for _, ip := range []string{"127.0.0.2", "127.0.0.53", "::1"} {
		for _, p := range []uint16{l.web.Plain.Port(), l.web.Secure.Port()} {
			l.neighbour(t, at(ip, p))
		}
	}
	network := l.web.Network()
	network.Connect = func(to netip.AddrPort) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asked = append(l.asked, to)
		if slices.Contains(network.Allow, to) {
			return nil
		}
		// Nothing leaves this machine.
		return errors.New("unreachable")
	}
	l.verifier = newVerifier(t, network, l.dns)
	return l
}

// neighbour listens where nobody is to connect.
func (l *lure) neighbour(t *testing.T, at netip.AddrPort) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.reached.Add(1)
			_ = conn.Close()
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String())
}

// spring has the verifier walk into the trap and checks where it went. Outcomes are those that are good.
func (l *lure) spring(t *testing.T, what string, outcomes ...domain.Outcome) {
	t.Helper()
	l.asked = nil
	got := check(t, l.verifier, domain.HTTP)
	if !slices.Contains(outcomes, got.Outcome) {
		t.Errorf("%s: got %s, want one of %v", what, got.Outcome, outcomes)
	}
	for _, to := range l.asked {
		ours := to == l.web.Plain || to == l.web.Secure
		if !ours && (deniedByOracle(to.Addr()) || to.Port() != l.web.Plain.Port() && to.Port() != l.web.Secure.Port()) {
			t.Errorf("%s: connects to %s", what, to)
		}
	}
}

// Over 300 domains that want something inside to be connected to: not one connection is made.
func TestHostileDomains(t *testing.T) {
	l := newLure(t)
	const public, public6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
	targets := 0
	spring := func(what string, outcomes ...domain.Outcome) {
		t.Helper()
		targets++
		l.spring(t, what, outcomes...)
	}
	redirect := func(location string) {
		l.web.Serve(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path {
				// What a redirect to this server itself would find.
				fmt.Fprint(w, "elsewhere")
				return
			}
			w.Header()["Location"] = []string{location}
			w.WriteHeader(http.StatusFound)
		})
	}
	for _, ip := range hostileAddresses {
		entry := domaintest.Addresses("127.0.0.1")
		redirect("/again")

		l.dns.Points(site, ip)
		spring("points to "+ip, domain.RefusedAddress)
		l.dns.Points(site, public, ip, public6)
		spring("points to "+ip+" among others", domain.Unreachable)
		l.dns.Set(site, domaintest.Addresses(public), domaintest.Addresses(ip))
		spring("points somewhere else, then to "+ip, domain.RefusedAddress, domain.Unreachable)
		l.dns.Set(site, entry, domaintest.Addresses(ip))
		if strings.Contains(ip, ":") {
			// Each family is asked for by itself.
			l.dns.Set(site, entry, domaintest.Answer{Records: []string{"AAAA " + ip}})
		}
		spring("answers, then points to "+ip, domain.RefusedAddress)
		l.dns.Set(site, domaintest.Answer{Records: []string{"CNAME inside.example.net."}})
		l.dns.Points("inside.example.net", ip)
		spring("is an alias of "+ip, domain.RefusedAddress)

		l.dns.Points(site, "127.0.0.1")
		l.dns.Points("deep.example.com", ip)
		redirect("http://deep.example.com:" + port(l.web.Plain) + "/")
		spring("redirects to a name of "+ip, domain.RefusedAddress)
	}
	fill := strings.NewReplacer("{v}", port(l.web.Plain), "{x}", port(l.other))
	for _, name := range []string{"localhost", "example.net", "127.0.0.2.nip.io", "localtest.me", "example.com.evil.net", "shopexample.com", "evil.net", "metadata.google.internal"} {
		l.dns.Points(name, "127.0.0.2")
	}
	for _, location := range hostileLocations {
		redirect(fill.Replace(location))
		want := domain.RedirectRefused
		if slices.Contains(backToTheSite, location) {
			want = domain.WrongValue
		}
		spring("redirects to "+location, want)
	}
	if n := l.reached.Load(); n != 0 {
		t.Errorf("%d connections to neighbours", n)
	}
	if targets < 300 {
		t.Errorf("%d targets, want 300 at least", targets)
	}
	t.Logf("%d hostile targets", targets)
}

// The trap works: somebody without rules is caught in it, and a verifier that is allowed more goes further.
func TestTheTrapCatches(t *testing.T) {
	l := newLure(t)
	for _, to := range []netip.AddrPort{l.other, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), l.web.Plain.Port())} {
		before := l.reached.Load()
		conn, err := net.Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		// The neighbour counts, then closes.
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
		if l.reached.Load() != before+1 {
			t.Errorf("%s does not count", to)
		}
	}
	network := l.web.Network()
	network.Allow = append(network.Allow, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), l.web.Plain.Port()))
	l.dns.Points(site, "127.0.0.2")
	before := l.reached.Load()
	if got := check(t, newVerifier(t, network, l.dns), domain.HTTP); l.reached.Load() == before {
		t.Errorf("not caught: %+v", got)
	}
}

// Of a domain in production, with the ports and rules of production, nothing on this machine is reached.
func TestProductionRules(t *testing.T) {
	server := domaintest.NewDNS(t)
	v := newVerifier(t, nil, server)
	for _, ip := range []string{"127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"} {
		server.Points(site, ip)
		if got := check(t, v, domain.HTTP); got.Outcome != domain.RefusedAddress {
			t.Errorf("%s: %+v", ip, got)
		}
	}
}
