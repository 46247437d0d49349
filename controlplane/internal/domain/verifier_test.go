package domain_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/tollgate/tollgate/controlplane/internal/domain"
	"github.com/tollgate/tollgate/controlplane/internal/domain/domaintest"
)

const (
	site   = "shop.example.com"
	record = "_tollgate-challenge." + site
	token  = "JBSWY3DPEHPK3PXPJBSWY3DPEH"
	value  = "tollgate-challenge=" + token
	path   = "/.well-known/tollgate-challenge"
)

func newVerifier(t *testing.T, test *domain.TestNetwork, servers ...*domaintest.DNS) *domain.Verifier {
	t.Helper()
	o := domain.Options{Test: test}
	for _, s := range servers {
		o.Resolvers = append(o.Resolvers, s.Addr)
	}
	v, err := domain.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func check(t *testing.T, v *domain.Verifier, m domain.Method) domain.Result {
	t.Helper()
	return v.Check(t.Context(), domain.Challenge{Domain: site, Token: token, Method: m})
}

func TestToken(t *testing.T) {
	a, b := domain.NewToken(), domain.NewToken()
	// 26 letters of an alphabet of 32.
	if len(a) < 26 || a == b {
		t.Errorf("tokens %q and %q", a, b)
	}
	if name, value := domain.Record(site, a); name != record || value != "tollgate-challenge="+a {
		t.Errorf("record %s %s", name, value)
	}
	if url, content := domain.File(site, a); url != "http://"+site+path || content != a {
		t.Errorf("file %s %s", url, content)
	}
}

func TestRecord(t *testing.T) {
	txt := func(texts ...string) domaintest.Answer {
		var a domaintest.Answer
		for _, text := range texts {
			a.Records = append(a.Records, "TXT "+text)
		}
		return a
	}
	many := make([]string, 60)
	for i := range many {
		many[i] = fmt.Sprintf(`"some other record of this domain, number %d"`, i)
	}
	for _, tt := range []struct {
		name    string
		answers []domaintest.Answer
		want    domain.Outcome
	}{
		{"there", []domaintest.Answer{txt(value)}, domain.Verified},
		{"among others", []domaintest.Answer{txt(`"v=spf1 -all"`, value, "x")}, domain.Verified},
		{"in two strings", []domaintest.Answer{txt(`"tollgate-" "challenge=` + token + `"`)}, domain.Verified},
		{"too many for a datagram", []domaintest.Answer{txt(append(many, value)...)}, domain.Verified},
		{"by way of an alias", []domaintest.Answer{{Records: []string{"CNAME " + record + ".proofs.example.net."}}}, domain.Verified},
		{"after a failure", []domaintest.Answer{{Rcode: dns.RcodeServerFailure}, txt(value)}, domain.Verified},
		{"after a datagram was lost", []domaintest.Answer{{Silent: true}, txt(value)}, domain.Verified},
		{"no name", nil, domain.NXDomain},
		{"alias of nothing", []domaintest.Answer{{Records: []string{"CNAME nowhere.example.net."}}}, domain.NXDomain},
		{"alias of itself", []domaintest.Answer{{Records: []string{"CNAME " + record + "."}}}, domain.DNSFailed},
		{"no record", []domaintest.Answer{{Records: []string{"A 192.0.2.1"}}}, domain.NoRecord},
		{"another token", []domaintest.Answer{txt("tollgate-challenge=" + strings.Repeat("A", 26))}, domain.WrongValue},
		{"token alone", []domaintest.Answer{txt(token)}, domain.WrongValue},
		{"more than the value", []domaintest.Answer{txt(value + "x")}, domain.WrongValue},
		{"another case", []domaintest.Answer{txt(strings.ToLower(value))}, domain.WrongValue},
		{"refused", []domaintest.Answer{{Rcode: dns.RcodeRefused}}, domain.DNSFailed},
		{"failed", []domaintest.Answer{{Rcode: dns.RcodeServerFailure}}, domain.DNSFailed},
		{"silent", []domaintest.Answer{{Silent: true}}, domain.Timeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := domaintest.NewDNS(t)
			server.Set(record, tt.answers...)
			server.TXT(record+".proofs.example.net", value)
			got := check(t, newVerifier(t, nil, server), domain.DNS)
			want := domain.Result{Outcome: tt.want, Method: domain.DNS, Views: []domain.View{{Method: domain.DNS, Resolver: 1, Outcome: tt.want}}}
			if got.Outcome != want.Outcome || got.Method != want.Method || !slices.Equal(got.Views, want.Views) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// With two resolvers one alone convinces nobody, whatever the method; with more, two are enough.
func TestTwoResolversHaveToAgree(t *testing.T) {
	web := domaintest.NewWeb(t)
	web.Serve(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, token) })
	for _, tt := range []struct {
		name string
		// right says of each resolver whether it knows the answer.
		right []bool
		want  domain.Outcome
	}{
		{"both", []bool{true, true}, domain.Verified},
		{"first alone", []bool{true, false}, domain.ResolversDisagree},
		{"second alone", []bool{false, true}, domain.ResolversDisagree},
		{"neither", []bool{false, false}, domain.NXDomain},
		{"two of three", []bool{true, false, true}, domain.Verified},
		{"one of three", []bool{false, false, true}, domain.ResolversDisagree},
	} {
		for _, m := range []domain.Method{domain.DNS, domain.HTTP, domain.Either} {
			t.Run(tt.name+" "+string(m), func(t *testing.T) {
				var servers []*domaintest.DNS
				for _, right := range tt.right {
					s := domaintest.NewDNS(t)
					if right {
						s.TXT(record, value)
						s.Points(site, "127.0.0.1")
					}
					servers = append(servers, s)
				}
				if got := check(t, newVerifier(t, web.Network(), servers...), m); got.Outcome != tt.want {
					t.Errorf("got %+v, want %s", got, tt.want)
				}
			})
		}
	}
}

func TestFile(t *testing.T) {
	type handler = http.HandlerFunc
	answer := func(status int, body string) handler {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	// to redirects from http to location, and answers with the token on https and elsewhere.
	to := func(location string) handler {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil && r.URL.Path == path && strings.HasPrefix(r.Host, site) {
				http.Redirect(w, r, location, http.StatusMovedPermanently)
				return
			}
			fmt.Fprint(w, token)
		}
	}
	for _, tt := range []struct {
		name    string
		handler handler
		want    domain.Outcome
		status  int
	}{
		{"there", answer(200, token), domain.Verified, 200},
		{"with blanks around", answer(200, "\r\n "+token+"\n"), domain.Verified, 200},
		{"to https", to("https://" + site + ":{secure}" + path), domain.Verified, 200},
		{"to a sibling", to("http://www.example.com:{plain}/elsewhere?x=1"), domain.Verified, 200},
		{"to the parent on https", to("https://EXAMPLE.com.:{secure}/"), domain.Verified, 200},
		{"to another path", to("/other"), domain.Verified, 200},
		{"nothing there", answer(404, token), domain.HTTPStatus, 404},
		{"broken", answer(500, token), domain.HTTPStatus, 500},
		{"no content", answer(204, ""), domain.HTTPStatus, 204},
		{"not modified", answer(304, ""), domain.HTTPStatus, 304},
		{"another token", answer(200, strings.Repeat("A", 26)), domain.WrongValue, 200},
		{"a page", answer(200, "<html>"+token+"</html>"), domain.WrongValue, 200},
		{"empty", answer(200, ""), domain.WrongValue, 200},
		{"64 KiB", answer(200, token+strings.Repeat(" ", 64<<10-26)), domain.Verified, 200},
		{"a byte more", answer(200, token+strings.Repeat(" ", 64<<10-25)), domain.TooLarge, 200},
		{"no end", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}, domain.TooLarge, 200},
		{"compressed unasked", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				t.Error("asks for compression")
			}
			w.Header().Set("Content-Encoding", "gzip")
			// What a bomb begins with: it is never opened.
			fmt.Fprint(w, "\x1f\x8b\x08\x00"+strings.Repeat("\x00", 100))
		}, domain.WrongValue, 200},
		{"headers without end", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 4<<10))
			}
			fmt.Fprint(w, token)
		}, domain.Unreachable, 0},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, token)
		}, domain.Unreachable, 200},
		{"hung up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, domain.Unreachable, 0},
		{"in circles", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, path, http.StatusFound) }, domain.RedirectRefused, 0},
		{"to another domain", to("http://example.net/"), domain.RedirectRefused, 301},
		{"redirect to nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) }, domain.RedirectRefused, 302},
		{"two locations", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Location"] = []string{"/a", "/b"}
			w.WriteHeader(302)
		}, domain.RedirectRefused, 302},
		{"from https back", func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil {
				http.Redirect(w, r, "https://"+site+":{secure}/", http.StatusFound)
				return
			}
			http.Redirect(w, r, "http://"+site+":{plain}/", http.StatusFound)
		}, domain.RedirectRefused, 302},
		{"to a name that the certificate has not", to("https://a.b.example.com:{secure}/"), domain.TLS, 0},
		{"to a name without address", to("https://none.example.com:{secure}/"), domain.NXDomain, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			web, server := domaintest.NewWeb(t), domaintest.NewDNS(t)
			fill := strings.NewReplacer("{plain}", port(web.Plain), "{secure}", port(web.Secure), "%7Bplain%7D", port(web.Plain), "%7Bsecure%7D", port(web.Secure))
			web.Serve(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" || r.ProtoMajor != 1 {
					t.Errorf("%s %v HTTP/%d", r.Method, r.Header, r.ProtoMajor)
				}
				w.Header().Set("Set-Cookie", "a=b; Domain=example.com")
				tt.handler(filled{w, fill}, r)
			})
			for _, name := range []string{site, "example.com", "www.example.com", "a.b.example.com"} {
				server.Points(name, "127.0.0.1")
			}
			got := check(t, newVerifier(t, web.Network(), server), domain.HTTP)
			if got.Outcome != tt.want || got.Views[0].Status != tt.status {
				t.Errorf("got %+v, want %s, %d", got, tt.want, tt.status)
			}
		})
	}
}

