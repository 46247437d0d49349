package domaintest

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// DNS is a name server of one machine. A name that it was not told of does not exist. Its methods are safe for
// concurrent use.
type DNS struct {
	// Addr is where it answers, over UDP and TCP.
	Addr netip.AddrPort

	mu    sync.Mutex
	names map[string]*name
}

// name is what is known of one name: what its nth question of a type is answered with, the last answer for good.
type name struct {
	answers []Answer
	asked   map[uint16]int
}

// Answer is what a name's questions are answered with: the records of the type asked for and aliases, or Rcode, or
// nothing at all.
type Answer struct {
	// Records are in the form of zone files, without owner and class: "A 192.0.2.1".
	Records []string
	Rcode   int
	Silent  bool
}

// NewDNS starts a name server that ends with the test.
func NewDNS(t testing.TB) *DNS {
	t.Helper()
	packets, stream := listen(t)
	d := &DNS{Addr: netip.MustParseAddrPort(packets.LocalAddr().String()), names: map[string]*name{}}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: d}, {Listener: stream, Handler: d}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-done
		})
	}
	return d
}

// listen opens one port for both protocols, for which it may take some tries.
func listen(t testing.TB) (packets net.PacketConn, stream net.Listener) {
	t.Helper()
	for range 100 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if stream, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			return packets, stream
		}
		_ = packets.Close()
	}
	t.Fatal("found no port that is free for UDP and TCP")
	return nil, nil
}

// Set has owner answered with answers, the nth question of each type with the nth and all later ones with the last.
// Without answers the name ceases to exist.
func (d *DNS) Set(owner string, answers ...Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[strings.ToLower(owner)+"."] = &name{answers: answers, asked: map[uint16]int{}}
}

// TXT has name answered with one TXT record per text.
func (d *DNS) TXT(name string, texts ...string) {
	var a Answer
	for _, text := range texts {
		a.Records = append(a.Records, `TXT "`+text+`"`)
	}
	d.Set(name, a)
}

// Points has name answered with addresses, of either family.
func (d *DNS) Points(name string, ips ...string) { d.Set(name, Addresses(ips...)) }

// Addresses is the answer of these addresses.
func Addresses(ips ...string) Answer {
	var a Answer
	for _, ip := range ips {
		kind := "A "
		if strings.Contains(ip, ":") {
			kind = "AAAA "
		}
		a.Records = append(a.Records, kind+ip)
	}
	return a
}

// ServeDNS is called by the server.
func (d *DNS) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	asked := q.Question[0]
	a, known := d.next(asked)
	if a.Silent {
		return
	}
	m.Rcode = a.Rcode
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	d.add(m, asked.Name, asked.Qtype, a)
	if _, datagram := w.RemoteAddr().(*net.UDPAddr); datagram {
		m.Truncate(dns.MinMsgSize)
	}
	_ = w.WriteMsg(m)
}

// add adds the records of one name, and those of the names that it is an alias of, as recursive servers do.
func (d *DNS) add(m *dns.Msg, owner string, kind uint16, a Answer) {
	for _, text := range a.Records {
		rr, err := dns.NewRR(owner + " 60 IN " + text)
		if err != nil {
			panic(err)
		}
		alias, isAlias := rr.(*dns.CNAME)
		if !isAlias && rr.Header().Rrtype != kind {
			continue
		}
		m.Answer = append(m.Answer, rr)
		if isAlias && len(m.Answer) < 32 {
			next, known := d.next(dns.Question{Name: alias.Target, Qtype: kind})
			if !known {
				m.Rcode = dns.RcodeNameError
			}
			d.add(m, alias.Target, kind, next)
		}
	}
}

func (d *DNS) next(q dns.Question) (Answer, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[strings.ToLower(q.Name)]
	if n == nil || len(n.answers) == 0 {
		return Answer{}, false
	}
	a := n.answers[min(n.asked[q.Qtype], len(n.answers)-1)]
	n.asked[q.Qtype]++
	return a, true
}
