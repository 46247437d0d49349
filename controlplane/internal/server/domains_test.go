package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/controlplane/internal/domain"
	"github.com/tollgate/tollgate/controlplane/internal/domain/domaintest"
)

type publication struct {
	Method string
	DNS    *struct{ Name, Type, Value string }
	HTTP   *struct{ URL, Content string }
}

type domainState struct {
	ProjectID  string `json:"project_id"`
	Domain     string
	Status     string
	VerifiedBy *string `json:"verified_by"`
	Reason     *string
	Challenge  *struct {
		publication
		ExpiresAt   time.Time `json:"expires_at"`
		LastOutcome *string   `json:"last_outcome"`
	}
	Proof *struct {
		publication
		LastOutcome string `json:"last_outcome"`
		Failures    int
		NextCheckAt time.Time `json:"next_check_at"`
	}
}

type verification struct {
	Outcome, Detail string
	Checks          []struct {
		Method, Outcome string
		Resolver        *int
		HTTPStatus      *int `json:"http_status"`
	}
	Domain domainState
}

// domainFixture is a control plane on an internet of one machine, which it sees by two resolvers.
type domainFixture struct {
	*fixture
	dns [2]*domaintest.DNS
	web *domaintest.Web
	// name is the project's domain.
	name string
}

func newDomainFixture(t *testing.T) *domainFixture {
	t.Helper()
	f := &domainFixture{fixture: &fixture{}, web: domaintest.NewWeb(t), dns: [2]*domaintest.DNS{domaintest.NewDNS(t), domaintest.NewDNS(t)}}
	network := f.web.Network()
	network.Connect = func(to netip.AddrPort) error {
		if !slices.Contains(network.Allow, to) {
			return errors.New("this is the end of the internet")
		}
		return nil
	}
	f.ControlPlane = controlplanetest.NewWith(t, controlplanetest.Options{Domains: domain.Options{
		Resolvers: []netip.AddrPort{f.dns[0].Addr, f.dns[1].Addr}, Test: network,
	}})
	f.account = f.MustAccount(t, "active", 0)
	f.newProject(t)
	return f
}

func (f *domainFixture) newProject(t *testing.T) {
	t.Helper()
	f.project = f.MustProject(t, f.account, "unverified")
	f.name = decode[domainState](t, f.do(t, "GET", "/v1/projects/{project}/domain", ""), 200).Domain
}

// both tells both name servers the same.
func (f *domainFixture) both(tell func(*domaintest.DNS)) {
	for _, d := range f.dns {
		tell(d)
	}
}

func (f *domainFixture) start(t *testing.T, method string) domainState {
	t.Helper()
	return decode[domainState](t, f.do(t, "POST", "/v1/projects/{project}/domain", `{"method":"`+method+`"}`), 201)
}

// verify looks at the domain once the last look is long enough ago.
func (f *domainFixture) verify(t *testing.T) verification {
	t.Helper()
	f.Clock.Advance(5 * time.Second)
	return decode[verification](t, f.do(t, "POST", "/v1/projects/{project}/domain/verify", ""), 200)
}

// publishRecord makes the record that d's challenge asks for.
func (f *domainFixture) publishRecord(d domainState) {
	f.both(func(s *domaintest.DNS) { s.TXT(d.Challenge.DNS.Name, d.Challenge.DNS.Value) })
}

func (f *domainFixture) shown(t *testing.T) domainState {
	t.Helper()
	return decode[domainState](t, f.do(t, "GET", "/v1/projects/{project}/domain", ""), 200)
}

func TestDomainVerifiedByRecord(t *testing.T) {
	f := newDomainFixture(t)
	f.conflict(t, "POST", "/v1/projects/{project}/domain/verify", "", "no_challenge")
	d := f.start(t, "dns")
	c := d.Challenge
	if c.Method != "dns" || c.HTTP != nil || c.DNS.Name != "_tollgate-challenge."+f.name || c.DNS.Type != "TXT" ||
		!strings.HasPrefix(c.DNS.Value, "tollgate-challenge=") || !c.ExpiresAt.Equal(f.Clock.Now().Add(7*24*time.Hour)) || d.Status != "unverified" {
		t.Fatalf("challenge %+v %+v", d, c.DNS)
	}
	if v := f.verify(t); v.Outcome != "nxdomain" || v.Detail == "" || v.Domain.Status != "unverified" || *v.Domain.Challenge.LastOutcome != "nxdomain" || len(v.Checks) != 2 {
		t.Errorf("before: %+v", v)
	}
	f.conflict(t, "POST", "/v1/keys", `{"project_id":"{project}","scheme":"vexrail","name":"n"}`, "domain_not_verified")
	f.publishRecord(d)
	v := f.verify(t)
	if v.Outcome != "verified" || v.Domain.Status != "verified" || *v.Domain.VerifiedBy != "dns" || v.Domain.Challenge != nil || v.Domain.Proof.DNS.Value != c.DNS.Value {
		t.Errorf("after: %+v", v)
	}
	f.MustPair(t, f.project)
	// A look at a proof is a look, too.
	if v := f.verify(t); v.Outcome != "verified" || v.Domain.Status != "verified" {
		t.Errorf("again: %+v", v)
	}
}

