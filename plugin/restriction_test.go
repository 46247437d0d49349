//go:build !wasip1

package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

var (
	keyRestricted  = genrex(403, apikey.KeyRestricted, "KEY_RESTRICTED", "API key may not be used for this request", "")
	pairRestricted = vexrail(403, apikey.KeyRestricted, "key_restricted", "Key may not be used for this request", "permission_error")
)

// restrict changes what the key with this id may be used for, or when it ends.
func (g *gate) restrict(t testing.TB, id string, fields map[string]any) {
	t.Helper()
	if status, body := g.cp.Admin(t, http.MethodPatch, "/v1/keys/"+id, fields); status != http.StatusOK {
		t.Fatalf("restrict %s: %d %s", id, status, body)
	}
}

// route is one of the routes that a key may be used for.
func route(kind, path string, methods ...string) map[string]any {
	r := map[string]any{kind: path}
	if methods != nil {
		r["methods"] = methods
	}
	return r
}

func from(address string, r testenv.Request) testenv.Request {
	r.Attributes.Source = address
	return r
}

func by(method string, r testenv.Request) testenv.Request {
	r.Method = method
	return r
}

// whoever is what w is, whether or not somebody was asked.
func whoever(w testenv.Want) testenv.Want {
	w.Callouts = nil
	return w
}

// A key passes on its own routes by their methods alone, whatever its request's spelling, and what it is refused costs
// nothing.
func TestRestrictedRoutes(t *testing.T) {
	underEveryMode(t, func(t *testing.T, o testenv.Options, changes []string) {
		g := newGate(t, o, nil, changes...)
		g.cp.MustCredits(t, g.account, 1_000)
		g.restrict(t, g.key.ID, map[string]any{"routes": []any{
			route("path", "/v1/document/create", "POST"), route("prefix", "/v1/document/é/"), route("prefix", "/v1/free/", "GET", "HEAD"),
		}})
		g.restrict(t, g.pair.ID, map[string]any{"routes": []any{route("path", "/v1/models")}})
		create, models := g.document(), chat(both(g.pair)...)
		refused := whoever(keyRestricted)
		ok := testenv.Want{Decision: testenv.Forwarded, Status: 200}
		g.Run(t, []testenv.Scenario{
			{Name: "cold and refused", Request: at("/v1/document/read", create), Want: asked(keyRestricted)},
			{Name: "another method", Request: by("GET", create), Want: refused},
			{Name: "allowed", Request: create, Want: ok},
			{Name: "with a query", Request: at("/v1/document/create?x=/v1/free/", create), Want: ok},
			{Name: "escaped", Request: at("/v1/document/%63reate", create), Want: ok},
			{Name: "longer", Request: at("/v1/document/create/x", create), Want: refused},
			{Name: "a query that looks like it", Request: at("/v1/document/x?/v1/document/create", create), Want: refused},
			{Name: "a free route", Request: by("HEAD", at("/v1/free/x", create)), Want: ok},
			{Name: "a free route by another method", Request: at("/v1/free/x", create), Want: refused},
			{Name: "an escaped prefix", Request: by("PUT", at("/v1/document/%C3%a9/", create)), Want: ok},
			{Name: "bytes that are no text", Request: at("/v1/document/%ff", create), Want: refused},
			{Name: "a pair", Request: models, Want: whoever(pairRestricted)},
			{Name: "a pair on its route", Request: at("/v1/models", models), Want: ok},
		}...)
		g.closeBooks(t, 4*3)
	})
}

// Where the address matters, it is the one that the proxy has: of either family, or of IPv4 in IPv6.
func TestRestrictedAddresses(t *testing.T) {
	underEveryMode(t, func(t *testing.T, o testenv.Options, changes []string) {
		g := newGate(t, o, nil, changes...)
		g.cp.MustCredits(t, g.account, 1_000)
		g.restrict(t, g.key.ID, map[string]any{"allowed_ips": []string{"192.0.2.0/24", "2001:db8::/32", "198.51.100.7"}})
		for address, want := range map[string]bool{
			"192.0.2.9:51000": true, "192.0.3.9:51000": false, "[::ffff:192.0.2.9]:51000": true, "[::ffff:192.0.3.9]:1": false, "198.51.100.7:443": true,
			"[2001:db8:1::5]:51000": true, "[2001:db9::5]:51000": false, "/var/run/socket": false,
		} {
			t.Run(address, func(t *testing.T) {
				request := from(address, g.document())
				// What a client says of itself counts for nothing.
				request.Headers = append(request.Headers, testenv.Header{"x-forwarded-for", "192.0.2.9"})
				if want {
					g.Check(t, request, testenv.Want{Decision: testenv.Forwarded, Status: 200})
				} else {
					g.Check(t, request, whoever(keyRestricted))
				}
			})
		}
		g.cp.Verify(t)
	})
}

