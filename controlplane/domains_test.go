package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/tollgate/tollgate/controlplane/internal/domain/domaintest"
)

type checked struct {
	Outcome string
	Domain  struct {
		Status    string
		Challenge struct {
			DNS  struct{ Name, Value string }
			HTTP struct{ URL string }
		}
	}
}

// A process verifies by the resolvers that it is told of, two of which have to agree; and whatever a domain says, a process
// in production connects to nothing on its own machine.
func TestServeVerifiesDomains(t *testing.T) {
	first, second := domaintest.NewDNS(t), domaintest.NewDNS(t)
	db := filepath.Join(t.TempDir(), "t.db")
	p := start(t, append(loopback(db), "--dns-resolver", first.Addr.String()), "TOLLGATE_DOMAIN_RECHECK=24h")
	both := start(t, loopback(db+"2"), "TOLLGATE_DNS_RESOLVER="+first.Addr.String()+","+second.Addr.String())
	for name, want := range map[string]string{"one": "verified", "two": "resolvers_disagree"} {
		a := newAdmin(t, map[string]*process{"one": p, "two": both}[name], map[string]string{"one": db, "two": db + "2"}[name])
		var account, project struct{ ID string }
		a.post(t, "/v1/accounts", `{"name":"n","status":"active"}`, 201, &account)
		a.post(t, "/v1/projects", `{"account_id":"`+account.ID+`","name":"n","domain":"`+name+`.example.com"}`, 201, &project)
		path := "/v1/projects/" + project.ID + "/domain"
		var d struct {
			Challenge struct{ DNS struct{ Name, Value string } }
		}
		a.post(t, path, `{"method":"dns"}`, 201, &d)
		first.TXT(d.Challenge.DNS.Name, d.Challenge.DNS.Value)
		var c checked
		if a.post(t, path+"/verify", "", 200, &c); c.Outcome != want {
			t.Errorf("%s resolvers: got %+v, want %s", name, c, want)
		}

		a.post(t, "/v1/projects", `{"account_id":"`+account.ID+`","name":"n","domain":"inside.example.com"}`, 201, &project)
		path = "/v1/projects/" + project.ID + "/domain"
		a.post(t, path, `{"method":"http"}`, 201, &d)
		for _, s := range []*domaintest.DNS{first, second} {
			s.Points("inside.example.com", "127.0.0.1", "::1")
		}
		if a.post(t, path+"/verify", "", 200, &c); c.Outcome != "refused_address" {
			t.Errorf("%s resolvers: a domain on loopback: %+v", name, c)
		}
	}
}

// Nothing on the command line of a server has to do with what domains may be fetched from but these two.
func TestServeCannotBeRelaxed(t *testing.T) {
	var c commands
	k, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range k.Model.Leaves(false) {
		if n.Name != "serve" {
			continue
		}
		for _, f := range n.Flags {
			if strings.Contains(f.Name, "domain") || strings.Contains(f.Name, "dns") || strings.Contains(f.Name, "loopback") || strings.Contains(f.Name, "test") {
				got = append(got, f.Name)
			}
		}
	}
	if strings.Join(got, " ") != "dns-resolver domain-recheck" {
		t.Errorf("flags %q", got)
	}
	// The resolvers may be anywhere: they are the operator's.
	f := domainFlags{DNSResolver: []string{"127.0.0.1", "[::1]:5353", net.JoinHostPort("10.0.0.1", "53")}}
	if _, err := f.verifier(); err != nil {
		t.Error(err)
	}
}
