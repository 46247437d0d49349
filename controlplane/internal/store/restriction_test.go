package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
)

func mustRestriction(t testing.TB, r api.Restriction) Restriction {
	t.Helper()
	text, err := NewRestriction(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Restrictions that mean the same are the same, and what is refused is told by its field.
func TestNewRestriction(t *testing.T) {
	a := mustRestriction(t, api.Restriction{AllowedIPs: []string{"::ffff:10.0.0.0/104", "192.0.2.1", "2001:0DB8::0001"}})
	b := mustRestriction(t, api.Restriction{AllowedIPs: []string{"10.0.0.0/8", "192.0.2.1/32", "2001:db8::1/128"}})
	if a != b {
		t.Errorf("%s differs from %s", a, b)
	}
	if none := mustRestriction(t, api.Restriction{Routes: []api.RouteRule{}}); none != "" || none.Value() != nil {
		t.Errorf("no restriction reads %q", none)
	}
	wide := api.Restriction{}
	for range api.MaxRouteRules {
		wide.Routes = append(wide.Routes, api.RouteRule{Path: "/" + strings.Repeat("<", api.MaxRulePathLen-1)})
	}
	if _, err := NewRestriction(wide); !errors.Is(err, ErrInvalid) || !errors.Is(err, api.ErrInvalid) {
		t.Errorf("too long: %v", err)
	}
	if r := readRestriction("not written here"); r == nil || r.rules.AllowsRoute("GET", "/") {
		t.Errorf("an unreadable restriction lets pass: %+v", r)
	}
}

// Under strict mode the control plane judges before it debits; under lease mode only a gate that judges gets a lease, with
// the restriction that the key has now, also when it asks again.
func TestAcquireOfARestrictedKey(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.mustTopUp(account.ID, 10)
	in := newKey(account.ID, "secret")
	r := api.Restriction{Routes: []api.RouteRule{{Prefix: "/a/", Methods: []string{"GET"}}}, AllowedIPs: []string{"10.0.0.0/8"}}
	in.Restriction = mustRestriction(t, r)
	key, _, err := w.CreateKey(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	strict := func(op, method, path, address string, want api.Verdict) {
		t.Helper()
		req := acquireOf("secret", "boot-1-"+op, 1)
		req.Method, req.Path, req.Address = method, path, address
		if got := w.mustAcquire(req); got.Verdict != want || got.RetryMillis != 0 || got.Lease != nil && got.Lease.Restriction != nil {
			t.Errorf("%s %s from %s: %+v, want %s", method, path, address, got, want)
		}
	}
	strict("1", "GET", "/a/b", "10.1.2.3:4", api.Granted)
	strict("2", "PUT", "/a/b", "10.1.2.3:4", api.KeyRestricted)
	strict("3", "GET", "/b", "10.1.2.3:4", api.KeyRestricted)
	strict("4", "GET", "/a/b", "11.1.2.3:4", api.KeyRestricted)
	strict("5", "", "", "", api.KeyRestricted)
	strict("1", "GET", "/a/b", "10.1.2.3:4", api.Granted)
	other := acquireOf("secret", "boot-1-1", 1)
	if _, err := w.Acquire(t.Context(), other, charged); !errors.Is(err, ErrOpIDReused) {
		t.Errorf("the same operation from elsewhere: %v", err)
	}

	lease := acquireOf("secret", "boot-1-6", 1)
	lease.Mode, lease.Want = api.ModeLease, 2
	if got := w.mustAcquire(lease); got.Verdict != api.KeyRestricted {
		t.Errorf("a gate that judges nothing got %+v", got)
	}
	lease.OpID, lease.Judges = "boot-1-7", api.RestrictionVersion
	if got := w.mustAcquire(lease); got.Verdict != api.Granted || !cmp.Equal(*got.Lease.Restriction, r) {
		t.Errorf("a lease of %+v", got.Lease)
	}
	if _, err := w.UpdateKey(t.Context(), key.ID, KeyUpdate{AllowedIPs: &[]string{}}); err != nil {
		t.Fatal(err)
	}
	if got := w.mustAcquire(lease); got.Lease == nil || got.Lease.Restriction == nil || len(got.Lease.Restriction.AllowedIPs) != 0 {
		t.Errorf("asked again: %+v", got.Lease)
	}
	free := acquireOf("secret", "boot-1-8", 0)
	free.Mode, free.Judges = api.ModeLease, api.RestrictionVersion
	if got := w.mustAcquire(free); got.Lease == nil || got.Lease.Restriction == nil {
		t.Errorf("an identity of %+v", got.Lease)
	}
	if got := w.mustWallet(account.ID); got.Spent != 1 || got.Reserved != 2 {
		t.Errorf("wallet %+v, want 1 spent and 2 reserved", got)
	}
	w.verify()
}

// A change of a restriction is told to gates as a revocation is, once, and a key that replaces another has its.
func TestRestrictionChanges(t *testing.T) {
	w := newWorld(t)
	key := w.mustKey(w.mustAccount(AccountActive).ID, "secret")
	count := func() int64 {
		t.Helper()
		n, _, err := w.changesKnown(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	w.clock.Advance(time.Second)
	rules := []api.RouteRule{{Path: "/a"}}
	for range 2 {
		if _, err := w.UpdateKey(t.Context(), key.ID, KeyUpdate{Routes: &rules, AllowedIPs: &[]string{"::1"}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := count() - before; n != 1 {
		t.Errorf("%d changes, want 1", n)
	}
	next, _, err := w.ReplaceKey(t.Context(), key.ID, Replacement{Secret: newSecret("next")}, nil)
	want := mustRestriction(t, api.Restriction{Routes: rules, AllowedIPs: []string{"::1/128"}})
	if err != nil || next.Restriction != want {
		t.Errorf("replaced by one with %s, %v", next.Restriction, err)
	}
	if _, err := w.UpdateKey(t.Context(), next.ID, KeyUpdate{AllowedIPs: &[]string{"x"}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a bad address: %v", err)
	}
}