func port(a netip.AddrPort) string { return fmt.Sprint(a.Port()) }

// filled puts the ports into Location.
type filled struct {
	http.ResponseWriter
	fill *strings.Replacer
}

func (f filled) WriteHeader(status int) {
	for i, l := range f.Header()["Location"] {
		f.Header()["Location"][i] = f.fill.Replace(l)
	}
	f.ResponseWriter.WriteHeader(status)
}

func TestNobodyThere(t *testing.T) {
	web, server := domaintest.NewWeb(t), domaintest.NewDNS(t)
	web.Serve(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, token) })
	server.Points(site, "127.0.0.1")
	closed := netip.MustParseAddrPort("127.0.0.1:1")

	network := web.Network()
	network.Allow, network.HTTPPort = append(network.Allow, closed), closed.Port()
	if got := check(t, newVerifier(t, network, server), domain.HTTP); got.Outcome != domain.Verified || !slices.Equal(web.Requests(), []string{"https " + site + path}) {
		t.Errorf("with https alone: %+v, %q", got, web.Requests())
	}
	// Who trusts nobody does not trust this server either.
	network.RootCAs = nil
	if got := check(t, newVerifier(t, network, server), domain.HTTP); got.Outcome != domain.TLS {
		t.Errorf("with https alone, under an unknown authority: %+v", got)
	}
	network.HTTPSPort = closed.Port()
	if got := check(t, newVerifier(t, network, server), domain.HTTP); got.Outcome != domain.Unreachable {
		t.Errorf("with neither: %+v", got)
	}
	for name, a := range map[domain.Outcome]domaintest.Answer{
		domain.NoRecord: {Records: []string{"TXT x"}}, domain.DNSFailed: {Rcode: dns.RcodeRefused},
	} {
		server.Set(site, a)
		if got := check(t, newVerifier(t, web.Network(), server), domain.HTTP); got.Outcome != name {
			t.Errorf("got %+v, want %s", got, name)
		}
	}
}