func TestDomainVerifiedByFile(t *testing.T) {
	f := newDomainFixture(t)
	d := f.start(t, "either")
	if d.Challenge.DNS == nil || d.Challenge.HTTP.URL != "http://"+f.name+"/.well-known/tollgate-challenge" {
		t.Fatalf("challenge %+v", d.Challenge)
	}
	f.web.Serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/tollgate-challenge" {
			fmt.Fprintln(w, d.Challenge.HTTP.Content)
		}
	})
	f.both(func(s *domaintest.DNS) { s.Points(f.name, "127.0.0.1") })
	v := f.verify(t)
	if v.Outcome != "verified" || *v.Domain.VerifiedBy != "http" || len(v.Checks) != 4 || *v.Checks[2].HTTPStatus != 200 {
		t.Errorf("got %+v", v)
	}
}

// Every outcome shows in the reply, and nothing of what was fetched does.
func TestEveryOutcomeByREST(t *testing.T) {
	f := newDomainFixture(t)
	const content = "what-only-the-inside-knows"
	points := func(ips ...string) func(domainState) {
		return func(domainState) { f.both(func(s *domaintest.DNS) { s.Points(f.name, ips...) }) }
	}
	serves := func(h http.HandlerFunc) func(domainState) {
		return func(domainState) {
			f.web.Serve(h)
			points("127.0.0.1")(domainState{})
		}
	}
	record := func(a domaintest.Answer) func(domainState) {
		return func(d domainState) { f.both(func(s *domaintest.DNS) { s.Set(d.Challenge.DNS.Name, a) }) }
	}
	seen := map[string]bool{}
	for _, tt := range []struct {
		outcome, method string
		prepare         func(domainState)
	}{
		{"verified", "dns", f.publishRecord},
		{"verified", "http", func(d domainState) {
			serves(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, d.Challenge.HTTP.Content) })(d)
		}},
		{"nxdomain", "dns", func(domainState) {}},
		{"nxdomain", "http", func(domainState) {}},
		{"no_record", "dns", record(domaintest.Answer{Records: []string{"A 192.0.2.1"}})},
		{"no_record", "http", func(domainState) { f.both(func(s *domaintest.DNS) { s.TXT(f.name, content) }) }},
		{"wrong_value", "dns", record(domaintest.Answer{Records: []string{"TXT " + content}})},
		{"wrong_value", "http", serves(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, content) })},
		{"resolvers_disagree", "dns", func(d domainState) { f.dns[1].TXT(d.Challenge.DNS.Name, d.Challenge.DNS.Value) }},
		{"dns_failed", "dns", record(domaintest.Answer{Rcode: dns.RcodeServerFailure})},
		{"timeout", "dns", record(domaintest.Answer{Silent: true})},
		{"refused_address", "http", points("169.254.169.254", "::1")},
		{"unreachable", "http", points("93.184.215.14")},
		{"tls", "http", serves(func(w http.ResponseWriter, r *http.Request) {
			f.both(func(s *domaintest.DNS) { s.Points("a.b.example.com", "127.0.0.1") })
			http.Redirect(w, r, "https://a.b.example.com:"+fmt.Sprint(f.web.Secure.Port())+"/", http.StatusFound)
		})},
		{"http_status", "http", serves(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, content, http.StatusForbidden) })},
		{"redirect_refused", "http", serves(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/"+content, http.StatusFound)
		})},
		{"too_large", "http", serves(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Repeat(content, 64<<10/len(content)+1))
		})},
		{"challenge_expired", "dns", func(d domainState) {
			f.publishRecord(d)
			f.Clock.Advance(7 * 24 * time.Hour)
		}},
	} {
		t.Run(tt.outcome+" "+tt.method, func(t *testing.T) {
			f.newProject(t)
			tt.prepare(f.start(t, tt.method))
			f.Clock.Advance(5 * time.Second)
			a := f.do(t, "POST", "/v1/projects/{project}/domain/verify", "{}")
			v := decode[verification](t, a, 200)
			if v.Outcome != tt.outcome || v.Detail != domain.Outcome(tt.outcome).Explain() || v.Detail == tt.outcome {
				t.Errorf("got %s", a.body)
			}
			if want := map[bool]string{true: "verified", false: "unverified"}[tt.outcome == "verified"]; v.Domain.Status != want {
				t.Errorf("status %s, want %s", v.Domain.Status, want)
			}
			if strings.Contains(a.body, content) {
				t.Errorf("shows what was fetched: %s", a.body)
			}
		})
		seen[tt.outcome] = true
	}
	for _, o := range domain.Outcomes() {
		if !seen[string(o)] {
			t.Errorf("%s was not seen", o)
		}
	}
	if strings.Contains(f.Logs(), content) {
		t.Error("the log shows what was fetched")
	}
}

