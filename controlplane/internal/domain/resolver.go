package domain

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// tryTime is how long one server is waited for, and tries how often each is asked.
	tryTime = 1500 * time.Millisecond
	tries   = 2
	// maxDatagram is beyond what a server sends to a client that announces nothing (RFC 1035 §2.3.4).
	maxDatagram = 4096
	// maxAliases bounds the chain of CNAMEs.
	maxAliases = 8
	systemFile = "/etc/resolv.conf"
)

// resolver asks one server, or the first of several that answers. It reads no hosts file and appends no search list: a
// name is looked up as the public knows it.
type resolver []netip.AddrPort

// systemResolver returns what the system is configured to ask, at the time.
func systemResolver() resolver {
	// Without the file, and with one that names nobody, the server is on this machine (resolv.conf(5)).
	text, _ := os.ReadFile(systemFile)
	var r resolver
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if ip, err := netip.ParseAddr(fields[1]); err == nil {
			r = append(r, netip.AddrPortFrom(ip, 53))
		}
	}
	if r == nil {
		r = resolver{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	return r
}

// record is the part of a resource record that somebody asks for here.
type record struct {
	owner string
	text  string
	ip    netip.Addr
	alias string
}

// lookup returns the records of a type that name has, by way of its aliases. Without any the outcome says why; it is
// empty otherwise.
func (r resolver) lookup(ctx context.Context, name string, kind dnsmessage.Type) ([]record, Outcome) {
	outcome := Timeout
	for range tries {
		for _, server := range r {
			records, o := ask(ctx, server, name+".", kind)
			if ctx.Err() != nil {
				return nil, Timeout
			}
			if o != Timeout && o != DNSFailed {
				return records, o
			}
			outcome = o
		}
	}
	return nil, outcome
}

// ask puts the question to one server, over TCP if the answer does not fit into a datagram.
func ask(ctx context.Context, server netip.AddrPort, name string, kind dnsmessage.Type) ([]record, Outcome) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	q, err := newQuestion(name, kind)
	if err != nil {
		return nil, DNSFailed
	}
	for _, network := range []string{"udp", "tcp"} {
		a, err := q.exchange(ctx, network, server)
		switch {
		case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
			return nil, Timeout
		case err != nil:
			return nil, DNSFailed
		case !a.Truncated:
			return a.judge(name)
		}
	}
	return nil, DNSFailed
}

// question is one question and its message.
type question struct {
	dnsmessage.Question
	id      uint16
	message []byte
}

func newQuestion(name string, kind dnsmessage.Type) (question, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return question{}, err
	}
	var id [2]byte
	// Read never returns an error.
	_, _ = rand.Read(id[:])
	q := question{
		Question: dnsmessage.Question{Name: n, Type: kind, Class: dnsmessage.ClassINET}, id: binary.BigEndian.Uint16(id[:]),
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: q.id, RecursionDesired: true}, Questions: []dnsmessage.Question{q.Question},
	}
	q.message, err = m.Pack()
	return q, err
}

// answer is a server's answer to one question.
type answer struct {
	dnsmessage.Header
	records []record
}

func (q question) exchange(ctx context.Context, network string, server netip.AddrPort) (answer, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, server.String())
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return q.overStream(conn)
	}
	return q.overDatagrams(conn)
}

// overDatagrams waits for the datagram that answers q and passes over all others, for anybody may send them.
func (q question) overDatagrams(conn net.Conn) (answer, error) {
	if _, err := conn.Write(q.message); err != nil {
		return answer{}, err
	}
	buf := make([]byte, maxDatagram)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return answer{}, err
		}
		if a, err := q.read(buf[:n]); err == nil {
			return a, nil
		}
	}
}

func (q question) overStream(conn net.Conn) (answer, error) {
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q.message))), q.message...)); err != nil {
		return answer{}, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return answer{}, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return answer{}, err
	}
	a, err := q.read(buf)
	a.Truncated = false
	return a, err
}

var errOtherAnswer = errors.New("an answer to another question")

// read takes message as the answer to q, whole: the same id, the same question, and well-formed records.
func (q question) read(message []byte) (answer, error) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return answer{}, err
	}
	asked, err := p.AllQuestions()
	if err != nil {
		return answer{}, err
	}
	if !h.Response || h.ID != q.id || len(asked) != 1 || asked[0].Type != q.Type || asked[0].Class != q.Class ||
		!strings.EqualFold(asked[0].Name.String(), q.Name.String()) {
		return answer{}, errOtherAnswer
	}
	a := answer{Header: h}
	if h.Truncated {
		return a, nil
	}
	for {
		r, err := p.Answer()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return a, nil
		}
		if err != nil {
			return answer{}, err
		}
		if rec, ok := recordOf(r); ok && (r.Header.Type == q.Type || rec.alias != "") {
			a.records = append(a.records, rec)
		}
	}
}

func recordOf(r dnsmessage.Resource) (record, bool) {
	rec := record{owner: strings.ToLower(r.Header.Name.String())}
	switch body := r.Body.(type) {
	case *dnsmessage.TXTResource:
		rec.text = strings.Join(body.TXT, "")
	case *dnsmessage.AResource:
		rec.ip = netip.AddrFrom4(body.A)
	case *dnsmessage.AAAAResource:
		rec.ip = netip.AddrFrom16(body.AAAA)
	case *dnsmessage.CNAMEResource:
		rec.alias = strings.ToLower(body.CNAME.String())
	default:
		return record{}, false
	}
	return rec, r.Header.Class == dnsmessage.ClassINET
}

// judge returns the records of name, or of what it is an alias of.
func (a answer) judge(name string) ([]record, Outcome) {
	switch a.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		return nil, NXDomain
	default:
		return nil, DNSFailed
	}
	owner := strings.ToLower(name)
	for range maxAliases {
		alias := ""
		var records []record
		for _, r := range a.records {
			switch {
			case r.owner != owner:
			case r.alias != "":
				alias = r.alias
			default:
				records = append(records, r)
			}
		}
		if len(records) > 0 {
			return records, ""
		}
		if alias == "" {
			return nil, NoRecord
		}
		owner = alias
	}
	return nil, DNSFailed
}