// The first answer decides nothing but the order: either way is enough, and the report shows both.
func TestEither(t *testing.T) {
	web, server := domaintest.NewWeb(t), domaintest.NewDNS(t)
	server.Points(site, "127.0.0.1")
	v := newVerifier(t, web.Network(), server)
	expect := func(want domain.Outcome, m domain.Method, views ...domain.Outcome) {
		t.Helper()
		got := check(t, v, domain.Either)
		if got.Outcome != want || got.Method != m || len(got.Views) != 2 || got.Views[0].Outcome != views[0] || got.Views[1].Outcome != views[1] {
			t.Errorf("got %+v, want %s by %s of %v", got, want, m, views)
		}
	}
	expect(domain.NXDomain, domain.DNS, domain.NXDomain, domain.HTTPStatus)
	web.Serve(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, token) })
	expect(domain.Verified, domain.HTTP, domain.NXDomain, domain.Verified)
	server.TXT(record, value)
	expect(domain.Verified, domain.DNS, domain.Verified, domain.Verified)
}

// A server that answers byte by byte is cut off with everything else, and so is one that never does.
func TestFiveSecondsInAll(t *testing.T) {
	t.Parallel()
	web, server := domaintest.NewWeb(t), domaintest.NewDNS(t)
	release := make(chan struct{})
	t.Cleanup(sync.OnceFunc(func() { close(release) }))
	web.Serve(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	server.Points(site, "127.0.0.1")
	if got := check(t, newVerifier(t, web.Network(), server), domain.HTTP); got.Outcome != domain.Timeout {
		t.Errorf("got %+v", got)
	}
}

func TestNewRefuses(t *testing.T) {
	at := netip.MustParseAddrPort
	for name, resolvers := range map[string][]netip.AddrPort{
		"the same twice": {at("192.0.2.1:53"), at("192.0.2.1:53")}, "no port": {at("192.0.2.1:0")}, "nothing": {{}},
		"too many": {at("192.0.2.1:1"), at("192.0.2.1:2"), at("192.0.2.1:3"), at("192.0.2.1:4"), at("192.0.2.1:5"), at("192.0.2.1:6"), at("192.0.2.1:7"), at("192.0.2.1:8"), at("192.0.2.1:9")},
	} {
		if v, err := domain.New(domain.Options{Resolvers: resolvers}); v != nil || !errors.Is(err, domain.ErrResolvers) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}