func TestAnotherDomainNeedsAnotherProof(t *testing.T) {
	f := newDomainFixture(t)
	f.publishRecord(f.start(t, "dns"))
	f.verify(t)
	f.start(t, "dns")
	f.do(t, "PATCH", "/v1/projects/{project}", `{"domain":"other.example.com"}`)
	if d := f.shown(t); d.Status != "unverified" || d.VerifiedBy != nil || d.Challenge != nil || d.Proof != nil {
		t.Errorf("got %+v", d)
	}
	f.Clock.Advance(time.Minute)
	f.conflict(t, "POST", "/v1/projects/{project}/domain/verify", "", "no_challenge")
}

// An admin's word takes the place of a proof, and is not looked at again.
func TestAttestedInPlaceOfAProof(t *testing.T) {
	f := newDomainFixture(t)
	f.publishRecord(f.start(t, "dns"))
	f.verify(t)
	f.MustAttest(t, f.project)
	if d := f.shown(t); d.Status != "verified" || *d.VerifiedBy != "attest" || d.Proof != nil {
		t.Errorf("got %+v", d)
	}
	f.Clock.Advance(365 * 24 * time.Hour)
	if n := f.RecheckDomains(t); n != 0 {
		t.Errorf("%d re-checks", n)
	}
	if d := f.shown(t); d.Status != "verified" {
		t.Errorf("got %+v", d)
	}
}

// Nobody is asked for anything and nothing is looked at any more, on request or by itself, but a domain can be withdrawn.
func TestDomainOfAClosedAccount(t *testing.T) {
	f := newDomainFixture(t)
	f.publishRecord(f.start(t, "dns"))
	f.verify(t)
	f.start(t, "dns")
	if a := f.do(t, "POST", "/v1/accounts/{account}/close", `{"balance":"refuse","reason":"over"}`); a.status != 200 {
		t.Fatalf("got %d: %s", a.status, a.body)
	}
	f.Clock.Advance(365 * 24 * time.Hour)
	for _, path := range []string{"", "/verify", "/attest"} {
		f.conflict(t, "POST", "/v1/projects/{project}/domain"+path, map[string]string{"": `{"method":"dns"}`, "/attest": `{"reason":"r"}`}[path], "account_closed")
	}
	if n := f.RecheckDomains(t); n != 0 {
		t.Errorf("%d re-checks", n)
	}
	if a := f.do(t, "POST", "/v1/projects/{project}/domain/lapse", `{"reason":"r"}`); a.status != 200 {
		t.Errorf("withdrawn: got %d: %s", a.status, a.body)
	}
}

func TestLooksAreRateLimited(t *testing.T) {
	f := newDomainFixture(t)
	f.start(t, "http")
	f.both(func(s *domaintest.DNS) { s.Points(f.name, "127.0.0.1") })
	limited := func(retry string) {
		t.Helper()
		a := f.do(t, "POST", "/v1/projects/{project}/domain/verify", "")
		if p := wholeProblem(t, a); a.status != 429 || p.Code != "rate_limited" || a.header.Get("Retry-After") != retry {
			t.Errorf("got %d, Retry-After %q: %s", a.status, a.header.Get("Retry-After"), a.body)
		}
	}
	f.verify(t)
	limited("5")
	f.Clock.Advance(3500 * time.Millisecond)
	limited("2")

	// A look that has not ended bars the next, however long it takes.
	began, release := make(chan struct{}, 100), make(chan struct{})
	f.web.Serve(func(http.ResponseWriter, *http.Request) {
		began <- struct{}{}
		<-release
	})
	done := make(chan struct{})
	f.Clock.Advance(5 * time.Second)
	path := f.fill("/v1/projects/{project}/domain/verify")
	go func() {
		defer close(done)
		f.Admin(t, "POST", path, nil)
	}()
	<-began
	f.Clock.Advance(time.Minute)
	limited("1")
	// Another project's is none of its business.
	first := f.project
	f.newProject(t)
	f.start(t, "dns")
	f.verify(t)
	f.project = first
	close(release)
	<-done
	f.verify(t)
}