// A restricted key is held to its restriction while the control plane is away, without a callout, and its end is kept to
// by the VM's own clock.
func TestRestrictionsWithoutAControlPlane(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		for name, priced := range map[string]string{"fixed price": `"cost": 3`, "price held": `"cost": 3, "charge_on": "success"`} {
			t.Run(name, func(t *testing.T) {
				net := &cut{}
				g := newLeaseGate(t, controlplanetest.Options{LeaseMaxCredits: 10_000}, o, net.plan, 100_000, `"cost": 3`, priced)
				g.restrict(t, g.key.ID, map[string]any{"routes": []any{route("path", "/v1/document/create")}, "allowed_ips": []string{"127.0.0.0/8"}})
				served := g.warm(t)
				net.off = true
				for range 40 { // 4 s
					g.Check(t, at("/v1/document/read", g.document()), keyRestricted)
					g.Check(t, from("[2001:db8::1]:1", g.document()), keyRestricted)
					g.Check(t, g.document(), hot)
					served++
					g.Advance(100 * time.Millisecond)
				}
				net.off = false
				g.closeBooks(t, 3*served)
			})
		}
	})
}

func TestExpiryWithoutAControlPlane(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		net := &cut{}
		g := newLeaseGate(t, controlplanetest.Options{}, o, net.plan, 100_000)
		end := g.Now().Add(10 * time.Second).Truncate(time.Second)
		g.restrict(t, g.key.ID, map[string]any{"expires_at": end.Format(time.RFC3339)})
		served := g.warm(t) // 6 s
		net.off = true
		left := end.Sub(g.Now())
		last, refused, more := g.lastServed(t, leaseTTL)
		if last >= left || left-last > 250*time.Millisecond {
			t.Errorf("served for %s, the key had %s left", last, left)
		}
		unavailable.Check(t, refused)
		net.off = false
		g.closeBooks(t, 3*(served+more))
	})
}

// A change of what a key may be used for reaches the gates as a revocation does.
func TestRestrictionsReachLeases(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		for name, fields := range map[string]map[string]any{
			"routes":      {"routes": []any{route("prefix", "/v1/free/")}},
			"allowed_ips": {"allowed_ips": []string{"::1"}},
		} {
			t.Run(name, func(t *testing.T) {
				g := newLeaseGate(t, controlplanetest.Options{}, o, (&cut{}).plan, 100_000)
				served := g.warm(t)
				g.restrict(t, g.key.ID, fields)
				last, refused, more := g.lastServed(t, 3*time.Second)
				if last > syncPeriod+100*time.Millisecond {
					t.Errorf("served %s after it was restricted", last)
				}
				whoever(keyRestricted).Check(t, refused)
				g.restrict(t, g.key.ID, map[string]any{"routes": []any{}, "allowed_ips": []string{}})
				g.Advance(syncPeriod + 100*time.Millisecond)
				g.Check(t, g.document(), testenv.Want{Decision: testenv.Forwarded, Status: 200})
				g.closeBooks(t, 3*(served+more+1))
			})
		}
	})
}

// Who may not make a request is told so before it is asked whether it could be paid for; and it takes nothing from an
// account, not even for a moment.
func TestRestrictedBeforeCredits(t *testing.T) {
	underEveryMode(t, func(t *testing.T, o testenv.Options, changes []string) {
		g := newGate(t, o, nil, changes...)
		account := g.cp.MustAccount(t, "active", 2)
		poor := g.cp.MustKey(t, account)
		g.restrict(t, poor.ID, map[string]any{"routes": []any{route("path", "/v1/document/create")}})
		other, create := at("/v1/document/x", document(bearer(poor.Secret))), document(bearer(poor.Secret))
		g.Check(t, other, asked(keyRestricted))
		g.Check(t, other, whoever(keyRestricted))
		g.Check(t, create, whoever(insufficientCredits))
		g.Check(t, other, whoever(keyRestricted))
		g.Advance(settled)
		if w := g.cp.MustWallet(t, account); w.Available != 2 || w.Spent != 0 || w.WrittenOff != 0 {
			t.Errorf("wallet %+v", w)
		}
		status, body := g.cp.Admin(t, http.MethodGet, "/v1/accounts/"+account+"/entries", nil)
		if entries := decode[struct{ Data []any }](t, body); status != 200 || len(entries.Data) != 2 {
			t.Errorf("%d entries, want the two of the top-up", len(entries.Data))
		}
		g.cp.Verify(t)
	})
}

// Streams that wait for one key's answer are each judged for themselves.
func TestWaitersAreJudgedEach(t *testing.T) {
	underEveryProfile(t, func(t *testing.T, o testenv.Options) {
		g := newLeaseGate(t, controlplanetest.Options{}, o, testenv.Every(testenv.Play{Return: 50 * time.Millisecond}), 1_000)
		g.restrict(t, g.key.ID, map[string]any{"routes": []any{route("path", "/v1/document/create", "POST")}, "allowed_ips": []string{"192.0.2.1"}})
		good := from("192.0.2.1:1", g.document())
		var sent []*testenv.Exchange
		for _, r := range []testenv.Request{at("/v1/document/x", good), good, g.document(), by("PUT", good), good} {
			sent = append(sent, g.Start(r))
			g.Settle()
		}
		for i, want := range []int{403, 200, 403, 403, 200} {
			if got := sent[i].Wait(t); got.Status != want {
				t.Errorf("stream %d: status %d, want %d", i, got.Status, want)
			}
		}
		if n := len(g.acquires(t)); n != 1 {
			t.Errorf("%d acquires, want 1", n)
		}
		g.closeBooks(t, 6)
	})
}