func TestProofsAreLookedAtAgain(t *testing.T) {
	f := newDomainFixture(t)
	const day = 24 * time.Hour
	d := f.start(t, "dns")
	f.publishRecord(d)
	f.verify(t)
	pair := f.MustPair(t, f.project)
	recheck := func(after time.Duration, want int, status string) domainState {
		t.Helper()
		f.Clock.Advance(after)
		if n := f.RecheckDomains(t); n != want {
			t.Errorf("%d re-checks, want %d", n, want)
		}
		got := f.shown(t)
		if got.Status != status {
			t.Fatalf("status %s, want %s: %+v", got.Status, status, got.Proof)
		}
		return got
	}
	// Around 30 days, a tenth more or less.
	recheck(27*day-time.Minute, 0, "verified")
	recheck(6*day+time.Hour, 1, "verified")
	recheck(0, 0, "verified")

	// Resolvers that fail and names that are gone for a while end nothing.
	f.both(func(s *domaintest.DNS) { s.Set(d.Challenge.DNS.Name, domaintest.Answer{Rcode: dns.RcodeServerFailure}) })
	for range 5 {
		recheck(33*day, 1, "verified")
		f.publishRecord(d)
		recheck(2*day, 1, "verified")
		f.both(func(s *domaintest.DNS) { s.Set(d.Challenge.DNS.Name, domaintest.Answer{Rcode: dns.RcodeServerFailure}) })
	}
	f.both(func(s *domaintest.DNS) { s.Set(d.Challenge.DNS.Name) })
	for failures := 1; failures <= 3; failures++ {
		if got := recheck(map[bool]time.Duration{true: 33 * day, false: 27 * time.Hour}[failures == 1], 1, "verified"); got.Proof.Failures != failures || got.Proof.LastOutcome != "nxdomain" {
			t.Errorf("after %d failures: %+v", failures, got.Proof)
		}
	}
	cursor := f.sync(t, `{"gate":"edge-1","boot":"b1","cursor":0,"epoch":1}`).Cursor
	f.expect(t, "failing", api.InsufficientCredits, "vexrail", pair.Publishable, pair.Secret)
	got := recheck(27*time.Hour, 1, "lapsed")
	told := f.sync(t, fmt.Sprintf(`{"gate":"edge-1","boot":"b1","cursor":%d,"epoch":1}`, cursor)).Changes
	if len(told) != 1 || told[0].Kind != api.ChangeProject || told[0].ID != f.project {
		t.Errorf("gates are told %+v", told)
	}
	f.expect(t, "lapsed", api.DomainNotVerified, "vexrail", pair.Publishable, pair.Secret)
	if got.Proof != nil || got.VerifiedBy != nil || !strings.Contains(*got.Reason, "nxdomain") {
		t.Errorf("lapsed: %+v", got)
	}
	recheck(100*day, 0, "lapsed")
	if _, body := f.Admin(t, "GET", "/v1/keys/"+pair.ID, nil); !strings.Contains(string(body), `"active"`) {
		t.Errorf("the pair: %s", body)
	}
	f.conflict(t, "POST", "/v1/keys", `{"project_id":"{project}","scheme":"vexrail","name":"n"}`, "domain_not_verified")
	if !strings.Contains(f.Logs(), "domain lapsed") {
		t.Error("the log does not tell")
	}

	// What lapsed can be proven again.
	f.publishRecord(f.start(t, "dns"))
	if v := f.verify(t); v.Outcome != "verified" || v.Domain.Status != "verified" {
		t.Errorf("proven again: %+v", v)
	}
}

// More than one round takes is looked at in the next.
func TestManyProofsAreDue(t *testing.T) {
	f := newDomainFixture(t)
	const proofs = 103
	for range proofs {
		f.newProject(t)
		f.publishRecord(f.start(t, "dns"))
		if v := f.verify(t); v.Outcome != "verified" {
			t.Fatalf("got %+v", v)
		}
	}
	f.Clock.Advance(60 * 24 * time.Hour)
	for _, want := range []int{100, 3, 0} {
		if n := f.RecheckDomains(t); n != want {
			t.Errorf("%d re-checks, want %d", n, want)
		}
	}
}
